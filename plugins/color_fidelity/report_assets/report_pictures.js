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

// A source is "target", "p<version>" (a picture) or "m<version>" (its ΔE map).
function addressOf(image, source) {
  const block = picturesOf(image);
  const text = source === "target" ? block.target : (source[0] === "m" ? block.maps : block.pictures)[source.slice(1)];
  return text ? "data:image/webp;base64," + text : "";
}

function sourcesOf(image) {
  const pictures = image.shots.map(function (version) { return "p" + version; });
  const maps = image.shots.map(function (version) { return "m" + version; });
  return pictures.concat(image.target ? ["target"] : [], maps);
}

function sourceLabel(source) {
  if (source === "target") { return "target"; }
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
  const address = addressOf(image, source);
  const wanted = image.place + source;
  canvas.dataset.source = wanted;
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

function drawScale(element) {
  const bar = make("i", { "aria-hidden": "true" });
  bar.style.background = "linear-gradient(90deg," + data.mapColors.join(",") + ")";
  const steps = [0, 0.25, 0.5, 0.75, 1].map(function (part) {
    return make("span", {}, String(part * data.mapLimit) + (part === 1 ? "+" : ""));
  });
  fill(element, [make("b", {}, "ΔE00"), make("div", { class: "ruler" }, bar, make("div", { class: "steps" }, ...steps)),
    make("span", {}, "the same scale in every report; about 1 is just noticeable")]);
}
