// Files that the page saves: tables as CSV, drawings as SVG, the data as JSON.

const STEM = PAGE.model.replace(/\.onnx$/, "").replace(/[^\w.-]+/g, "_");

function saveFile(name, text, type) {
  const link = el("a", { href: URL.createObjectURL(new Blob([text], { type })), download: `${STEM}-${name}` });
  link.click();
  URL.revokeObjectURL(link.href);
}

function saveButton(text, label, save) {
  return el("button", { class: "save", type: "button", "aria-label": label, title: label, onclick: save }, text);
}

// A cell as RFC 4180 has it. A spreadsheet must not take the name of a layer for a formula.
function csvCell(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "";
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? "'" + value : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// Columns have a `name` and `value(row)`, or `csv`: [name, value(row)] for each column in the file.
function csvText(columns, rows) {
  const all = columns.flatMap((c) => c.csv || [[c.name, c.value]]);
  const lines = [all.map(([name]) => name), ...rows.map((row) => all.map(([, value]) => value(row)))];
  return lines.map((line) => line.map(csvCell).join(",")).join("\r\n") + "\r\n";
}

function csvButton(name, what, columns, rows) {
  return saveButton("CSV", `Save ${what} as CSV`, () => saveFile(name + ".csv", csvText(columns, rows), "text/csv"));
}

const DRAWN = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "opacity", "font-size", "font-family", "font-weight", "text-anchor"];

// A drawing with its colours written out, because a file has no style sheet of the page.
function svgText(svg) {
  const copy = svg.cloneNode(true);
  const from = [svg, ...svg.querySelectorAll("*")], to = [copy, ...copy.querySelectorAll("*")];
  from.forEach((node, i) => {
    const style = getComputedStyle(node);
    to[i].setAttribute("style", DRAWN.map((key) => `${key}:${style.getPropertyValue(key)}`).join(";"));
    ["tabindex", "role", "class"].forEach((key) => to[i].removeAttribute(key));
  });
  const view = svg.dataset.whole || svg.getAttribute("viewBox");
  const [x, y, width, height] = view.split(" ").map(Number);
  copy.setAttribute("viewBox", view);
  copy.setAttribute("width", width);
  copy.setAttribute("height", height);
  const moved = copy.querySelector("[data-moved]");
  if (moved) moved.removeAttribute("transform");
  const ground = getComputedStyle(document.documentElement).getPropertyValue("--card");
  const probe = el("span", { style: `color:${ground}` });
  document.body.append(probe);
  copy.prepend(el("svg:rect", { x, y, width, height, fill: getComputedStyle(probe).color }));
  probe.remove();
  return new XMLSerializer().serializeToString(copy);
}

function svgButton(name, what, place) {
  return saveButton("SVG", `Save ${what} as SVG`, () => saveFile(name + ".svg", svgText(place.querySelector("svg.chart, svg.map")), "image/svg+xml"));
}
