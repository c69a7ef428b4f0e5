(function () {
"use strict";

function byId(id) { return document.getElementById(id); }

byId("theme").addEventListener("click", function () {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

// A cell's value for sorting: its number if it has one; empty cells come last, whatever the direction.
function valueOf(row, column) {
  const cell = row.cells[column];
  return cell.dataset.value !== undefined ? Number(cell.dataset.value) : cell.textContent.trim();
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") { return a - b; }
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function empty(value) { return value === "" || (typeof value === "number" && isNaN(value)); }

function sortBy(table, column, falling) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  rows.sort(function (first, second) {
    const a = valueOf(first, column), b = valueOf(second, column);
    if (empty(a) || empty(b)) { return empty(a) - empty(b); }
    return falling ? compare(b, a) : compare(a, b);
  });
  body.append.apply(body, rows);
}

document.querySelectorAll("table.sortable").forEach(function (table) {
  Array.from(table.tHead.rows[0].cells).forEach(function (head, column) {
    const button = document.createElement("button");
    button.type = "button";
    button.append.apply(button, Array.from(head.childNodes));
    head.append(button);
    button.addEventListener("click", function () {
      const falling = head.getAttribute("aria-sort") === "ascending";
      Array.from(table.tHead.rows[0].cells).forEach(function (other) { other.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      sortBy(table, column, falling);
    });
  });
});

document.querySelectorAll("input[data-filters]").forEach(function (input) {
  input.closest("label").hidden = false;
  input.addEventListener("input", function () {
    const wanted = input.value.trim().toLowerCase();
    Array.from(byId(input.dataset.filters).tBodies[0].rows).forEach(function (row) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
    });
  });
});
})();
