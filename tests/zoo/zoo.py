#!/usr/bin/env python3
"""Exports networks of torchvision, timm, ultralytics and kinds.py, prunes them, compares all outputs with ONNX Runtime.

Writes docs/zoo.md:

    python3 tests/zoo/zoo.py target/release/secateur docs/zoo.md [torchvision | timm | yolo | kinds | NAME …]

Needs torch 2.15.0, torchvision 0.29.2, onnxscript 0.7.2, onnx 1.23.2, onnxruntime 1.32.0, numpy; timm 1.0.31 for
its networks; ultralytics 8.4.190 for the detectors (`pip install --no-deps ultralytics`, then
opencv-python-headless, matplotlib, psutil, polars, requests, which its import requires). Not part of CI: it takes an
hour and some gigabytes. Weights are random and seeded, since the test is about numbers and not about accuracy.
BatchNormalization gets nontrivial statistics, so that folding matters. Nothing is downloaded. Forms of export:

    folded    the TorchScript exporter with its usual options, BatchNormalization folded into convolutions
    kept      the TorchScript exporter with BatchNormalization kept (torchvision only)
    dynamo    torch.export

Columns of the table, for each file:

    `run` against ONNX Runtime    largest relative error of the outputs of `run`
    MACs kept                     after `prune --criterion l1 --keep-macs 0.5`, or the smallest possible share
    proof                         largest relative error in the proof of that cut
    small against masked          largest relative error between the small file and the masked original in ONNX Runtime
    s                             seconds of `prune`

The section `kinds` has forms, data and columns of its own: see kinds.py. Rows of networks that a run does not name remain
unchanged.
"""

import datetime
import importlib.metadata
import pathlib
import re
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx
import torch
import torchvision

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))
import common  # noqa: E402
import kinds  # noqa: E402

CLASSIFIERS = """alexnet vgg11 vgg16_bn squeezenet1_0 squeezenet1_1 resnet18 resnet50 resnet152 wide_resnet50_2 resnext50_32x4d
googlenet inception_v3 densenet121 densenet161 densenet201 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large mnasnet0_5 mnasnet1_3
shufflenet_v2_x0_5 shufflenet_v2_x1_0 efficientnet_b0 efficientnet_b3 efficientnet_v2_s efficientnet_v2_m regnet_y_400mf
regnet_x_400mf regnet_y_8gf convnext_tiny convnext_base swin_t swin_v2_t maxvit_t vit_b_16""".split()
SEGMENTERS = "fcn_resnet50 deeplabv3_resnet50 deeplabv3_mobilenet_v3_large lraspp_mobilenet_v3_large".split()
VIDEO = "r3d_18 mc3_18 r2plus1d_18".split()
TIMM = """ghostnet_100 res2net50_26w_4s hrnet_w18_small dla34 repvgg_a0 mobileone_s0 cspresnet50 legacy_seresnet18 skresnet18
ecaresnet26t xception41 mixnet_s nf_regnet_b0 nfnet_l0 resnest14d selecsls42b hardcorenas_a tf_efficientnet_lite0 gernet_s
edgenext_xx_small""".split()
YOLO = "yolov5n yolov8n yolo11n yolov9t yolo26n yolo26n-end2end".split()
# Sections of the page: networks, forms of export, packages.
SECTIONS = {
    "torchvision": (CLASSIFIERS + SEGMENTERS + VIDEO, ("folded", "kept", "dynamo"), ("torch", "torchvision")),
    "timm": (TIMM, ("folded", "dynamo"), ("torch", "timm")),
    "yolo": (YOLO, ("folded", "dynamo"), ("torch", "ultralytics")),
    "kinds": (list(kinds.KINDS), kinds.FORMS, ("torch",)),
}
TITLES = {"torchvision": "torchvision", "timm": "timm, 160×160", "yolo": "YOLO (ultralytics), 160×160",
          "kinds": "Small networks of many kinds"}
COLUMNS = ("run", "kept", "proof", "small")


