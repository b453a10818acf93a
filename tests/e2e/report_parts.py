"""Tests of the parts of a report page, for check_report.py."""

import json
import pathlib
import xml.etree.ElementTree

DEMO = pathlib.Path(__file__).parents[2] / "assets/demo.onnx"
# Saved files are kept in `window.saved` in place of a download.
CATCH = """(() => { window.saved = []; URL.createObjectURL = (blob) => { blob.text().then((text) => saved.push(text)); return "#"; };
    HTMLAnchorElement.prototype.click = function () { if (!this.download) return HTMLElement.prototype.click.call(this); }; })()"""


def make_cuts(report, folder, program):
    """Prunes the demo network by two budgets without images, and makes the page that compares them."""
    program("demo", "--count", "120", "--write-images", f"{folder}/pictures.npz", "--device", "cpu")
    for keep in ("0.8", "0.4"):
        program("prune", str(DEMO), "--criterion", "l1", "--keep-macs", keep, "-o", f"{folder}/at-{keep}.onnx", "--device", "cpu")
    code, result = program.json("report", str(DEMO), f"{folder}/at-0.8.onnx", f"{folder}/at-0.4.onnx", "--data", f"{folder}/pictures.npz",
                                "--mean", "0.5", "--std", "0.25", "--seconds", "0.3", "-o", f"{folder}/cuts.html", "--device", "cpu")
    report.check(code == 0 and len(result["cuts"]["networks"]) == 3, "report NET A B", "" if code == 0 else result)


def make_trainings(report, folder, program):
    """Prunes the demo network in two rounds with a training after each, then trains it on."""
    data = ["--data", f"{folder}/pictures.npz", "--mean", "0.5", "--std", "0.25", "--device", "cpu"]
    how = ["--train-batch", "16", "--learning-rate", "1e-4", "--features", "stages"]
    code, result = program.json("prune", str(DEMO), *data, *how, "--criterion", "l1", "--keep-macs", "0.6", "--rounds", "2", "--finetune", "1",
                                "-o", f"{folder}/rounds.onnx", "--write-cut", f"{folder}/rounds.json", "--report", f"{folder}/rounds.html", "--report-seconds", "0")
    report.check(code == 0 and len(result["rounds"]) == 1, "prune --rounds --finetune --report", "" if code == 0 else result)
    code, result = program.json("finetune", f"{folder}/rounds.onnx", "--teacher", str(DEMO), "--cut", f"{folder}/rounds.json", *data, *how,
                                "--steps", "4", "-o", f"{folder}/tuned.onnx", "--report", f"{folder}/tuned.html")
    report.check(code == 0 and len(result["training"]["course"]) == 4, "finetune --cut --report", "" if code == 0 else result)


def make_quantizations(report, folder, program):
    """Quantizes the demo network to integers, with a layer in float, and to a palette; and after a cut."""
    layers = program.json("inspect", str(DEMO))[1]["layers"]
    data = ["--data", f"{folder}/pictures.npz", "--mean", "0.5", "--std", "0.25", "--device", "cpu"]
    code, result = program.json("quantize", str(DEMO), *data, "--ranges", "percentile:99", "--float", layers[0]["name"],
                                "-o", f"{folder}/integers.onnx", "--report", f"{folder}/integers.html")
    report.check(code == 0 and result["layers_in_float"] == 1, "quantize --report", "" if code == 0 else result)
    code, result = program.json("quantize", str(DEMO), "--palette", "4bit", "-o", f"{folder}/palette.onnx", "--report", f"{folder}/palette.html", "--device", "cpu")
    report.check(code == 0, "quantize --palette --report", "" if code == 0 else result)
    code, result = program.json("prune", str(DEMO), *data, "--criterion", "l1", "--keep-macs", "0.7", "--quantize", "-o", f"{folder}/both.onnx",
                                "--report", f"{folder}/both.html", "--report-seconds", "0.2")
    report.check(code == 0 and result["layers_quantized"] > 0, "prune --quantize --report", "" if code == 0 else result)


