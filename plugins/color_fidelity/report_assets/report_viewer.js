// One image large: any two of its pictures and ΔE maps under a slider or side by side, zoomed together.
const MOST_ZOOM = 12;
const viewer = {
  image: null, left: "", right: "target", split: 50, mode: "slider", zoom: 1, x: 0, y: 0,  // x, y: corner in view, of 1
  maps: new Map(), pointers: new Map(), dragging: "", opener: null
};

function fallback(image, source, other) {
  const sources = sourcesOf(image);
  if (sources.includes(source)) { return source; }
  return sources.find(function (found) { return found !== other; }) || "";
}

function openViewer(image, source, right) {
  const box = byId("viewer");
  if (source) {
    viewer.left = source;
    viewer.right = right || (source === "change" ? "p" + state.a : source[0] === "m" ? "p" + source.slice(1) : "target");
  }
  viewer.image = image;
  viewer.left = fallback(image, viewer.left, viewer.right);
  viewer.right = fallback(image, viewer.right, viewer.left);
  byId("viewer-name").textContent = image.name;
  const place = state.list.indexOf(image);
  byId("viewer-place").textContent = (data.sets.length > 1 ? image.set + " · " : "") +
    (place < 0 ? "" : (place + 1) + " of " + state.list.length + " · ") + image.size[0] + " × " + image.size[1];
  byId("previous").disabled = place <= 0;
  byId("next").disabled = place < 0 || place + 1 >= state.list.length;
  byId("stage").style.setProperty("--ratio", String(image.size[0] / image.size[1]));
  [["left", viewer.left], ["right", viewer.right]].forEach(function (side) {
    fill(byId(side[0]), sourcesOf(image).map(function (found) { return option(found, sourceLabel(found)); }));
    byId(side[0]).value = side[1];
  });
  viewer.maps.clear();
  byId("readout").textContent = "";
  drawPanes();
  drawViewerTable();
  if (!box.open) {
    viewer.opener = document.activeElement;
    setView(1, 0, 0);
    box.showModal();
    byId("handle").focus();
  }
  history.replaceState(null, "", "#" + encodeURIComponent(image.set) + "/" + encodeURIComponent(image.name));
}

function drawPanes() {
  ["left", "right"].forEach(function (side) {
    const source = viewer[side], pane = byId("pane-" + side), image = viewer.image;
    const canvas = pane.querySelector("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", source ? image.name + ": " + sourceLabel(source) : "no picture");
    pane.querySelector(".tag").textContent = source ? sourceLabel(source) : "no picture";
    paint(canvas, image, source);
  });
  [state.b, state.a].concat([viewer.left, viewer.right].map(function (source) { return /^[pm]\d/.test(source) ? Number(source.slice(1)) : -1; }))
    .forEach(loadMap);
}

// The values of a ΔE map, for reading them off under the pointer.
function loadMap(version) {
  const image = viewer.image;
  if (version < 0 || viewer.maps.has(version) || !addressOf(image, "m" + version)) { return; }
  viewer.maps.set(version, null);
  paint(make("canvas", {}), image, "m" + version).then(function (map) {
    if (viewer.image === image) { viewer.maps.set(version, map); }
  });
}

function drawViewerTable() {
  const image = viewer.image;
  const heads = data.main.map(function (key) { return make("th", { scope: "col", title: figures[key].text }, figures[key].heading); });
  const present = versions.map(function (_, version) { return version; }).filter(function (version) { return image.values[version]; });
  const rows = present.map(function (version) {
    const cells = data.main.map(function (key) {
      const value = valueOf(image, version, key), cell = make("td", {}, shown(key, value));
      const before = valueOf(image, state.b, key);
      if (version !== state.b && !versions[version].input && isFinite(value) && isFinite(before)) {
        const gain = badness(key, before) - badness(key, value);
        const kind = gain > EQUAL ? "good" : gain < -EQUAL ? "bad" : "even";
        const mark = { good: "✓ ", bad: "✗ ", even: "" }[kind];
        cell.append(make("small", { class: kind }, mark + signed(key, value - before)));
      }
      return cell;
    });
    const name = make("th", { scope: "row" }, swatch(version), versions[version].label);
    return make("tr", version === state.a ? { class: "current" } : {}, name, ...cells);
  });
  fill(byId("viewer-table"), [make("thead", {}, make("tr", {}, make("td", {}), ...heads)), make("tbody", {}, ...rows)]);
}