class First(torch.nn.Module):
    """A segmenter's main output."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)["out"]


def disturb(model):
    """Randomizes every scale and offset that training would have moved from its initial 0 or 1.

    timm initializes the last scale of residual branches with 0: errors in such branches would be invisible."""
    for name, value in model.named_parameters():
        if value.dim() > 1 and value.unique().numel() > 1:
            continue
        if name.endswith("bias"):
            value.data.normal_(0, 0.1)
        elif value.requires_grad and value.unique().numel() == 1:
            value.data.uniform_(0.5, 1.5)


def network(name):
    """Returns the network and its input; BatchNormalization gets nontrivial statistics."""
    # With its own seed the scores of yolo26n-end2end saturate, and TopK's choice among equal scores is unspecified.
    torch.manual_seed(sum(name.removesuffix("-end2end").encode()))
    x = None
    if name in SEGMENTERS:
        model = First(torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=21))
        x = torch.randn(1, 3, 128, 128)
    elif name in VIDEO:
        model, x = torchvision.models.get_model(name, weights=None), torch.randn(1, 3, 4, 112, 112)
    elif name in CLASSIFIERS:
        extra = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
        model = torchvision.models.get_model(name, weights=None, **extra)
        side = 299 if name == "inception_v3" else 256 if name == "swin_v2_t" else 224
        x = torch.randn(1, 3, side, side)
    elif name in YOLO:
        from ultralytics.nn.tasks import DetectionModel

        model = DetectionModel(f"{name.removesuffix('-end2end')}.yaml", verbose=False)
        if name.endswith("-end2end"):
            model.model[-1].end2end = True  # the file selects its best boxes itself, by TopK
        # One output, boxes and scores concatenated, as in ultralytics' own exporter.
        model.model[-1].export, model.model[-1].format = True, "onnx"
        disturb(model)
    elif name in kinds.KINDS:
        model = kinds.KINDS[name].module()
        disturb(model)
    else:
        import timm

        model = timm.create_model(name, pretrained=False)
        disturb(model)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    if x is not None:
        for norm in norms:
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.7, 1.4)
        return model.eval(), x
    # In these deeper networks the signal vanishes with random statistics. With measured per-channel statistics,
    # untrained layers amplify every runtime's rounding to a visible error. The compromise: the input's overall scale,
    # and a part of its per-channel means.
    hooks = [norm.register_forward_pre_hook(set_statistics) for norm in norms]
    with torch.no_grad():
        model.eval()(*(kinds.inputs(name, kinds.KINDS[name].batch or 8).values() if name in kinds.KINDS else [scenes(4)]))
    for hook in hooks:
        hook.remove()
    if name in kinds.KINDS:
        return model, None
    return model, scenes(1)


def set_statistics(norm, inputs):
    """Derives the statistics of a BatchNormalization from its input, as a forward pre-hook."""
    axes = [axis for axis in range(inputs[0].dim()) if axis != 1]
    scale = inputs[0].square().mean().sqrt() + 1e-3
    norm.running_mean.copy_(0.5 * inputs[0].mean(axes)).add_(0.1 * scale * torch.randn(norm.running_mean.shape))
    norm.running_var.uniform_(0.7, 1.4).mul_(scale**2)


def scenes(count):
    """Smooth random images with noise: networks that end in an average do not distinguish images of pure noise."""
    smooth = torch.nn.functional.interpolate(torch.randn(count, 3, 5, 5), size=(160, 160), mode="bilinear")
    return smooth + 0.3 * torch.randn(count, 3, 160, 160)


def export(model, x, form, path):
    """Exports the network in one of the forms."""
    names = dict(input_names=["x"], output_names=["y"])
    model(x)  # detectors cache their anchors, which must not be traced tensors
    if form == "dynamo":
        torch.onnx.export(model, (x,), path, dynamo=True, external_data=False, verbose=False, **names)
        return
    kept = dict(training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False) if form == "kept" else {}
    torch.onnx.export(model, (x,), path, dynamo=False, opset_version=17, dynamic_axes={"x": {0: "N"}, "y": {0: "N"}},
                      **kept, **names)


def parts(outputs, name):
    """Splits a detector's output into boxes and scores: boxes in pixels would hide any error of the scores."""
    if name not in YOLO:
        return outputs
    axis = 2 if name.endswith("-end2end") else 1
    return {f"{k}/{i}": p for k, a in outputs.items() for i, p in enumerate(np.split(a, [4, 5], axis=axis))}


