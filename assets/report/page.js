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
  const save = () => saveFile("report.json", JSON.stringify(PAGE, null, 1), "application/json");
  return el("section", { class: "card", id: "repeat" }, el("h2", {}, "Reproduce"),
    el("p", { class: "quiet" }, PAGE.cuts ? "The same command on the same files makes the same comparison." : !PAGE.layers.length ? "The same command on the same files and device makes the same network." : "The same command on the same files makes the same cut."),
    el("dl", { class: "repeat" }, rows),
    el("div", { class: "tools" },
      command && navigator.clipboard && el("button", { type: "button", onclick: copy }, "Copy the command"),
      el("button", { type: "button", onclick: save }, "Save the data of this page as JSON")), status);
}

const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// The sections of a page of one cut: [name, element].
function sectionsOfCut() {
  const { layers, drawing: drawn } = PAGE;
  const sections = [["At a glance", glanceSection()]];
  if (PAGE.curve) sections.push(["Curve", curveSection(PAGE.curve)]);
  if (PAGE.trainings.length) sections.push(["Training", trainingSection(PAGE.trainings)]);
  if (PAGE.quantization) sections.push(...quantizationSections(PAGE.quantization));
  if (PAGE.predictions) sections.push(["Predictions", predictionsSection(PAGE.predictions)]);
  if (!layers.length) return sections;
  const open = (layer) => {
    kernels.show(layer);
    kernels.node.scrollIntoView({ behavior: calm() ? "auto" : "smooth" });
    kernels.node.querySelector("select").focus({ preventScroll: true });
  };
  const picture = drawn && drawingSection(drawn, open);
  const network = networkSection(open);
  const kernels = layerSection((layer) => { network.mark(layer); if (picture) picture.mark(layer); });
  if (picture) sections.push(["Drawing", picture.node]);
  sections.push(["Layers", network.node], ["Kernels", kernels.node]);
  if (PAGE.inputs) sections.push(["Inputs", inputsSection(PAGE.inputs)]);
  if (PAGE.filters) sections.push(["Filters", filtersSection(PAGE.filters)]);
  if (PAGE.maps.length) sections.push(["Feature maps", mapsSection(PAGE.maps, PAGE.images)]);
  sections.push(["Coupled channels", coupledSection(open)]);
  // The first layer shown is the one that lost most channels.
  const lost = (l) => l.width[0] - l.width[1];
  kernels.show(layers.reduce((most, l) => (lost(l) > lost(most) ? l : most), layers[0]));
  return sections;
}

// The sections of a page of a training without a cut.
const sectionsOfTraining = () => [["Training", trainingSection(PAGE.trainings)]];

// The sections of a page of a quantization without a cut. The sensitivity of nodes belongs behind the cards.
function sectionsOfQuantization() {
  const sections = [["At a glance", quantizationGlance(PAGE.quantization)]];
  if (PAGE.predictions) sections.push(["Predictions", predictionsSection(PAGE.predictions)]);
  return [...sections, ...quantizationSections(PAGE.quantization)];
}

// The sections of a page of several cuts.
function sectionsOfCuts() {
  const sections = cutsSections();
  if (PAGE.curve) sections.splice(1, 0, ["Curve", curveSection(PAGE.curve)]);
  if (PAGE.drawing) sections.push(["Drawing", drawingSection(PAGE.drawing, () => {}).node]);
  return sections;
}

function start() {
  themeSwitch();
  const { summary, layers, cuts, trainings, quantization } = PAGE;
  const isTraining = !layers.length && trainings.length > 0;
  document.getElementById("title").textContent = PAGE.model;
  const isQuantization = !layers.length && quantization !== null;
  if (isTraining) document.querySelector(".kind").textContent = "Training report";
  if (isQuantization) document.querySelector(".kind").textContent = "Quantization report";
  document.getElementById("subtitle").textContent = isQuantization
    ? [quantization.format, RUNTIMES[quantization.runtime] && `for ${RUNTIMES[quantization.runtime]}`, quantization.ranges && `with ranges by ${quantization.ranges}`].filter(Boolean).join(" ")
    : isTraining
    ? `${counted(trainings[0].steps, "step", "steps")} in ${counted(trainings[0].seconds, "second", "seconds")}`
    : cuts
    ? `${counted(layers.length, "layer", "layers")}; ${counted(cuts.networks.length - 1, "pruned network", "pruned networks")} side by side`
    : `${counted(layers.length, "layer", "layers")}; ${grouped(summary.channels[1])} of ${grouped(summary.channels[0])} channels removed by ${summary.criterion}, ${summary.budget}`;
  const sections = isQuantization ? sectionsOfQuantization() : isTraining ? sectionsOfTraining() : cuts ? sectionsOfCuts() : sectionsOfCut();
  sections.push(["Reproduce", repeatSection()]);
  sections.push(["Glossary", glossarySection()]);
  document.getElementById("main").append(...sections.map(([, node]) => node), el("footer", { class: "quiet small" }, "Made by Secateur. This file is complete; it loads nothing from the network."));
  document.getElementById("nav").append(...sections.map(([name, node]) => el("a", { href: "#" + node.id }, name)));
}

start();
