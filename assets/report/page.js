// The whole page: sections, colour theme, and data to reproduce the result.

function themeSwitch() {
  const place = document.getElementById("theme");
  const KEY = "secateur-theme";
  // A page opened from a disk may have no storage.
  const stored = (value) => {
    try {
      return value === undefined ? localStorage.getItem(KEY) : localStorage.setItem(KEY, value);
    } catch {
      return null;
    }
  };
  const set = (theme) => {
    if (theme === "auto") document.documentElement.removeAttribute("data-theme");
    else document.documentElement.dataset.theme = theme;
  };
  const known = ["auto", "light", "dark"];
  const first = known.includes(stored()) ? stored() : "auto";
  for (const theme of known) {
    const input = el("input", { type: "radio", name: "theme", value: theme, onchange: () => { set(theme); stored(theme); } });
    input.checked = theme === first;
    place.append(el("label", {}, input, el("span", {}, theme)));
  }
  set(first);
}

function repeatSection() {
  const rows = PAGE.repeat.map(({ what, value }) => [el("dt", {}, what), el("dd", {}, el("code", {}, value))]);
  const command = PAGE.repeat.find((row) => row.what === "Command");
  const status = el("output", { class: "small", "aria-live": "polite" });
  const copy = () => navigator.clipboard.writeText(command.value).then(() => { status.textContent = "Copied."; }, () => { status.textContent = "This browser does not allow pages to copy; select the text instead."; });
  const save = () => {
    const link = el("a", { href: URL.createObjectURL(new Blob([JSON.stringify(PAGE, null, 1)], { type: "application/json" })), download: PAGE.model.replace(/\.onnx$/, "") + "-report.json" });
    link.click();
    URL.revokeObjectURL(link.href);
  };
  return el("section", { class: "card", id: "repeat" }, el("h2", {}, "Reproduce"),
    el("p", { class: "quiet" }, "The same command on the same files makes the same cut."),
    el("dl", { class: "repeat" }, rows),
    el("div", { class: "tools" },
      command && navigator.clipboard && el("button", { type: "button", onclick: copy }, "Copy the command"),
      el("button", { type: "button", onclick: save }, "Save the data of this page as JSON")), status);
}

function start() {
  themeSwitch();
  const { summary, layers } = PAGE;
  document.getElementById("title").textContent = PAGE.model;
  document.getElementById("subtitle").textContent =
    `${counted(layers.length, "layer", "layers")}; ${grouped(summary.channels[1])} of ${grouped(summary.channels[0])} channels removed by ${summary.criterion}, ${summary.budget}`;
  const sections = [["At a glance", glanceSection()]];
  if (PAGE.curve) sections.push([PAGE.curve.sweep ? "Budgets" : "Search", curveSection(PAGE.curve)]);
  if (layers.length) {
    const network = networkSection((layer) => {
      kernels.show(layer);
      kernels.node.scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    });
    const kernels = layerSection(network.mark);
    sections.push(["Network", network.node], ["Kernels", kernels.node]);
    if (PAGE.filters) sections.push(["Filters", filtersSection(PAGE.filters)]);
    if (PAGE.maps.length) sections.push(["Feature maps", mapsSection(PAGE.maps, PAGE.images)]);
    sections.push(["Coupled channels", coupledSection((layer) => { kernels.show(layer); kernels.node.scrollIntoView(); })]);
    // The first layer shown is the one that lost most channels.
    const lost = (l) => l.width[0] - l.width[1];
    kernels.show(layers.reduce((most, l) => (lost(l) > lost(most) ? l : most), layers[0]));
  }
  sections.push(["Reproduce", repeatSection()]);
  document.getElementById("main").append(...sections.map(([, node]) => node), el("footer", { class: "quiet small" }, "Made by Secateur. This file is complete; it loads nothing from the network."));
  document.getElementById("nav").append(...sections.map(([name, node]) => el("a", { href: "#" + node.id }, name)));
}

start();