def saved(page, selector):
    """Returns the text of the file that a button saves."""
    page.run(CATCH)
    page.run(f"document.querySelector({json.dumps(selector)}).click()")
    return page.run("new Promise((done) => setTimeout(() => done(saved[0]), 50))")


def overview(report, page, name):
    """Tests the cards: accuracy comes first, coloured by its loss."""
    titles = page.run("[...document.querySelectorAll('#glance .card h2')].map((h) => h.textContent)")
    report.check(titles[0] in ("Accuracy", "Quality") and titles[1:] == ["Smaller", "Faster", "Cut is exact"], f"{name}: accuracy stands first", titles)
    figures = page.run("[...document.querySelectorAll('#glance .figure')].map((f) => f.textContent).join(' | ')")
    report.check(page.run("document.querySelectorAll('#glance .card .figure').length") == 4, f"{name}: four figures", figures)
    level = page.run("document.querySelector('#glance .card').dataset.level")
    metric = page.run("PAGE.summary.quality && PAGE.summary.quality.metric")
    if metric:
        report.check(level in ("good", "warn", "bad", "none"), f"{name}: the accuracy card has a verdict", level)
        report.check(metric["error"] is None or "±" in page.run("document.querySelector('#glance .figure').textContent"), f"{name}: accuracy with its error")
    # Losses of top-1 in points, with errors, on a thousand images: the level of each.
    cases = [(0.1, 0.2, "good"), (0.1, 2.0, "none"), (3.0, 0.5, "warn"), (30.0, 1.0, "bad"), (0.5, 0.1, "good"), (-1.0, 0.1, "good")]
    for loss, error, wanted in cases:
        of = {"name": "top-1", "unit": "%", "before": 90, "after": 90 - loss, "error": error, "higher_is_better": True}
        found = page.run(f"verdict({json.dumps(of)}, 1000).level")
        report.check(found == wanted, f"{name}: a loss of {loss} ± {error} points is {wanted}", found)


def drawing(report, page, name):
    """Tests the drawing: boxes, keyboard, zoom, drag, click, and its file."""
    count, layers = page.run("[PAGE.drawing.boxes.length, PAGE.layers.length]")
    boxes = page.run("[document.querySelectorAll('#drawing .box').length, document.querySelectorAll('#drawing .box.layer').length]")
    report.check(boxes == [count, layers], f"{name}: a box for every layer, join and pool", boxes)
    gone = page.run("document.querySelectorAll('#drawing .gone').length")
    report.check(gone == page.run("PAGE.layers.filter((l) => l.width[1] < l.width[0]).length"), f"{name}: removed shares are hatched", gone)
    transform = "document.querySelector('#drawing .map > g').getAttribute('transform')"
    page.run("document.querySelector('#drawing .viewport').scrollIntoView({block: 'center'})")
    before = page.run(transform)
    page.run("document.querySelector('#drawing .zoom button').click()")
    report.check(page.run(transform) != before, f"{name}: a button zooms")
    page.run("document.querySelector('#drawing .zoom button:last-child').click()")
    # From box to box by arrow keys, Enter opens a layer.
    page.run("document.querySelector('#drawing .box[tabindex=\"0\"]').focus()")
    for _ in range(2):
        page.key("ArrowRight")
    focused = page.run("document.activeElement.getAttribute('aria-label')")
    third = page.run("document.querySelectorAll('#drawing .box')[2].getAttribute('aria-label')")
    report.check(focused == third, f"{name}: arrow keys go from box to box", focused)
    last = page.run("Math.max(...PAGE.drawing.boxes.map((b) => b.layer ?? -1))")
    page.run(f"document.querySelector('#drawing .box[data-layer=\"{last}\"]').focus()")
    page.key("Enter")
    report.check(page.run("Number(document.querySelector('#layer select').value)") == last, f"{name}: Enter opens a layer")
    # A click opens a layer, a drag only moves the drawing.
    page.run("document.querySelector('#drawing .viewport').scrollIntoView({block: 'center', behavior: 'instant'})")
    page.run("document.querySelector('#drawing .zoom button:last-child').click()")
    at = page.run("(() => { const r = document.querySelector('#drawing .box.layer').getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()")
    page.mouse(at, at)
    report.check(page.run("Number(document.querySelector('#layer select').value)") == page.run("Number(document.querySelector('#drawing .box.layer').dataset.layer)"), f"{name}: a click opens a layer")
    page.run(f"document.querySelector('#drawing .box[data-layer=\"{last}\"]').dispatchEvent(new Event('click', {{bubbles: true}}))")
    page.run("document.querySelector('#drawing .viewport').scrollIntoView({block: 'center', behavior: 'instant'})")
    before = page.run(transform)
    at = page.run("(() => { const r = document.querySelector('#drawing .box.layer').getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()")
    page.mouse(at, [at[0] + 40, at[1] + 30])
    report.check(page.run(transform) != before and page.run("Number(document.querySelector('#layer select').value)") == last, f"{name}: a drag moves the drawing and opens nothing")
    picture = saved(page, "#drawing .saves button")
    tree = xml.etree.ElementTree.fromstring(picture)
    texts = ["".join(t.itertext()) for t in tree.iter("{http://www.w3.org/2000/svg}text")]
    report.check(len(texts) >= count and "var(" not in picture and "class=" not in picture, f"{name}: the drawing is saved as SVG", f"{len(texts)} texts, {len(picture)} bytes")


