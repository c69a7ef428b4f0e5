// Scatter of one figure against another, where a dot is an image and opens it; or a histogram of one figure.
const CHART = { width: 760, height: 420, left: 58, right: 16, top: 14, bottom: 44 };

function ticks(low, high, count) {
  const span = high - low, rough = Math.pow(10, Math.floor(Math.log10(span / count)));
  const step = rough * [1, 2, 2.5, 5, 10].find(function (factor) { return span / (rough * factor) <= count; });
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + 1e-9 * span; value += step) {
    found.push(Number(value.toPrecision(10)));
  }
  return found;
}

function limits(values) {
  const low = Math.min.apply(null, values), high = Math.max.apply(null, values);
  const margin = 0.06 * (high - low) || 0.05 * Math.abs(high) || 1;
  return [low - margin, high + margin];
}

function axis(range, from, to) {
  return function (value) { return from + (value - range[0]) / (range[1] - range[0]) * (to - from); };
}

function axisTitle(figure, of) {
  return figures[figure].label + (figures[figure].unit ? " (" + figures[figure].unit + ")" : "") + ", " + ofLabel(of);
}

function frame(svg, x, y, xTicks, yTicks, xTitle, yTitle) {
  const right = CHART.width - CHART.right, bottom = CHART.height - CHART.bottom;
  yTicks.forEach(function (tick) {
    svg.append(make("line", { class: "grid", x1: CHART.left, x2: right, y1: y(tick), y2: y(tick) }),
      make("text", { class: "tick", x: CHART.left - 7, y: y(tick) + 4, "text-anchor": "end" }, String(tick)));
  });
  xTicks.forEach(function (tick) {
    svg.append(make("line", { class: "grid", x1: x(tick), x2: x(tick), y1: CHART.top, y2: bottom }),
      make("text", { class: "tick", x: x(tick), y: bottom + 17, "text-anchor": "middle" }, String(tick)));
  });
  svg.append(make("text", { class: "axis", x: right, y: CHART.height - 6, "text-anchor": "end" }, xTitle),
    make("text", { class: "axis", x: 0, y: 0, "text-anchor": "end", transform: "translate(13," + CHART.top + ") rotate(-90)" }, yTitle));
}

function chartSettings() {
  const part = function (name) {
    return { key: Number(byId(name + "-key").value), of: byId(name + "-of").value };
  };
  return { x: part("x"), y: part("y") };
}

function drawScatter() {
  const set = chartSettings();
  const points = state.shown.map(function (image) {
    return { image: image, x: figureOf(image, set.x.of, set.x.key), y: figureOf(image, set.y.of, set.y.key) };
  }).filter(function (point) { return isFinite(point.x) && isFinite(point.y); });
  if (!points.length) { fill(byId("chart"), []); byId("chart-note").textContent = "No image has both figures."; return; }
  let xs = limits(points.map(function (point) { return point.x; })), ys = limits(points.map(function (point) { return point.y; }));
  const same = set.x.key === set.y.key && set.x.of !== "change" && set.y.of !== "change" && set.x.of !== set.y.of;
  if (same) { xs = ys = [Math.min(xs[0], ys[0]), Math.max(xs[1], ys[1])]; }
  const x = axis(xs, CHART.left, CHART.width - CHART.right), y = axis(ys, CHART.height - CHART.bottom, CHART.top);
  const svg = make("svg", { viewBox: "0 0 " + CHART.width + " " + CHART.height, class: "chart", role: "group",
    "aria-label": "Scatter of " + plural(points.length, "image") + ". Arrow keys go from dot to dot, Enter opens the image." });
  frame(svg, x, y, ticks(xs[0], xs[1], 7), ticks(ys[0], ys[1], 6), axisTitle(set.x.key, set.x.of), axisTitle(set.y.key, set.y.of));
  if (same) {
    svg.append(make("line", { class: "level", x1: x(xs[0]), y1: y(xs[0]), x2: x(xs[1]), y2: y(xs[1]) }));
  }
  points.sort(function (p, q) { return p.x - q.x; });
  const dots = points.map(function (point, place) { return dot(point, place, x, y, set); });
  dots.forEach(function (element, place) { listenToDot(element, place, dots, points); });
  svg.append(...dots);
  fill(byId("chart"), [svg]);
  const missing = state.shown.length - points.length;
  byId("chart-note").textContent = (same ? "On the dashed line both runs are equal. " : "") +
    "Dots are coloured by whether " + figures[state.onlyKey].label + " got better (●) or worse (◆); a dot opens its image." +
    (missing ? " " + plural(missing, "image") + " without both figures left out." : "");
}

