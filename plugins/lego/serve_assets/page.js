"use strict";
const $ = (id) => document.getElementById(id);
let limits = { images: 8 };
let running = 0;

function told(text) {
  $("error").textContent = text;
  $("error").hidden = !text;
}

function make(tag, text, parent, className) {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  if (className) element.className = className;
  parent.append(element);
  return element;
}

function title(id, candidates) {
  if (id === "unknown") return "unknown";
  const best = candidates[0];
  return best.name === best.id ? best.id : `${best.name} (${best.id})`;
}

function head(card, label, id, candidates) {
  if (id === null) return;
  const box = make("div", "", card, "head");
  make("h2", `${label}: ${title(id, candidates)}`, box);
  for (const each of candidates) {
    const row = make("div", "", box, "one");
    make("span", each.name === each.id ? each.id : `${each.id} ${each.name}`, row);
    const bar = make("progress", "", row);
    bar.max = 1;
    bar.value = each.confidence;
    make("span", `${(100 * each.confidence).toFixed(1)} %`, row);
  }
}

function card(files, answer, heading) {
  const box = make("section", "", $("results"), "card");
  box.setAttribute("aria-label", heading);
  if (heading) make("strong", heading, box).style.flexBasis = "100%";
  if (files.length === 1) {
    const image = make("img", "", box);
    image.alt = files[0].name;
    image.src = URL.createObjectURL(files[0]);
    image.onload = () => URL.revokeObjectURL(image.src);
  }
  head(box, "Part", answer.part_id, answer.parts);
  head(box, "Colour", answer.color_id, answer.colors);
}

async function look(files) {
  if (!files.length) return;
  told("");
  if (files.length > limits.images) return told(`At most ${limits.images} pictures at a time.`);
  const mine = ++running;
  $("busy").hidden = false;
  const form = new FormData();
  for (const file of files) form.append("image", file);
  const together = $("together").checked && files.length > 1;
  try {
    const reply = await fetch(`v1/predict?together=${together}`, { method: "POST", body: form });
    const answer = await reply.json();
    if (mine !== running) return;
    $("results").replaceChildren();
    if (!reply.ok) return told(answer.error || `The server answered ${reply.status}.`);
    if (answer.together) card([], answer.together, `All ${files.length} pictures together`);
    answer.images.forEach((each, index) => card([files[index]], each, files[index].name));
    make("p", `${answer.milliseconds} ms`, $("results"), "soft");
  } catch (error) {
    if (mine === running) told("The server does not answer. Is it running?");
  } finally {
    if (mine === running) $("busy").hidden = true;
  }
}

const drop = $("drop");
for (const name of ["dragenter", "dragover"]) {
  drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  look([...event.dataTransfer.files]);
});
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
$("file").addEventListener("change", () => { look([...$("file").files]); $("file").value = ""; });

fetch("v1/info").then((reply) => reply.json()).then((info) => {
  limits = info.limits;
  $("most").textContent = limits.images;
  const words = { part: "parts", color: "colours" };
  const counts = Object.entries(info.classes).map(([name, rows]) => `${rows.length} ${words[name]}`).join(", ");
  $("model").textContent = `${info.model}, ${info.precision}: ${counts}. Pictures stay on this machine.`;
}).catch(() => told("The server does not answer. Is it running?"));
