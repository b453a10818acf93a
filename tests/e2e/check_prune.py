#!/usr/bin/env python3
"""Checks the guarantees of `prune` with ONNX Runtime: check_prune.py BIN SHARED

The networks are trained networks with real calibration images, then every small graph of SHARED/topologies. Each
written file must be valid and must have the outputs of the original with the removed channels masked (`--masked`), in
ONNX Runtime. It must be as small as reported, and unchanged otherwise. A network that cannot be pruned must be refused
with exit code 2 and a reason.
"""

import json
import pathlib
import sys
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper

import common
import macs

KEEP = 0.7
# The kept share is at most the budget, by less than one step. The largest step in these networks (a channel of the widest
# dependency group of ResNet-20 or LeNet) is below 5 % of all MACs.
STEP = 0.05
# The minimum number of pruned graphs among the 72 small ones; the others cannot be pruned that far. Fewer is a
# regression.
CUT_AT_LEAST = 70
FIELDS = {"before", "after", "removed_channels", "total_channels", "coupled_cut", "criterion", "budget", "repair",
          "proof", "inexact", "top1", "agreement", "out"}
SQUEEZENET = ["--preset", "raw", "--scale", "1", "--mean", "104,117,123", "--std", "1,1,1", "--channels", "bgr"]
SCALED = lambda mean, std: ["--preset", "raw", "--scale", "1", "--mean", ",".join([mean] * 3), "--std", ",".join([std] * 3)]
# The labels of the pictures are those of ImageNet, not of these networks.
OTHER_LABELS = ["--metric", "snr"]
CASES = [
    ("cifar10_resnet20", "cifar10/calibration.npz", ["--preset", "cifar10"], "l1"),
    ("cifar10_resnet20", "cifar10/calibration.npz", ["--preset", "cifar10"], "apoz"),
    ("cifar10_resnet20", "cifar10/calibration.npz", ["--preset", "cifar10"], "variance"),
    ("mnist_lenet_caffe", "mnist/t10k-images-idx3-ubyte.gz", ["--preset", "raw", "--scale", "256"], "apoz"),
    ("mnist_cntk_opset7_raw", "mnist/t10k-images-idx3-ubyte.gz", ["--preset", "raw", "--scale", "1"], "variance"),
    ("imagenet_squeezenet1.1", "imagenet-like", SQUEEZENET, "apoz"),
    ("imagenet_mobilenet_v2_1.0_224_quant", "imagenet-like", [*SCALED("128", "128"), "--label-offset", "1"], "l1"),
    ("imagenet_darknet_tiny", "imagenet-like", SCALED("0", "255"), "variance"),
    ("emotion_mini_xception", "imagenet-like",
     ["--preset", "raw", "--scale", "1", "--mean", "127.5", "--std", "127.5", *OTHER_LABELS], "l1"),
    ("vww_mobilenet_v1_0.25_96_mlperftiny", "imagenet-like", [*SCALED("0", "255"), *OTHER_LABELS], "l1"),
]


# Detection, segmentation, style and super-resolution: pruned by weights alone, compared on real pictures.
OTHERS = ["det_yolox_nano_raw", "face_ultraface_rfb320_raw", "seg_deeplabv3_mnv2_dm05_pascal_quant", "sr_espcn_x3", "style_candy"]


