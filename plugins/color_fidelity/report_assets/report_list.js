// The listed images: as cards with their pictures, or as a table of every figure.
const TABLE_ROWS = 400;

const nearby = new IntersectionObserver(function (entries) {
  entries.forEach(function (entry) {
    const card = entry.target, image = data.images[Number(card.dataset.place)];
    if (entry.isIntersecting && !card.dataset.full) { fillCard(card, image); }
    if (!entry.isIntersecting && card.dataset.full) { emptyCard(card); }
  });
}, { rootMargin: "900px 0px" });

function cardSources(image) {
  const input = versions.findIndex(function (version) { return version.input; });
  const wanted = [input, state.b, state.a].filter(function (version, place, all) {
    return version >= 0 && all.indexOf(version) === place;
  });
  return wanted.map(function (version) { return "p" + version; }).concat(["target"]);
}

function cellWords(image, source) {
  if (source === "target") { return image.size[0] + " × " + image.size[1]; }
  const version = Number(source.slice(1));
  const keys = [data.worstBy].concat(typeof state.sortKey === "number" ? [state.sortKey] : []);
  const words = keys.filter(function (key, place) { return keys.indexOf(key) === place; }).map(function (key) {
    return figures[key].label + " " + shown(key, valueOf(image, version, key));
  });
  return words.join(" · ");
}

function cell(image, source) {
  const label = image.name + ": " + sourceLabel(source);
  const picture = make("button", { type: "button", class: "picture", "aria-label": "Compare " + label });
  picture.style.aspectRatio = image.size[0] + " / " + image.size[1];
  const open = function () { openViewer(image, source === "target" ? "p" + state.a : source); };
  picture.addEventListener("click", open);
  const box = make("figure", { "data-cell": source }, picture);
  const title = source === "target" ? "target" : labelOf(Number(source.slice(1)));
  const head = make("b", {}, source === "target" ? null : swatch(Number(source.slice(1))), title);
  const caption = make("figcaption", {}, head, make("span", { class: "soft" }, cellWords(image, source)));
  if (state.maps) {
    const shownMap = mapOf(image, source);
    if (!shownMap) { box.append(caption); return box; }
    const map = make("button", { type: "button", class: "picture map", "aria-label": image.name + ": " + sourceLabel(shownMap) });
    map.style.aspectRatio = picture.style.aspectRatio;
    map.addEventListener("click", function () { openViewer(image, shownMap); });
    box.append(caption, map);
    return box;
  }
  box.append(caption);
  return box;
}

// The map below a picture; below the target, the change from run B to run A.
function mapOf(image, source) {
  if (source === "target") { return hasChange(image) ? "change" : ""; }
  return "m" + source.slice(1);
}

function fillCard(card, image) {
  card.dataset.full = "1";
  card.querySelectorAll("[data-cell]").forEach(function (box) {
    const source = box.dataset.cell;
    const holders = box.querySelectorAll(".picture");
    const address = addressOf(image, source);
    if (!address) { holders[0].textContent = "no picture"; return; }
    const picture = make("img", { alt: "", decoding: "async" });
    picture.src = address;
    fill(holders[0], [picture]);
    if (holders.length > 1) {
      const canvas = make("canvas", {});
      fill(holders[1], [canvas]);
      paint(canvas, image, mapOf(image, source));
    }
  });
}

function emptyCard(card) {
  delete card.dataset.full;
  card.querySelectorAll(".picture").forEach(function (holder) { fill(holder, []); });
}

function changeWords(image) {
  const figure = typeof state.sortKey === "number" ? state.sortKey : data.worstBy;
  if (state.b < 0 || state.a === state.b) { return null; }
  const change = figureOf(image, "change", figure);
  const lost = badnessOf(image, "change", figure);
  if (isNaN(change)) { return null; }
  const verdict = lost > EQUAL ? "bad" : lost < -EQUAL ? "good" : "even";
  const word = { bad: "worse", good: "better", even: "equal" }[verdict];
  return make("span", { class: verdict }, figures[figure].label + " " + signed(figure, change) + ", " + word);
}

