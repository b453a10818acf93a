// The trainings of a network: losses and learning rate over the steps, and the quality before and after each.

// The points of all trainings in a row, each with its training (from 0) and its place on the axis.
function trainingPoints(trainings) {
  let from = 0;
  const starts = [];
  const points = trainings.flatMap((t, training) => {
    starts.push(from);
    const own = t.points.map((p) => ({ ...p, training, x: starts[training] + p.step }));
    from = Math.max(from, ...own.map((p) => p.x));
    return own;
  });
  return { points, starts };
}

function trainingSection(trainings) {
  const { points, starts } = trainingPoints(trainings);
  const { losses } = trainings[0], several = losses.length > 1, inRounds = trainings.length > 1;
  const sum = losses.map((l) => (l.weight === 1 ? "" : number(l.weight) + " × ") + l.name).join(" + ");
  const lines = [
    { mark: "sum", name: "loss", text: several ? `loss: ${sum}` : `loss (${sum})`, get: (p) => p.loss },
    ...(several ? losses.map((l, i) => ({ mark: "loss" + i, name: l.name, text: l.name, get: (p) => p.losses[i] })) : []),
  ];
  const highest = Math.max(...trainings.map((t) => t.rate));
  const told = (p) => `Step ${grouped(p.step)} of ${grouped(trainings[p.training].steps)}${inRounds ? ` in round ${p.training + 1}` : ""}: `
    + lines.map((l) => `${l.name} ${number(l.get(p))}`).join(", ") + `, learning rate ${number(p.rate)}`;
  const status = el("output", { "aria-live": "polite" });
  const place = lossChart(trainings, points, starts, { lines, highest, told, tell: (p) => { status.textContent = told(p); } });
  const key = (mark, text) => el("span", {}, el("svg:svg", { class: "key", viewBox: "0 -7 24 14", "aria-hidden": "true" }, el("svg:path", { class: "line " + mark, d: "M0 0H24" })), text);
  const legend = el("div", { class: "legend lines" }, lines.map((l) => key(l.mark, l.text)), key("rate", `learning rate, 0 to ${number(highest)}`));
  const columns = [
    ...(inRounds ? [{ name: "Round", up: true, value: (p) => p.training + 1 }] : []),
    { name: "Step", up: true, value: (p) => p.step },
    ...lines.map((l) => ({ name: l.name, value: l.get, show: (p) => number(l.get(p)) })),
    { name: "learning rate", value: (p) => p.rate, show: (p) => number(p.rate) },
  ];
  const diverged = trainings.flatMap((t, i) => (t.diverged === null ? [] : [`${inRounds ? `Round ${i + 1}: the` : "The"} training diverged at step ${grouped(t.diverged)}; the weights are those of the epoch before.`]));
  return el("section", { class: "card", id: "training" }, el("h2", {}, "Training"),
    el("p", { class: "quiet" }, "Each point of a ", term("training loss", "loss"), " is its mean over the steps since the point before. ",
      "The ", term("learning rate"), " has a scale of its own.", inRounds && " A vertical line is the start of a round: a cut, then a training."),
    diverged.map((text) => el("p", { class: "bad" }, "✗ ", text)),
    legend, place, status, trainingTable(trainings, inRounds),
    el("details", {}, el("summary", {}, "The points as a table"), table({ caption: "Losses by steps", columns, rows: points }).node),
    el("div", { class: "saves" }, svgButton("training", "the losses", place), csvButton("training", "the losses", columns, points)));
}

