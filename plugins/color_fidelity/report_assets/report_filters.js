// Which images are in view, and in which order they are listed.
function inRange(image, range) {
  const value = figureOf(image, range.of, range.key);
  if (range.low === "" && range.high === "") { return true; }
  if (isNaN(value)) { return false; }
  return (range.low === "" || value >= Number(range.low)) && (range.high === "" || value <= Number(range.high));
}

function passes(image) {
  if (state.set && image.set !== state.set) { return false; }
  if (state.find && !image.name.toLowerCase().includes(state.find.toLowerCase())) { return false; }
  if (state.only) {
    const lost = badnessOf(image, "change", state.onlyKey);
    if (state.only === "worse" ? !(lost > EQUAL) : !(lost < -EQUAL)) { return false; }
  }
  return state.ranges.every(function (range) { return inRange(image, range); });
}

function sortImages(images) {
  const names = new Intl.Collator(undefined, { numeric: true });
  const byName = function (x, y) { return names.compare(x.name, y.name) || names.compare(x.set, y.set); };
  if (state.sortKey === "name" || state.sortKey === "set") {
    const way = state.sortDown ? -1 : 1;
    return images.sort(function (x, y) {
      return (state.sortKey === "set" ? way * names.compare(x.set, y.set) : 0) || way * byName(x, y);
    });
  }
  const way = state.sortDown ? -1 : 1;
  const bad = new Map(images.map(function (image) { return [image, badnessOf(image, state.sortOf, state.sortKey)]; }));
  return images.sort(function (x, y) {
    const u = bad.get(x), v = bad.get(y);
    const order = compareNumbers(u, v);
    return (isNaN(u) || isNaN(v) ? order : way * order) || byName(x, y);
  });
}

function applyFilters() {
  state.shown = data.images.filter(passes);
  const sorted = sortImages(state.shown.slice());
  state.list = state.worst > 0 ? sorted.slice(0, state.worst) : sorted;
  const limits = state.ranges.filter(function (range) { return range.low !== "" || range.high !== ""; });
  const active = limits.length + (state.find ? 1 : 0) + (state.only ? 1 : 0);
  byId("count").textContent = state.shown.length + " of " + plural(data.images.length, "image");
  byId("open-filters").textContent = active ? "Filter (" + active + ")" : "Filter";
  byId("open-filters").classList.toggle("on", active > 0);
}

function ofOptions(select, chosen) {
  const choices = [option("a", labelOf(state.a))];
  if (state.b >= 0 && state.b !== state.a) {
    choices.push(option("b", labelOf(state.b)), option("change", "the change"));
  }
  fill(select, choices);
  select.value = choices.some(function (choice) { return choice.value === chosen; }) ? chosen : "a";
  return select.value;
}

function drawRanges() {
  fill(byId("ranges"), state.ranges.map(function (range, place) {
    const figure = make("select", { "aria-label": "Figure of range " + (place + 1) });
    figureOptions(figure, range.key);
    const of = make("select", { "aria-label": "Run of range " + (place + 1) });
    range.of = ofOptions(of, range.of);
    const low = make("input", { type: "number", step: "any", value: range.low, "aria-label": "From", placeholder: "from" });
    const high = make("input", { type: "number", step: "any", value: range.high, "aria-label": "To", placeholder: "to" });
    const remove = make("button", { type: "button", "aria-label": "Remove range " + (place + 1) }, "✕");
    figure.addEventListener("change", function () { range.key = Number(figure.value); update(); });
    of.addEventListener("change", function () { range.of = of.value; update(); });
    low.addEventListener("input", function () { range.low = low.value; update(true); });
    high.addEventListener("input", function () { range.high = high.value; update(true); });
    remove.addEventListener("click", function () { state.ranges.splice(place, 1); update(); });
    return make("div", { class: "line" }, figure, make("span", {}, "of"), of, low, make("span", {}, "to"), high, remove);
  }));
}

function addRange(key, of, low, high) {
  state.ranges.push({ key: key, of: of, low: low, high: high });
  openFilters(true);
  update();
}

function openFilters(open) {
  byId("filters").hidden = !open;
  byId("open-filters").setAttribute("aria-expanded", String(open));
}

function listenToFilters() {
  byId("open-filters").addEventListener("click", function () { openFilters(byId("filters").hidden); });
  byId("filters").addEventListener("submit", function (event) { event.preventDefault(); });
  byId("find").addEventListener("input", function () { state.find = byId("find").value; update(true); });
  byId("only").addEventListener("change", function () { state.only = byId("only").value; update(); });
  byId("only-key").addEventListener("change", function () { state.onlyKey = Number(byId("only-key").value); update(); });
  byId("add-range").addEventListener("click", function () { addRange(state.onlyKey, "a", "", ""); });
  byId("reset").addEventListener("click", function () {
    Object.assign(state, { set: "", find: "", only: "", ranges: [] });
    byId("find").value = byId("only").value = byId("pick-set").value = "";
    update();
  });
}