def pictures(report, page, name):
    """Tests the pairs of feature maps."""
    maps = page.run("PAGE.maps.map((m) => [m.layer, m.channels, m.after.length])")
    if not maps or not any(m[2] for m in maps):
        return
    layer, channels, _ = maps[page.run("Number(document.querySelector('#maps select').value)")]
    state = page.run(f"PAGE.layers[{layer}].state")
    kept = sum(state[c] != "c" for c in channels)
    found = page.run("[document.querySelectorAll('#maps li.maps').length, document.querySelectorAll('#maps .tile.gone').length]")
    report.check(found == [len(channels), len(channels) - kept], f"{name}: feature maps stand in pairs, removed ones are marked", found)


def predictions(report, page, name):
    """Tests the predictions that changed."""
    found = page.run("PAGE.predictions")
    if not found:
        return
    images = page.run("PAGE.summary.quality.images")
    report.check(sum(c["images"] for c in found["classes"]) in (0, images), f"{name}: every image has a class")
    top1 = page.run("PAGE.summary.quality.top1")
    if top1:
        shares = [sum(c[k] for c in found["classes"]) / images for k in ("before", "after")]
        report.check(all(abs(a - b) < 1e-9 for a, b in zip(shares, top1)), f"{name}: classes add up to top-1", shares)
        first = page.run("[...document.querySelectorAll('#predictions tbody tr')][0].lastChild.textContent")
        worst = min(100 * (c["after"] - c["before"]) / c["images"] for c in found["classes"])
        report.check(f"{abs(worst):.1f}" in first or worst == 0, f"{name}: the class with the largest loss comes first", first)
    shown = page.run("[document.querySelectorAll('#predictions li.changed').length, document.querySelectorAll('#predictions .tile').length]")
    report.check(shown == [len(found["changed"])] * 2, f"{name}: images whose prediction changed", shown)
    if found["classes"]:
        lines = saved(page, "#predictions .saves button").strip().split("\r\n")
        report.check(len(lines) == len(found["classes"]) + 1 and lines[0].startswith("class,name,Images"), f"{name}: classes are saved as CSV", lines[0])