def measure(program, name, path, x, folder):
    """Runs and prunes one file; returns its row of the page."""
    row = {"run": None, "kept": None, "proof": None, "small": None, "seconds": None, "note": ""}
    feeds = {"x": x.numpy()}
    error = lambda got, expected: common.worst_error(parts(got, name), parts(expected, name))
    refusal = lambda result: common.message(result).replace(str(path), path.name)[:160]
    code, result, got = common.run_model(program, path, feeds, folder / "run", "cpu")
    if code != 0:
        return row | {"note": refusal(result)}
    expected = {common.file_name(n): a for n, a in common.ort_outputs(str(path), feeds).items()}
    row["run"] = error(got, expected)
    other = {common.file_name(n): a for n, a in common.ort_outputs(str(path), {"x": -x.numpy()}).items()}
    if error(other, expected) < 100 * common.TOLERANCE:
        row["note"] = "insensitive test: the output hardly depends on the input"
    small, masked = folder / "small.onnx", folder / "masked.onnx"
    code, result, row["seconds"] = kinds.prune(
        program, path, 0.5, "--data", "random:1", "--allow-random", "--criterion", "l1", "-o", small, "--masked", masked,
        "--device", "cpu")
    if code != 0:
        return row | {"note": refusal(result)}
    row["kept"] = result["after"]["macs"] / result["before"]["macs"]
    row["proof"] = result["proof"]["max_rel_err"]
    onnx.checker.check_model(str(small), full_check=True)
    row["small"] = error(common.ort_outputs(str(small), feeds), common.ort_outputs(str(masked), feeds))
    return row


def cells(row, section):
    """Formats a row for the page."""
    number = lambda v, f: "" if v is None else f"{v:{f}}"
    size = row.get("bytes")
    ratios = [number(row.get(c), ".1f") for c in ("unrepaired", "repaired")] if section == "kinds" else []
    return [number(size and size / 1e6, ".0f" if not ratios else ".2f"), number(row.get("run"), ".1e"),
            number(row.get("kept"), ".3f"), number(row.get("proof"), ".1e"), number(row.get("small"), ".1e"), *ratios,
            number(row.get("seconds"), ".1f"), " ".join(row["note"].replace("|", "\\|").split())]


def read(page):
    """Parses the page: by section the line of its versions, and the cells by network and form."""
    made, rows, section = {}, {s: {} for s in SECTIONS}, None
    for line in page.read_text().splitlines() if page.exists() else []:
        if line.startswith("## "):
            section = next(s for s, title in TITLES.items() if line == f"## {title}")
        elif section and line.startswith("Generated ") and section not in made:
            made[section] = line
        elif section and line.startswith("| ") and not line.startswith("| network"):
            name, form, *rest = (c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1])
            rows[section][name, form] = rest
    return made, rows


def maker(section):
    """Returns a line with the versions behind a section: the last commit that touches the program, the packages."""
    here = pathlib.Path(__file__).parents[2]
    commit = subprocess.run(["git", "log", "-1", "--format=%h", "--", "src", "shaders", "Cargo.toml", "Cargo.lock"],
                            cwd=here, capture_output=True, text=True).stdout.strip()
    packages = ", ".join(f"{p} {importlib.metadata.version(p).split('+')[0]}"
                         for p in (*SECTIONS[section][2], "onnxscript", "onnx", "onnxruntime"))
    return f"Generated on {datetime.date.today():%d %B %Y} at commit {commit or '(none)'} with {packages}."


def main():
    warnings.simplefilter("ignore")
    program, out = common.Program(sys.argv[1]), pathlib.Path(sys.argv[2])
    wanted = sys.argv[3:] or list(SECTIONS)
    made, rows = read(out)
    for section, (all_names, forms, _) in SECTIONS.items():
        names = all_names if section in wanted else [n for n in all_names if n in wanted]
        if not names:
            continue
        note = ""
        if names == all_names or section not in made:
            made[section] = maker(section)
        elif made[section] != maker(section):
            note = maker(section)
        for name in names:
            model, x = network(name)
            for form in kinds.forms(name) if section == "kinds" else forms:
                row = one(program, name, form, model, x)
                row["note"] = " ".join(filter(None, (row["note"], note)))
                print(name, form, row, flush=True)
                rows[section][name, form] = cells(row, section)
                out.write_text(report(made, rows))


