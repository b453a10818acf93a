#!/usr/bin/env python3
"""torchvision's networks, exported, run, cut and judged by ONNX Runtime; the report is docs/zoo.md.

    python3 tests/zoo/zoo.py target/release/secateur docs/zoo.md [NAME …]

needs torch 2.15.0, torchvision 0.29.2, onnxscript 0.7.2, onnx 1.23.2, onnxruntime 1.32.0, numpy. Outside of
CI: it takes an hour and some gigabytes. Weights are random and seeded (what is tested is numbers, not
accuracy), BatchNormalization gets statistics, so that folding it matters. Each network is exported

    folded    by the TorchScript exporter as people use it, BatchNormalization folded into convolutions
    kept      the same with BatchNormalization kept
    dynamo    by torch.export

and for each file: does `run` answer what ONNX Runtime answers; how far do the MACs fall when half of them are
asked for (`prune --criterion l1 --keep-macs 0.5`, or as far as it goes); is that proved; does ONNX Runtime
answer for the small file what it answers for the masked original.
"""

import datetime
import json
import pathlib
import re
import sys
import tempfile
import time
import warnings

import numpy as np
import onnx
import torch
import torchvision

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))
import common  # noqa: E402

CLASSIFIERS = """alexnet vgg11 vgg16_bn squeezenet1_0 squeezenet1_1 resnet18 resnet50 resnet152 wide_resnet50_2 resnext50_32x4d
googlenet inception_v3 densenet121 densenet161 densenet201 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large mnasnet0_5 mnasnet1_3
shufflenet_v2_x0_5 shufflenet_v2_x1_0 efficientnet_b0 efficientnet_b3 efficientnet_v2_s efficientnet_v2_m regnet_y_400mf
regnet_x_400mf regnet_y_8gf convnext_tiny convnext_base swin_t swin_v2_t maxvit_t vit_b_16""".split()
SEGMENTERS = "fcn_resnet50 deeplabv3_resnet50 deeplabv3_mobilenet_v3_large lraspp_mobilenet_v3_large".split()
VIDEO = "r3d_18 mc3_18 r2plus1d_18".split()
FORMS = ("folded", "kept", "dynamo")


