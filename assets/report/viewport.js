// A window onto a large drawing: zoom and pan by mouse, fingers, buttons and keyboard.

const ZOOM_STEP = 1.3, LARGEST = 3, READABLE = 0.62;

// `content` is a group of the size [width, height]; boxes of it that can have the focus have `data-at` "x y w h".
function viewport(content, [wide, high], label) {
  content.dataset.moved = "yes";
  const svg = el("svg:svg", { class: "map", role: "group", "aria-label": label, "data-whole": `0 0 ${wide} ${high}` }, content);
  const place = el("div", { class: "viewport" }, svg);
  let view = null, size = [0, 0];
  const smallest = () => Math.min(size[0] / wide, size[1] / high, 1);
  const show = () => {
    // At least a part of the drawing stays in view.
    const room = 60;
    view.x = Math.max(room - wide * view.k, Math.min(size[0] - room, view.x));
    view.y = Math.max(room - high * view.k, Math.min(size[1] - room, view.y));
    content.setAttribute("transform", `translate(${view.x.toFixed(1)} ${view.y.toFixed(1)}) scale(${view.k.toFixed(4)})`);
  };
  const fit = () => {
    const k = smallest();
    view = { k, x: (size[0] - wide * k) / 2, y: (size[1] - high * k) / 2 };
    show();
  };
  // The whole drawing if it can be read, else its beginning.
  const start = () => {
    if (smallest() >= READABLE) return fit();
    const k = Math.min(1, Math.max(READABLE, smallest()));
    const [x, , w] = (content.querySelector("[data-at]")?.dataset.at || "0 0 0 0").split(" ").map(Number);
    view = { k, x: wide * k <= size[0] ? (size[0] - wide * k) / 2 : Math.min(0, size[0] / 2 - (x + w / 2) * k), y: 0 };
    if (view.x < 0) view.x = Math.max(view.x, size[0] - wide * k);
    show();
  };
  const zoom = (by, at = [size[0] / 2, size[1] / 2]) => {
    const k = Math.max(smallest() * 0.8, Math.min(LARGEST, view.k * by));
    const turn = k / view.k;
    view = { k, x: at[0] - (at[0] - view.x) * turn, y: at[1] - (at[1] - view.y) * turn };
    show();
  };
  const pan = (dx, dy) => { view.x += dx; view.y += dy; show(); };
  const reveal = (box) => {
    const [x, y, w, h] = box.dataset.at.split(" ").map(Number), edge = 24;
    const into = (from, to, length) => (from < edge ? edge - from : to > length - edge ? length - edge - to : 0);
    pan(into(view.x + x * view.k, view.x + (x + w) * view.k, size[0]), into(view.y + y * view.k, view.y + (y + h) * view.k, size[1]));
  };
  new ResizeObserver(() => {
    const now = [place.clientWidth, place.clientHeight];
    if (!now[0] || (now[0] === size[0] && now[1] === size[1])) return;
    size = now;
    svg.setAttribute("viewBox", `0 0 ${size[0]} ${size[1]}`);
    start();
  }).observe(place);

  // The wheel scrolls the page, unless the drawing has the focus or Ctrl is held.
  svg.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey && !svg.contains(document.activeElement)) return;
    event.preventDefault();
    const corner = svg.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY / 400), [event.clientX - corner.left, event.clientY - corner.top]);
  }, { passive: false });
  const fingers = new Map();
  let moved = 0;
  const middle = () => [...fingers.values()].reduce(([x, y], p) => [x + p[0] / fingers.size, y + p[1] / fingers.size], [0, 0]);
  const spread = () => { const [a, b] = [...fingers.values()]; return b ? Math.hypot(a[0] - b[0], a[1] - b[1]) : 0; };
  svg.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    moved = 0;
  });
  addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    const [from, wideBefore] = [middle(), spread()];
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    const to = middle(), corner = svg.getBoundingClientRect();
    moved += Math.hypot(to[0] - from[0], to[1] - from[1]);
    pan(to[0] - from[0], to[1] - from[1]);
    if (wideBefore) zoom(spread() / wideBefore, [to[0] - corner.left, to[1] - corner.top]);
  });
  for (const end of ["pointerup", "pointercancel"]) addEventListener(end, (event) => fingers.delete(event.pointerId));
  // A drag is no click.
  svg.addEventListener("click", (event) => { if (moved > 5) event.stopPropagation(); }, true);
  svg.addEventListener("focusin", (event) => { if (event.target.dataset.at && view && event.target.matches(":focus-visible")) reveal(event.target); });
  svg.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
    if (by && event.shiftKey) pan(...by);
    else if (event.key === "+" || event.key === "=") zoom(ZOOM_STEP);
    else if (event.key === "-") zoom(1 / ZOOM_STEP);
    else if (event.key === "0") fit();
    else return;
    event.preventDefault();
  });
  const button = (sign, text, act) => el("button", { type: "button", "aria-label": text, title: text, onclick: act }, sign);
  const buttons = el("div", { class: "zoom", role: "group", "aria-label": "Zoom" }, button("+", "Zoom in", () => zoom(ZOOM_STEP)), button("−", "Zoom out", () => zoom(1 / ZOOM_STEP)), button("fit", "Show the whole drawing", fit));
  place.append(buttons);
  return { node: place, scale: () => view.k, reveal };
}