def one(program, name, form, model, x):
    """Exports and measures one network in one form."""
    with tempfile.TemporaryDirectory(prefix="secateur-zoo-") as scratch:
        folder = pathlib.Path(scratch)
        path = folder / "net.onnx"
        try:
            with torch.no_grad():
                if name in kinds.KINDS:
                    kinds.export(model, name, form, str(path))
                else:
                    export(model, x, form, str(path))
        except Exception as error:  # noqa: BLE001 failed exports are not this program's fault
            text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
            return {"note": f"not exported: {type(error).__name__}: {text[:80]}"}
        try:
            row = (kinds.measure(program, name, form, path, folder) if name in kinds.KINDS else
                   measure(program, name, path, x, folder))
            return row | {"bytes": path.stat().st_size}
        except Exception as error:  # noqa: BLE001
            return {"note": f"FAILED: {type(error).__name__}: {str(error)[:160]}"}


def verdict(rows, budget=None):
    """Summarizes rows in one sentence; `budget` is the share of the MACs that the cuts aim at."""
    value = lambda r, column: float(r[1 + COLUMNS.index(column)] or "nan")
    wrong = lambda r: any(value(r, c) > common.TOLERANCE for c in ("run", "proof", "small")) or "FAILED" in r[-1]
    exported = {k: r for k, r in rows.items() if not r[-1].startswith("not exported")}
    ran = [r for r in exported.values() if r[1]]
    cut = [r for r in ran if r[2]]
    within = [r for r in cut if value(r, "kept") <= budget] if budget else []
    reached = f", {len(within)} of these to {budget:.0%} of their MACs or less" if budget else ""
    bad = [f"{name}/{form}" for (name, form), r in exported.items() if wrong(r)]
    refused = [f"{name}/{form}" for (name, form), r in exported.items() if not r[3] and "FAILED" not in r[-1]]
    listed = lambda word, keys: f"{len(keys)} {word}{': ' + ', '.join(keys) if keys else ''}"
    return (f"{len(exported)} files: {len(ran)} run, {len(cut)} pruned{reached}, "
            f"{listed('wrong', bad)}; {listed('refused', refused)}.")


def report(made, rows):
    """Renders the page."""
    lines = [
        "# Model zoo",
        "",
        "Networks of torchvision, timm and ultralytics, and small ones of other kinds, with random weights, in up to three forms",
        "of export. Each is run and pruned, and its outputs are compared with ONNX Runtime. `tests/zoo/zoo.py` generates this page",
        "and describes the columns. Each section starts with its date and versions; a row that was generated separately contains",
        "its own.",
        "",
        "```sh",
        "python3 tests/zoo/zoo.py target/release/secateur docs/zoo.md [torchvision | timm | yolo | kinds | NAME …]",
        "```",
        "",
        "In total, " + verdict({k: r for section in rows.values() for k, r in section.items()}),
        "",
        "Residual streams that a LayerNormalization consumes (ConvNeXt, Swin, ViT) are pruned only with `--inexact`; `inspect`",
        "reports them with the blocking node. Attention is pruned by whole heads.",
    ]
    for section, title in TITLES.items():
        if not rows[section]:
            continue
        lines += [
            "",
            f"## {title}",
            "",
            made[section],
            "",
            verdict(rows[section], 0.6 if section == "kinds" else 0.5),
            "",
            *(kinds.INTRODUCTION if section == "kinds" else ()),
            "| network | form | MB | `run` against ONNX Runtime | MACs kept | proof | small against masked |"
            + (" SNR unrepaired, dB | SNR repaired, dB |" if section == "kinds" else "") + " s | |",
            "|---|---|---|---|---|---|---|---|---|" + ("---|---|" if section == "kinds" else ""),
        ]
        order = SECTIONS[section][0]
        place = lambda key: order.index(key[0]) if key[0] in order else len(order)
        for (name, form), rest in sorted(rows[section].items(), key=lambda item: place(item[0])):
            lines.append("| " + " | ".join([name, form, *rest]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
