// The four summary cards, and the curve of the networks that a search tried.

const times = (ratio) => (Number.isFinite(ratio) ? ratio.toFixed(ratio < 10 ? 2 : 1) + "×" : NONE);

function card(title, ...children) {
  return el("article", { class: "card" }, el("h2", {}, title), ...children);
}

function facts(rows) {
  const shown = rows.filter(([, value]) => value !== undefined && value !== null && value !== NONE);
  return el("dl", { class: "facts" }, shown.map(([what, value]) => [el("dt", {}, what), el("dd", {}, value)]));
}

function smallerCard({ before, after }) {
  const bar = (what, key, unit) => {
    const share = after[key] / Math.max(1, before[key]);
    const fill = el("i", { style: `width:${(100 * share).toFixed(2)}%` });
    const label = `${what}: ${grouped(after[key])} of ${grouped(before[key])}`;
    return [
      el("span", {}, what),
      el("span", {}, `${short(before[key], unit)} → ${short(after[key], unit)}`),
      el("span", { class: "bar", role: "img", "aria-label": label, title: label }, fill),
    ];
  };
  return card("Smaller",
    el("p", { class: "figure" }, times(before.macs / after.macs), el("small", {}, "fewer MACs")),
    el("div", { class: "bars" }, bar("MACs", "macs"), bar("Parameters", "params"), bar("File", "bytes", "B")),
    el("p", { class: "quiet small" }, `${percent(after.macs / before.macs)} of the MACs and ${percent(after.bytes / before.bytes)} of the bytes are left.`));
}

function fasterCard({ speed, untimed }) {
  if (!speed) {
    return card("Faster", el("p", { class: "figure quiet" }, "not measured"), el("p", { class: "quiet small" }, untimed || ""));
  }
  const { speedup } = speed;
  const place = drawing("", (width) => {
    const x = scale([1, speedup.p10, speedup.p90, speedup.median], 8, width - 8, { pad: 0.08 });
    const label = `${times(speedup.median)}, from ${times(speedup.p10)} to ${times(speedup.p90)}`;
    return canvas(width, 34, label,
      el("svg:path", { class: "axis", d: `M8 10H${width - 8}` }),
      el("svg:path", { class: "axis", d: `M${x.at(1)} 4V16` }),
      el("svg:text", { x: x.at(1), y: 30, "text-anchor": x.at(1) < width / 2 ? "start" : "end" }, "1× (no faster)"),
      el("svg:rect", { class: "after", x: x.at(speedup.p10), y: 6, rx: 3, height: 8, width: Math.max(2, x.at(speedup.p90) - x.at(speedup.p10)), opacity: 0.45 }),
      el("svg:circle", { class: "after", cx: x.at(speedup.median), cy: 10, r: 5 }));
  });
  const ms = (spread) => Number((spread.median / speed.batch).toPrecision(3));
  return card("Faster",
    el("p", { class: "figure" }, times(speedup.median), el("small", {}, `from ${times(speedup.p10)} to ${times(speedup.p90)}`)),
    place,
    facts([
      ["Time per image", `${ms(speed.before_ms)} → ${ms(speed.after_ms)} ms`],
      ["On", speed.device.name],
      ["Measured", `${speed.rounds} pairs, batch ${speed.batch}`],
    ]),
    el("p", { class: "quiet small" }, "Both networks ran in turn; the interval contains eight of ten pairs."));
}

// A metric's value with its unit, as the command line prints it.
function quality(v, unit) {
  return unit === "" ? number(v) : `${v.toFixed(unit === "dB" ? 1 : 2)}${unit.startsWith(" ") ? "" : " "}${unit}`;
}