function lossChart(trainings, points, starts, { lines, highest, told, tell }) {
  const ends = [points[0], points[points.length - 1]].filter(Boolean);
  const label = `Losses over the steps of ${counted(trainings.length, "training", "trainings")}. ${ends.map(told).join("; ")}`;
  return drawing(label, (width) => {
    const height = Math.max(240, Math.min(340, width * 0.45));
    const box = { left: 58, top: 26, right: width - 14, bottom: height - 42 };
    const x = scale([0, ...points.map((p) => p.x)], box.left, box.right, { pad: 0 });
    const y = scale(points.flatMap((p) => lines.map((l) => l.get(p))), box.bottom, box.top, { log: true });
    const rate = (p) => box.bottom - p.rate / highest * (box.bottom - box.top);
    const path = (at) => trainings.map((_, training) => {
      const own = points.filter((p) => p.training === training && Number.isFinite(at(p)));
      return own.map((p, i) => `${i ? "L" : "M"}${x.at(p.x)} ${at(p)}`).join("");
    }).join("");
    const value = (l) => (p) => (Number.isFinite(l.get(p) ?? NaN) ? y.at(l.get(p)) : NaN);
    const roomy = (box.right - box.left) / trainings.length > 60;
    const begins = starts.slice(1).flatMap((at, i) => [
      el("svg:path", { class: "begin", d: `M${x.at(at)} ${box.top}V${box.bottom}` }),
      el("svg:text", { x: x.at(at) + 4, y: box.top + 11 }, (roomy ? "round " : "") + (i + 2)),
    ]);
    const cursor = el("svg:path", { class: "cursor", visibility: "hidden", d: `M0 ${box.top}V${box.bottom}` });
    const svg = canvas(width, height, label, frame(box, x, y, "step", y.log ? "loss, logarithmic" : "loss"), begins,
      el("svg:path", { class: "line rate", d: path((p) => rate(p)) }),
      [...lines].reverse().map((l) => el("svg:path", { class: "line " + l.mark, d: path(value(l)) })), cursor);
    let current = -1;
    const show = (i) => {
      current = Math.max(0, Math.min(points.length - 1, i));
      cursor.setAttribute("transform", `translate(${x.at(points[current].x)} 0)`);
      cursor.setAttribute("visibility", "visible");
      tell(points[current]);
    };
    svg.setAttribute("tabindex", "0");
    svg.addEventListener("pointermove", (event) => {
      const mx = event.clientX - svg.getBoundingClientRect().left;
      const far = (p) => Math.abs(x.at(p.x) - mx);
      show(points.reduce((best, p, i) => (far(p) < far(points[best]) ? i : best), 0));
    });
    svg.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      if (!by) return;
      event.preventDefault();
      show(current + by);
    });
    return svg;
  });
}

// What every training did to the quality.
function trainingTable(trainings, inRounds) {
  const judged = (trainings.find((t) => t.after) || {}).after;
  const value = (row) => (row && row.after !== null ? row.after : null);
  const plain = (v, unit) => (unit === "%" || unit === "dB" ? v.toFixed(2) : number(v));
  const shown = (row) => (value(row) === null ? NONE : `${plain(row.after, row.unit)}${row.error === null ? "" : " ± " + plain(row.error, row.unit)} ${row.unit}`.trim());
  const ends = (t) => [t.points[0], t.points[t.points.length - 1]].map((p) => (p ? p.loss : null));
  const columns = [
    ...(inRounds ? [{ name: "Round", text: true, wrap: true, value: (t) => `${trainings.indexOf(t) + 1}: ${t.budget}` }] : []),
    ...(judged ? [
      { name: `${judged.name} before`, value: (t) => value(t.before), show: (t) => shown(t.before) },
      { name: `${judged.name} after`, value: (t) => value(t.after), show: (t) => shown(t.after) },
    ] : []),
    { name: "Steps", narrow: true, value: (t) => t.steps, show: (t) => grouped(t.steps) },
    { name: "First loss", narrow: true, value: (t) => ends(t)[0], show: (t) => number(ends(t)[0]) },
    { name: "Last loss", narrow: true, value: (t) => ends(t)[1], show: (t) => number(ends(t)[1]) },
    { name: "Highest rate", narrow: true, value: (t) => t.rate, show: (t) => number(t.rate) },
    { name: "Seconds", narrow: true, value: (t) => t.seconds, show: (t) => grouped(t.seconds) },
  ];
  return table({ caption: "Quality before and after each training", columns, rows: trainings }).node;
}
