// What every part uses: the data, the state, elements, and figures as text. All parts share one function's scope.
const data = JSON.parse(document.getElementById("data").textContent);
const figures = data.figures;
const versions = data.versions;
const byId = function (id) { return document.getElementById(id); };

const state = {
  a: data.current, b: data.reference, set: "", find: "", only: "", onlyKey: data.worstBy, ranges: [],
  sortKey: data.worstBy, sortOf: "a", sortDown: true, worst: data.worst, view: "cards", maps: true,
  shown: [],  // the images that pass the filters
  list: []    // those of them that are listed, in order
};

data.images.forEach(function (image, place) {
  image.place = place;
  Object.keys(image.values).forEach(function (version) {
    image.values[version] = image.values[version].map(function (value) { return value === null ? NaN : Number(value); });
  });
});

// Elements are only ever made here, and texts only ever set as text: a file name cannot become markup.
function make(tag, attributes) {
  const svg = ["svg", "g", "line", "circle", "rect", "text", "title"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  Object.entries(attributes || {}).forEach(function (entry) { element.setAttribute(entry[0], entry[1]); });
  Array.from(arguments).slice(2).forEach(function (child) {
    if (child !== null && child !== undefined) { element.append(child); }
  });
  return element;
}

function fill(element, children) { element.replaceChildren.apply(element, children); }

function option(value, text) { return make("option", { value: value }, text); }

function figureOptions(select, chosen, names) {
  const extra = names ? [option("name", "name"), option("set", "set")] : [];
  fill(select, extra.concat(figures.map(function (figure, key) { return option(key, figure.heading); })));
  select.value = String(chosen);
}

function shown(key, value) {
  if (isNaN(value)) { return "n/a"; }
  return isFinite(value) ? value.toFixed(figures[key].digits) : value > 0 ? "∞" : "−∞";
}

function signed(key, value) {
  if (isNaN(value)) { return "n/a"; }
  return (value < 0 ? "−" : "+") + (isFinite(value) ? Math.abs(value).toFixed(figures[key].digits) : "∞");
}

// A figure as a loss: larger is worse. NaN where it says nothing about quality.
function badness(key, value) {
  const better = figures[key].better;
  return better === "higher" ? -value : better === "lower" ? value : better === "one" ? Math.abs(1 - value) : NaN;
}

function valueOf(image, version, key) {
  const values = image.values[version];
  return values ? values[key] : NaN;
}

// A figure of one image: "a" and "b" are the two runs, "change" the first minus the second.
function figureOf(image, of, key) {
  if (of === "change") { return valueOf(image, state.a, key) - valueOf(image, state.b, key); }
  return valueOf(image, of === "a" ? state.a : state.b, key);
}

// How bad that is, for sorting: of a change, how much worse the image got.
function badnessOf(image, of, key) {
  if (figures[key].better === "none") { return figureOf(image, of, key); }
  if (of === "change") { return badness(key, valueOf(image, state.a, key)) - badness(key, valueOf(image, state.b, key)); }
  return badness(key, figureOf(image, of, key));
}

function labelOf(version) { return version < 0 ? "nothing" : versions[version].label; }

function ofLabel(of) { return of === "change" ? "the change" : labelOf(of === "a" ? state.a : state.b); }

function swatch(version) { return make("i", { class: "key s" + versions[version].color, "aria-hidden": "true" }); }

function plural(count, word) { return count + " " + word + (count === 1 ? "" : "s"); }

// Undefined values come last, whatever the direction.
function compareNumbers(x, y) {
  if (isNaN(x) || isNaN(y)) { return isNaN(x) - isNaN(y); }
  return x === y ? 0 : x < y ? -1 : 1;
}