def faults_of_file(original, smaller, masked):
    """Returns faults of the files other than numerical ones: only weights and their shapes may change."""
    faults = []
    onnx.checker.check_model(smaller, full_check=True)
    was = {n.output[0]: n for n in original.graph.node}
    # Branches and functions are inlined, with new nodes.
    flattened = any(n.op_type == "If" for n in original.graph.node) or original.functions
    for node in smaller.graph.node:
        if flattened and node.output[0] not in was or was.get(node.output[0], node).op_type == "If":
            continue
        old = was.get(node.output[0])
        if old is None or (old.name, old.op_type) != (node.name, node.op_type):
            faults.append(f"node {node.name or node.output[0]} was not there before")
    for what in ("input", "output"):
        # Initializers listed as inputs are excluded, because they shrink.
        old, new = ([common.own_inputs(m) if what == "input" else [o.SerializeToString() for o in m.graph.output]]
                    for m in (original, smaller))
        if old != new:
            faults.append(f"graph {what}s changed: {old} to {new}")
    for field in ("opset_import", "metadata_props", "functions"):
        old, new = ([p.SerializeToString() for p in getattr(m, field)] for m in (original, smaller))
        if old != new:
            faults.append(f"{field} changed")
    for field in ("ir_version", "producer_name", "producer_version", "domain", "model_version", "doc_string"):
        if getattr(original, field) != getattr(smaller, field):
            faults.append(f"{field} changed")
    if original.graph.name != smaller.graph.name:
        faults.append("the graph's name changed")
    weights, left = ({t.name: numpy_helper.to_array(t) for t in m.graph.initializer} for m in (original, smaller))
    # New initializers are allowed in three cases: a shape shared by several nodes may be split, weights computed by a
    # node (a Reshape or Identity of an initializer) are stored under that value's name, and a bias may be added to
    # absorb constant channels.
    made = {o for n in original.graph.node for o in n.output}
    shapes = {n for n in left if left[n].dtype.kind == "i" and left[n].ndim <= 1}
    biases = {n.input[2] for n in smaller.graph.node if n.op_type in ("Conv", "Gemm") and len(n.input) > 2}
    new = [n for n in left if n not in weights and n not in shapes | biases and n not in made]
    if new:
        faults.append(f"new initializers: {new[:3]}")
    grown = [n for n in left if n in weights and left[n].size > weights[n].size]
    if grown:
        faults.append(f"larger initializers: {grown[:3]}")
    # The masked model must equal the original except for zeros; otherwise the comparison is meaningless.
    for tensor in masked.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.name in weights and not np.all((array == weights[tensor.name]) | (array == 0)):
            faults.append(f"--masked changed {tensor.name} otherwise than to zeros")
    return faults


def numbers(program, original, smaller, masked, paths, feeds, scratch):
    """Returns the largest error of the smaller model against the masked one, and of `run` against ONNX Runtime."""
    worst = max(common.worst_error(common.ort_outputs(smaller, f), common.ort_outputs(masked, f)) for f in feeds)
    code, result, got = common.run_model(program, paths["out"], feeds[-1], scratch / "run", "cpu")
    if code != 0:
        return worst, float("inf"), common.message(result)
    expected = {common.file_name(n): a for n, a in common.ort_outputs(smaller, feeds[-1]).items()}
    changed = common.worst_error(common.ort_outputs(masked, feeds[-1]), common.ort_outputs(original, feeds[-1]))
    return worst, common.worst_error(got, expected), f"masking itself changes {changed:.1e}"


def claims(result, original, smaller, paths, keep):
    """Returns statements of the JSON result that the files contradict."""
    faults = [f"JSON lacks {sorted(FIELDS - set(result))}"] if not FIELDS <= set(result) else []
    for key, model, path in (("before", original, None), ("after", smaller, paths["out"])):
        counted, claimed = macs.total(model), result[key]["macs"]
        # With a free image size, the program and macs.py count for different sizes.
        free = any(isinstance(d, str) for _, dims in common.own_inputs(model) for d in dims[2:])
        if counted != claimed and not free:
            faults.append(f"{key}: {claimed} MACs claimed, {counted} counted")
        if path and result[key]["bytes"] != path.stat().st_size:
            faults.append(f"{result[key]['bytes']} bytes claimed, the file has {path.stat().st_size}")
    if not result["proof"]["passed"] or result["removed_channels"] <= 0:
        faults.append(f"proof {result['proof']}, {result['removed_channels']} channels removed")
    if not result["proof"]["exact"] or result["inexact"]:
        faults.append(f"inexact without --inexact: {result['inexact']}")
    if result["after"]["macs"] > keep * result["before"]["macs"]:
        faults.append("over the budget")
    # A weight shared by two layers counts for both; if both are cut differently, it is stored twice.
    if macs.parameters(smaller) >= max(macs.parameters(original), result["before"]["params"]):
        faults.append("no parameter was removed")
    return faults


def prune(program, path, data, options, criterion, keep, scratch):
    """Runs `prune` into scratch; returns exit code, result, and the output paths."""
    scratch.mkdir(parents=True)
    paths = {"out": scratch / "out.onnx", "masked": scratch / "masked.onnx"}
    code, result = program.json(
        "prune", path, "--data", data, *options, "--criterion", criterion, "--keep-macs", keep,
        "--repair", "none", "-o", paths["out"], "--masked", paths["masked"], "--device", "cpu",
    )
    return code, result, paths


