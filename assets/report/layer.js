// The kernels of a layer: a scatter plot of any two statistics, a histogram, a table.

// The statistics of a layer's channels: {key, label, values, errors}, with standard deviations derived from variances.
function columnsOf(layer) {
  const found = [];
  for (const { key, label } of PAGE.columns) {
    const values = layer.values[key];
    if (!values) continue;
    found.push({ key, label, values, errors: layer.errors[key] });
    if (key.endsWith("_variance")) {
      const root = values.map((v) => (v === null || v < 0 ? null : Math.sqrt(v)));
      // d√v = dv / 2√v
      const errors = layer.errors[key] && layer.errors[key].map((e, i) => (e === null || !root[i] ? null : e / (2 * root[i])));
      found.push({ key: key.replace("variance", "std"), label: label.replace("variance", "standard deviation"), values: root, errors });
    }
  }
  return found;
}

function layerSection(chosen) {
  const layers = PAGE.layers;
  const pick = menu("Layer", layers.map((l, i) => [i, `${l.name} (${l.width[0]} → ${l.width[1]})`]), undefined, (i) => show(layers[Number(i)]), { class: "flexible" });
  const place = el("div");
  const step = (by, sign, text) => el("button", { type: "button", "aria-label": text, title: text, onclick: () => {
    const next = (layers.indexOf(current) + by + layers.length) % layers.length;
    show(layers[next]);
  } }, sign);
  let current = null;
  // Choices persist across layers that have the chosen statistics.
  const chose = { x: ["score", "w_l1"], y: ["a_frequency", "w_variance"], errors: true };

  function show(layer) {
    current = layer;
    pick.select.value = layers.indexOf(layer);
    chosen(layer);
    const columns = columnsOf(layer);
    if (!columns.length) {
      clear(place, el("p", { class: "quiet" }, "There are no statistics of this layer's kernels."));
      return;
    }
    const names = columns.map((c) => [c.key, c.label]);
    const of = (wanted, other) => {
      const keys = columns.map((c) => c.key);
      return wanted.find((key) => keys.includes(key)) || keys[Math.min(other, keys.length - 1)];
    };
    const charts = el("div", { class: "pair" });
    const told = el("output", { "aria-live": "polite" });
    const rows = el("details", { ontoggle: () => rows.open && !rows.lastChild.classList.contains("scroll") && rows.append(kernelTable(layer, columns)) }, el("summary", {}, `All ${layer.width[0]} kernels as a table`));
    const redraw = () => {
      const [x, y] = ["x", "y"].map((axis, i) => columns.find((c) => c.key === of(chose[axis], i)));
      told.textContent = "Point at a kernel, or use the arrow keys.";
      // By default, a skewed distribution has a logarithmic axis.
      const logs = { xLog: chose.xLog ?? skewed(x.values), yLog: chose.yLog ?? skewed(y.values) };
      Object.entries(logs).forEach(([key, log]) => { boxes[key].checked = log; });
      clear(charts, scatterOf(layer, x, y, { ...chose, ...logs }, (text) => { told.textContent = text; }), histogramOf(layer, x, logs.xLog));
    };
    const axis = (name, other) => menu(name === "x" ? "Horizontal axis" : "Vertical axis", names, of(chose[name], other), (key) => { chose[name] = [key]; redraw(); }).label;
    const boxes = {};
    const check = (key, text) => {
      const box = el("input", { type: "checkbox", onchange: () => { chose[key] = box.checked; redraw(); } });
      boxes[key] = box;
      box.checked = chose[key];
      return el("label", { class: "check" }, box, text);
    };
    const missing = columns[0].values.length - columns[0].values.filter((v) => v !== null).length;
    clear(place,
      el("p", { class: "quiet small" }, `${kind(layer)}: ${counted(layer.width[0], "kernel", "kernels")}, ${layer.width[0] - layer.width[1]} removed; ${short(layer.macs[0])} → ${short(layer.macs[1])} MACs${missing ? `; ${missing} kernels without a number` : ""}`),
      el("div", { class: "tools" }, axis("x", 0), axis("y", 1), check("xLog", "logarithmic horizontal axis"), check("yLog", "logarithmic vertical axis"), columns.some((c) => c.errors) && check("errors", "standard errors")),
      legend(statesOf(layer)), charts, told, rows,
      el("div", { class: "saves" }, svgButton("kernels", "the scatter plot", charts), csvButton("kernels", "the statistics of these kernels", kernelColumns(layer, columns), kernelRows(layer))));
    redraw();
  }

  const node = el("section", { class: "card", id: "layer" }, el("h2", {}, "Kernels of a layer"),
    el("p", { class: "quiet" }, "Each kernel by any two of its statistics. Statistics of activations come from the calibration images; their standard errors show the effect of sampling."),
    el("div", { class: "tools" }, pick.label, step(-1, "←", "previous layer"), step(1, "→", "next layer")), place);
  return { node, show };
}

function skewed(values) {
  const sorted = values.filter((v) => v !== null).sort((a, b) => a - b);
  return sorted.length > 4 && sorted[0] > 0 && sorted[sorted.length - 1] > 20 * sorted[sorted.length >> 1];
}

function statesOf(layer) {
  const count = (letter) => layer.state.split(letter).length - 1;
  return Object.entries(STATES).map(([letter, state]) => [state, count(letter)]).filter(([, n]) => n).map(([state, n]) => [state, `${n} ${said(state)}`]);
}

const stateOf = (layer, channel) => STATES[layer.state[channel]] || "blocked";

function scatterOf(layer, x, y, chose, tell) {
  const withError = (column, i) => {
    const error = column.errors && column.errors[i];
    return number(column.values[i]) + (error ? ` ± ${number(error)}` : "");
  };
  const points = x.values.map((value, i) => ({
    x: value ?? NaN, y: y.values[i] ?? NaN,
    xe: x.errors && x.errors[i], ye: y.errors && y.errors[i],
    state: stateOf(layer, i),
    text: `Kernel ${i}, ${said(stateOf(layer, i))}: ${x.label} ${withError(x, i)}, ${y.label} ${withError(y, i)}`,
  }));
  const label = `Scatter of ${x.label} and ${y.label} of ${layer.width[0]} kernels. Arrow keys move between them.`;
  return scatter(points, { xTitle: x.label, yTitle: y.label, xLog: chose.xLog, yLog: chose.yLog, errors: chose.errors, tell, label });
}

function histogramOf(layer, x, log) {
  const values = x.values.map((value, i) => ({ x: value ?? NaN, state: stateOf(layer, i) }));
  return histogram(values, { title: x.label, log, label: `Histogram of ${x.label}, kept and removed kernels` });
}

const kernelRows = (layer) => Array.from({ length: layer.width[0] }, (_, i) => i);

function kernelColumns(layer, columns) {
  return [
    { name: "Kernel", up: true, value: (i) => i },
    { name: "State", text: true, value: (i) => said(stateOf(layer, i)) },
    ...columns.map((c) => ({
      name: c.label,
      value: (i) => c.values[i],
      show: (i) => number(c.values[i]) + (c.errors && c.errors[i] ? ` ± ${number(c.errors[i])}` : ""),
      csv: [[c.label, (i) => c.values[i]], ...(c.errors ? [[`${c.label}, standard error`, (i) => c.errors[i]]] : [])],
    })),
  ];
}

function kernelTable(layer, columns) {
  return table({ caption: `Kernels of ${layer.name}`, rows: kernelRows(layer), columns: kernelColumns(layer, columns) }).node;
}
