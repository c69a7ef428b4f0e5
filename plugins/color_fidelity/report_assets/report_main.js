// Controls at the head of the page, and what is drawn again when something changes.
let waiting = 0;

function redraw() {
  applyFilters();
  drawTiles();
  drawRuns();
  drawChart();
  drawList();
}

function update(later) {
  clearTimeout(waiting);
  if (later) { waiting = setTimeout(redraw, 120); return; }  // while a text is being typed
  drawRanges();
  redraw();
}

function versionOptions(select, chosen, none) {
  const choices = versions.map(function (version, place) { return option(place, version.label); });
  fill(select, none ? choices.concat([option(-1, "nothing")]) : choices);
  select.value = String(chosen);
}

function drawHead() {
  versionOptions(byId("pick-a"), state.a, false);
  versionOptions(byId("pick-b"), state.b, true);
  ofSelects().forEach(function (id) { ofOptions(byId(id), byId(id).value || "a"); });
  state.sortOf = byId("sort-of").value;
  document.querySelectorAll(".curves").forEach(function (part) { part.hidden = state.set !== "" && part.dataset.set !== state.set; });
}

function ofSelects() { return ["x-of", "y-of", "sort-of"]; }

function pickRuns(a, b) {
  state.a = a;
  state.b = b;
  drawHead();
  update();
}

function startSelects() {
  fill(byId("pick-set"), [option("", "all sets")].concat(data.sets.map(function (name) { return option(name, name); })));
  byId("pick-set").closest("label").hidden = data.sets.length < 2;
  byId("iterations-label").hidden = versions.every(function (version) { return version.last; });
  figureOptions(byId("only-key"), state.onlyKey);
  figureOptions(byId("sort-key"), state.sortKey, true);
  figureOptions(byId("x-key"), data.worstBy);
  figureOptions(byId("y-key"), data.worstBy);
  byId("worst").value = String(state.worst);
  drawHead();
  const paired = state.b >= 0 && state.a !== state.b;
  byId("x-of").value = paired ? "b" : "a";
  if (!paired) { byId("y-key").value = String(data.main[0] === data.worstBy ? data.main[1] : data.main[0]); }
}

function listenToHead() {
  const on = function (id, kind, action) { byId(id).addEventListener(kind, action); };
  on("pick-a", "change", function () { pickRuns(Number(byId("pick-a").value), state.b); });
  on("pick-b", "change", function () { pickRuns(state.a, Number(byId("pick-b").value)); });
  on("swap", "click", function () { if (state.b >= 0) { pickRuns(state.b, state.a); } });
  on("pick-set", "change", function () { state.set = byId("pick-set").value; drawHead(); update(); });
  on("iterations", "change", drawRuns);
  on("all-figures", "change", drawRuns);
  on("sort-key", "change", function () {
    const chosen = byId("sort-key").value;
    state.sortKey = chosen === "name" || chosen === "set" ? chosen : Number(chosen);
    state.sortDown = typeof state.sortKey === "number";
    update();
  });
  on("sort-of", "change", function () { state.sortOf = byId("sort-of").value; update(); });
  on("sort-way", "click", function () { state.sortDown = !state.sortDown; update(); });
  on("worst", "input", function () { state.worst = Math.max(0, Math.floor(Number(byId("worst").value)) || 0); update(true); });
  on("maps", "change", function () { state.maps = byId("maps").checked; update(); });
  on("view-cards", "click", function () { state.view = "cards"; drawList(); });
  on("view-table", "click", function () { state.view = "table"; drawList(); });
  on("theme", "click", function () {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
}

function openFromAddress() {
  const parts = location.hash.slice(1).split("/");
  if (parts.length !== 2) { return; }
  const image = data.images.find(function (found) {
    return encodeURIComponent(found.set) === parts[0] && encodeURIComponent(found.name) === parts[1];
  });
  if (image) { openViewer(image, "p" + state.a); }
}

byId("subtitle").textContent = plural(data.images.length, "image") + " in " + plural(data.sets.length, "set") + ", " +
  plural(new Set(versions.filter(function (version) { return !version.input; }).map(function (version) { return version.row; })).size, "run");
startSelects();
listenToHead();
listenToFilters();
listenToChart();
listenToViewer();
drawScale(byId("scale"));
drawScale(byId("viewer-scale"));
// Pictures follow this script in the page: wait for them, while figures are shown at once.
drawRanges();
applyFilters();
drawTiles();
drawRuns();
drawChart();
document.addEventListener("DOMContentLoaded", function () { drawList(); openFromAddress(); });
addEventListener("hashchange", openFromAddress);

// For whoever wants to ask the page by hand, in the browser's console.
window.report = {
  data: data,
  state: state,
  compare: function (run, reference, figure) {
    const version = function (label) { return versions.findIndex(function (found) { return found.label === label; }); };
    const keyOf = figures.findIndex(function (found) { return found.key === figure; });
    return compare(state.shown, version(run), version(reference), keyOf);
  }
};