function dot(point, place, x, y, set) {
  const lost = state.b >= 0 && state.a !== state.b ? badnessOf(point.image, "change", state.onlyKey) : NaN;
  const kind = lost > EQUAL ? "bad" : lost < -EQUAL ? "good" : "even";
  const words = point.image.name + (data.sets.length > 1 ? " (" + point.image.set + ")" : "") + ": " +
    shown(set.x.key, point.x) + ", " + shown(set.y.key, point.y);
  const px = x(point.x), py = y(point.y);
  const mark = kind === "bad" ? make("rect", { x: px - 4.5, y: py - 4.5, width: 9, height: 9, transform: "rotate(45 " + px + " " + py + ")" })
    : make("circle", { cx: px, cy: py, r: 5 });
  return make("g", { class: "mark " + kind, role: "button", tabindex: place ? "-1" : "0", "aria-label": words,
    "data-place": String(point.image.place) }, make("title", {}, words), make("circle", { class: "touch", cx: px, cy: py, r: 11 }), mark);
}

function listenToDot(element, place, dots, points) {
  const open = function () { openViewer(points[place].image, "p" + state.a); };
  element.addEventListener("click", open);
  element.addEventListener("keydown", function (event) {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(); }
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      const next = dots[(place + step + dots.length) % dots.length];
      element.setAttribute("tabindex", "-1");
      next.setAttribute("tabindex", "0");
      next.focus();
    }
  });
}

function drawHistogram() {
  const set = chartSettings().x;
  const ofs = set.of === "change" || state.b < 0 || state.a === state.b ? [set.of] : ["b", "a"];
  const series = ofs.map(function (of) {
    return state.shown.map(function (image) { return figureOf(image, of, set.key); }).filter(isFinite);
  });
  const all = series.flat();
  if (!all.length) { fill(byId("chart"), []); byId("chart-note").textContent = "No image has this figure."; return; }
  const range = limits(all), edges = ticks(range[0], range[1], 18);
  const width = edges.length > 1 ? edges[1] - edges[0] : range[1] - range[0];
  const first = (edges.length ? edges[0] : range[0]) - width;
  const bins = series.map(function (values) {
    const counts = new Array(edges.length + 1).fill(0);
    values.forEach(function (value) { counts[Math.min(counts.length - 1, Math.max(0, Math.floor((value - first) / width)))] += 1; });
    return counts;
  });
  const top = Math.max.apply(null, bins.flat());
  const span = [first, first + width * (edges.length + 1)];
  const x = axis(span, CHART.left, CHART.width - CHART.right), y = axis([0, top * 1.06], CHART.height - CHART.bottom, CHART.top);
  const svg = make("svg", { viewBox: "0 0 " + CHART.width + " " + CHART.height, class: "chart", role: "group", "aria-label": "Histogram" });
  const yTicks = ticks(0, top, 5).filter(Number.isInteger);
  frame(svg, x, y, ticks(span[0], span[1], 8), yTicks, figures[set.key].heading, "images");
  bins.forEach(function (counts, which) {
    counts.forEach(function (count, place) {
      if (count) { svg.append(bar(count, first + place * width, width, which, bins.length, ofs[which], set.key, x, y)); }
    });
  });
  fill(byId("chart"), [svg]);
  const legend = ofs.filter(function (of) { return of !== "change"; }).map(ofLabel).join(" (pale) and ");
  byId("chart-note").textContent = (legend || "The change") + ". A bar filters the images to its range.";
}

function bar(count, low, width, which, many, of, figure, x, y) {
  const from = x(low) + 1 + (many > 1 ? which : 0) * (x(low + width) - x(low) - 2) / many;
  const wide = Math.max(1, (x(low + width) - x(low) - 2) / many - 1);
  const digits = Math.max(figures[figure].digits, 3);
  const ends = [low.toFixed(digits), (low + width).toFixed(digits)];
  const words = ofLabel(of) + ", " + ends[0] + " to " + ends[1] + ": " + plural(count, "image");
  const version = of === "b" ? state.b : state.a;
  const element = make("g", { class: "column s" + versions[version].color + (of === "b" ? " pale" : ""), role: "button", tabindex: "0", "aria-label": words },
    make("title", {}, words), make("rect", { x: from, y: y(count), width: wide, height: y(0) - y(count) }));
  const choose = function () { addRange(figure, of, String(Number(ends[0])), String(Number(ends[1]))); };
  element.addEventListener("click", choose);
  element.addEventListener("keydown", function (event) {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); }
  });
  return element;
}

function drawChart() {
  const histogram = byId("chart-kind").value === "histogram";
  byId("y-part").hidden = histogram;
  if (histogram) { drawHistogram(); } else { drawScatter(); }
}

function listenToChart() {
  ["chart-kind", "x-key", "x-of", "y-key", "y-of"].forEach(function (id) { byId(id).addEventListener("change", drawChart); });
}
