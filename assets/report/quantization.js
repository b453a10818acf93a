// A quantized network: cards of sizes and formats, ranges of activations or codebooks, and the layers.

const RUNTIMES = { ort: "ONNX Runtime", tensorrt: "TensorRT", openvino: "OpenVINO" };

// How many pictures are drawn at first.
const SHOWN = 24;

const spread = ([low, high]) => `${number(low)} to ${number(high)}`;
const isQuantized = (layer) => layer.bits !== null;
const integersOf = (q) => q.runtime !== null;

function sizesCard({ sizes, bits_per_weight: [before, after] }) {
  const [file] = sizes;
  const names = { gzip: "File after gzip", Coded: term("coded size", "Coded") };
  const bars = sizes.map(({ name, bytes }) => sizeBar(names[name] || name, bytes, "B"));
  return card("Smaller",
    el("p", { class: "figure" }, times(file.bytes[0] / file.bytes[1]), el("small", {}, "smaller file")),
    el("div", { class: "bars" }, bars),
    facts([["Coded bits a weight", before !== null && after !== null ? `${before.toFixed(1)} → ${after.toFixed(1)}` : null]]));
}

function formatCard(q) {
  const done = q.layers.filter(isQuantized).length;
  const worst = q.tensors.reduce((most, t) => (most && most.outside >= t.outside ? most : t), null);
  return card("Numbers",
    el("p", { class: "figure" }, `${done} of ${q.layers.length}`, el("small", {}, integersOf(q) ? "layers have 8-bit integers" : `layers have a ${q.format}`)),
    facts([
      ["Conventions of", RUNTIMES[q.runtime]],
      [term("range", "Ranges"), q.ranges],
      ["Rounded activations", q.tensors.length ? grouped(q.tensors.length) : null],
      ["Values outside, at most", worst && `${number(100 * worst.outside)} %`],
      ["Layers in float", grouped(q.layers.length - done)],
    ]),
    el("p", { class: "quiet small" }, integersOf(q) ? "Weights and activations are integers, so that the runtime computes with them." : "Weights are indices into a codebook for each layer. The runtime computes with floats."));
}

function quantizationGlance(q) {
  return el("section", { id: "glance", "aria-label": "At a glance" },
    el("div", { class: "glance" }, accuracyCard(PAGE.summary), sizesCard(q), formatCard(q)));
}

// The histogram of a tensor: counts on a logarithmic scale, the range of the integers shaded.
function rangePicture(t) {
  const [first, last] = t.ends, most = Math.log1p(Math.max(...t.counts, 1));
  return drawing("", (width) => {
    const box = { left: 1, top: 6, right: width - 1, bottom: 70 };
    const at = (v) => box.left + (v - first) / (last - first) * (box.right - box.left);
    const wide = (box.right - box.left) / t.counts.length;
    const paths = { kept: "", cut: "" };
    t.counts.forEach((count, i) => {
      const middle = first + (i + 0.5) / t.counts.length * (last - first);
      const state = middle < t.range[0] || middle > t.range[1] ? "cut" : "kept";
      const y = box.bottom - Math.log1p(count) / most * (box.bottom - box.top);
      if (count > 0) paths[state] += `M${box.left + i * wide + 0.25} ${box.bottom}V${y}h${Math.max(0.5, wide - 0.5)}V${box.bottom}`;
    });
    const [low, high] = t.range.map(at);
    const label = `${t.name}: values ${spread(t.values)}, integers for ${spread(t.range)}, ${number(100 * t.outside)} % outside`;
    return canvas(width, 88, label,
      el("svg:rect", { class: "span", x: low, y: 1, width: high - low, height: box.bottom - 1 }),
      Object.entries(paths).map(([state, d]) => d && el("svg:path", { class: "column " + state, d })),
      el("svg:path", { class: "bound", d: `M${low} 1V${box.bottom}M${high} 1V${box.bottom}` }),
      el("svg:path", { class: "axis", d: `M${box.left} ${box.bottom}H${box.right}` }),
      el("svg:text", { x: 0, y: 84 }, number(first)),
      el("svg:text", { x: width, y: 84, "text-anchor": "end" }, number(last)));
  });
}

