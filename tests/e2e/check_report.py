#!/usr/bin/env python3
"""Tests the report in a browser: check_report.py BIN [PAGE.html …]

Creates reports of the demo network: one by `demo --report`, one by `prune --max-drop`, which contains a curve, with a
script as the name of a node, one of several cuts, two with trainings, and three with quantizations. Opens these and the given pages in a headless Chromium, and tests
sorting, filters, menus, the drawing, files to save, keyboard, both colour schemes, and the width of a telephone. Fails without a browser and does not install one.
SECATEUR_SCREENSHOTS names a folder for screenshots.
"""

import json
import os
import pathlib
import sys
import tempfile

import browser
import common
import report_parts as parts

# Selects the button in the head of a table's column.
HEAD = "[...document.querySelectorAll('#network th button')].find((b) => b.textContent === '{}')"
HOSTILE = "</script><script>window.hacked=1</script>"


def luminance(colour):
    """Returns the relative luminance of a CSS colour `rgb(r, g, b)`, 0 to 1."""
    parts = [float(p) for p in colour[colour.index("(") + 1:-1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (p / 255 for p in parts)]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear))


def contrast(page):
    """Returns the lowest contrast of texts with their backgrounds."""
    pairs = page.run("""[...document.querySelectorAll("h1, h2, p, td, dt, dd, th button, nav a, legend, label")].map((node) => {
        let ground = node;
        const clear = (n) => getComputedStyle(n).backgroundColor === "rgba(0, 0, 0, 0)";
        while (ground.parentElement && clear(ground)) ground = ground.parentElement;
        return [getComputedStyle(node).color, getComputedStyle(ground).backgroundColor];
    })""")
    colours = {tuple(p) for p in pairs if all(c.startswith("rgb(") for c in p)}
    lights = [sorted(map(luminance, pair)) for pair in colours]
    return min((high + 0.05) / (low + 0.05) for low, high in lights)


def column(page, table, index):
    """Returns the texts of a column."""
    return page.run(f"""[...document.querySelectorAll("#{table} tbody tr")].map((row) => row.children[{index}]?.textContent)""")


def put(page, field, value, event):
    """Sets the value of a field and dispatches an event, like a user."""
    page.run(f"""(() => {{ const field = document.querySelector({json.dumps(field)});
        field.value = {json.dumps(value)}; field.dispatchEvent(new Event({json.dumps(event)})); }})()""")


def look(page, name, width, scheme):
    folder = os.environ.get("SECATEUR_SCREENSHOTS")
    if folder:
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(pathlib.Path(folder) / f"{name}-{width}-{scheme}.png")


def check_page(report, page, path):
    name = path.stem
    page.size(1280, 900)
    page.prefers("light")
    page.open(path.resolve().as_uri())
    report.check(page.run("document.querySelectorAll('main section').length") >= 3, f"{name}: renders")
    if page.run("PAGE.trainings.length"):
        parts.trainings(report, page, name)
    if page.run("PAGE.quantization !== null"):
        parts.quantization(report, page, name)
    if page.run("!PAGE.layers.length && PAGE.trainings.length > 0"):
        report.check(page.run("document.querySelector('.kind').textContent") == "Training report", f"{name}: a page without a cut says so")
    elif page.run("PAGE.cuts !== null"):
        parts.cuts(report, page, name)
    elif page.run("PAGE.layers.length"):
        check_cut(report, page, name)
    parts.everywhere(report, page, name)
    check_access(report, page, name)
    complaints = page.complaints()
    report.check(not complaints, f"{name}: no console errors, no network requests", "; ".join(complaints[:3]))


def check_cut(report, page, name):
    """Tests the sections of a page of one cut."""
    parts.overview(report, page, name)
    total = page.run("PAGE.summary.before.macs")
    report.check(page.run("PAGE.layers.reduce((sum, l) => sum + l.macs[0], 0)") <= total > 0, f"{name}: layers have at most the MACs of the network")

    # Sorting: the largest first, then the smallest, with `aria-sort`.
    macs = page.run("PAGE.layers.map((l) => [l.name, l.macs[0]])")
    cost = dict(macs)
    for order, right in (("descending", max), ("ascending", min)):
        page.run(f"{HEAD.format('MACs')}.click()")
        first = column(page, "network", 1)[0]
        sorting = page.run(f"{HEAD.format('MACs')}.parentElement.getAttribute('aria-sort')")
        report.check(sorting == order and cost[first] == right(cost.values()), f"{name}: the table sorts, {order}", first)
    # Filtering.
    last = macs[-1][0]
    put(page, "#network input[type=search]", last, "input")
    found = column(page, "network", 1)
    report.check(0 < len(found) < len(macs) and all(last.lower() in f.lower() for f in found), f"{name}: the table filters",
                 f"{len(found)} of {len(macs)}")
    put(page, "#network input[type=search]", "no such layer", "input")
    report.check(column(page, "network", 0) == ["Nothing matches."], f"{name}: an empty filter result has a message")
    put(page, "#network input[type=search]", "", "input")

    # The kernels of the layer with the largest cut: one mark per kernel, other values by the menu, each value by arrow keys.
    page.run(f"{HEAD.format('Removed')}.click()")
    page.run("document.querySelector('#network button.link').click()")
    page.settle()
    layer = page.run("PAGE.layers[Number(document.querySelector('#layer select').value)]")
    marks = [page.run(f"document.querySelectorAll('#layer .drawing .mark{kind}').length") for kind in ("", ".cut")]
    width, left = layer["width"]
    report.check(marks == [width, width - left] and width > left, f"{name}: one mark per kernel", f"{marks} of {layer['name']}")
    title = "document.querySelector('#layer .chart .title').textContent"
    before = page.run(title)
    put(page, "#layer select:not(.flexible select)", "w_mean", "change")
    page.settle()
    report.check(page.run(title) == "mean of the weights" != before, f"{name}: other values by the menu", f"{before}, then {page.run(title)}")
    page.run("document.querySelector('#layer svg.chart[tabindex]').focus()")
    page.key("ArrowRight")
    text = page.run("document.querySelector('#layer output').textContent")
    lowest = min(range(width), key=layer["values"]["w_mean"].__getitem__)
    report.check(text.startswith(f"Kernel {lowest}, "), f"{name}: the keyboard selects kernels", text)
    put(page, "#layer select:not(.flexible select)", "score", "change")
    page.run("document.querySelector('#layer details').open = true")
    page.settle()
    report.check(len(column(page, "layer", 0)) == width, f"{name}: all kernels as a table")
    page.run("document.querySelector('#layer details').open = false")
    # Coupled channels.
    put(page, "#coupled select", "blocked", "change")
    reasons = column(page, "coupled", 4)
    blocked = page.run("PAGE.dependency_groups.filter((g) => g.blocked).length")
    report.check(len(reasons) == blocked > 0 and all("blocked by" in r for r in reasons), f"{name}: blocked channels have a reason", reasons[0])
    put(page, "#coupled select", "all", "change")

    parts.drawing(report, page, name)
    parts.pictures(report, page, name)
    parts.predictions(report, page, name)


