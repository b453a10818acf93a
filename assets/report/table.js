// Sortable and filterable tables: the layers with their bar chart, and the coupled channels.

// columns: {name, value(row), show(row), text, wrap, narrow}; narrow screens hide the narrow ones.
function table({ caption, columns, rows }) {
  const body = el("tbody");
  const none = el("tr", { class: "none" }, el("td", { colspan: columns.length }, "Nothing matches."));
  const lines = rows.map((row) => ({
    row,
    node: el("tr", {}, columns.map((c) => el("td", { class: classes(c) }, c.show ? c.show(row) : String(c.value(row))))),
  }));
  let wanted = () => true, order = null, down = false;
  const fill = () => {
    const shown = lines.filter((line) => wanted(line.row));
    if (order) {
      const turn = down ? -1 : 1;
      const missing = (v) => v === null || v === undefined || Number.isNaN(v);
      shown.sort((a, b) => {
        const [x, y] = [order.value(a.row), order.value(b.row)];
        if (missing(x) || missing(y)) return missing(x) - missing(y);
        return turn * (typeof x === "string" ? x.localeCompare(y, undefined, { numeric: true }) : x - y);
      });
    }
    clear(body, shown.length ? shown.map((line) => line.node) : [none]);
    return shown.length;
  };
  const heads = columns.map((column) => {
    const head = el("th", { scope: "col", class: classes(column) });
    head.append(el("button", { type: "button", onclick: () => {
      // The first click sorts numbers from the largest, names from A.
      const first = !column.text && !column.up;
      down = order === column ? !down : first;
      order = column;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      fill();
    } }, column.name));
    return head;
  });
  const whole = el("table", {}, el("caption", { class: "hidden" }, caption), el("thead", {}, el("tr", {}, heads)), body);
  fill();
  return {
    node: el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, whole),
    filter: (test) => { wanted = test; return fill(); },
    mark: (row) => lines.forEach((line) => (line.row === row ? line.node.setAttribute("aria-current", "true") : line.node.removeAttribute("aria-current"))),
  };
}

function classes({ text, wrap, narrow }) {
  return [text && "text", wrap && "wrap", narrow && "narrow"].filter(Boolean).join(" ") || null;
}

// A search box over the text of rows.
function finder(rows, text, tell, label) {
  const input = el("input", { type: "search", placeholder: "part of a name", oninput: tell });
  const words = rows.map((row) => [row, text(row).toLowerCase()]);
  const known = new Map(words);
  const test = () => {
    const wanted = input.value.trim().toLowerCase().split(/\s+/);
    return (row) => wanted.every((word) => known.get(row).includes(word));
  };
  return { label: el("label", { class: "flexible" }, label, input), test };
}

// A bar chart of the layers: before in grey, after in front.
function skyline(layers, open) {
  const measures = { macs: ["MACs", (l, i) => l.macs[i]], width: ["channels", (l, i) => l.width[i]], params: ["parameters", (l, i) => l.params[i]], ms: ["milliseconds", (l, i) => l.ms[i]] };
  if (!timedLayers()) delete measures.ms;
  let [what, get] = measures.macs;
  let current = null;
  const label = "Bar chart of the layers: grey before the cut, coloured after. The table below has the numbers.";
  const exact = (v) => (Number.isInteger(v) ? grouped(v) : number(v));
  const place = drawing(label, (width) => {
    const height = 190, box = { left: 52, top: 24, right: width - 8, bottom: height - 24 };
    const y = scale([0, ...layers.map((l) => get(l, 0))], box.bottom, box.top, { zero: true, pad: 0.02 });
    const wide = (box.right - box.left) / Math.max(1, layers.length);
    const parts = y.ticks(48).flatMap((v) => [
      el("svg:path", { class: "axis", d: `M${box.left} ${y.at(v)}H${box.right}` }),
      el("svg:text", { x: box.left - 6, y: y.at(v) + 4, "text-anchor": "end" }, v < 1 ? number(v) : short(v)),
    ]);
    layers.forEach((l, i) => {
      const x = box.left + i * wide, gap = wide > 4 ? 1 : 0;
      const column = (value, name) => el("svg:rect", { class: name, x: x + gap / 2, width: Math.max(0.5, wide - gap), y: y.at(value), height: box.bottom - y.at(value) });
      parts.push(column(get(l, 0), "before"));
      if (get(l, 1) !== null) parts.push(column(get(l, 1), "after"));
    });
    layers.forEach((l, i) => {
      const text = `${l.name}: ${exact(get(l, 0))} → ${exact(get(l, 1))} ${what}`;
      parts.push(el("svg:rect", { class: l === current ? "hit current" : "hit", x: box.left + i * wide, width: wide, y: box.top, height: box.bottom - box.top, onclick: () => open(l) }, el("svg:title", {}, text)));
    });
    parts.push(el("svg:text", { class: "title", x: box.left - 6, y: 14 }, `${what} of each layer, in the order of the graph`));
    return canvas(width, height, label, parts);
  });
  const choose = menu("Height", Object.entries(measures).map(([key, [text]]) => [key, text]), "macs", (key) => {
    [what, get] = measures[key];
    place.redraw();
  });
  return { node: place, choose: choose.label, mark: (layer) => { current = layer; place.redraw(); } };
}

