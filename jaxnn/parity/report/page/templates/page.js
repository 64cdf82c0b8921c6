// Everything here adds to a page that is complete without it: sorting, filtering, and values under the pointer.

for (const section of document.querySelectorAll(".entries")) {
  const body = section.querySelector("tbody");
  const rows = [...body.rows];
  sortable(section.querySelector("table"), body, rows);
  filterable(section.querySelector(".filter"), rows);
}
for (const figure of document.querySelectorAll("figure.steps")) readable(figure);
addEventListener("hashchange", unfold);
addEventListener("beforeprint", () => document.querySelectorAll("details.folded").forEach((part) => (part.open = true)));
unfold();

function unfold() {
  const part = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (part && part.tagName === "DETAILS") {
    part.open = true;
    part.scrollIntoView();
  }
}

function sortable(table, body, rows) {
  table.querySelectorAll("th[data-sort]").forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    if (!button.textContent) button.setAttribute("aria-label", "Verdict");
    head.append(button);
    button.onclick = () => {
      // Numbers start with the largest, names and verdicts (failures count as 0) with the first; a third click restores.
      const down = head.dataset.sort === "number" && column > 1;
      const turns = down ? ["descending", "ascending", null] : ["ascending", "descending", null];
      const turn = turns[(turns.indexOf(head.getAttribute("aria-sort")) + 1) % 3];
      for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
      if (turn) head.setAttribute("aria-sort", turn);
      const sign = turn === "descending" ? -1 : 1;
      const keys = new Map(rows.map((row) => [row, key(row.cells[column], head.dataset.sort)]));
      const compare = (a, b) => sign * order(keys.get(a), keys.get(b));
      body.append(...(turn ? [...rows].sort(compare) : rows));
    };
  });
}

function key(cell, kind) {
  const text = cell.dataset.value ?? cell.textContent.trim();
  if (kind === "text") return text;
  if (text === "") return -Infinity;
  return text === "NaN" ? Infinity : Number(text); // NaN is the worst of errors
}

function order(a, b) {
  if (typeof a === "string") return a.localeCompare(b, "en", { numeric: true });
  return a === b ? 0 : a < b ? -1 : 1;
}

function filterable(form, rows) {
  const [name, level] = [form.querySelector("input[type=search]"), form.querySelector("select")];
  const failing = form.querySelector("input[type=checkbox]");
  const texts = rows.map((row) => `${row.cells[2].textContent} ${row.cells[3].textContent}`.toLowerCase());
  const apply = () => {
    let shown = 0;
    rows.forEach((row, at) => {
      row.hidden = !(
        texts[at].includes(name.value.trim().toLowerCase()) &&
        (!level.value || row.cells[1].textContent === level.value) &&
        (!failing?.checked || row.classList.contains("beyond"))
      );
      shown += !row.hidden;
    });
    form.querySelector("output").value = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")}`;
  };
  form.hidden = false;
  form.oninput = apply;
  form.onsubmit = (event) => event.preventDefault();
  apply();
}

// The drawing holds the data: x is the step, y thousandths of a decade from the top.
function readable(figure) {
  const scale = Object.fromEntries(Object.entries(figure.dataset).map(([name, value]) => [name, Number(value)]));
  const area = figure.querySelector(".area");
  const [tip, cursor] = [area.querySelector(".tip"), area.querySelector(".cursor")];
  const lines = [...area.querySelectorAll("path.line")];
  const bands = new Map([...area.querySelectorAll("path.band")].map((band) => [band.dataset.line, band]));
  const list = figure.nextElementSibling;
  const points = new Map();
  const read = (path) => points.get(path) ?? points.set(path, decode(path.getAttribute("d"))).get(path);

  const show = (line, step) => {
    const [x, y] = nearest(read(line), step);
    const band = bands.get(line.dataset.line);
    mark(line.dataset.line);
    const allowed = value(level(read(band), x), scale);
    tip.value = `${line.textContent}\nstep ${x.toLocaleString("en")}: ${value(y, scale)} (tolerance ${allowed})`;
    tip.hidden = cursor.hidden = false;
    const [left, bottom] = [(100 * (x - 0.5)) / scale.steps, 100 - (100 * y) / scale.size];
    cursor.style.cssText = `left:${left}%;bottom:${bottom}%`;
    tip.style.cssText = (left > 50 ? `right:${100 - left}%;` : `left:${left}%;`) + (bottom > 60 ? `top:${100 - bottom}%` : `bottom:${bottom}%`);
  };
  const mark = (index) => {
    for (const part of [...lines, ...bands.values(), ...list.querySelectorAll("tr")])
      part.classList.toggle("on", part.dataset.line === index);
  };
  const clear = () => {
    mark(null);
    tip.hidden = cursor.hidden = true;
  };
  area.onpointermove = (event) => {
    const box = area.getBoundingClientRect();
    const step = 0.5 + (scale.steps * (event.clientX - box.left)) / box.width;
    const height = (scale.size * (event.clientY - box.top)) / box.height;
    const distance = (line) => Math.abs(nearest(read(line), step)[1] - height);
    show(lines.reduce((best, line) => (distance(line) <= distance(best) ? line : best)), step);
  };
  area.onpointerleave = clear;
  list.onpointerleave = clear;
  for (const row of list.querySelectorAll("tr[data-line]")) row.onpointerenter = row.onfocus = () => mark(row.dataset.line);
}

function decode(path) {
  const numbers = path.match(/-?[\d.]+/g).map(Number);
  const found = [];
  for (let at = 0, x = 0, y = 0; at + 1 < numbers.length; at += 2) found.push([(x += numbers[at]), (y += numbers[at + 1])]);
  return found;
}

function level(found, step) {
  return nearest(found, step)[1];
}

function value(y, scale) {
  if (scale.below && y > scale.size - scale.below) return "0";
  if (scale.above && y < scale.above) return "NaN or infinite";
  const size = 10 ** (scale.high - (y - scale.above) / 1000);
  return size < 1e-3 || size >= 1e3 ? size.toExponential(1).replace(".0", "") : Number(size.toPrecision(2)).toString();
}