def trainings(report, page, name):
    """Tests the losses over the steps, the quality before and after, and the options."""
    found = page.run("PAGE.trainings")
    points, losses = sum(len(t["points"]) for t in found), len(found[0]["losses"])
    report.check(all(t["points"][-1]["step"] == t["steps"] for t in found), f"{name}: losses to the last step", points)
    lines = page.run("document.querySelectorAll('#training .drawing .line').length")
    report.check(lines == losses + 2 > 3, f"{name}: lines of the sum, of each loss, and of the learning rate", lines)
    keys = page.run("[...document.querySelectorAll('#training .legend span')].map((s) => s.textContent)")
    report.check(len(keys) == lines and all(loss["name"] in " ".join(keys[1:-1]) for loss in found[0]["losses"]), f"{name}: lines have a legend", keys)
    starts = page.run("document.querySelectorAll('#training .begin').length")
    report.check(starts == len(found) - 1, f"{name}: starts of rounds are marked", starts)
    rows = page.run("[...document.querySelectorAll('#training .scroll')][0].querySelectorAll('tbody tr').length")
    judged = [t for t in found if t["before"] and t["after"]]
    text = page.run("[...document.querySelectorAll('#training .scroll')][0].textContent")
    report.check(rows == len(judged) == len(found) and f"{judged[0]['after']['after']:.2f}" in text and "±" in text, f"{name}: quality before and after each training", rows)
    page.run("document.querySelector('#training svg.chart').focus()")
    for _ in range(points):
        page.key("ArrowRight")
    told = page.run("document.querySelector('#training output').textContent")
    last = found[-1]
    report.check(told.startswith(f"Step {last['steps']} of {last['steps']}") and "learning rate" in told, f"{name}: the keyboard goes through the points", told)
    csv = saved(page, "#training .saves button:last-child").strip().split("\r\n")
    report.check(len(csv) == points + 1 and csv[0].endswith("learning rate"), f"{name}: the losses are saved as CSV", csv[0])
    repeated = page.run("Object.fromEntries(PAGE.repeat.map((r) => [r.what, r.value]))")
    report.check("as given" in repeated["Learning rate"] and "stages" in repeated["Losses"] and "AdamW" in repeated["Optimizer"] and "flip" in repeated["Random changes"],
                 f"{name}: the options of the training repeat it", repeated["Losses"])


def quantization(report, page, name):
    """Tests the cards, the pictures of ranges or codebooks, and the layers of a quantized network."""
    found = page.run("PAGE.quantization")
    if page.run("!PAGE.layers.length"):
        report.check(page.run("document.querySelector('.kind').textContent") == "Quantization report", f"{name}: a page without a cut says so")
        cards = page.run("[...document.querySelectorAll('#glance .card')].map((c) => c.textContent)")
        before, after = found["sizes"][0]["bytes"]
        report.check(len(cards) == 3 and f"{before / after:.2f}×" in cards[1], f"{name}: the sizes are on a card", cards[1])
        report.check(("not measured" in cards[0]) == (page.run("PAGE.summary.quality") is None), f"{name}: quality, if there are images", cards[0])
    rows = found["tensors"] or [layer for layer in found["layers"] if layer["codebook"]]
    section = "#ranges" if found["tensors"] else "#codebooks"
    shown = page.run(f"document.querySelectorAll('{section} .gallery svg.chart').length")
    report.check(shown == min(len(rows), 24) > 0, f"{name}: a picture of each range or codebook", f"{shown} of {len(rows)}")
    if found["tensors"]:
        ends = page.run("""(() => { const span = document.querySelector('#ranges .gallery .span').getBBox(), t = PAGE.quantization.tensors[0];
            const wide = document.querySelector('#ranges .gallery svg').viewBox.baseVal.width;
            return [span.width / wide, (t.range[1] - t.range[0]) / (t.ends[1] - t.ends[0])]; })()""")
        report.check(abs(ends[0] - ends[1]) < 0.02, f"{name}: the range is marked where it is", ends)
        outside = page.run("document.querySelectorAll('#ranges .gallery .column.cut').length")
        report.check((outside > 0) == any(t["outside"] > 0 for t in rows[:24]), f"{name}: values outside have another colour", outside)
        lines = saved(page, "#ranges .saves button").strip().split("\r\n")
        report.check(len(lines) == len(rows) + 1 and "Zero point" in lines[0], f"{name}: the ranges are saved as CSV", lines[0])
    else:
        ticks = page.run("document.querySelector('#codebooks .ticks').getAttribute('d').split('M').length - 1")
        report.check(ticks == len(rows[0]["codebook"]), f"{name}: a tick for every value", ticks)
    texts = page.run("[...document.querySelectorAll('#quantized tbody tr')].map((r) => r.textContent)")
    float_layers = [layer for layer in found["layers"] if layer["bits"] is None]
    report.check(len(texts) == len(found["layers"]), f"{name}: every layer with its bits", len(texts))
    report.check(all(any(l["name"] in t and l["reason"] in t and "float" in t for t in texts) for l in float_layers), f"{name}: layers in float with the reason")