function networkSection(open) {
  const layers = PAGE.layers;
  const total = PAGE.summary.before.macs || 1;
  const place = new Map(layers.map((l, i) => [l, i + 1]));
  const lost = (l) => l.width[0] - l.width[1];
  const bar = (l) => el("span", { class: "bar", "aria-hidden": "true" }, el("i", { style: `width:${(100 * l.width[1]) / Math.max(1, l.width[0])}%` }));
  const columns = [
    { name: "#", up: true, narrow: true, value: (l) => place.get(l) },
    { name: "Layer", text: true, wrap: true, value: (l) => l.name, show: (l) => el("button", { class: "link", type: "button", onclick: () => open(l) }, l.name) },
    { name: "Kind", text: true, narrow: true, value: (l) => kind(l) },
    { name: "Channels", value: (l) => l.width[0], show: (l) => [`${l.width[0]} → ${l.width[1]}`, bar(l)], csv: [["channels", (l) => l.width[0]], ["channels after", (l) => l.width[1]]] },
    { name: "Removed", narrow: true, value: (l) => lost(l) / Math.max(1, l.width[0]), show: (l) => (lost(l) ? percent(lost(l) / l.width[0], 0) : NONE) },
    { name: "MACs", value: (l) => l.macs[0], show: (l) => short(l.macs[0]) },
    { name: "MACs after", value: (l) => l.macs[1], show: (l) => short(l.macs[1]) },
    { name: "MACs share", narrow: true, value: (l) => l.macs[0] / total, show: (l) => percent(l.macs[0] / total) },
    ...(timedLayers() ? [
      { name: "ms", narrow: true, value: (l) => l.ms[0], show: (l) => milliseconds(l.ms[0]) },
      { name: "ms after", narrow: true, value: (l) => l.ms[1], show: (l) => milliseconds(l.ms[1]) },
    ] : []),
    { name: "Params", narrow: true, value: (l) => l.params[0], show: (l) => short(l.params[0]) },
    { name: "Params after", narrow: true, value: (l) => l.params[1], show: (l) => short(l.params[1]) },
  ];
  const list = table({ caption: "Layers", rows: layers, columns });
  const count = el("output", { class: "small" });
  const which = { all: () => true, cut: (l) => lost(l) > 0, whole: (l) => lost(l) === 0, blocked: (l) => l.state.includes("b") };
  let some = which.all;
  const refresh = () => {
    const named = find.test();
    count.textContent = `${counted(list.filter((l) => some(l) && named(l)), "layer", "layers")} of ${layers.length}`;
  };
  const find = finder(layers, (l) => `${l.name} ${kind(l)}`, refresh, "Find layers");
  const show = menu("Show", [["all", "all layers"], ["cut", "layers that lost channels"], ["whole", "unchanged layers"], ["blocked", "layers with blocked channels"]], "all", (key) => { some = which[key]; refresh(); });
  const towers = skyline(layers, open);
  refresh();
  const node = el("section", { class: "card", id: "network" }, el("h2", {}, "Layers"),
    el("p", { class: "quiet" }, "Each layer before and after the cut, in the order of the graph: output ", term("channel", "channels"), ", ", term("MACs"), timedLayers() ? ", time of the layer by itself" : "", " and ", term("parameters"), ". Select a layer to show its kernels below."),
    towers.node, el("div", { class: "tools" }, find.label, show.label, towers.choose), list.node, count,
    el("div", { class: "saves" }, csvButton("layers", "the table of layers", columns, layers), svgButton("layers", "the bar chart", towers.node)));
  return { node, mark: (layer) => { list.mark(layer); towers.mark(layer); } };
}

