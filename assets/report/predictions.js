// The predictions of a classifier that changed: by class, by pair of classes, and image by image.

function predictionsSection(found) {
  const { classes, pairs, counts, changed, images, names } = found;
  const className = (i) => (i === null || i === undefined ? "no number" : names[i] ? `${names[i]} (${i})` : `class ${i}`);
  const all = PAGE.summary.quality.images;
  const labelled = classes.length > 0;
  const share = (n, c) => n / c.images;
  const change = (c) => 100 * (c.after - c.before) / c.images;
  // Few images of a class leave its change uncertain: as for all images, half an image in each cell (Agresti & Min 2005).
  const ofClass = [
    { name: "Class", text: true, wrap: true, value: (c) => className(c.class), csv: [["class", (c) => c.class], ["name", (c) => names[c.class] || ""]] },
    { name: "Images", narrow: true, value: (c) => c.images },
    { name: "Right before", value: (c) => share(c.before, c), show: (c) => percent(share(c.before, c)) },
    { name: "Right after", value: (c) => share(c.after, c), show: (c) => percent(share(c.after, c)) },
    { name: "Points", value: change, show: (c) => (c.after === c.before ? "0" : signed(change(c), (v) => v.toFixed(1))) },
  ];
  const sorted = [...classes].sort((a, b) => change(a) - change(b));
  const list = labelled && table({ caption: "Right predictions by class, the largest loss first", columns: ofClass, rows: sorted });
  const ofPair = [
    { name: "Label", text: true, wrap: true, value: (p) => className(p.label) },
    { name: "Prediction now", text: true, wrap: true, value: (p) => className(p.prediction) },
    { name: "Before", value: (p) => p.before },
    { name: "After", value: (p) => p.after },
  ];
  const confused = pairs.length > 0 && table({ caption: "Wrong predictions that became more frequent", columns: ofPair, rows: pairs });
  const prediction = (c, given) => {
    if (c.label === null) return el("dd", {}, className(given));
    const right = given === c.label;
    return el("dd", { class: right ? "good" : "bad" }, right ? "✓ " : "✗ ", className(given));
  };
  const photo = (c) => {
    const says = `${c.name}: ${c.label === null ? "" : `label ${className(c.label)}, `}before ${className(c.before)}, after ${className(c.after)}`;
    const picture = c.tile !== null && images ? tile(images, c.tile, 76, says, false) : el("span", { class: "tile blank", role: "img", "aria-label": says }, "no picture");
    return el("li", { class: "changed" }, picture, el("dl", {},
      c.label !== null && [el("dt", {}, "label"), el("dd", {}, className(c.label))],
      el("dt", {}, "before"), prediction(c, c.before),
      el("dt", {}, "after"), prediction(c, c.after),
      el("dt", {}, "file"), el("dd", { class: "file" }, c.name)));
  };
  const photos = (some) => el("ul", { class: "photos", style: images ? source(images) : null }, some.map(photo));
  const saved = [["file", (c) => c.name], ["label", (c) => c.label], ["before", (c) => c.before], ["after", (c) => c.after]];
  const summary = counts.all === 0
    ? `Both networks give the same class for all ${counted(all, "image", "images")}.`
    : `${counted(counts.all, "prediction", "predictions")} of ${grouped(all)} changed` + (labelled ? `: ${counted(counts.lost, "image was", "images were")} right and ${counts.lost === 1 ? "is" : "are"} wrong now, ${counted(counts.won, "image was", "images were")} wrong and ${counts.won === 1 ? "is" : "are"} right now.` : ".");
  return el("section", { class: "card", id: "predictions" }, el("h2", {}, "Predictions that changed"),
    el("p", { class: "quiet" }, summary),
    (list || confused) && el("div", { class: "pair even" },
      list && el("div", {}, el("h3", {}, "By class"), list.node, el("div", { class: "saves" }, csvButton("classes", "the table of classes", ofClass, sorted))),
      confused && el("div", {}, el("h3", {}, "Wrong predictions that became more frequent"), confused.node, el("div", { class: "saves" }, csvButton("pairs", "the table of wrong predictions", ofPair, pairs)))),
    changed.length > 0 && [
      el("h3", {}, changed.length < counts.all ? `${changed.length} of the ${grouped(counts.all)} images` : "The images"),
      photos(changed.slice(0, 12)),
      changed.length > 12 && el("details", {}, el("summary", {}, `${changed.length - 12} more`), photos(changed.slice(12))),
      el("div", { class: "saves" }, csvButton("changed", "the images shown", [{ csv: saved }], changed)),
    ]);
}