def everywhere(report, page, name):
    """Tests what every page has: glossary, names of columns, tables as CSV."""
    missing = page.run("[...document.querySelectorAll('a.term')].filter((a) => !document.querySelector(a.getAttribute('href'))).map((a) => a.textContent)")
    terms = page.run("document.querySelectorAll('a.term').length")
    report.check(terms > (5 if page.run("PAGE.layers.length") else 1) and not missing, f"{name}: words lead to the glossary", missing or terms)
    doubled = page.run("""[...document.querySelectorAll('table')].flatMap((t) => { const heads = [...t.querySelectorAll('th')].map((h) => h.textContent);
        return heads.filter((h, i) => !h.trim() || heads.indexOf(h) !== i); })""")
    report.check(not doubled, f"{name}: names of columns are unique", doubled)
    cells = page.run("""['=1+1', '-x', 'a,b', 'say "x"', 2.5, null].map(csvCell)""")
    report.check(cells == ["'=1+1", "'-x", '"a,b"', '"say ""x"""', "2.5", ""], f"{name}: cells of CSV files are no formulas", cells)
    text = page.run("document.body.textContent")
    report.check("undefined" not in text.split("const PAGE")[0] and "[object" not in text.split("const PAGE")[0], f"{name}: no value is missing")


def cuts(report, page, name):
    """Tests the sections of a page of several cuts."""
    networks = page.run("PAGE.cuts.networks.map((n) => n.name)")
    rows = page.run("[...document.querySelectorAll('#cuts tbody tr')].map((r) => r.textContent)")
    report.check(len(rows) == len(networks) and all(n in r for n, r in zip(networks, rows)), f"{name}: a row for every network", rows)
    has_images = page.run("PAGE.curve !== null")
    report.check(has_images == all("±" in r for r in rows[1:]), f"{name}: quality with its error, if there are images")
    report.check(page.run("PAGE.cuts.rounds") > 0 and "×" in rows[1], f"{name}: times of all networks")
    if has_images:
        curve(report, page, name, networks)
    else:
        report.check(page.run("document.querySelector('#curve') === null"), f"{name}: no curve without images")
    widths = page.run("[...document.querySelectorAll('#widths tbody tr')].length")
    report.check(widths == page.run("PAGE.layers.length"), f"{name}: widths of every layer", widths)
    hatched = []
    for choice in ("0", "1"):
        page.run(f"""(() => {{ const s = document.querySelector('#drawing select'); s.value = "{choice}"; s.dispatchEvent(new Event('change')); }})()""")
        page.settle()
        hatched.append(page.run("[...document.querySelectorAll('#drawing .box.layer .detail')].map((t) => t.textContent).join()"))
    report.check(hatched[0] != hatched[1], f"{name}: the drawing shows the chosen network")
    lines = saved(page, "#cuts .saves button").strip().split("\r\n")
    report.check(len(lines) == len(networks) + 1 and ("standard error" in lines[0]) == has_images, f"{name}: the networks are saved as CSV", lines[0])


def curve(report, page, name, networks):
    """Tests the curve of several networks."""
    dots = page.run("document.querySelectorAll('#curve .drawing .dot').length")
    whiskers = page.run("document.querySelectorAll('#curve .whisker').length")
    report.check(dots == len(networks) and whiskers == 1, f"{name}: the curve has all networks with error bars", dots)