function accuracyCard({ quality: q, calibration }) {
  if (!q) {
    return card("Accuracy", el("p", { class: "figure quiet" }, "not measured"),
      el("p", { class: "quiet small" }, "No images were given (--data)."));
  }
  const drop = q.top1 && 100 * (q.top1[1] - q.top1[0]);
  // Metrics that the fields below do not have.
  const own = q.metric && !["top-1", "agreement", "SNR"].includes(q.metric.name) ? q.metric : null;
  const inUnit = (v) => (v === null ? "∞" : quality(v, q.metric.unit)), error = q.metric && q.metric.error;
  const figure = own
    ? [inUnit(own.after), el("small", {}, own.name)]
    : q.top1
    ? [percent(q.top1[1], 2), el("small", {}, `top-1, ${drop > 0 ? "+" : drop < 0 ? "−" : "±"}${Math.abs(drop).toFixed(2)} points`)]
    : q.agreement !== null
      ? [percent(q.agreement, 2), el("small", {}, "agree with the original")]
      : [q.snr_db === null ? NONE : q.snr_db.toFixed(1) + " dB", el("small", {}, "signal to noise")];
  const pair = (two) => two && `${(100 * two[0]).toFixed(2)} → ${percent(two[1], 2)}`;
  return card("Accuracy",
    el("p", { class: "figure" }, figure),
    facts([
      [own && own.name, own && (own.before === null ? inUnit(own.after) : `${inUnit(own.before)} → ${inUnit(own.after)}`)],
      ["Top-1", pair(q.top1)],
      ["Standard error", error === null ? null : `± ${quality(error, q.metric.unit === "%" ? " points" : q.metric.unit)}`],
      ["Top-5", pair(q.top5)],
      ["Agreement", percent(q.agreement, 2)],
      ["KL divergence", q.kl === null ? null : `${number(q.kl)} nats`],
      ["Signal to noise", q.snr_db === null ? (q.max_abs_err === 0 ? "equal" : null) : q.snr_db.toFixed(1) + " dB"],
    ]),
    q.unclassified && el("p", { class: "quiet small" }, `No top-1 or agreement: ${q.unclassified}.`),
    el("p", { class: "quiet small" }, `Measured ${q.on}${calibration ? `; statistics from ${counted(calibration, "image", "images")}` : ""}.`));
}

function proofCard({ proof, unproved, stamp, coupled, channels, inexact, confidence, repair, criterion, budget }) {
  const head = !proof
    ? stamp
      ? el("p", { class: "figure" }, "proved when written")
      : el("p", { class: "figure quiet" }, "not checked")
    : proof.passed
      ? el("p", { class: "figure good" }, "✓ ", proof.exact ? "proved" : "proved in part")
      : el("p", { class: "figure bad" }, "✗ failed");
  const constants = proof && proof.constants;
  const why = !proof
    ? (stamp ? `By its stamp, Secateur ${stamp.version} proved and wrote this network; original and cut are those of the stamp. ` : "")
      + (unproved ? `It could not be checked again: ${unproved}.` : "")
    : "Its outputs equal those of the original" + (repair && repair !== "none" ? ", repaired," : "")
      + ` with the removed channels masked to zero, on ${counted(proof.inputs, "input", "inputs")}`
      + (inexact.length ? `, except for ${counted(inexact.length, "node that mixes", "nodes that mix")} removed channels with others: ${inexact.slice(0, 5).join(", ")}${inexact.length > 5 ? ", …" : ""}.` : ".");
  return card("Proof", head,
    el("p", { class: "small" }, why),
    facts([
      ["Largest error", proof && `${number(proof.max_rel_err)} relative`],
      ["Constant channels", constants && `${counted(constants.channels, "channel", "channels")} in the biases of ${counted(constants.layers, "layer", "layers")}`],
      ["Effect at their borders", constants && constants.difference !== null ? `${number(constants.difference)} relative` : null],
      ["Effect of the cut", proof && proof.difference !== null ? number(proof.difference) : null],
      ["Channels removed", `${grouped(channels[1])} of ${grouped(channels[0])}`],
      ["Coupled channels removed", `${grouped(coupled[1])} of ${grouped(coupled[0])}`],
      ["Criterion", criterion],
      ["Budget", budget],
      ["Repair", repair],
      ["Confidence", confidence === null ? null : percent(confidence)],
    ]));
}

