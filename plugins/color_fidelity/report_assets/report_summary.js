// Tiles with the headline figures of run A against B, and the table of all runs.
function changeText(key, change) {
  return signed(key, change.mean) + " [" + signed(key, change.low) + ", " + signed(key, change.high) + "]";
}

function gapClosed(key, a, b) {
  const before = Math.abs(1 - b), after = Math.abs(1 - a);
  if (figures[key].better !== "one" || !isFinite(before) || !isFinite(after) || before < 0.02) { return ""; }
  const share = Math.round(100 * (before - after) / before);
  return share >= 0 ? "closes " + share + " % of the gap to 1" : "widens the gap to 1 by " + -share + " %";
}

function balance(change) {
  const even = change.images - change.better - change.worse;
  const part = function (kind, count) {
    const piece = make("i", { class: "share-" + kind });
    piece.style.flexGrow = String(count);
    return piece;
  };
  const text = change.better + " better, " + change.worse + " worse" + (even ? ", " + even + " equal" : "");
  return make("div", { class: "balance" },
    make("div", { class: "shares", "aria-hidden": "true" }, part("good", change.better), part("even", even),
      part("bad", change.worse)),
    make("div", { class: "rest" }, text));
}

function tile(key) {
  const a = meanOf(state.shown, state.a, key), b = meanOf(state.shown, state.b, key);
  const figure = figures[key];
  const unit = isNaN(a) || !figure.unit ? null : figure.unit === "°" ? "°" : make("small", {}, " " + figure.unit);
  const box = make("div", { class: "tile", title: figure.text },
    make("div", { class: "name" }, figure.heading), make("div", { class: "value" }, shown(key, a), unit));
  if (state.b < 0 || state.a === state.b) { return box; }
  box.append(make("div", { class: "rest" }, labelOf(state.b) + " " + shown(key, b)));
  const change = compare(state.shown, state.a, state.b, key);
  if (!change) {
    box.append(make("div", { class: "rest" }, "no image to compare"));
    return box;
  }
  const closed = gapClosed(key, a, b);
  box.append(make("div", { class: "rest" }, make("b", { class: change.verdict }, changeText(key, change)),
    " " + VERDICTS[change.verdict]), balance(change));
  if (closed) { box.append(make("div", { class: "rest" }, closed)); }
  return box;
}

function drawTiles() {
  fill(byId("tiles"), data.tiles.map(tile));
  const against = state.b < 0 || state.a === state.b ? "" : " against " + labelOf(state.b) + ", with 95 % intervals";
  byId("summary-note").textContent = "Means over " + plural(state.shown.length, "image") + ": " + labelOf(state.a) + against + ".";
}

function runCell(version, key, best) {
  const mean = meanOf(state.shown, version, key);
  const cell = make("td", {}, shown(key, mean));
  if (best === badness(key, mean)) { cell.className = "best"; }
  if (version === state.b || state.b < 0 || versions[version].input) { return cell; }
  const change = compare(state.shown, version, state.b, key);
  if (change) {
    cell.title = changeText(key, change) + ": " + VERDICTS[change.verdict] + "; " + change.better + " better, " +
      change.worse + " worse of " + change.images;
    const mark = { good: "✓ ", bad: "✗ ", even: "" }[change.verdict];
    cell.append(make("small", { class: change.verdict }, mark + signed(key, change.mean)),
      make("small", { class: "soft" }, change.worse + " worse"));
  }
  return cell;
}

function drawRuns() {
  const keys = byId("all-figures").checked ? figures.map(function (_, key) { return key; }) : data.main;
  const every = byId("iterations").checked;
  const present = versions.map(function (_, version) { return version; }).filter(function (version) {
    const wanted = every || versions[version].last || version === state.a || version === state.b;
    return wanted && state.shown.some(function (image) { return image.values[version]; });
  });
  const runs = present.filter(function (version) { return !versions[version].input; });
  const best = keys.map(function (key) {
    const values = runs.map(function (version) { return badness(key, meanOf(state.shown, version, key)); });
    return runs.length > 1 ? Math.min.apply(null, values.filter(function (value) { return !isNaN(value); })) : NaN;
  });
  const heads = keys.map(function (key) { return make("th", { scope: "col", title: figures[key].text }, figures[key].heading); });
  const rows = present.map(function (version) {
    const name = make("th", { scope: "row" }, swatch(version), versions[version].label);
    if (version === state.b) { name.append(make("small", { class: "soft" }, "reference")); }
    return make("tr", version === state.a ? { class: "current" } : {}, name,
      ...keys.map(function (figure, place) { return runCell(version, figure, versions[version].input ? NaN : best[place]); }));
  });
  fill(byId("runs"), [make("thead", {}, make("tr", {}, make("td", {}), ...heads)), make("tbody", {}, ...rows)]);
}
