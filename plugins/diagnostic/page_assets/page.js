"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const state = { status: null, token: null, name: "photo", turn: 0, timer: 0 };
  const percent = (value) => `${Math.round(100 * value)} %`;

  function make(tag, text, kind) {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (kind) element.className = kind;
    return element;
  }

  function say(message) {
    $("error").textContent = message;
    $("error").hidden = !message;
  }

  async function answer(response) {
    let content = null;
    try { content = await response.json(); } catch (error) { content = null; }
    if (!response.ok) throw new Error((content && content.error) || `the server answered ${response.status}`);
    return content;
  }

  async function begin() {
    state.status = await answer(await fetch("status"));
    const lines = [];
    if (!state.status.model) lines.push(`${state.status.model_help} Until then only the presets of scenes are shown.`);
    if (!state.status.scenes) lines.push("The scene classifier has no weights: every scene counts as Generic, whose preset changes nothing.");
    $("help").replaceChildren(...lines.map((line) => make("p", line)));
    $("help").hidden = lines.length === 0;
    $("weight-row").hidden = !state.status.model;
  }

  async function take(file) {
    say("");
    if (!file || !(await ready)) return;  // the page may still be asking what it may send
    if (!state.status.types.includes(file.type)) return say("Drop a JPEG, PNG or WebP photo.");
    if (file.size > state.status.upload_bytes) {
      return say(`The file is larger than ${Math.round(state.status.upload_bytes / 1048576)} MB.`);
    }
    const turn = ++state.turn;
    $("busy").hidden = false;
    try {
      const headers = { "Content-Type": file.type };
      const found = await answer(await fetch("photos", { method: "POST", headers, body: file }));
      if (turn !== state.turn) return;
      state.token = found.token;
      state.name = file.name.replace(/\.[^.]*$/, "") || "photo";
      state.suffix = file.type === "image/png" ? "png" : "jpg";
      $("weight").value = "0.6";
      $("facts").textContent = [`${found.width} × ${found.height} pixels`, ...found.notes].join(" · ");
      await Promise.all([
        show($("before"), address("before"), turn), show($("after"), address("after", found.weight), turn),
      ]);
      if (turn !== state.turn) return;
      $("result").hidden = false;
      $("drop").classList.add("small-drop");
      tell(found);
      split(50);
    } catch (error) {
      if (turn === state.turn) say(error.message);
    } finally {
      if (turn === state.turn) $("busy").hidden = true;
    }
  }

  function address(what, weight) {
    const place = `photos/${encodeURIComponent(state.token)}/${what}`;
    return weight === undefined ? place : `${place}?weight=${weight}`;
  }

  // Loaded first and shown then, so that the picture never flashes while the slider moves.
  function show(image, source, turn) {
    return new Promise((resolve, reject) => {
      const next = new Image();
      next.onload = () => {
        if (turn !== state.turn) return resolve();
        image.src = source;
        (image.decode ? image.decode().catch(() => {}) : Promise.resolve()).then(resolve);
      };
      next.onerror = () => reject(new Error("The picture could not be shown; drop the photo again."));
      next.src = source;
    });
  }

  function bar(name, value, fine) {
    const row = make("div", undefined, "bar");
    const track = make("div", undefined, "track");
    const fill = make("span", undefined, fine ? "fill fine" : "fill");
    fill.style.width = `${100 * value}%`;
    track.append(fill);
    row.append(make("span", name), track, make("span", percent(value)));
    return row;
  }

  function group(title, remark, bars) {
    const box = make("div", undefined, "bar-group");
    const head = make("div", undefined, "bar-head");
    head.append(make("span", title), make("span", remark));
    box.append(head, ...bars);
    return box;
  }

  function tell(found) {
    const advice = found.advice, { exposure, white_balance: balance, saturation } = advice;
    const seen = exposure.confidence > 0;
    $("no-diagnosis").hidden = seen;
    const natural = Math.max(0, 1 - saturation.undersaturated_probability - saturation.oversaturated_probability);
    const bars = !seen ? [] : [
      group("Exposure", "", [
        bar("too dark", exposure.underexposed_probability), bar("good", exposure.well_exposed_probability, true),
        bar("too bright", exposure.overexposed_probability),
      ]),
      group("White balance", `${Math.round(balance.color_temperature_kelvin)} K, tint ${balance.tint_shift.toFixed(3)}`,
        [bar("certainty", balance.confidence)]),
      group("Saturation", `${percent(saturation.current_saturation_level)} of natural`, [
        bar("too pale", saturation.undersaturated_probability), bar("natural", natural, true),
        bar("too strong", saturation.oversaturated_probability),
      ]),
    ];
    if (advice.scene_confidence > 0) bars.push(group("Scene", advice.scene_label, [bar("certainty", advice.scene_confidence)]));
    $("bars").replaceChildren(...bars);
    $("words").replaceChildren(...advice.corrections_summary.map((line) => make("li", line)));
    const filters = found.filters.length ? found.filters : ["none"];
    $("filters").replaceChildren(...filters.map((text) => make("li", text)));
    const names = { gamma: "gamma", gain_r: "red", gain_g: "green", gain_b: "blue", sat: "saturation", hue: "hue" };
    $("numbers").replaceChildren(...Object.entries(names).map(([key, name]) => {
      const cell = make("div");
      cell.append(make("dt", name), make("dd", advice.final_params[key].toFixed(3)));
      return cell;
    }));
    $("weight-value").textContent = percent(found.weight);
    $("download").href = address("corrected", found.weight);
    $("download").download = `${state.name}_corrected.${state.suffix}`;
  }

  async function reweigh() {
    const turn = ++state.turn, weight = Number($("weight").value);
    try {
      const [found] = await Promise.all([
        fetch(address("advice", weight)).then(answer), show($("after"), address("after", weight), turn),
      ]);
      if (turn === state.turn) { say(""); tell(found); }
    } catch (error) {
      if (turn === state.turn) say(error.message);
    }
  }

  function split(value) {
    $("split").value = value;
    $("before").style.clipPath = `inset(0 ${100 - value}% 0 0)`;
    $("line").style.left = `${value}%`;
  }

  $("file").addEventListener("change", () => { take($("file").files[0]); $("file").value = ""; });
  $("split").addEventListener("input", () => split(Number($("split").value)));
  $("weight").addEventListener("input", () => {
    $("weight-value").textContent = percent(Number($("weight").value));
    clearTimeout(state.timer);
    state.timer = setTimeout(reweigh, 60);
  });
  // The whole window takes a photo: one that misses the field would otherwise replace the page.
  window.addEventListener("dragover", (event) => { event.preventDefault(); $("drop").classList.add("over"); });
  window.addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").classList.remove("over"); });
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    $("drop").classList.remove("over");
    take(event.dataTransfer.files[0]);
  });
  const ready = begin().then(() => true, (error) => { say(error.message); return false; });
})();
