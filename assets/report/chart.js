// SVG drawings as wide as their container, redrawn when its width changes, so that text keeps its size.

function drawing(label, draw) {
  const place = el("div", { class: "drawing" });
  const redraw = () => {
    const width = Math.round(place.clientWidth);
    if (width > 0) clear(place, draw(width));
  };
  let last = 0;
  new ResizeObserver(() => {
    if (place.clientWidth !== last) redraw();
    last = place.clientWidth;
  }).observe(place);
  place.redraw = redraw;
  return place;
}

function canvas(width, height, label, ...children) {
  const size = { viewBox: `0 0 ${width} ${height}`, width, height };
  return el("svg:svg", { class: "chart", role: "img", "aria-label": label, ...size }, ...children);
}

// A scale from values to pixels, logarithmic only if all values are positive.
function scale(values, from, to, { log = false, zero = false, pad = 0.04 } = {}) {
  const finite = values.filter((v) => v !== null && Number.isFinite(v));
  log = log && finite.length > 0 && finite.every((v) => v > 0);
  const turn = log ? Math.log10 : (v) => v;
  let low = Infinity, high = -Infinity;
  for (const v of finite) { low = Math.min(low, turn(v)); high = Math.max(high, turn(v)); }
  if (zero) { low = Math.min(low, 0); high = Math.max(high, 0); }
  if (!(low <= high)) { low = 0; high = 1; }
  if (low === high) { const by = Math.abs(low) * 0.1 || 0.5; low -= by; high += by; }
  const room = pad * (high - low);
  low -= zero && low === 0 ? 0 : room;
  high += room;
  const at = (v) => from + (turn(v) - low) / (high - low) * (to - from);
  const back = (share) => low + share * (high - low);
  return { at, log, low, high, back: (share) => (log ? 10 ** back(share) : back(share)), ticks: (room) => ticks(low, high, log, Math.abs(to - from) / room) };
}

// Round numbers, spaced wider than their labels.
function ticks(low, high, log, room) {
  const most = Math.max(3, Math.floor(room));
  if (log && high - low >= 1.5) {
    const by = Math.ceil((high - low) / most);
    const found = [];
    for (let k = Math.ceil(low); k <= high; k += by) found.push(10 ** k);
    return found;
  }
  const [a, b] = log ? [10 ** low, 10 ** high] : [low, high];
  const raw = (b - a) / most, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999) || raw;
  const found = [];
  for (let i = Math.ceil(a / step); i * step <= b + step * 1e-9; i += 1) found.push(i * step);
  return found;
}

const tickText = (v) => number(Number(v.toPrecision(6)));

// The frame of a chart, with ticks and titles.
function frame({ left, top, right, bottom }, x, y, xTitle, yTitle, text = tickText) {
  const parts = [];
  for (const v of x.ticks(70)) {
    const at = x.at(v);
    parts.push(el("svg:path", { class: "axis", d: `M${at} ${top}V${bottom}` }));
    parts.push(el("svg:text", { x: at, y: bottom + 16, "text-anchor": "middle" }, text(v, "x")));
  }
  for (const v of y.ticks(48)) {
    const at = y.at(v);
    parts.push(el("svg:path", { class: "axis", d: `M${left} ${at}H${right}` }));
    parts.push(el("svg:text", { x: left - 6, y: at + 4, "text-anchor": "end" }, text(v, "y")));
  }
  parts.push(el("svg:text", { class: "title", x: (left + right) / 2, y: bottom + 34, "text-anchor": "middle" }, xTitle));
  parts.push(el("svg:text", { class: "title", x: left - 6, y: top - 9 }, yTitle));
  return parts;
}

const MARKS = {
  kept: (x, y, r) => el("svg:circle", { class: "mark kept", cx: x, cy: y, r }),
  blocked: (x, y, r) => el("svg:rect", { class: "mark blocked", x: x - r, y: y - r, width: 2 * r, height: 2 * r }),
  cut: (x, y, r) => el("svg:path", { class: "mark cut", d: `M${x - r} ${y - r}L${x + r} ${y + r}M${x - r} ${y + r}L${x + r} ${y - r}` }),
};

function legend(states) {
  const mark = (state) => el("svg:svg", { viewBox: "-7 -7 14 14", "aria-hidden": "true" }, MARKS[state](0, 0, 5));
  return el("div", { class: "legend" }, states.map(([state, text]) => el("span", {}, mark(state), text)));
}

