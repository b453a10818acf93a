// The drawing of the network: boxes for layers, joins and pools, with the removed share of each layer.

const SIGNS = { Add: "+", Sub: "−", Mul: "×", Div: "÷", Concat: "concat" };
const TEXT_ROOM = 22;

// The last two parts of a name, without the operator that some exporters append.
function shortName(name, op, room = TEXT_ROOM) {
  const parts = name.split("/").filter(Boolean);
  if (parts.length > 1 && parts[parts.length - 1].replace(/_\d+$/, "") === op) parts.pop();
  const last = parts.slice(-2).join("/") || name;
  return last.length > room ? "…" + last.slice(-(room - 1)) : last;
}

// A convolution of each channel by itself, or in groups.
const grouping = (layer) => (layer.groups === 1 ? "" : layer.groups === layer.width[0] ? "dw" : `g${layer.groups}`);

// `widthOf(box)` returns the channels before and after; `open(layer)` shows a layer.
function networkDrawing(drawn, widthOf, open) {
  const { boxes, lines, size } = drawn;
  const channels = (box) => {
    const [before, after] = widthOf(box);
    if (before === null) return "";
    return after === null || after === before ? String(before) : `${before} → ${after}`;
  };
  const layerOf = (box) => (box.layer === null ? null : PAGE.layers[box.layer]);
  const words = (box) => {
    const layer = layerOf(box), width = channels(box), planes = box.planes.join("×");
    switch (box.kind) {
      case "layer": return [shortName(box.text, layer.op), [layer.op === "Conv" ? grouping(layer) : layer.op.replace("ConvTranspose", "ConvT"), layer.kernel.join("×")].filter(Boolean).join(" ") + ` · ${width}`];
      case "join": return [`${SIGNS[box.text] || box.text}${width && "  " + width}`];
      case "pool": return [`${box.text.replace("GlobalAveragePool", "global mean").replace("ReduceMean", "global mean")}${planes && planes !== "1×1" ? " " + planes : ""}`];
      case "host": return ["boxes chosen on the CPU"];
      default: return [`${box.kind === "input" ? "in" : "out"}: ${shortName(box.text, "", 20)}`];
    }
  };
  const spoken = (box) => {
    const layer = layerOf(box), [before, after] = widthOf(box);
    const what = layer ? `${box.text}, ${kind(layer)}` : box.kind === "host" ? "nodes with data-dependent shapes, which run after the rest" : `${box.kind} ${box.text}`;
    const width = before === null ? "" : after === null ? `, ${before} channels` : `, ${before} → ${after} channels`;
    return what + width + (box.planes.length ? `, planes of ${box.planes.join("×")}` : "");
  };
  const draw = (box, i) => {
    const [x, y, w, h] = box.at, [before, after] = widthOf(box);
    const r = { layer: 5, pool: 5, join: 13, host: 5 }[box.kind] ?? 15;
    const parts = [el("svg:rect", { class: "ground", x, y, width: w, height: h, rx: r })];
    if (box.kind === "layer" && after !== null) {
      const left = w * (after / Math.max(1, before));
      parts.push(el("svg:rect", { class: "left", x: x + 1, y: y + h - 6, width: Math.max(0, left - 2), height: 5 }));
      if (after < before) {
        parts.push(el("svg:rect", { class: "gone", x: x + left, y: y + 1, width: w - left - 1, height: h - 2 }));
        parts.push(el("svg:path", { class: "hatch", d: hatch(x + left, y + 1, w - left - 1, h - 2) }));
      }
    }
    parts.push(el("svg:rect", { class: "edge", x, y, width: w, height: h, rx: r }));
    const texts = words(box);
    texts.forEach((text, n) => parts.push(el("svg:text", { class: n || box.kind !== "layer" ? "detail" : "name", x: x + w / 2, y: y + (texts.length > 1 ? 17 + 16 * n : h / 2 + 4), "text-anchor": "middle" }, text)));
    const layer = layerOf(box);
    const node = el("svg:g", { class: `box ${box.kind}`, role: layer ? "button" : "img", tabindex: i ? "-1" : "0", "aria-label": spoken(box), "data-at": box.at.join(" "), "data-layer": box.layer }, parts, el("svg:title", {}, spoken(box)));
    if (layer) node.addEventListener("click", () => open(layer));
    return node;
  };
  // Lines turn in curves: each corner is cut off up to half of the way to its neighbours.
  const path = ({ points }) => {
    const toward = (p, q) => {
      const far = Math.hypot(q[0] - p[0], q[1] - p[1]), by = far && Math.min(22, far / 2) / far;
      return `${(p[0] + by * (q[0] - p[0])).toFixed(1)} ${(p[1] + by * (q[1] - p[1])).toFixed(1)}`;
    };
    const turns = points.slice(1, -1).map((p, i) => `L${toward(p, points[i])}Q${p.join(" ")} ${toward(p, points[i + 2])}`);
    return `M${points[0].join(" ")}${turns.join("")}L${points[points.length - 1].join(" ")}`;
  };
  const arrow = ({ points }) => {
    const [x, y] = points[points.length - 1];
    return `M${x} ${y}l-3.5 -6h7Z`;
  };
  const nodes = boxes.map(draw);
  const content = el("svg:g", {},
    el("svg:path", { class: "line", d: lines.map(path).join("") }),
    el("svg:path", { class: "arrow", d: lines.map(arrow).join("") }),
    nodes);
  const view = viewport(content, size, `Drawing of the network: ${counted(boxes.length, "box", "boxes")}. Arrow keys go from box to box, Enter opens a layer, Shift and arrow keys move the drawing, plus, minus and 0 zoom.`);
  view.node.style.height = `${Math.max(260, Math.min(620, size[1] + 24))}px`;
  const focus = (i) => {
    nodes.forEach((node, n) => node.setAttribute("tabindex", n === i ? "0" : "-1"));
    nodes[i].focus({ preventScroll: true });
    view.reveal(nodes[i]);
  };
  content.addEventListener("keydown", (event) => {
    const at = nodes.indexOf(event.target);
    if (event.shiftKey || at < 0) return;
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -nodes.length, End: nodes.length }[event.key];
    if (by) focus(Math.max(0, Math.min(nodes.length - 1, at + by)));
    else if ((event.key === "Enter" || event.key === " ") && layerOf(boxes[at])) open(layerOf(boxes[at]));
    else return;
    event.preventDefault();
  });
  const mark = (layer) => nodes.forEach((node, i) => node.classList.toggle("current", boxes[i].layer !== null && PAGE.layers[boxes[i].layer] === layer));
  return { node: view.node, mark };
}