// The values of a codebook: a tick for each, as high as the share of the weights that take it.
function codebookPicture(layer) {
  const values = layer.codebook.map(([value]) => value), most = Math.max(...layer.codebook.map(([, share]) => share));
  const [first, last] = [Math.min(...values), Math.max(...values)];
  return drawing("", (width) => {
    const x = scale(values, 2, width - 2, { pad: 0.01 });
    const d = layer.codebook.map(([value, share]) => `M${x.at(value)} 70V${66 - share / most * 60}`).join("");
    return canvas(width, 88, `${layer.name}: ${values.length} values from ${number(first)} to ${number(last)}`,
      el("svg:path", { class: "ticks", d }),
      el("svg:path", { class: "axis", d: `M0 70H${width}` }),
      el("svg:text", { x: 0, y: 84 }, number(first)),
      el("svg:text", { x: width, y: 84, "text-anchor": "end" }, number(last)));
  });
}

// Pictures in a grid, of which the first are drawn at once; `orders` are [name, compare].
function gallery(rows, { picture, caption, note, orders, label }) {
  let all = rows.length <= SHOWN;
  const list = el("ul", { class: "gallery" });
  const status = el("output", { class: "small", "aria-live": "polite" });
  const more = el("button", { type: "button", onclick: () => { all = true; fill(); } }, `Show all ${grouped(rows.length)}`);
  const find = finder(rows, (row) => row.name, () => fill(), label);
  const sort = menu("Order", orders.map(([name], i) => [String(i), name]), "0", () => fill());
  const fill = () => {
    const compare = orders[Number(sort.select.value)][1];
    const found = rows.filter(find.test());
    if (compare) found.sort(compare);
    const shown = all ? found : found.slice(0, SHOWN);
    more.hidden = shown.length === found.length;
    status.textContent = shown.length === rows.length ? "" : `${grouped(shown.length)} of ${grouped(rows.length)} are shown.`;
    clear(list, shown.map((row) => el("li", {}, el("p", {}, el("b", {}, row.name), " ", el("span", { class: "quiet small" }, note(row))), picture(row), el("p", { class: "small" }, caption(row)))));
  };
  fill();
  return [rows.length > 6 && el("div", { class: "tools" }, find.label, sort.label), list, status, more];
}

function rangesSection(tensors) {
  const columns = [
    { name: "#", up: true, narrow: true, value: (t) => tensors.indexOf(t) + 1 },
    { name: "Tensor", text: true, wrap: true, value: (t) => t.name },
    { name: "Computed by", text: true, narrow: true, value: (t) => t.op || "input" },
    { name: "Range from", value: (t) => t.range[0], show: (t) => number(t.range[0]) },
    { name: "to", value: (t) => t.range[1], show: (t) => number(t.range[1]) },
    { name: "Least value", narrow: true, value: (t) => t.values[0], show: (t) => number(t.values[0]) },
    { name: "Largest value", narrow: true, value: (t) => t.values[1], show: (t) => number(t.values[1]) },
    { name: "Scale", narrow: true, value: (t) => t.scale, show: (t) => number(t.scale) },
    { name: "Zero point", narrow: true, value: (t) => t.zero },
    { name: "Outside, %", value: (t) => 100 * t.outside, show: (t) => number(100 * t.outside) },
  ];
  const wasted = (t) => (t.values[1] - t.values[0]) / (t.range[1] - t.range[0]);
  const pictures = gallery(tensors, {
    picture: rangePicture,
    note: (t) => t.op || "input",
    caption: (t) => [spread(t.range), el("span", { class: "quiet" }, `, step\u00a0${number(t.scale)}`, t.outside > 0 ? `, ${number(100 * t.outside)}\u00a0%\u00a0outside` : "")],
    orders: [["of the network", null], ["most values outside first", (a, b) => b.outside - a.outside], ["least used ranges first", (a, b) => wasted(a) - wasted(b)]],
    label: "Find a tensor",
  });
  const mark = (name) => el("svg:svg", { viewBox: "-7 -7 14 14", "aria-hidden": "true" }, el("svg:rect", { class: name, x: -6, y: -6, width: 12, height: 12 }));
  return el("section", { class: "card", id: "ranges" }, el("h2", {}, "Ranges of activations"),
    el("p", { class: "quiet" }, "The values of each rounded tensor on the ", term("calibration images"), ", counted on a logarithmic scale, and the ", term("range"), " that its integers represent. Values outside are rounded to the nearer end."),
    el("div", { class: "legend" }, el("span", {}, mark("column kept"), "values in the range"), el("span", {}, mark("column cut"), "values outside"), el("span", {}, mark("span"), "range of the integers")),
    pictures,
    el("details", {}, el("summary", {}, "The ranges as a table"), table({ caption: "Ranges of activations", columns, rows: tensors }).node),
    el("div", { class: "saves" }, csvButton("ranges", "the ranges", columns, tensors)));
}

