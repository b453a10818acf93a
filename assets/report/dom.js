// Elements and number formats. Text is inserted as text: nothing from a model is ever parsed as markup.

const PAGE = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

// el("p", {class: "quiet"}, "text", child, …); the prefix "svg:" creates an SVG element.
function el(name, attributes, ...children) {
  const drawn = name.startsWith("svg:");
  const node = drawn ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return node;
}

function clear(node, ...children) {
  node.replaceChildren(...children.flat(Infinity));
  return node;
}

// A labelled menu; options are [value, text].
function menu(label, options, chosen, change, more) {
  const select = el("select", { onchange: () => change(select.value) });
  for (const [value, text] of options) select.append(el("option", { value }, text));
  if (chosen !== undefined) select.value = chosen;
  return { select, label: el("label", more, label, select) };
}

const NONE = "–";

// Four significant digits, in decimal notation if possible.
function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2).replace("e+", "e");
  return String(Number(value.toPrecision(4)));
}

function grouped(value) {
  return value === null || value === undefined ? NONE : Math.round(value).toLocaleString("en-US");
}

// Three digits with a unit prefix, such as 12.3 M.
function short(value, unit = "") {
  if (value === null || value === undefined) return NONE;
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= size) return (value / size).toPrecision(3) + " " + letter + unit;
  }
  return value + (unit ? " " + unit : "");
}

function percent(share, digits = 1) {
  return share === null || share === undefined ? NONE : (100 * share).toFixed(digits) + " %";
}

function counted(n, one, many) {
  return grouped(n) + " " + (n === 1 ? one : many);
}

const STATES = { k: "kept", c: "cut", b: "blocked" };
// A state in words: `cut` is also the name of a class.
const said = (state) => (state === "cut" ? "removed" : state);