class First(torch.nn.Module):
    """A segmenter's main output."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)["out"]


def network(name):
    """The network, its input, with BatchNormalization that does something."""
    torch.manual_seed(sum(name.encode()))
    if name in SEGMENTERS:
        model = First(torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=21))
        x = torch.randn(1, 3, 128, 128)
    elif name in VIDEO:
        model, x = torchvision.models.get_model(name, weights=None), torch.randn(1, 3, 4, 112, 112)
    else:
        extra = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
        model = torchvision.models.get_model(name, weights=None, **extra)
        side = 299 if name == "inception_v3" else 256 if name == "swin_v2_t" else 224
        x = torch.randn(1, 3, side, side)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.7, 1.4)
    return model.eval(), x


def export(model, x, form, path):
    """Writes the file in one of the forms."""
    names = dict(input_names=["x"], output_names=["y"])
    if form == "dynamo":
        torch.onnx.export(model, (x,), path, dynamo=True, external_data=False, verbose=False, **names)
        return
    kept = dict(training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False) if form == "kept" else {}
    torch.onnx.export(model, (x,), path, dynamo=False, opset_version=17, dynamic_axes={"x": {0: "N"}, "y": {0: "N"}},
                      **kept, **names)


def least(text):
    """The smallest budget that an error says can be met."""
    found = re.search(r"at the least ([0-9.]+)", text)
    return float(found.group(1)) if found else None


def judge(program, path, x, folder):
    """One file: a row of the report."""
    row = {"run": None, "kept": None, "proof": None, "small": None, "seconds": None, "note": ""}
    feeds = {"x": x.numpy()}
    code, answer, got = common.run_model(program, path, feeds, folder / "run", "cpu")
    if code != 0:
        return row | {"note": common.message(answer)[:160]}
    expected = {common.file_name(n): a for n, a in common.answers(str(path), feeds).items()}
    row["run"] = common.worst_error(got, expected)
    small, masked, budget = folder / "small.onnx", folder / "masked.onnx", 0.5
    start = time.time()
    for _ in range(2):
        code, answer = program.json(
            "prune", path, "--data", "random:1", "--allow-random", "--criterion", "l1", "--keep-macs", budget,
            "-o", small, "--masked", masked, "--device", "cpu", timeout=1800)
        reach = least(common.message(answer)) if code == 2 else None
        if reach is None or reach >= 1:
            break
        budget = min(reach + 0.02, 0.999)
    row["seconds"] = time.time() - start
    if code != 0:
        return row | {"note": common.message(answer)[:160]}
    row["kept"] = answer["after"]["macs"] / answer["before"]["macs"]
    row["proof"] = answer["proof"]["max_rel_err"]
    onnx.checker.check_model(str(small), full_check=True)
    row["small"] = common.worst_error(common.answers(str(small), feeds), common.answers(str(masked), feeds))
    return row


def main():
    warnings.simplefilter("ignore")
    program, out = common.Program(sys.argv[1]), pathlib.Path(sys.argv[2])
    names = sys.argv[3:] or CLASSIFIERS + SEGMENTERS + VIDEO
    store = out.with_suffix(".json")
    rows = json.loads(store.read_text()) if store.exists() else {}
    for name in names:
        model, x = network(name)
        for form in FORMS:
            key = f"{name}/{form}"
            with tempfile.TemporaryDirectory(prefix="secateur-zoo-") as scratch:
                folder = pathlib.Path(scratch)
                path = folder / "net.onnx"
                try:
                    with torch.no_grad():
                        export(model, x, form, str(path))
                except Exception as error:  # noqa: BLE001 what cannot be exported is not ours to judge
                    rows[key] = {"note": f"not exported: {type(error).__name__}: {str(error)[:80]}"}
                    print(key, rows[key], flush=True)
                    continue
                try:
                    rows[key] = judge(program, path, x, folder) | {"bytes": path.stat().st_size}
                except Exception as error:  # noqa: BLE001
                    rows[key] = {"note": f"FAILED: {type(error).__name__}: {str(error)[:160]}"}
            print(key, rows[key], flush=True)
            store.write_text(json.dumps(rows, indent=1))
    out.write_text(report(rows))


def report(rows):
    """The page."""
    wrong = lambda v: v is not None and not v <= common.TOLERANCE
    exported = {k: r for k, r in rows.items() if not r["note"].startswith("not exported")}
    ran = [r for r in exported.values() if r.get("run") is not None]
    cut = [r for r in ran if r.get("kept") is not None]
    half = [r for r in cut if r["kept"] <= 0.5]
    bad = [k for k, r in exported.items() if wrong(r.get("run")) or wrong(r.get("small")) or "FAILED" in r["note"]]
    number = lambda v, f: "" if v is None else f"{v:{f}}"
    lines = [
        "# The zoo",
        "",
        "torchvision's networks with random weights, in three forms of export, each run, cut and judged by ONNX Runtime; what the",
        f"columns mean stands in `tests/zoo/zoo.py`, which made this page. torch {torch.__version__.split('+')[0]}, torchvision "
        f"{torchvision.__version__.split('+')[0]}, {datetime.date.today():%B %Y}.",
        "",
        "```sh",
        "python3 tests/zoo/zoo.py target/release/secateur docs/zoo.md",
        "```",
        "",
        f"{len(exported)} files: {len(ran)} run, {len(cut)} cut, {len(half)} of these to half of their MACs or less, "
        f"{len(bad)} wrong{': ' + ', '.join(bad) if bad else ''}.",
        "",
        "What is left alone, and named by `inspect` with the node that forbids it: streams that a LayerNormalization reads",
        "(ConvNeXt, Swin, ViT), which go with `--inexact` only. Attention loses whole heads.",
        "",
        "| network | form | MB | `run` against ONNX Runtime | MACs kept | proof | small against masked | s | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for key, r in rows.items():
        name, form = key.split("/")
        size = number(r.get("bytes") and r["bytes"] / 1e6, ".0f")
        cells = [name, form, size, number(r.get("run"), ".1e"), number(r.get("kept"), ".3f"), number(r.get("proof"), ".1e"),
                 number(r.get("small"), ".1e"), number(r.get("seconds"), ".1f"), r["note"].replace("|", "\\|")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