function setSplit(value) {
  viewer.split = Math.min(100, Math.max(0, value));
  const handle = byId("handle");
  byId("stage").style.setProperty("--split", viewer.split + "%");
  handle.setAttribute("aria-valuenow", String(Math.round(viewer.split)));
  handle.setAttribute("aria-valuetext", Math.round(viewer.split) + " % " + sourceLabel(viewer.left || "target"));
}

function setView(zoom, x, y) {
  viewer.zoom = Math.min(MOST_ZOOM, Math.max(1, zoom));
  const room = 1 - 1 / viewer.zoom;
  viewer.x = Math.min(room, Math.max(0, x));
  viewer.y = Math.min(room, Math.max(0, y));
  const part = function (value) { return (-100 * value * viewer.zoom) + "%"; };
  const transform = "translate(" + part(viewer.x) + "," + part(viewer.y) + ") scale(" + viewer.zoom + ")";
  document.querySelectorAll("#stage canvas").forEach(function (canvas) { canvas.style.transform = transform; });
  byId("stage").classList.toggle("zoomed", viewer.zoom > 1);
  byId("zoom-fit").textContent = (Math.round(10 * viewer.zoom) / 10) + "×";
}

// Zoom so that the point at (u, v) of the pane stays where it is.
function zoomAt(factor, u, v) {
  const zoom = Math.min(MOST_ZOOM, Math.max(1, viewer.zoom * factor));
  setView(zoom, viewer.x + u / viewer.zoom - u / zoom, viewer.y + v / viewer.zoom - v / zoom);
}

function setMode(mode) {
  viewer.mode = mode;
  byId("stage").classList.toggle("beside", mode === "beside");
  byId("handle").hidden = mode === "beside";
  byId("mode-slider").setAttribute("aria-pressed", String(mode === "slider"));
  byId("mode-beside").setAttribute("aria-pressed", String(mode === "beside"));
}

// Where a pointer is in its pane, in parts of it.
function spot(event) {
  const panes = [byId("pane-left"), byId("pane-right")].map(function (pane) { return pane.getBoundingClientRect(); });
  const beside = viewer.mode === "beside";
  const box = beside && (event.clientX > panes[0].right || event.clientY > panes[0].bottom) ? panes[1] : panes[0];
  return { u: (event.clientX - box.left) / box.width, v: (event.clientY - box.top) / box.height };
}

function readOut(at) {
  const u = viewer.x + at.u / viewer.zoom, v = viewer.y + at.v / viewer.zoom;
  if (u < 0 || v < 0 || u >= 1 || v >= 1) { byId("readout").textContent = ""; return; }
  const words = [];
  viewer.maps.forEach(function (map, version) {
    if (!map) { return; }
    const code = map.codes[Math.floor(v * map.height) * map.width + Math.floor(u * map.width)];
    words.push(labelOf(version) + " " + (code === 255 ? "≥ " : "") + (code / 255 * data.mapLimit).toFixed(1));
  });
  byId("readout").textContent = words.length ? "ΔE00 here: " + words.join(" · ") : "";
}

function pointerDown(event) {
  if (event.button > 0) { return; }
  event.preventDefault();
  byId("stage").setPointerCapture(event.pointerId);
  viewer.pointers.set(event.pointerId, event);
  const onHandle = event.target.closest("#handle");
  viewer.dragging = viewer.mode === "slider" && (onHandle || viewer.zoom === 1) ? "split" : "picture";
  byId("handle").focus({ preventScroll: true });
  if (viewer.dragging === "split" && !onHandle) { setSplit(100 * spot(event).u); }
}