def verify(report, program, name, path, outcome, feeds, keep, step, scratch):
    """Checks a pruned network."""
    code, result, paths = outcome
    if code != 0:
        report.check(False, name, f"exit code {code}: {common.message(result)[:300]}")
        return
    try:
        original, smaller, masked = (onnx.load(p) for p in (path, paths["out"], paths["masked"]))
        faults = faults_of_file(original, smaller, masked) + claims(result, original, smaller, paths, keep)
        equal, own, note = numbers(program, original, smaller, masked, paths, feeds(original), scratch)
    except Exception as error:  # noqa: BLE001 invalid files cause many kinds of exceptions, all of them failures
        report.check(False, name, f"{type(error).__name__}: {error}"[:400])
        return
    ratio = result["after"]["macs"] / result["before"]["macs"]
    if not equal <= common.TOLERANCE:
        faults.append(f"differs from the masked original by {equal:.1e}")
    if not own <= common.TOLERANCE:
        faults.append(f"`run` differs from ONNX Runtime by {own:.1e} {note}")
    if step is not None and ratio < keep - step:
        faults.append(f"kept {ratio:.3f} of the MACs, more than a step below {keep}")
    detail = f"macs x{ratio:.3f}, masked {equal:.1e}, run {own:.1e}, {note}"
    report.check(not faults, name, "; ".join(faults) or detail)


def trained(report, program, shared, scratch):
    """Checks the trained networks with real images."""
    for name, data, options, criterion in CASES:
        path, place = shared / "models" / f"{name}.onnx", scratch / f"{name}-{criterion}"
        outcome = prune(program, path, shared / "data" / data, [*options, "--images", "64"], criterion, KEEP, place)

        def feeds(model, name=name):
            ((value, dims),) = common.own_inputs(model)
            real = common.pictures(shared, name, common.concrete(dims, batch=4))
            return [common.random_feeds(model), {value: real}]

        verify(report, program, f"{name} {criterion}", path, outcome, feeds, KEEP, STEP, place)


def others(report, program, shared, scratch):
    """Checks the networks that are not classifiers."""
    for name in OTHERS:
        path, place = shared / "models" / f"{name}.onnx", scratch / name
        outcome = prune(program, path, "random:1", ["--allow-random", "--resize", "96x96"] if name in OTHERS[3:] else ["--allow-random"],
                        "l1", KEEP, place)

        def feeds(model, name=name):
            ((value, dims),) = common.own_inputs(model)
            return [{value: common.pictures(shared, name, common.concrete(dims, batch=1))}]

        verify(report, program, f"{name} l1", path, outcome, feeds, KEEP, STEP, place)


def topologies(report, program, shared, scratch):
    """Checks that every small graph is pruned correctly, or refused with a reason."""
    cut = 0
    for path in sorted((shared / "topologies").glob("*.onnx")):
        place = scratch / f"topology-{path.stem}"
        outcome = prune(program, path, "random:8", ["--allow-random"], "l1", 0.6, place)
        code, result, paths = outcome
        if code == 2 and not paths["out"].exists() and common.message(result):
            report.skip(path.stem, common.message(result)[:150])
            continue
        feeds = lambda model: [common.random_feeds(model, batch=b, seed=b) for b in (1, 3)]
        cut += code == 0
        # One channel of these tiny graphs may be a large share of all MACs, so there is no lower bound.
        verify(report, program, path.stem, path, outcome, feeds, 0.6, None, place)
    report.check(cut >= CUT_AT_LEAST, "enough small graphs are pruned", f"{cut}, expected at least {CUT_AT_LEAST}")


def forms(report, program, shared, scratch):
    """Checks that the removed channels do not depend on whether BatchNormalization is folded or kept."""
    def removed(path):
        out = scratch / "forms.json"
        code, result = program.json("plan", path, "--criterion", "l1", "--keep-macs", "0.7", "-o", out)
        coupled = json.loads(out.read_text())["coupled"] if code == 0 else []
        return (code, [c["members"] for c in coupled if not c["keep"]])

    pairs = [(p, p.with_stem(p.stem.removesuffix("_folded"))) for p in sorted((shared / "topologies").glob("*_folded.onnx"))]
    # Two BatchNormalizations follow one shared convolution: after folding, its weights are no longer shared.
    differ = [kept.stem for folded, kept in pairs if removed(folded) != removed(kept) and kept.stem != "shared_conv"]
    report.check(pairs and not differ, "equal cuts with BatchNormalization folded and kept", f"{len(pairs)} pairs; {differ}")


def main():
    program, shared = common.Program(sys.argv[1]), pathlib.Path(sys.argv[2])
    report = common.Report()
    with tempfile.TemporaryDirectory(prefix="secateur-e2e-") as scratch:
        trained(report, program, shared, pathlib.Path(scratch))
        others(report, program, shared, pathlib.Path(scratch))
        topologies(report, program, shared, pathlib.Path(scratch))
        forms(report, program, shared, pathlib.Path(scratch))
    report.finish()


if __name__ == "__main__":
    main()
