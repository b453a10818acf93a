// The summary cards. Accuracy comes first; accuracy.js draws it.

const times = (ratio) => (Number.isFinite(ratio) ? ratio.toFixed(ratio < 10 ? 2 : 1) + "×" : NONE);

function card(title, ...children) {
  return el("article", { class: "card" }, el("h2", {}, title), ...children);
}

function facts(rows) {
  const shown = rows.filter(([, value]) => value !== undefined && value !== null && value !== NONE);
  return el("dl", { class: "facts" }, shown.map(([what, value]) => [el("dt", {}, what), el("dd", {}, value)]));
}

// A number before and after, with a bar of what is left.
function sizeBar(shown, [before, after], unit) {
  const what = typeof shown === "string" ? shown : shown.textContent;
  const share = Math.min(1, after / Math.max(1, before));
  const fill = el("i", { style: `width:${(100 * share).toFixed(2)}%` });
  const label = `${what}: ${grouped(after)} of ${grouped(before)}`;
  return [
    el("span", {}, shown),
    el("span", {}, `${short(before, unit)} → ${short(after, unit)}`),
    el("span", { class: "bar", role: "img", "aria-label": label, title: label }, fill),
  ];
}

function smallerCard({ before, after }) {
  const bar = (shown, key, unit) => sizeBar(shown, [before[key], after[key]], unit);
  return card("Smaller",
    el("p", { class: "figure" }, times(before.macs / after.macs), el("small", {}, "fewer ", term("MACs"))),
    el("div", { class: "bars" }, bar("MACs", "macs"), bar(term("parameters", "Parameters"), "params"), bar("File", "bytes", "B")),
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
    el("p", { class: "figure" }, times(speedup.median), el("small", {}, term("speedup", "faster"), `, from ${times(speedup.p10)} to ${times(speedup.p90)}`)),
    place,
    facts([
      ["Time per image", `${ms(speed.before_ms)} → ${ms(speed.after_ms)} ms`],
      ["On", speed.device.name],
      ["Measured", `${speed.rounds} pairs, batch ${speed.batch}`],
    ]),
    el("p", { class: "quiet small" }, "Both networks ran in turn; the interval contains eight of ten pairs."));
}

// Whether the removal is correct, which says nothing of accuracy: so it has no colour unless it failed.
function proofCard({ proof, unproved, stamp, coupled, channels, inexact, confidence, repair, criterion, budget }) {
  const head = !proof
    ? stamp
      ? el("p", { class: "figure" }, "exact when written")
      : el("p", { class: "figure quiet" }, "not checked")
    : proof.passed
      ? el("p", { class: "figure" }, "✓ ", proof.exact ? "exact" : "exact in part")
      : el("p", { class: "figure bad" }, "✗ not exact");
  const constants = proof && proof.constants;
  const why = !proof
    ? (stamp ? `By its stamp, Secateur ${stamp.version} proved and wrote this network; original and cut are those of the stamp. ` : "")
      + (unproved ? `It could not be checked again: ${unproved}.` : "")
    : "Its outputs equal those of the original" + (repair && repair !== "none" ? ", repaired," : "")
      + ` with the removed channels masked to zero, on ${counted(proof.inputs, "input", "inputs")}`
      + (inexact.length ? `, except for ${counted(inexact.length, "node that mixes", "nodes that mix")} removed channels with others: ${inexact.slice(0, 5).join(", ")}${inexact.length > 5 ? ", …" : ""}.` : ".");
  return card(term("cut is exact", "Cut is exact"), head,
    el("p", { class: "small" }, why),
    facts([
      ["Largest error", proof && number(proof.max_rel_err)],
      ["Constant channels", constants && `${counted(constants.channels, "channel", "channels")} in the biases of ${counted(constants.layers, "layer", "layers")}`],
      ["Effect at their borders", constants && constants.difference !== null ? `${number(constants.difference)} relative` : null],
      ["Effect of the cut", proof && proof.difference !== null ? number(proof.difference) : null],
      [term("channel", "Channels"), `${grouped(channels[1])} of ${grouped(channels[0])} removed`],
      [term("coupled channels", "Coupled sets"), `${grouped(coupled[1])} of ${grouped(coupled[0])} removed`],
      ["Criterion", criterion],
      ["Budget", budget],
      [term("repair", "Repair"), repair],
      [term("confidence", "Confidence"), confidence === null ? null : percent(confidence)],
    ]));
}

function glanceSection() {
  const s = PAGE.summary;
  return el("section", { id: "glance", "aria-label": "At a glance" },
    el("div", { class: "glance" }, accuracyCard(s), smallerCard(s), fasterCard(s), proofCard(s)));
}