function card(image) {
  const sources = cardSources(image);
  const cells = make("div", { class: "cells" }, ...sources.map(function (source) { return cell(image, source); }));
  cells.style.setProperty("--columns", String(sources.length));
  const place = data.sets.length > 1 ? make("span", { class: "soft" }, image.set) : null;
  const box = make("section", { class: "card", "data-place": String(image.place), "aria-label": image.name },
    make("h3", {}, image.name, place, changeWords(image)), cells);
  return box;
}

function drawCards() {
  nearby.disconnect();
  const cards = state.list.map(card);
  fill(byId("cards"), cards.length ? cards : [make("p", { class: "soft" }, "No image passes the filters.")]);
  cards.forEach(function (element) { nearby.observe(element); });
}

function sortBy(column) {
  const same = state.sortKey === column;
  state.sortDown = same ? !state.sortDown : typeof column === "number";
  state.sortKey = column;
  update();
}

function tableHead(column, text, title) {
  const button = make("button", { type: "button" }, text);
  button.addEventListener("click", function () { sortBy(column); byId("table").querySelector("[data-column='" + column + "'] button").focus(); });
  const head = make("th", { scope: "col", "data-column": String(column), title: title }, button);
  if (state.sortKey === column) { head.setAttribute("aria-sort", sortDirection(column)); }
  return head;
}

// Of the figures themselves, not of how bad they are.
function sortDirection(column) {
  if (typeof column !== "number") { return state.sortDown ? "descending" : "ascending"; }
  const better = figures[column].better;
  if (better === "one" || state.sortOf === "change") { return "other"; }
  return (better === "higher") === state.sortDown ? "ascending" : "descending";
}

function drawTable() {
  const heads = [tableHead("name", "image", "name"), tableHead("set", "set", "set")].concat(
    figures.map(function (figure, key) { return tableHead(key, figure.heading, figure.text); }));
  const rows = state.list.slice(0, TABLE_ROWS).map(function (image) {
    const link = make("button", { type: "button", class: "link" }, image.name);
    link.addEventListener("click", function () { openViewer(image, "p" + state.a); });
    const cells = figures.map(function (_, key) {
      const lost = state.sortOf === "change" ? badnessOf(image, "change", key) : NaN;
      const value = figureOf(image, state.sortOf, key);
      const kind = lost > EQUAL ? "bad" : lost < -EQUAL ? "good" : "";
      return make("td", kind ? { class: kind } : {}, state.sortOf === "change" ? signed(key, value) : shown(key, value));
    });
    return make("tr", {}, make("th", { scope: "row" }, link), make("td", { class: "left" }, image.set), ...cells);
  });
  const caption = "Figures of " + ofLabel(state.sortOf) +
    (state.list.length > TABLE_ROWS ? "; the first " + TABLE_ROWS + " images" : "") + ". A heading sorts.";
  fill(byId("table"), [make("caption", {}, caption), make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows)]);
}

function drawList() {
  const cards = state.view === "cards";
  byId("cards").hidden = !cards;
  byId("scale").hidden = !cards || !state.maps;
  byId("table-box").hidden = cards;
  byId("view-cards").setAttribute("aria-pressed", String(cards));
  byId("view-table").setAttribute("aria-pressed", String(!cards));
  const names = typeof state.sortKey !== "number";
  byId("sort-way").textContent = names ? (state.sortDown ? "Z to A" : "A to Z")
    : figures[state.sortKey].better === "none" ? (state.sortDown ? "largest first" : "smallest first")
    : state.sortDown ? "worst first" : "best first";
  byId("sort-key").value = String(state.sortKey);
  byId("sort-of").disabled = names;
  if (cards) { drawCards(); } else { nearby.disconnect(); fill(byId("cards"), []); drawTable(); }
}
