// Quality against cost of several networks: a search, several budgets, or several cuts.

function curveSection(curve) {
  const known = curve.points.filter((p) => p.value !== null);
  const front = new Set(known.filter((p) => p.best));
  const isSearch = !curve.sweep;
  // Beside other networks, the original has a mark of its own: nothing is better, and everything is cheaper.
  const last = curve.points[curve.points.length - 1];
  const whole = !isSearch && last && last.keep === 1 ? last : null;
  // Percentages are shares of 1.
  const shown = (v, digits) => (v === null ? NONE : curve.unit === "%" ? percent(v, digits) : quality(v, curve.unit));
  const plusMinus = (p) => (p.error === null || p.value === null ? "" : curve.unit === "%" ? ` ± ${(100 * p.error).toFixed(2)} points` : ` ± ${quality(p.error, curve.unit)}`);
  const name = (p) => p.name || (p.keep === 1 && p === curve.points[curve.points.length - 1] ? "the original" : "");
  const told = (p) => `${name(p) ? name(p) + ": " : ""}${shown(p.value, 2)}${plusMinus(p)} at ${percent(p.keep)} of the ${curve.counted}${p.chosen ? (isSearch ? ", chosen" : ", this network") : ""}${front.has(p) ? ", on the Pareto front" : ""}`;
  const label = `${curve.measured} against the share of ${curve.counted}: ` + known.map(told).join("; ");
  const place = drawing(label, (width) => {
    const height = Math.max(240, Math.min(340, width * 0.45));
    const box = { left: 52, top: 26, right: width - 14, bottom: height - 42 };
    const x = scale([...known.map((p) => p.keep), 1], box.left, box.right);
    const ends = known.flatMap((p) => [p.value - (p.error || 0), p.value + (p.error || 0)]);
    const y = scale([...ends, ...(curve.floor === null ? [] : [curve.floor])], box.bottom, box.top, { pad: 0.08 });
    // As many digits as neighbouring ticks need to differ.
    const steps = y.ticks(48), step = steps.length > 1 ? 100 * (steps[1] - steps[0]) : 1;
    const digits = Math.max(0, Math.min(4, -Math.floor(Math.log10(step) + 1e-9)));
    const text = (v, axis) => (axis === "x" ? (100 * v).toFixed(0) + " %" : curve.unit === "%" ? (100 * v).toFixed(digits) + " %" : number(Number(v.toPrecision(6))));
    const line = isSearch ? known : known.filter((p) => front.has(p));
    const path = line.map((p, i) => `${i ? "L" : "M"}${x.at(p.keep)} ${y.at(p.value)}`).join("");
    const bars = known.filter((p) => p.error > 0).map((p) => {
      const [at, low, high] = [x.at(p.keep), y.at(p.value - p.error), y.at(p.value + p.error)];
      return `M${at} ${low}V${high}M${at - 4} ${low}h8M${at - 4} ${high}h8`;
    });
    const dot = (p) => {
      const [cx, cy] = [x.at(p.keep), y.at(p.value)], r = p.chosen ? 7 : 5;
      const shape = p === whole
        ? el("svg:path", { class: "dot whole", d: `M${cx - 5} ${cy - 5}h10v10h-10Z` })
        : front.has(p)
        ? el("svg:path", { class: p.chosen ? "dot chosen" : "dot after", d: `M${cx} ${cy - r - 1}L${cx + r + 1} ${cy}L${cx} ${cy + r + 1}L${cx - r - 1} ${cy}Z` })
        : el("svg:circle", { class: p.chosen ? "dot chosen" : isSearch ? "dot after" : "dot beaten", r: r - 1, cx, cy });
      shape.append(el("svg:title", {}, told(p)));
      return shape;
    };
    return canvas(width, height, label,
      frame(box, x, y, `share of ${curve.counted} kept`, curve.measured, text),
      curve.floor === null ? null : el("svg:path", { class: "floor", d: `M${box.left} ${y.at(curve.floor)}H${box.right}` }),
      el("svg:path", { class: "curve", d: path }),
      bars.length > 0 && el("svg:path", { class: "whisker", d: bars.join("") }),
      [...known].sort((a, b) => a.chosen - b.chosen).map(dot));
  });
  const columns = [
    { name: "Network", text: true, wrap: true, value: (p) => [name(p), p.chosen && (isSearch ? "chosen" : "this network")].filter(Boolean).join(", ") },
    { name: `${curve.counted} kept`, value: (p) => p.keep, show: (p) => percent(p.keep) },
    { name: curve.measured, value: (p) => p.value, show: (p) => shown(p.value, 2) },
    { name: "± error", value: (p) => p.error, show: (p) => plusMinus(p).replace(" ± ", "") || NONE },
    ...(isSearch ? [] : [{ name: "Pareto", text: true, value: (p) => (p === whole ? NONE : front.has(p) ? "yes" : "no") }]),
  ];
  const rows = el("details", {}, el("summary", {}, "As a table"), table({ caption: "Networks tried", columns, rows: curve.points }).node);
  const diamond = "M0 -6L6 0L0 6L-6 0Z", circle = "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0", square = "M-5 -5h10v10h-10Z";
  const others = known.filter((p) => p !== whole);
  const marks = isSearch
    ? [["after", "tried", circle], known.some((p) => p.chosen) && ["chosen", "chosen", circle]]
    : [["after", "on the Pareto front", diamond], others.some((p) => !front.has(p)) && ["beaten", "another one is cheaper and better", circle], known.some((p) => p.chosen) && ["chosen", "this network", known.some((p) => p.chosen && front.has(p)) ? diamond : circle], whole && whole.value !== null && ["whole", "the original", square]];
  const key = el("div", { class: "legend" }, marks.filter(Boolean).map(([mark, text, d]) => el("span", {}, el("svg:svg", { class: "key", viewBox: "-7 -7 14 14", "aria-hidden": "true" }, el("svg:path", { class: "dot " + mark, d })), text)));
  return el("section", { class: "card", id: "curve" }, el("h2", {}, isSearch ? "Search" : "Quality against cost"),
    el("p", { class: "quiet" }, isSearch
      ? "Each network that the search for the smallest one tried, pruned, repaired and evaluated on held-out images. The dashed line is the least quality allowed. "
      : "Every network with its quality and its standard error. ",
    !isSearch && ["Diamonds are on the ", term("Pareto", "Pareto front"), "."]),
    key, place, rows,
    el("div", { class: "saves" }, svgButton("curve", "the curve", place), csvButton("curve", "the curve", columns, curve.points)));
}
