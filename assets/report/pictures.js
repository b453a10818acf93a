// Filters and feature maps: tiles of one PNG each, grouped by the state of their channel; maps of both networks in pairs.

// Tile number `i` of a sheet, `size` pixels on its longer side.
function tile(sheet, i, size, label, cut) {
  const [w, h] = sheet.tile, by = size / Math.max(w, h);
  const [x, y] = [i % sheet.columns, Math.floor(i / sheet.columns)];
  const style = `width:${w * by}px;height:${h * by}px;background-image:var(--sheet);background-size:${sheet.columns * w * by}px auto;background-position:${-x * w * by}px ${-y * h * by}px`;
  return el("span", { class: cut ? "tile cut" : "tile", role: "img", "aria-label": label, title: label, style });
}

function source(sheet) {
  return `--sheet:url(data:image/png;base64,${sheet.png})`;
}

// A headline and tiles for each state of channels.
function tilesByState(layer, sheet, channels, size, what) {
  return Object.entries(STATES).flatMap(([letter, state]) => {
    const those = channels.map((channel, i) => [channel, i]).filter(([channel]) => (layer.state[channel] || "b") === letter);
    if (!those.length) return [];
    const tiles = those.map(([channel, i]) => el("li", {}, tile(sheet, i, size, `${what} ${channel}, ${said(state)}`, letter === "c")));
    return [el("h3", { class: "small quiet" }, `${said(state)} (${those.length})`), el("ul", { class: "tiles", style: source(sheet) }, tiles)];
  });
}

// Images as the network receives them, and the steps that lead to them.
function inputsSection({ sheet, range, size }) {
  const tiles = Array.from({ length: sheet.count }, (_, i) => el("li", {}, tile(sheet, i, Math.max(96, Math.min(160, sheet.tile[0])), `input ${i + 1}, as the network receives it`)));
  const [low, high] = range.map((v) => String(Number(v.toPrecision(3))).replace("-", "−"));
  return el("section", { class: "card", id: "inputs" }, el("h2", {}, "Inputs"),
    el("p", { class: "quiet" }, `Images as the network receives them, ${size.join("×")}: black is ${low}, white is ${high}. Wrong colours, borders or shapes here mean a wrong preprocessing.`),
    PAGE.preprocessing && el("p", { class: "quiet small" }, `Preprocessing: ${PAGE.preprocessing}`),
    el("ul", { class: "tiles", style: source(sheet) }, tiles));
}

function filtersSection({ layer: place, sheet }) {
  const layer = PAGE.layers[place];
  const channels = Array.from({ length: sheet.count }, (_, i) => i);
  const rest = layer.width[0] - sheet.count;
  const size = Math.max(28, Math.min(56, sheet.tile[0] * 8));
  return el("section", { class: "card", id: "filters" }, el("h2", {}, "First filters"),
    el("p", { class: "quiet" }, "The filters of ", el("code", {}, layer.name), " in the original, each in its own range, with zero as middle grey", rest > 0 ? `; ${rest} more are not shown.` : "."),
    tilesByState(layer, sheet, channels, size, "filter"));
}

// Maps of one image: kept channels of both networks in pairs, then those that were removed.
function mapPairs(layer, channels, sheet, after, size) {
  const is = (letter) => channels.map((channel, i) => [channel, i]).filter(([channel]) => (layer.state[channel] || "b") === letter);
  const gone = is("c");
  const rest = channels.map((channel, i) => [channel, i]).filter(([channel]) => layer.state[channel] !== "c");
  const pair = ([channel, i], n) => el("li", { class: "maps" },
    tile(sheet, i, size, `channel ${channel}, original`),
    el("span", { style: source(after) }, tile(after, n, size, `channel ${channel}, pruned network`)));
  const lost = ([channel, i]) => el("li", { class: "maps" },
    tile(sheet, i, size, `channel ${channel}, original, removed`, true),
    el("span", { class: "tile gone", role: "img", "aria-label": `channel ${channel} is missing in the pruned network`, style: `width:${size}px;height:${(size * sheet.tile[1]) / sheet.tile[0]}px` }, "✗"));
  const group = (title, items) => items.length > 0 && [el("h3", { class: "small quiet" }, title), el("ul", { class: "tiles pairs", style: source(sheet) }, items)];
  return [group(`kept (${rest.length})`, rest.map(pair)), group(`removed (${gone.length})`, gone.map(lost))].flat().filter(Boolean);
}

function mapsSection(maps, images) {
  // The first layer shown is the one that lost most of its shown channels.
  const removed = (m) => m.channels.filter((channel) => PAGE.layers[m.layer].state[channel] === "c").length / m.channels.length;
  let layer = maps.indexOf(maps.reduce((most, m) => (removed(m) > removed(most) ? m : most), maps[0])), image = 0;
  const place = el("div");
  const both = maps.some((m) => m.after.length);
  const show = () => {
    const { layer: at, channels, sheets, after } = maps[layer];
    const of = PAGE.layers[at], sheet = sheets[image];
    const size = Math.max(36, Math.min(64, 2 * sheet.tile[0]));
    const some = channels.length < of.width[0] ? el("p", { class: "quiet small" }, `${channels.length} of ${of.width[0]} channels, evenly spaced`) : null;
    clear(place, [some].filter(Boolean), after.length ? mapPairs(of, channels, sheet, after[image], size) : tilesByState(of, sheet, channels, size, "channel"));
  };
  const pick = menu("Layer", maps.map((m, i) => [i, PAGE.layers[m.layer].name]), layer, (i) => { layer = Number(i); show(); });
  const count = maps[0].sheets.length;
  const photo = (i) => el("button", { type: "button", "aria-pressed": String(i === 0), onclick: () => {
    image = i;
    buttons.forEach((b, n) => b.setAttribute("aria-pressed", String(n === i)));
    show();
  } }, images ? tile(images, i, 72, `image ${i + 1}`) : `input ${i + 1}`);
  const buttons = Array.from({ length: count }, (_, i) => photo(i));
  show();
  const range = "Black to white is the range of the original over all images shown: a channel with equal maps carries no information.";
  return el("section", { class: "card", id: "maps" }, el("h2", {}, "Feature maps"),
    el("p", { class: "quiet" }, both ? "Outputs of some layers for calibration images: above in the original, below in the pruned network. " : "Outputs of some layers of the original for calibration images. ", range),
    el("div", { class: "photos", role: "group", "aria-label": "Images", style: images ? source(images) : null }, buttons),
    el("div", { class: "tools" }, pick.label), place);
}
