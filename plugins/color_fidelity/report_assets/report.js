"use strict";
(function () {
  const root = document.documentElement;
  const theme = document.getElementById("theme");
  theme.addEventListener("click", function () {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  const table = document.getElementById("images");
  const body = table.tBodies[0];
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach(function (head, column) {
    head.tabIndex = 0;
    const sort = function () {
      const up = head.getAttribute("aria-sort") === "descending" || !head.hasAttribute("aria-sort") && column < 3;
      heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = function (row) { return row.cells[column].dataset.v; };
      const rows = Array.from(body.rows);
      rows.sort(function (a, b) {
        const x = key(a), y = key(b);
        if (column < 3) { return (up ? 1 : -1) * x.localeCompare(y, undefined, { numeric: true }); }
        const u = x === "" ? NaN : Number(x), v = y === "" ? NaN : Number(y);
        if (isNaN(u) || isNaN(v)) { return isNaN(u) - isNaN(v); }
        return u === v ? 0 : (up ? 1 : -1) * (u < v ? -1 : 1);
      });
      rows.forEach(function (row) { body.appendChild(row); });
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", function (event) { if (event.key === "Enter") { sort(); } });
  });

  const text = document.getElementById("find");
  const pick = document.getElementById("pick");
  const filter = function () {
    const wanted = text.value.toLowerCase();
    Array.from(body.rows).forEach(function (row) {
      const named = row.cells[0].dataset.v.toLowerCase().includes(wanted);
      row.hidden = !(named && (pick.value === "" || row.cells[1].dataset.v === pick.value));
    });
  };
  text.addEventListener("input", filter);
  pick.addEventListener("change", filter);

  const box = document.getElementById("box");
  const large = box.querySelector("img");
  const words = box.querySelector("p");
  let shown = null;
  const target = function (image) { return image.closest(".cells").querySelector("img[data-target]"); };
  document.querySelectorAll(".cells img").forEach(function (image) {
    const open = function () {
      shown = image;
      large.src = image.src;
      words.textContent = image.alt + ". Hold the mouse button (or space) to see the target.";
      box.showModal();
    };
    image.tabIndex = 0;
    image.addEventListener("click", open);
    image.addEventListener("keydown", function (event) { if (event.key === "Enter") { event.preventDefault(); open(); } });
  });
  const swap = function (on) { if (shown && target(shown)) { large.src = (on ? target(shown) : shown).src; } };
  large.addEventListener("pointerdown", function (event) { event.preventDefault(); swap(true); });
  // The button may be let go anywhere, also outside of the picture.
  addEventListener("pointerup", function () { swap(false); });
  addEventListener("pointercancel", function () { swap(false); });
  box.addEventListener("keydown", function (event) { if (event.key === " ") { event.preventDefault(); swap(true); } });
  box.addEventListener("keyup", function (event) { if (event.key === " ") { swap(false); } });
  box.addEventListener("click", function (event) { if (event.target === box) { box.close(); } });
})();
