// Figures over the images in view: means, and the change of one run against another with a paired bootstrap.
const EQUAL = 1e-9;

// Mean over finite values, so that one infinite PSNR does not hide the others.
function finiteMean(values) {
  const finite = values.filter(isFinite);
  if (finite.length) { return finite.reduce(function (sum, value) { return sum + value; }, 0) / finite.length; }
  return values.some(function (value) { return !isNaN(value); }) ? Infinity : NaN;
}

function meanOf(images, version, key) {
  return finiteMean(images.map(function (image) { return valueOf(image, version, key); }));
}

// A small generator with a fixed seed: the same images give the same interval.
function generator(seed) {
  let value = seed >>> 0;
  return function () {
    value = (value + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(value ^ (value >>> 15), value | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

function quantile(sorted, share) {
  const place = share * (sorted.length - 1), low = Math.floor(place), high = Math.ceil(place);
  return sorted[low] + (sorted[high] - sorted[low]) * (place - low);
}

function interval(differences) {
  const random = generator(20050101), count = differences.length, means = new Float64Array(data.samples);
  for (let sample = 0; sample < data.samples; sample++) {
    let sum = 0;
    for (let k = 0; k < count; k++) { sum += differences[Math.floor(random() * count)]; }
    means[sample] = sum / count;
  }
  means.sort();
  const tail = (1 - data.confidence) / 2;
  return [quantile(means, tail), quantile(means, 1 - tail)];
}

// Paired comparison of one figure over images that have it finite in both versions; null where there is none.
function compare(images, after, before, key, intervals) {
  const pairs = images.map(function (image) { return [valueOf(image, before, key), valueOf(image, after, key)]; })
    .filter(function (pair) { return isFinite(pair[0]) && isFinite(pair[1]); });
  if (!pairs.length) { return null; }
  const differences = pairs.map(function (pair) { return pair[1] - pair[0]; });
  const gains = pairs.map(function (pair) { return badness(key, pair[0]) - badness(key, pair[1]); });
  const ends = intervals === false ? [NaN, NaN] : interval(differences);
  const change = {
    mean: finiteMean(differences), gain: finiteMean(gains), low: ends[0], high: ends[1], images: pairs.length,
    better: gains.filter(function (gain) { return gain > EQUAL; }).length,
    worse: gains.filter(function (gain) { return gain < -EQUAL; }).length
  };
  const clear = isFinite(change.gain) && !(change.low <= 0 && change.high >= 0);
  change.verdict = !clear ? "even" : change.gain > 0 ? "good" : "bad";
  return change;
}

const VERDICTS = { good: "better", bad: "worse", even: "no clear change" };
