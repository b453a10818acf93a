// Several cuts of one network side by side.

function cutsSections() {
  const { networks, rounds, batch, untimed } = PAGE.cuts;
  const [whole] = networks;
  // Files of different folders may have one name.
  networks.forEach((n, i) => { if (networks.some((other, k) => k < i && other.name === n.name)) n.name += ` (${i})`; });
  const metricOf = (n) => n.quality && n.quality.metric;
  const first = networks.map(metricOf).find(Boolean);
  const share = (n, key) => n.cost[key] / Math.max(1, whole.cost[key]);
  const cost = (name, key, unit = "", narrow = true) => ({ name, narrow, value: (n) => n.cost[key], show: (n) => [short(n.cost[key], unit), n === whole ? "" : el("small", {}, ` ${percent(share(n, key), 0)}`)], csv: [[name, (n) => n.cost[key]]] });
  const value = (n) => (n === whole ? first && first.before : metricOf(n) && metricOf(n).after);
  const withError = (n) => {
    const m = metricOf(n), v = value(n);
    if (v === null || v === undefined) return NONE;
    return quality(v, first.unit) + (m && m.error !== null ? ` ± ${quality(m.error, first.unit).replace(" %", "")}` : "");
  };
  const error = (n) => (metricOf(n) ? metricOf(n).error : null);
  const verdictOf = (n) => {
    const m = metricOf(n);
    if (!m) return NONE;
    const found = verdict(m, n.quality.images);
    return el("span", { class: found.level, title: found.says }, { good: "✓ kept", warn: "▲ lost", bad: "✗ much lost", none: "none shown" }[found.level]);
  };
  const agreement = (n) => (n.quality ? n.quality.agreement : null);
  const columns = [
    { name: "Network", text: true, wrap: true, value: (n) => n.name, show: (n) => (n === whole ? [n.name, el("small", { class: "quiet" }, " original")] : n.name) },
    cost("MACs", "macs", "", false), cost("Parameters", "params"), cost("File", "bytes", "B"),
    first && { name: first.name, value, show: withError, csv: [[first.name, value], ["standard error", error]] },
    first && { name: "Loss", text: true, value: (n) => (metricOf(n) ? verdict(metricOf(n), n.quality.images).says : ""), show: verdictOf },
    first && first.name !== "agreement" && networks.some((n) => agreement(n) !== null) && { name: "Agreement", value: agreement, show: (n) => percent(agreement(n), 2) },
    rounds !== null && { name: "ms per image", narrow: true, value: (n) => n.ms.median, show: (n) => number(Number(n.ms.median.toPrecision(3))) },
    rounds !== null && { name: "Speedup", value: (n) => n.speedup.median, show: (n) => (n === whole ? "1×" : `${times(n.speedup.median)} (${times(n.speedup.p10)} to ${times(n.speedup.p90)})`), csv: [["speedup", (n) => n.speedup.median], ["speedup p10", (n) => n.speedup.p10], ["speedup p90", (n) => n.speedup.p90]] },
  ].filter(Boolean);
  const list = table({ caption: "The networks side by side", columns, rows: networks });
  const judged = networks.map((n) => n.quality).find(Boolean);
  const notes = [
    judged ? `Quality was measured ${judged.on}, against the original.` : "No images were given (--data), so nothing is known of what was lost.",
    rounds !== null ? `Times: all networks ran in turn, ${counted(rounds, "round", "rounds")}, batch ${batch}; intervals contain eight of ten rounds.` : `No times: ${untimed}.`,
  ];
  const overview = el("section", { class: "card", id: "cuts" }, el("h2", {}, "Networks side by side"),
    el("p", { class: "quiet" }, `The original and ${counted(networks.length - 1, "pruned network", "pruned networks")}: their `, term("MACs"), ", ", term("parameters"), ", quality ± ", term("standard error"), ", ", term("agreement"), " with the original, and time. ", notes.join(" ")),
    list.node, el("div", { class: "saves" }, csvButton("cuts", "the table of networks", columns, networks)));
  const wide = [
    { name: "#", up: true, narrow: true, value: (l) => PAGE.layers.indexOf(l) + 1 },
    { name: "Layer", text: true, wrap: true, value: (l) => l.name },
    { name: "Kind", text: true, narrow: true, value: kind },
    ...networks.map((n, i) => ({
      name: i ? n.name : "Original", value: (l) => n.widths[PAGE.layers.indexOf(l)],
      show: (l) => { const w = n.widths[PAGE.layers.indexOf(l)]; return w === null ? NONE : [String(w), i ? el("span", { class: "bar", "aria-hidden": "true" }, el("i", { style: `width:${(100 * w) / l.width[0]}%` })) : ""]; },
    })),
  ];
  const widths = table({ caption: "Channels of each layer in each network", columns: wide, rows: PAGE.layers });
  const widthSection = el("section", { class: "card", id: "widths" }, el("h2", {}, "Widths"),
    el("p", { class: "quiet" }, "The number of output ", term("channel", "channels"), " of each layer in each network."),
    widths.node, el("div", { class: "saves" }, csvButton("widths", "the table of widths", wide, PAGE.layers)));
  return [["Networks", overview], ["Widths", widthSection]];
}
