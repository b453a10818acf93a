// The accuracy card: what was lost, judged by its standard error.

// A metric's value with its unit, as the command line prints it.
function quality(v, unit) {
  return unit === "" ? number(v) : `${v.toFixed(unit === "dB" ? 1 : 2)}${unit.startsWith(" ") ? "" : " "}${unit}`;
}

// Losses in the unit of the metric: below the first a network is as good as before, above the second much worse.
const LOSSES = { "%": [1, 5], dB: [0.2, 1], "": [0.01, 0.05] };
// Agreement is no accuracy: half of the changed predictions may be better ones.
const OF_AGREEMENT = [5, 20];
// Ratios to the original, in dB: outputs that differ by 3 % and by 30 %.
const RATIOS = [30, 10];

// The verdict on a metric {name, unit, before, after, error, higher_is_better}: {loss, twice, level, says}.
// A loss counts beyond two standard errors; what so few images cannot show is stated.
function verdict(m, images) {
  if (m.after === null) return { level: m.before === null ? "good" : "none", says: m.before === null ? "The outputs are equal." : "" };
  if (m.before === null) {
    const level = m.after >= RATIOS[0] ? "good" : m.after >= RATIOS[1] ? "warn" : "bad";
    const says = { good: "The outputs hardly differ from the original's.", warn: "The outputs differ from the original's.", bad: "The outputs are far from the original's." }[level];
    return { level, says };
  }
  const loss = m.higher_is_better ? m.before - m.after : m.after - m.before;
  const unit = m.unit === "%" ? " points" : m.unit && ` ${m.unit}`;
  const digits = (v) => `${m.unit === "" ? number(v) : v.toFixed(m.unit === "%" ? 2 : 1)}${unit}`;
  const [small, large] = m.name === "agreement" ? OF_AGREEMENT : LOSSES[m.unit] || LOSSES[""];
  if (m.error === null) {
    const level = loss <= small ? "none" : loss <= large ? "warn" : "bad";
    return { loss, level, says: "Its standard error is not known." };
  }
  const twice = 2 * m.error, seen = `${counted(images, "image", "images")} cannot show less than ${digits(twice)}`;
  if (loss > twice) {
    const level = loss - twice > large ? "bad" : loss + twice <= small ? "good" : "warn";
    return { loss, level, says: `${level === "bad" ? "Much was lost" : "A real loss"}: more than two standard errors (${digits(twice)}).` };
  }
  if (loss + twice <= small) return { loss, level: "good", says: `No loss that counts: ${seen}.` };
  return { loss, level: "none", says: `No loss is shown, but ${seen}.` };
}

const signed = (v, text) => (v > 0 ? "+" : v < 0 ? "−" : "±") + text(Math.abs(v));

function accuracyCard({ quality: q, calibration }) {
  if (!q) {
    return card("Accuracy", el("p", { class: "figure quiet" }, "not measured"),
      el("p", { class: "quiet small" }, "No images were given (--data), so nothing is known of what was lost."));
  }
  const m = q.metric;
  const found = m ? verdict(m, q.images) : { level: "none", says: "" };
  const inUnit = (v) => (v === null ? "∞" : quality(v, m.unit));
  const points = (v) => quality(v, m.unit === "%" ? " points" : m.unit);
  const names = { agreement: [term("agreement", "agree with the original")], SNR: [term("SNR", "signal to noise")], "top-1": [term("top-1")] };
  // The unit stands once, behind the error if there is one.
  const plain = (v) => (m.error === null ? points(v) : m.unit === "" ? number(v) : v.toFixed(m.unit === "dB" ? 1 : 2));
  const change = m && found.loss !== undefined && m.name !== "agreement" ? [`, ${signed(m.higher_is_better ? -found.loss : found.loss, plain)}`] : [];
  const error = m && m.error !== null ? [` ± ${points(m.error)}`] : [];
  const figure = m
    ? [inUnit(m.after), el("small", {}, names[m.name] || m.name, change, error)]
    : q.snr_db === null ? [NONE] : [`${q.snr_db.toFixed(1)} dB`, el("small", {}, names.SNR)];
  const pair = (two) => two && `${(100 * two[0]).toFixed(2)} → ${percent(two[1], 2)}`;
  const own = m && !["top-1", "agreement", "SNR"].includes(m.name);
  // Ratios of outputs are no accuracy.
  const title = m && m.unit !== "%" ? "Quality" : "Accuracy";
  const mark = { good: "✓ ", warn: "▲ ", bad: "✗ ", none: "" }[found.level];
  const node = card(title,
    el("p", { class: `figure ${found.level}` }, figure),
    found.says && el("p", { class: `small verdict ${found.level}` }, mark, found.says),
    facts([
      [own && m.name, own && (m.before === null ? inUnit(m.after) : `${inUnit(m.before)} → ${inUnit(m.after)}`)],
      ["Top-1", pair(q.top1)],
      [term("standard error", "Standard error"), m && m.error !== null && m.before !== null ? `± ${points(m.error)}` : null],
      ["Top-5", pair(q.top5)],
      [term("agreement", "Agreement"), percent(q.agreement, 2)],
      [term("KL divergence"), q.kl === null ? null : `${number(q.kl)} nats`],
      [term("SNR", "Signal to noise"), q.snr_db === null ? (q.max_abs_err === 0 ? "equal" : null) : q.snr_db.toFixed(1) + " dB"],
    ]),
    q.unclassified && el("p", { class: "quiet small" }, `No top-1 or agreement: ${q.unclassified}.`),
    el("p", { class: "quiet small" }, `Measured ${q.on}`, calibration ? ["; statistics from ", grouped(calibration), " ", term("calibration images"), "."] : "."));
  node.dataset.level = found.level;
  return node;
}
