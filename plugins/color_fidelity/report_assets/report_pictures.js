// Pictures wait as text in a block for each image, which is parsed when the image comes near the window.
const KEPT_BLOCKS = 40;
const blocks = new Map();

function picturesOf(image) {
  let block = blocks.get(image.place);
  if (block) { blocks.delete(image.place); } else {
    const element = byId("pictures-" + image.place);
    block = element ? JSON.parse(element.textContent) : { target: "", pictures: {}, maps: {} };
  }
  blocks.set(image.place, block);
  if (blocks.size > KEPT_BLOCKS) { blocks.delete(blocks.keys().next().value); }
  return block;
}

// A source is "target", "p<version>" (a picture), "m<version>" (its ΔE map) or "change" (of ΔE, run A against B).
function addressOf(image, source) {
  const block = picturesOf(image);
  const text = source === "target" ? block.target : (source[0] === "m" ? block.maps : block.pictures)[source.slice(1)];
  return text ? "data:image/webp;base64," + text : "";
}

function sourcesOf(image) {
  const pictures = image.shots.map(function (version) { return "p" + version; });
  const maps = image.shots.map(function (version) { return "m" + version; });
  return pictures.concat(image.target ? ["target"] : [], maps, hasChange(image) ? ["change"] : []);
}

function hasChange(image) {
  return state.a !== state.b && image.shots.includes(state.a) && image.shots.includes(state.b);
}

function sourceLabel(source) {
  if (source === "target") { return "target"; }
  if (source === "change") { return labelOf(state.a) + " against " + labelOf(state.b); }
  const label = labelOf(Number(source.slice(1)));
  return source[0] === "m" ? "ΔE map of " + label : label;
}

const scaleColors = (function () {
  const table = new Uint8Array(768), last = data.mapColors.length - 1;
  for (let code = 0; code < 256; code++) {
    const place = code / 255 * last, low = Math.min(Math.floor(place), last - 1);
    for (let channel = 0; channel < 3; channel++) {
      const part = function (color) { return parseInt(color.slice(1 + 2 * channel, 3 + 2 * channel), 16); };
      const from = part(data.mapColors[low]), to = part(data.mapColors[low + 1]);
      table[3 * code + channel] = Math.round(from + (to - from) * (place - low));
    }
  }
  return table;
})();

function decoded(address) {
  const picture = new Image();
  picture.src = address;
  return picture.decode().then(function () { return picture; });
}

// Draws a source into a canvas of the picture's own size; the promise gives the codes of a map, null of a picture.
function paint(canvas, image, source) {
  const wanted = image.place + source + (source === "change" ? state.a + "-" + state.b : "");
  canvas.dataset.source = wanted;
  if (source === "change") { return paintChange(canvas, image, wanted); }
  const address = addressOf(image, source);
  if (!address) { canvas.width = canvas.height = 1; return Promise.resolve(null); }
  return decoded(address).then(function (picture) {
    if (canvas.dataset.source !== wanted) { return null; }  // another picture was asked for meanwhile
    canvas.width = picture.naturalWidth;
    canvas.height = picture.naturalHeight;
    const context = canvas.getContext("2d", { willReadFrequently: source[0] === "m" });
    context.drawImage(picture, 0, 0);
    return source[0] === "m" ? colorMap(context, canvas.width, canvas.height) : null;
  });
}

function colorMap(context, width, height) {
  const pixels = context.getImageData(0, 0, width, height), rgba = pixels.data;
  const codes = new Uint8Array(width * height);
  for (let k = 0; k < codes.length; k++) {
    const code = rgba[4 * k];
    codes[k] = code;
    rgba[4 * k] = scaleColors[3 * code];
    rgba[4 * k + 1] = scaleColors[3 * code + 1];
    rgba[4 * k + 2] = scaleColors[3 * code + 2];
  }
  context.putImageData(pixels, 0, 0);
  return { width: width, height: height, codes: codes };
}

const CHANGE_LIMIT = data.mapLimit / 2;
const CHANGE_COLORS = { nearer: [92, 194, 255], even: [20, 21, 25], farther: [255, 146, 43] };

function mapCodes(image, version) {
  const canvas = make("canvas", {});
  return paint(canvas, image, "m" + version);
}

// Where run A is nearer to the target than run B, and where it is farther.
function paintChange(canvas, image, wanted) {
  return Promise.all([mapCodes(image, state.a), mapCodes(image, state.b)]).then(function (maps) {
    const a = maps[0], b = maps[1];
    if (canvas.dataset.source !== wanted || !a || !b || a.codes.length !== b.codes.length) { return null; }
    canvas.width = a.width;
    canvas.height = a.height;
    const context = canvas.getContext("2d"), pixels = context.createImageData(a.width, a.height), rgba = pixels.data;
    for (let k = 0; k < a.codes.length; k++) {
      const gain = (b.codes[k] - a.codes[k]) / 255 * data.mapLimit / CHANGE_LIMIT;
      const end = gain > 0 ? CHANGE_COLORS.nearer : CHANGE_COLORS.farther, part = Math.min(1, Math.abs(gain));
      for (let channel = 0; channel < 3; channel++) {
        rgba[4 * k + channel] = CHANGE_COLORS.even[channel] + part * (end[channel] - CHANGE_COLORS.even[channel]);
      }
      rgba[4 * k + 3] = 255;
    }
    context.putImageData(pixels, 0, 0);
    return null;
  });
}

function changeScale() {
  const css = function (color) { return "rgb(" + color.join(",") + ")"; };
  const bar = make("i", { "aria-hidden": "true" });
  bar.style.background = "linear-gradient(90deg," + [CHANGE_COLORS.farther, CHANGE_COLORS.even, CHANGE_COLORS.nearer].map(css).join(",") + ")";
  const steps = ["farther −" + CHANGE_LIMIT, "0", "+" + CHANGE_LIMIT + " nearer"].map(function (text) { return make("span", {}, text); });
  return make("div", { class: "pair" }, make("b", {}, "change"), make("div", { class: "ruler" }, bar, make("div", { class: "steps" }, ...steps)));
}

function drawScale(element) {
  const bar = make("i", { "aria-hidden": "true" });
  bar.style.background = "linear-gradient(90deg," + data.mapColors.join(",") + ")";
  const steps = [0, 0.25, 0.5, 0.75, 1].map(function (part) {
    return make("span", {}, String(part * data.mapLimit) + (part === 1 ? "+" : ""));
  });
  fill(element, [make("div", { class: "pair" }, make("b", {}, "ΔE00"),
    make("div", { class: "ruler" }, bar, make("div", { class: "steps" }, ...steps))), state.b >= 0 ? changeScale() : "", make("span", {}, "The same scales in every report; about 1 is just noticeable.")]);
}