// points: {x, y, xe, ye, state, text}. Calls `tell` with the text of the point under the pointer or chosen by arrow keys.
function scatter(points, { xTitle, yTitle, xLog, yLog, errors, tell, label }) {
  const shown = points.filter((p) => Number.isFinite(p.x) && Number.isFinite(p.y));
  const sorted = [...shown].sort((a, b) => a.x - b.x);
  return drawing(label, (width) => {
    const height = Math.max(260, Math.min(400, width * 0.62));
    const box = { left: 58, top: 26, right: width - 12, bottom: height - 42 };
    // Error bars do not affect the scales: a very long one would collapse all points into one.
    const x = scale(shown.map((p) => p.x), box.left, box.right, { log: xLog });
    const y = scale(shown.map((p) => p.y), box.bottom, box.top, { log: yLog });
    const r = shown.length > 400 ? 2.5 : shown.length > 120 ? 3.2 : 4.2;
    const clip = (v, low, high) => Math.max(Math.min(low, high), Math.min(Math.max(low, high), v));
    const end = (s, v, low, high) => (s.log && v <= 0 ? low : clip(s.at(v), low, high));
    const bars = { kept: "", cut: "", blocked: "" };
    for (const p of errors ? shown : []) {
      const [px, py] = [x.at(p.x), y.at(p.y)];
      if (p.xe > 0) bars[p.state] += `M${end(x, p.x - p.xe, box.left, box.right)} ${py}H${end(x, p.x + p.xe, box.right, box.left)}`;
      if (p.ye > 0) bars[p.state] += `M${px} ${end(y, p.y - p.ye, box.bottom, box.top)}V${end(y, p.y + p.ye, box.top, box.bottom)}`;
    }
    const ring = el("svg:circle", { class: "ring", r: r + 4, visibility: "hidden" });
    const svg = canvas(width, height, label,
      frame(box, x, y, xTitle, yTitle),
      Object.entries(bars).map(([state, d]) => d && el("svg:path", { class: `error ${state}`, d })),
      shown.map((p) => MARKS[p.state](x.at(p.x), y.at(p.y), r)), ring);
    let current = -1;
    const show = (p) => {
      ring.setAttribute("cx", x.at(p.x));
      ring.setAttribute("cy", y.at(p.y));
      ring.setAttribute("visibility", "visible");
      tell(p.text);
    };
    svg.setAttribute("tabindex", "0");
    svg.addEventListener("pointermove", (event) => {
      const corner = svg.getBoundingClientRect();
      const [mx, my] = [event.clientX - corner.left, event.clientY - corner.top];
      let best = 24 * 24, found = null;
      for (const p of shown) {
        const d = (x.at(p.x) - mx) ** 2 + (y.at(p.y) - my) ** 2;
        if (d < best) { best = d; found = p; }
      }
      if (found) { current = sorted.indexOf(found); show(found); }
    });
    svg.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      if (!by || !sorted.length) return;
      event.preventDefault();
      current = Math.max(0, Math.min(sorted.length - 1, current + by));
      show(sorted[current]);
    });
    return svg;
  });
}

// A stacked histogram of values by state.
function histogram(values, { title, log, label }) {
  const shown = values.filter((v) => Number.isFinite(v.x));
  return drawing(label, (width) => {
    const height = 260;
    const box = { left: 44, top: 26, right: width - 10, bottom: height - 42 };
    const x = scale(shown.map((v) => v.x), box.left, box.right, { log, pad: 0.001 });
    const bins = Math.max(8, Math.min(40, Math.round(2 * Math.sqrt(shown.length))));
    const order = ["kept", "blocked", "cut"];
    const counts = Array.from({ length: bins }, () => ({ kept: 0, blocked: 0, cut: 0 }));
    for (const v of shown) {
      const share = (x.at(v.x) - box.left) / (box.right - box.left);
      counts[Math.max(0, Math.min(bins - 1, Math.floor(share * bins)))][v.state] += 1;
    }
    const y = scale([0, ...counts.map((c) => c.kept + c.blocked + c.cut)], box.bottom, box.top, { zero: true });
    const wide = (box.right - box.left) / bins;
    const columns = counts.flatMap((count, i) => {
      let below = 0;
      return order.filter((state) => count[state]).map((state) => {
        const [from, to] = [y.at(below), y.at(below + count[state])];
        below += count[state];
        const text = `${number(x.back(i / bins))} to ${number(x.back((i + 1) / bins))}: ${count[state]} ${said(state)}`;
        return el("svg:rect", { class: state, "stroke-width": 0, x: box.left + i * wide + 0.5, y: to, width: Math.max(1, wide - 1), height: from - to }, el("svg:title", {}, text));
      });
    });
    return canvas(width, height, label, frame(box, x, y, title, "kernels"), columns);
  });
}