const timedLayers = () => PAGE.layers.some((l) => l.ms[0] !== null);

const milliseconds = (v) => (v === null ? NONE : number(Number(v.toPrecision(3))));

function kind(layer) {
  const window = layer.kernel.length ? " " + layer.kernel.join("×") : "";
  return layer.op + window + (layer.groups > 1 ? `, ${layer.groups} groups` : "");
}

function coupledSection(open) {
  const rows = PAGE.dependency_groups;
  const NAMED = 3;
  const names = (group) => group.layers.map((i) => PAGE.layers[i].name);
  const verdict = (group) => (group.blocked ? "blocked" : group.cut ? "cut" : "kept");
  const named = (group) => {
    const link = (i) => el("button", { class: "link", type: "button", onclick: () => open(PAGE.layers[i]) }, PAGE.layers[i].name);
    const some = (list) => list.flatMap((i, n) => (n ? [", ", link(i)] : [link(i)]));
    const rest = group.layers.slice(NAMED);
    const more = rest.length > 0 && el("details", {}, el("summary", {}, `and ${rest.length} more`), some(rest));
    return el("span", {}, some(group.layers.slice(0, NAMED)), more);
  };
  const columns = [
    { name: "Coupled layers", text: true, wrap: true, value: (t) => names(t).join(" "), show: named },
    { name: "Coupled sets", narrow: true, value: (t) => t.coupled },
    { name: "Channels each", narrow: true, value: (t) => t.each },
    { name: "Sets removed", value: (t) => t.cut, show: (t) => (t.blocked ? NONE : `${t.cut}`) },
    { name: "Removable", text: true, wrap: true, value: (t) => (t.blocked ? t.blocked.join(" ") : ""), show: (t) => (t.blocked ? el("span", {}, "blocked by ", el("code", {}, t.blocked[0]), `: ${t.blocked[1]}`) : "yes"), csv: [["removable", (t) => (t.blocked ? "no" : "yes")], ["blocked by", (t) => t.blocked && t.blocked[0]], ["reason", (t) => t.blocked && t.blocked[1]]] },
  ];
  const list = table({ caption: "Coupled channels by the layers that produce them", rows, columns });
  const which = { all: () => true, cut: (t) => t.cut > 0, kept: (t) => !t.blocked && !t.cut, blocked: (t) => t.blocked !== null };
  let some = which.all;
  const count = el("output", { class: "small" });
  const refresh = () => {
    const found = find.test();
    count.textContent = `${counted(list.filter((t) => some(t) && found(t)), "row", "rows")} of ${rows.length}`;
  };
  const find = finder(rows, (t) => `${names(t).join(" ")} ${t.blocked ? t.blocked.join(" ") : ""} ${verdict(t)}`, refresh, "Find by layer, node or reason");
  const show = menu("Show", [["all", "all sets"], ["cut", "with removed sets"], ["kept", "removable, but kept"], ["blocked", "blocked sets"]], "all", (key) => { some = which[key]; refresh(); });
  refresh();
  const [all, gone] = PAGE.summary.coupled;
  const blocked = rows.filter((t) => t.blocked).reduce((sum, t) => sum + t.coupled, 0);
  return el("section", { class: "card", id: "coupled" }, el("h2", {}, "Coupled channels"),
    el("p", { class: "quiet" }, term("coupled channels", "Channels that can only be kept or removed together"), `, because they are added, multiplied or consumed together. Of ${counted(all, "set", "sets")}, ${grouped(gone)} were removed and ${grouped(blocked)} cannot be removed.`),
    el("div", { class: "tools" }, find.label, show.label), list.node, count,
    el("div", { class: "saves" }, csvButton("coupled", "the table of coupled channels", columns, rows)));
}