def check_access(report, page, name):
    """Tests labels, widths and colour schemes."""
    # Accessibility: every drawing and picture needs a label, every field a name.
    silent = page.run("[...document.querySelectorAll('svg.chart, .tile, [role=img]')].filter((n) => !n.getAttribute('aria-label')).length")
    nameless = page.run("[...document.querySelectorAll('input, select')].filter((n) => !n.labels.length || !n.labels[0].textContent.trim()).length")
    report.check(silent == 0 and nameless == 0, f"{name}: pictures and fields have labels", f"{silent} silent, {nameless} nameless")

    page.run("scrollTo(0, 0)")
    grounds = {}
    for scheme in ("light", "dark"):
        page.prefers(scheme)
        for width in (1280, 390):
            page.size(width, 900)
            wide = page.run("document.documentElement.scrollWidth")
            report.check(wide <= width, f"{name}: {scheme}, {width} pixels: no horizontal scrolling", f"{wide} pixels")
            look(page, name, width, scheme)
        page.size(1280, 900)
        worst = contrast(page)
        report.check(worst >= 4.5, f"{name}: {scheme}: readable texts", f"contrast {worst:.2f}")
        grounds[scheme] = luminance(page.run("getComputedStyle(document.body).backgroundColor"))
    report.check(grounds["light"] > 0.8 and grounds["dark"] < 0.1, f"{name}: follows the system's colour scheme", grounds)
    page.run("document.querySelector('#theme input[value=light]').click()")
    switched = luminance(page.run("getComputedStyle(document.body).backgroundColor"))
    page.run("document.querySelector('#theme input[value=auto]').click()")
    report.check(switched > 0.8, f"{name}: the switch overrides the colour scheme")


def hostile(folder, program):
    """Prunes the demo network with a script as the name of a node."""
    import onnx

    model = onnx.load(pathlib.Path(__file__).parents[2] / "assets/demo.onnx")
    next(n for n in model.graph.node if n.op_type == "Conv").name = HOSTILE
    onnx.save(model, f"{folder}/hostile.onnx")
    program("demo", "--count", "120", "--write-images", f"{folder}/images.npz")
    return program.json("prune", f"{folder}/hostile.onnx", "--data", f"{folder}/images.npz", "--mean", "0.5", "--std", "0.25",
                        "--criterion", "act-l1", "--max-drop", "15", "-o", f"{folder}/small.onnx",
                        "--report", f"{folder}/hostile.html", "--report-seconds", "0.2", "--device", "cpu")


def main():
    program, pages = common.Program(sys.argv[1]), [pathlib.Path(p) for p in sys.argv[2:]]
    report, found = common.Report(), browser.find()
    if not found:
        sys.exit("no browser found: install chromium, or set CHROMIUM to a browser")
    with tempfile.TemporaryDirectory(prefix="secateur-e2e-") as folder:
        code, result = program.json("demo", "-o", f"{folder}/demo-small.onnx", "--report", f"{folder}/demo.html", "--device", "cpu")
        report.check(code == 0, "demo --report", "" if code == 0 else common.message(result))
        parts.make_cuts(report, folder, program)
        parts.make_trainings(report, folder, program)
        parts.make_quantizations(report, folder, program)
        code, result = hostile(folder, program)
        report.check(code == 0 and len(result["tried"]) > 3, "prune --max-drop --report", "" if code == 0 else common.message(result))
        page = browser.Browser(found)
        try:
            for path in [*(pathlib.Path(folder) / f"{stem}.html" for stem in ("demo", "hostile", "cuts", "rounds", "tuned", "integers", "palette", "both")), *pages]:
                check_page(report, page, path)
                if path.stem == "hostile":
                    report.check(page.run("window.hacked") is None and HOSTILE in page.run("document.body.textContent"),
                                 "a script as a name is not executed")
                    report.check(page.run("document.querySelectorAll('#curve .drawing .dot').length") == len(result["tried"]) + 1,
                                 "the curve contains all attempts and the original")
        finally:
            page.close()
    report.finish()


if __name__ == "__main__":
    main()
