"""Checks interruption, early stop, refusals, checkpoints, and the comparison of criteria.

    python3 tests/e2e/check_confidence.py target/release/secateur ../shared
"""

import csv
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import load_file

from common import Program, Report, message


def check_interruption(report, program, model, data, folder):
    """Checks that --resume completes an interrupted profile to the uninterrupted one, bit for bit."""
    whole, part = folder / "whole.profile", folder / "part.profile"
    command = ["profile", model, "--data", data, "--preset", "cifar10", "--device", "cpu", "--gram", "none", "--batch", 4]
    program.json(*command, "-o", whole)
    for wait in (1.0, 2.0, 4.0):
        process = subprocess.Popen([program.path, *map(str, command), "-o", str(part), "--json"], stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL)
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        result = process.communicate(timeout=120)[0]
        # A negative code: killed before the handler was installed.
        if process.returncode >= 0:
            break
    result = json.loads(result) if result else {}
    seen = result.get("images", 0)
    report.check(process.returncode == 1 and result.get("complete") is False and seen > 0, "Ctrl-C leaves a profile",
                 f"exit code {process.returncode}, {seen} images")
    code, result = program.json(*command, "-o", part, "--resume")
    report.check(code == 0 and result["complete"], "--resume continues", message(result) if code else result["images"])
    a, b = load_file(whole), load_file(part)
    same = a.keys() == b.keys() and all(a[k].tobytes() == b[k].tobytes() for k in a)
    report.check(same, "the resumed profile equals the uninterrupted one bit for bit")
    code, result = program.json(*command[:-1], 8, "--std", "1,1,1", "-o", part, "--resume")
    report.check(code == 2 and "preprocessing" in message(result), "resuming with other preprocessing is refused",
                 message(result)[:80])
    return whole


def check_early_stop(report, program, model, data, folder):
    command = ["profile", model, "--data", data, "--preset", "cifar10", "--device", "cpu", "--gram", "none"]
    decide = ["--criterion", "apoz", "--keep-macs", "0.7"]
    code, result = program.json(*command, *decide, "--confidence", 0.9, "-o", folder / "sure.profile")
    report.check(code == 0 and result["settled"] and result["confidence"] >= 0.9 and result["images"] < 1017,
                 "--confidence 0.9 stops early", message(result) if code else f"{result['images']} images, {result['confidence']:.3f}")
    code, result = program.json(*command, *decide, "--confidence", 0.9999999, "-o", folder / "never.profile")
    report.check(code == 0 and not result["settled"], "a confidence that is not reached is reported",
                 message(result) if code else result["confidence"])
    code, result = program.json(*command, "--confidence", 0.9, "-o", folder / "default.profile")
    report.check(code == 0 and result["settled"] and result["confidence"] >= 0.9, "--confidence settles with default options",
                 message(result) if code else f"{result['images']} images, {result['confidence']:.3f}")
    code, result = program.json(*command, "--confidence", 0.9, "--criterion", "reconstruction", "-o", folder / "no.profile")
    report.check(code == 2 and "no standard errors" in message(result), "--confidence of reconstruction is refused", message(result)[:80])
    code, result = program.json(*command, "--criterion", "l1", "--confidence", 0.9, "-o", folder / "l1.profile")
    report.check(code == 2 and "weights alone" in message(result), "--confidence without a criterion on data is refused",
                 message(result)[:80])
    cut = folder / "cut.json"
    code, result = program.json("plan", model, "--profile", folder / "sure.profile", *decide, "-o", cut)
    coupled = json.loads(cut.read_text())["coupled"]
    removed = [c for c in coupled if not c["keep"]]
    report.check(code == 0 and all(0.5 <= c["confidence"] <= 1 for c in removed) and result["confidence"] >= 0.9,
                 "the cut contains its confidence", f"{len(removed)} removed, {result.get('confidence')}")
    cut.unlink()
    code, result = program.json("plan", model, "--profile", folder / "sure.profile", *decide, "--require-confidence", 0.999,
                                "-o", cut)
    report.check(code == 1 and result["out"] is None and not cut.exists(), "--require-confidence refuses",
                 f"exit code {code}, {result.get('confidence')}")