function curveSection(curve) {
  const known = curve.points.filter((p) => p.value !== null);
  // Percentages are shares of 1.
  const shown = (v, digits) => (v === null ? NONE : curve.unit === "%" ? percent(v, digits) : quality(v, curve.unit));
  const label = `${curve.measured} against the share of ${curve.counted}: ` + known.map((p) => `${shown(p.value)} at ${percent(p.keep)}${p.chosen ? " (chosen)" : ""}`).join(", ");
  const place = drawing(label, (width) => {
    const height = Math.max(240, Math.min(340, width * 0.45));
    const box = { left: 52, top: 26, right: width - 14, bottom: height - 42 };
    const x = scale([...known.map((p) => p.keep), 1], box.left, box.right);
    const y = scale([...known.map((p) => p.value), ...(curve.floor === null ? [] : [curve.floor])], box.bottom, box.top, { pad: 0.08 });
    const text = (v, axis) => (axis === "x" || curve.unit === "%" ? (100 * v).toFixed(0) + " %" : number(v));
    const path = known.map((p, i) => `${i ? "L" : "M"}${x.at(p.keep)} ${y.at(p.value)}`).join("");
    const said = (p) => [`${percent(p.keep)} kept: ${shown(p.value, 2)}`, p.name, p.chosen && (curve.sweep ? "this network" : "chosen"), p.best && "on the Pareto front"].filter(Boolean).join(", ");
    const dot = (p) => el("svg:circle", { class: p.chosen ? "chosen" : p.best ? "best" : "after", r: p.chosen ? 7 : p.best ? 5 : 4, cx: x.at(p.keep), cy: y.at(p.value) },
      el("svg:title", {}, said(p)));
    const bar = (p) => p.error && el("svg:path", { class: "error", d: `M${x.at(p.keep)} ${y.at(p.value - p.error)}V${y.at(p.value + p.error)}` });
    const front = known.filter((p) => p.best).map((p, i) => `${i ? "L" : "M"}${x.at(p.keep)} ${y.at(p.value)}`).join("");
    return canvas(width, height, label,
      frame(box, x, y, `share of ${curve.counted} to keep`, curve.measured, text),
      curve.floor === null ? null : el("svg:path", { class: "floor", d: `M${box.left} ${y.at(curve.floor)}H${box.right}` }),
      known.map(bar).filter(Boolean),
      el("svg:path", { class: curve.sweep ? "faint" : "curve", d: path }),
      front && el("svg:path", { class: "curve", d: front }),
      [...known].sort((a, b) => a.chosen - b.chosen).map(dot));
  });
  const rows = el("details", {}, el("summary", {}, "As a table"), table({
    caption: "Networks tried",
    columns: [
      { name: "Kept", value: (p) => p.keep, show: (p) => percent(p.keep) },
      { name: curve.measured, value: (p) => p.value, show: (p) => shown(p.value, 2) },
      { name: "Standard error", value: (p) => p.error, show: (p) => (p.error === null ? NONE : `± ${shown(p.error, 2)}`) },
      { name: "Network", text: true, value: (p) => p.name, show: (p) => p.name || (p.keep === 1 ? "original" : "") },
      { name: "Place", text: true, value: (p) => (p.chosen ? 2 : p.best ? 1 : 0), show: (p) => [p.chosen && (curve.sweep ? "this network" : "chosen"), p.best && "Pareto front"].filter(Boolean).join(", ") },
    ],
    rows: curve.points,
  }).node);
  const [title, text] = curve.sweep
    ? ["Budgets", "The networks of all budgets. No other network is as small and as good as one of the Pareto front. Bars are standard errors of the difference to the original."]
    : ["Search", "Each network that the search for the smallest one tried, pruned, repaired and evaluated on held-out images. The dashed line is the least quality allowed."];
  return el("section", { class: "card", id: "curve" }, el("h2", {}, title),
    el("p", { class: "quiet" }, text),
    place, rows);
}

function glanceSection() {
  const s = PAGE.summary;
  return el("section", { id: "glance", "aria-label": "At a glance" },
    el("div", { class: "glance" }, smallerCard(s), fasterCard(s), accuracyCard(s), proofCard(s)));
}
