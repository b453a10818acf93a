#!/usr/bin/env python3
"""Compares accuracies of `eval` with those in ONNX Runtime: check_eval.py BIN SHARED [--device D] [--quick]

`--quick` is for slow devices: ResNet-20 completely, and SqueezeNet on 200 images, compared with the CPU.
"""

import argparse
import csv
import pathlib
import shutil
import tempfile

import common

CIFAR = ["--preset", "cifar10"]
MNIST = ["--preset", "raw", "--scale", "1"]
SQUEEZENET = ["--preset", "raw", "--scale", "1", "--mean", "104,117,123", "--std", "1,1,1", "--channels", "bgr"]
# Figures of SOURCES.md in per cent. The tolerance for photographs is 0.3 points instead of 0.1, because JPEG decoders
# may differ by a level, and three of the thousand images are borderline.
CASES = [
    ("cifar10_resnet20", "cifar10/test.npz", CIFAR, {"top1": 91.64}, 0.1),
    ("cifar10_resnet56", "cifar10/test.npz", CIFAR, {"top1": 92.72}, 0.1),
    ("mnist_lenet_caffe", "mnist/t10k-images-idx3-ubyte.gz", ["--preset", "raw", "--scale", "256"], {"top1": 99.06}, 0.1),
    ("mnist_cntk_opset7_raw", "mnist/t10k-images-idx3-ubyte.gz", MNIST, {"top1": 98.91}, 0.1),
    ("imagenet_squeezenet1.1", "imagenet-like", SQUEEZENET, {"top1": 51.2, "top5": 77.4}, 0.3),
]
QUICK = {"cifar10_resnet20"}


def evaluate(program, model, data, options, device):
    """Returns the result of `eval`, or None and the reason."""
    code, result = program.json("eval", model, "--data", data, *options, "--device", device, timeout=1800)
    return (result, "") if code == 0 else (None, f"exit code {code}: {common.message(result)[:300]}")


def accuracies(report, program, shared, device, quick):
    """Evaluates every network of the table on its test set."""
    for name, data, options, expected, tolerance in CASES:
        if quick and name not in QUICK:
            report.skip(f"{name} on {device}", "--quick")
            continue
        result, why = evaluate(program, shared / "models" / f"{name}.onnx", shared / "data" / data, options, device)
        if result is None:
            report.check(False, f"{name} on {device}", why)
            continue
        got = {key: 100 * result[key] for key in expected}
        detail = ", ".join(f"{k} {got[k]:.2f} (ONNX Runtime {expected[k]:.2f})" for k in expected)
        good = all(abs(got[k] - expected[k]) <= tolerance + 0.005 for k in expected)
        report.check(good, f"{name} on {device}", f"{detail}, {result['images']} images")


def few_photographs(report, program, shared, device):
    """Compares a device with the CPU on SqueezeNet and the first 200 photographs."""
    source = shared / "data" / "imagenet-like"
    with open(source / "labels.csv", newline="") as file:
        rows = sorted((row["file"], row["label"]) for row in csv.DictReader(file))[:200]
    with tempfile.TemporaryDirectory(prefix="secateur-e2e-") as folder:
        for file, _ in rows:
            shutil.copy(source / file, folder)
        with open(pathlib.Path(folder) / "labels.csv", "w", newline="") as file:
            csv.writer(file).writerows([("file", "label"), *rows])
        model = shared / "models" / "imagenet_squeezenet1.1.onnx"
        results = [evaluate(program, model, folder, SQUEEZENET, d) for d in ("cpu", device)]
    name = f"imagenet_squeezenet1.1, 200 images, cpu and {device}"
    if any(result is None for result, _ in results):
        report.check(False, name, "; ".join(why for _, why in results if why))
        return
    cpu, gpu = ([a["top1"], a["top5"]] for a, _ in results)
    # One image may have two best classes with practically equal scores.
    report.check(all(abs(c - g) <= 1 / 200 + 1e-9 for c, g in zip(cpu, gpu)), name, f"top1, top5: {cpu} and {gpu}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bin")
    parser.add_argument("shared", type=pathlib.Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    program, report = common.Program(options.bin), common.Report()
    accuracies(report, program, options.shared, options.device, options.quick)
    if options.quick:
        few_photographs(report, program, options.shared, options.device)
    report.finish()


if __name__ == "__main__":
    main()