// Slanted lines within a rectangle: the removed share does not show by colour alone.
function hatch(x, y, w, h) {
  let d = "";
  for (let at = -h + 3; at < w; at += 6) {
    const from = Math.max(0, at), to = Math.min(w, at + h);
    if (to > from) d += `M${x + from} ${y + h - (from - at)}L${x + to} ${y + h - (to - at)}`;
  }
  return d;
}

function drawingSection(drawn, open) {
  if (drawn.too_many) {
    return { node: el("section", { class: "card", id: "drawing" }, el("h2", {}, "Drawing"), el("p", { class: "quiet" }, `A drawing of ${grouped(drawn.too_many)} boxes cannot be read; the table of layers below has all of them.`)), mark: () => {} };
  }
  const place = el("div");
  let current = null, drawing = null;
  const show = (widthOf) => {
    drawing = networkDrawing(drawn, widthOf, open);
    clear(place, drawing.node);
    if (current) drawing.mark(current);
  };
  show((box) => box.width);
  const pruned = PAGE.cuts ? PAGE.cuts.networks.slice(1) : [];
  const widths = (cut) => (box) => (box.layer === null ? [null, null] : [box.width[0], cut.widths[box.layer]]);
  if (pruned.length) show(widths(pruned[0]));
  const choose = pruned.length > 0 && menu("Network", pruned.map((cut, i) => [i, cut.name]), 0, (i) => show(widths(pruned[Number(i)])));
  const node = el("section", { class: "card", id: "drawing" }, el("h2", {}, "Drawing"),
    el("p", { class: "quiet" }, "Data flow from the input to the outputs. Each box is a layer with its ", term("channel", "channels"), " before → after; the hatched part was removed. Normalizations and activations belong to the box before them; dw is a depthwise convolution, g4 one in 4 groups. Drag to move, Ctrl and wheel to zoom", PAGE.cuts ? "." : "; a click shows the layer's kernels below."),
    choose && el("div", { class: "tools" }, choose.label),
    place, el("div", { class: "saves" }, svgButton("drawing", "the drawing", place)));
  return { node, mark: (layer) => { current = layer; drawing.mark(layer); } };
}