function codebooksSection(layers) {
  const shared = layers.filter((layer) => layer.codebook.length);
  const pictures = gallery(shared, {
    picture: codebookPicture,
    note: (layer) => layer.op,
    caption: (layer) => el("span", { class: "quiet" }, `${layer.codebook.length} values for ${counted(layer.weights, "weight", "weights")}`),
    orders: [["of the network", null], ["most weights first", (a, b) => b.weights - a.weights]],
    label: "Find a layer",
  });
  return el("section", { class: "card", id: "codebooks" }, el("h2", {}, "Codebooks"),
    el("p", { class: "quiet" }, "The values of each layer's ", term("codebook"), ". A tick is as high as the share of the layer's weights that take the value."),
    pictures);
}

function quantizedLayersSection(q) {
  const { layers } = q, integers = integersOf(q);
  const end = (layer, i) => layer.scales && layer.scales[1][i];
  const columns = [
    { name: "#", up: true, narrow: true, value: (l) => layers.indexOf(l) + 1 },
    { name: "Layer", text: true, wrap: true, value: (l) => l.name },
    { name: "Kind", text: true, narrow: true, value: (l) => l.op },
    { name: "Weights", value: (l) => l.weights, show: (l) => grouped(l.weights) },
    { name: "Bits", value: (l) => l.bits, show: (l) => (isQuantized(l) ? String(l.bits) : "float") },
    ...(integers ? [
      { name: "Scales", narrow: true, value: (l) => l.scales && l.scales[0], show: (l) => (l.scales ? grouped(l.scales[0]) : NONE) },
      { name: "Least scale", narrow: true, value: (l) => end(l, 0), show: (l) => number(end(l, 0)) },
      { name: "Largest scale", value: (l) => end(l, 1), show: (l) => number(end(l, 1)) },
    ] : [{ name: "Values", value: (l) => l.codebook.length || null, show: (l) => (l.codebook.length ? String(l.codebook.length) : NONE) }]),
    ...(layers.some((l) => l.reason) ? [{ name: "Remark", text: true, wrap: true, value: (l) => l.reason || "" }] : []),
  ];
  const float = layers.filter((layer) => !isQuantized(layer));
  return el("section", { class: "card", id: "quantized" }, el("h2", {}, "Layers"),
    el("p", { class: "quiet" }, integers ? ["Weights are integers from −127 to 127, with a ", term("scale"), " for each output channel. "] : "",
      float.length ? `${counted(float.length, "layer stays", "layers stay")} in float; the remark says why.` : "No layer stays in float."),
    table({ caption: "Layers with the format of their weights", columns, rows: layers }).node,
    el("div", { class: "saves" }, csvButton("quantized", "the table of layers", columns, layers)));
}

// The sections of a quantization beside its cards: [name, element].
function quantizationSections(q) {
  const numbers = integersOf(q) ? ["Ranges", rangesSection(q.tensors)] : ["Codebooks", codebooksSection(q.layers)];
  return [numbers, ["Quantized layers", quantizedLayersSection(q)]];
}