function pointerMove(event) {
  readOut(spot(event));
  const before = viewer.pointers.get(event.pointerId);
  if (!before) { return; }
  const others = Array.from(viewer.pointers.values()).filter(function (pointer) { return pointer.pointerId !== event.pointerId; });
  const was = spot(before), now = spot(event);
  if (others.length) {
    const other = spot(others[0]);
    const far = function (at) { return Math.hypot(at.u - other.u, at.v - other.v) || 1e-3; };
    zoomAt(far(now) / far(was), (now.u + other.u) / 2, (now.v + other.v) / 2);
  } else if (viewer.dragging === "split") {
    setSplit(100 * now.u);
  } else {
    setView(viewer.zoom, viewer.x - (now.u - was.u) / viewer.zoom, viewer.y - (now.v - was.v) / viewer.zoom);
  }
  viewer.pointers.set(event.pointerId, event);
}

function pointerUp(event) { viewer.pointers.delete(event.pointerId); }

function step(by) {
  const next = state.list[state.list.indexOf(viewer.image) + by];
  if (next) { openViewer(next); }
}

function splitKeys(event) {
  const by = event.shiftKey ? 10 : 2;
  const moves = { ArrowLeft: viewer.split - by, ArrowDown: viewer.split - by, ArrowRight: viewer.split + by,
    ArrowUp: viewer.split + by, Home: 0, End: 100 };
  if (event.key in moves) { event.preventDefault(); setSplit(moves[event.key]); }
}

function viewerKeys(event) {
  if (/^(SELECT|INPUT)$/.test(event.target.tagName)) { return; }
  const actions = {
    PageUp: function () { step(-1); }, PageDown: function () { step(1); },
    "+": function () { zoomAt(1.5, 0.5, 0.5); }, "=": function () { zoomAt(1.5, 0.5, 0.5); },
    "-": function () { zoomAt(1 / 1.5, 0.5, 0.5); }, "0": function () { setView(1, 0, 0); }
  };
  if (actions[event.key]) { event.preventDefault(); actions[event.key](); }
  if (event.key === " " && event.target.tagName !== "BUTTON") { event.preventDefault(); byId("stage").classList.add("held"); }
}

function listenToViewer() {
  const stage = byId("stage"), box = byId("viewer");
  const press = function (id, action) { byId(id).addEventListener("click", action); };
  press("previous", function () { step(-1); });
  press("next", function () { step(1); });
  press("close", function () { box.close(); });
  press("exchange", function () {
    [viewer.left, viewer.right] = [viewer.right, viewer.left];
    openViewer(viewer.image);
  });
  press("mode-slider", function () { setMode("slider"); });
  press("mode-beside", function () { setMode("beside"); });
  press("zoom-in", function () { zoomAt(1.5, 0.5, 0.5); });
  press("zoom-out", function () { zoomAt(1 / 1.5, 0.5, 0.5); });
  press("zoom-fit", function () { setView(1, 0, 0); });
  ["left", "right"].forEach(function (side) {
    byId(side).addEventListener("change", function () { viewer[side] = byId(side).value; drawPanes(); setSplit(viewer.split); });
  });
  stage.addEventListener("pointerdown", pointerDown);
  stage.addEventListener("pointermove", pointerMove);
  ["pointerup", "pointercancel"].forEach(function (kind) { stage.addEventListener(kind, pointerUp); });
  stage.addEventListener("pointerleave", function () { byId("readout").textContent = ""; });
  stage.addEventListener("wheel", function (event) {
    event.preventDefault();
    const at = spot(event);
    zoomAt(Math.exp(-event.deltaY / 400), at.u, at.v);
  }, { passive: false });
  byId("handle").addEventListener("keydown", splitKeys);
  box.addEventListener("keydown", viewerKeys);
  box.addEventListener("keyup", function (event) { if (event.key === " ") { stage.classList.remove("held"); } });
  box.addEventListener("close", function () {
    stage.classList.remove("held");
    history.replaceState(null, "", location.pathname + location.search);
    if (viewer.opener && viewer.opener.isConnected) { viewer.opener.focus(); }
  });
  setSplit(50);
}