def check_training(report, program, model, folder):
    """Compares the drift and the wander of each filter over checkpoints with NumPy."""
    rng, paths, weights = np.random.default_rng(0), [], []
    for epoch in range(3):
        network = onnx.load(model)
        for tensor in network.graph.initializer:
            if tensor.name == "layer1.0.conv1.weight":
                w = numpy_helper.to_array(tensor)
                w = (w * (0.5 + 0.25 * epoch) + rng.normal(scale=0.02 * (2 - epoch), size=w.shape)).astype(np.float32)
                tensor.CopyFrom(numpy_helper.from_array(w, tensor.name))
                weights.append(w.astype(np.float64).reshape(len(w), -1))
        paths.append(folder / f"epoch{epoch}.onnx")
        onnx.save(network, paths[-1])
    if not report.check(len(weights) == 3, "checkpoints were created"):
        return
    profile = folder / "training.profile"
    code, result = program.json("profile", *paths, "-o", profile)
    if not report.check(code == 0, "checkpoints alone make a profile", message(result)):
        return
    network = onnx.load(paths[-1])
    norm = next(n for n in network.graph.node if n.name == "layer1.0.bn1")
    arrays = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in network.graph.initializer}
    epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
    scale = arrays[norm.input[1]] / np.sqrt(arrays[norm.input[4]] + epsilon)
    columns = load_file(profile)
    scaled = [w * scale[:, None] for w in weights]
    expected = {
        "training/drift": np.linalg.norm(scaled[2] - scaled[0], axis=1),
        "training/wander": np.std([np.abs(w).sum(1) for w in scaled], axis=0),
        "training/l1": np.array([np.abs(w).sum(1) for w in scaled]),
    }
    for name, values in expected.items():
        report.check(np.allclose(columns[f"layer1.0.conv1/{name}"], values, rtol=1e-5), name)
    for criterion in ("drift", "stability"):
        cut = folder / "cut.json"
        code, result = program.json("plan", paths[-1], "--profile", profile, "--criterion", criterion, "--keep-macs", 0.9,
                                    "-o", cut)
        report.check(code == 0, f"{criterion} decides", message(result))
    code, result = program.json("profile", paths[0], model.parent / "mnist_lenet_caffe.onnx", "-o", profile)
    report.check(code == 2 and "checkpoints" in message(result), "checkpoints of different networks are refused",
                 message(result)[:80])


def check_comparison(report, program, model, data, folder):
    """Checks the outputs of compare-criteria, and that a masked network has the accuracy of the pruned file."""
    images = ["--data", data, "--preset", "cifar10", "--images", 300, "--device", "cpu"]
    code, result = program.json("compare-criteria", model, *images, "--criteria", "l1,apoz,obs,random", "--seeds", 2,
                                "--keep-macs", "0.9,0.7", "--csv", folder / "c.csv", "--plot", folder / "c.svg")
    if not report.check(code == 0, "compare-criteria", message(result) if code else f"whole {result['whole']}"):
        return
    curves = {c["criterion"]: {p["keep_macs"]: p for p in c["points"]} for c in result["curves"]}
    report.check(set(curves) == {"l1", "apoz", "obs", "random"} and all(len(c) == 2 for c in curves.values()), "compare-criteria: points")
    rows = list(csv.DictReader((folder / "c.csv").open()))
    report.check(len(rows) == 8 and float(rows[0]["top1"]) <= 1, "compare-criteria: table", f"{len(rows)} rows")
    xml.etree.ElementTree.parse(folder / "c.svg")
    report.check((folder / "c.svg").stat().st_size > 2000, "compare-criteria: the chart is XML")
    code, pruned = program.json("prune", model, *images, "--criterion", "l1", "--repair", "none", "--keep-macs", 0.7, "-o",
                                folder / "small.onnx")
    masked = curves["l1"][0.7]
    report.check(code == 0 and abs(pruned["top1"]["after"] - masked["top1"]) < 1e-9, "a masked network has the accuracy of the pruned file",
                 message(pruned) if code else f"{masked['top1']:.4f}")


def main():
    program, shared, report = Program(sys.argv[1]), pathlib.Path(sys.argv[2]), Report()
    model, data = shared / "models" / "cifar10_resnet20.onnx", shared / "data" / "cifar10" / "test.npz"
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        check_interruption(report, program, shared / "models" / "cifar10_resnet56.onnx", data, folder)
        check_early_stop(report, program, model, data, folder)
        check_training(report, program, model, folder)
        check_comparison(report, program, model, data, folder)
    report.finish()


if __name__ == "__main__":
    main()
