#!/usr/bin/env python3
"""Trains real networks and judges the files with ONNX Runtime: check_finetune.py BIN SHARED [--device D]

LeNet learns digits from random weights, and a pruned ResNet-20 learns the outputs of the original.
"""

import argparse
import gzip
import pathlib
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper

import common

# Images at once in ONNX Runtime.
BATCH = 500
# Largest difference of the accuracies of the program and of ONNX Runtime, in points.
POINTS = 0.1


def randomized(path, seed=0):
    """Returns a network whose weights are random, by the fan-in of each filter, and whose biases are zero."""
    model, rng = onnx.load(path), np.random.default_rng(seed)
    for tensor in model.graph.initializer:
        shape = list(tensor.dims)
        deviation = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0
        weights = deviation * rng.standard_normal(shape)
        tensor.CopyFrom(numpy_helper.from_array(weights.astype(np.float32), tensor.name))
    return model


def accuracy(model, images, labels):
    """Returns the accuracy in ONNX Runtime in per cent; `images` are preprocessed."""
    session = common.session(model)
    name = session.get_inputs()[0].name
    batches = (images[i : i + BATCH] for i in range(0, len(images), BATCH))
    classes = np.concatenate([session.run(None, {name: batch})[0].argmax(axis=1) for batch in batches])
    return 100 * float(np.mean(classes == labels))


def check(report, name, result, network, test, least):
    """Compares the accuracies of a training with those in ONNX Runtime; the last must be at least `least`."""
    trained, (images, labels) = result["training"], test
    code = f"{trained['made']} steps, loss {trained['curve'][0]['loss']:.3f} to {trained['curve'][-1]['loss']:.3f}"
    report.check(trained["diverged"] is None and trained["made"] == trained["steps"], f"{name}: all steps are made", code)
    before, after = result["before"]["after"], result["metric"]["after"]
    report.check(after >= least(before), f"{name}: the training helps", f"{before:.2f} % before, {after:.2f} % after")
    for when, model, ours in (("before", network, before), ("after", result["out"], after)):
        runtime = accuracy(model, images, labels)
        report.check(abs(runtime - ours) <= POINTS, f"{name}: ONNX Runtime agrees {when} it", f"{runtime:.2f} and {ours:.2f} %")


def lenet(report, program, shared, device, scratch):
    """Trains LeNet from random weights on labels."""
    network, mnist = f"{scratch}/random.onnx", shared / "data/mnist"
    onnx.save(randomized(shared / "models/mnist_lenet_caffe.onnx"), network)
    data = ["--data", mnist / "train-images-idx3-ubyte.gz", "--sample", "1", "--images", "2560"]
    data += ["--test", mnist / "t10k-images-idx3-ubyte.gz", "--preset", "raw", "--scale", "256"]
    training = ["--steps", "40", "--learning-rate", "0.002", "--augment", "none", "--device", device, "-o", f"{scratch}/lenet.onnx"]
    code, result = program.json("finetune", network, *data, *training)
    if not report.check(code == 0, "LeNet: finetune on labels", "" if code == 0 else common.message(result)):
        return
    with gzip.open(mnist / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    images = common.pictures(shared, "mnist_lenet", (len(labels), 1, 28, 28))
    check(report, "LeNet", result, network, (images, labels), lambda _: 90)


def resnet(report, program, shared, device, scratch):
    """Trains a pruned ResNet-20 with the original as teacher."""
    original, small = shared / "models/cifar10_resnet20.onnx", f"{scratch}/small.onnx"
    cut = ["--criterion", "l1", "--keep-macs", "0.7", "--device", device, "-o", small]
    code, result = program.json("prune", original, *cut)
    if not report.check(code == 0, "ResNet-20: prune", "" if code == 0 else common.message(result)):
        return
    cifar = shared / "data/cifar10"
    data = ["--data", cifar / "calibration.npz", "--images", "1024", "--test", cifar / "test.npz", "--preset", "cifar10"]
    training = ["--steps", "40", "--learning-rate", "0.001", "--device", device, "-o", f"{scratch}/tuned.onnx"]
    code, result = program.json("finetune", small, "--teacher", original, *data, *training)
    if not report.check(code == 0, "ResNet-20: finetune with a teacher", "" if code == 0 else common.message(result)):
        return
    images = common.pictures(shared, "cifar10", (1017, 3, 32, 32))
    labels = np.load(cifar / "test.npz")["labels"]
    check(report, "ResNet-20", result, small, (images, labels), lambda before: before + 30)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bin")
    parser.add_argument("shared", type=pathlib.Path)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    program, report = common.Program(options.bin), common.Report()
    for check_network in (lenet, resnet):
        with tempfile.TemporaryDirectory(prefix="secateur-e2e-") as scratch:
            check_network(report, program, options.shared, options.device, scratch)
    report.finish()


if __name__ == "__main__":
    main()
