// The words of the page, each linked to its explanation.

const TERMS = {
  MACs: "Multiply-accumulate operations that the network needs for one image: a measure of its work. Half as many MACs do not always take half the time.",
  parameters: "Weights and biases of the network. They decide the size of the file.",
  channel: "One plane of a layer's output, computed by one kernel (filter). Pruning removes whole channels, so that the layer becomes narrower.",
  "coupled channels": "Channels of several layers that can only be kept or removed together, because the network adds, multiplies or joins them. A residual connection couples the layers on both of its sides.",
  blocked: "A channel that cannot be removed: it is an output of the network, or an operation needs the whole tensor. The table of coupled channels names the node.",
  "cut is exact": "The pruned network was run beside the original with the removed channels set to zero, and gave equal outputs. This shows that the removal itself is correct. It does not say that accuracy was kept: the accuracy card does.",
  "top-1": "Share of images whose label has the network's highest score. Top-5: the label is among the five highest scores.",
  agreement: "Share of images for which the new network answers the same class as the original. It needs no labels.",
  "standard error": "Uncertainty of a measured value because only some images were measured (±). With other images the value would differ by about this much; by more than twice of it in one case of twenty.",
  SNR: "Signal-to-noise ratio of the outputs: the original's outputs against their difference, in decibels. 20 dB is a difference of 10 %, 40 dB one of 1 %.",
  "KL divergence": "Distance between the class probabilities of both networks, in nats. 0 means equal.",
  score: "Importance that the criterion gives to a channel. The lowest scores are removed first.",
  repair: "New weights for the layers after the removed channels, by least squares on calibration images, so that their outputs come closest to the original's. It needs no training.",
  "calibration images": "Images that decide which channels go or how numbers are rounded, and that repair the layers. Other images should judge the result.",
  confidence: "Expected share of the removed channels that would be chosen again with other images.",
  speedup: "Time of the original divided by the time of the pruned network, both run in turn on one device.",
  "training loss": "Number that a training makes smaller: how far the network's outputs and features are from those of its teacher, or from the labels.",
  "learning rate": "Size of the steps by which weights change in a training. It rises in the first steps, and mostly falls to zero at the end.",
  range: "Least and largest value that the integers of a tensor represent. A wide range has coarse steps; a narrow one rounds more values to its ends.",
  scale: "Distance of adjacent integers: a number is about its scale times its integer.",
  codebook: "The few values that the weights of a layer share. The file has an index into it for each weight.",
  "coded size": "Size of the file if its tensors were stored with an entropy code (Huffman or rANS). The file itself is not coded.",
  Pareto: "A network is on the Pareto front if no other one is both cheaper and better. Only these are worth choosing.",
};

const termId = (word) => "term-" + word.toLowerCase().replace(/[^a-z0-9]+/g, "-");
const used = new Set();
// Words that stand on a page only if it uses them.
const RARE = new Set(["training loss", "learning rate", "range", "scale", "codebook", "coded size"]);

// A word that links to its explanation; `text` is another form of it, such as a plural.
function term(word, text = word) {
  used.add(word);
  return el("a", { class: "term", href: "#" + termId(word), title: TERMS[word] }, text);
}

function glossarySection() {
  const words = Object.keys(TERMS).filter((word) => used.has(word) || (PAGE.layers.length > 0 && !PAGE.cuts && !RARE.has(word)));
  return el("section", { class: "card", id: "glossary" }, el("h2", {}, "Glossary"),
    el("dl", { class: "glossary" }, words.map((word) => [el("dt", { id: termId(word) }, word), el("dd", {}, TERMS[word])])));
}
