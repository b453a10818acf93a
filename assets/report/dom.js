// Elements and numbers. Text goes in as text: nothing that comes from a model is ever read as markup.

const PAGE = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

// el("p", {class: "quiet"}, "text", child, …); a name with "svg:" in front is a part of a drawing.
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

// A menu: options are [value, text].
function menu(label, options, chosen, change, more) {
  const select = el("select", { onchange: () => change(select.value) });
  for (const [value, text] of options) select.append(el("option", { value }, text));
  if (chosen !== undefined) select.value = chosen;
  return { select, label: el("label", more, label, select) };
}

const NONE = "–";

// Four digits, as people write them.
function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2).replace("e+", "e");
  return String(Number(value.toPrecision(4)));
}

function grouped(value) {
  return value === null || value === undefined ? NONE : Math.round(value).toLocaleString("en-US");
}

// 12.3 M: numbers that are compared.
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
