#!/usr/bin/env python3
"""VGG-16, ResNet-50 and MobileNetV2 at 224×224 with random weights, as ONNX: networks.py FOLDER

BatchNormalization is folded, as every exporter for inference does; the batch is free.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Network:
    """A graph that grows from its input; nodes are named by their number."""

    def __init__(self):
        self.rng, self.nodes, self.weights = np.random.default_rng(0), [], []

    def weight(self, *shape):
        fan_in = max(int(np.prod(shape[1:])), 1)
        scale = np.float32((2 / fan_in) ** 0.5 if len(shape) > 1 else 0.01)
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(self.rng.standard_normal(shape, np.float32) * scale, name))
        return name

    def node(self, op, *inputs, **attributes):
        name = f"{op}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name, **attributes))
        return name

    def conv(self, x, inputs, outputs, kernel, stride=1, groups=1):
        pad = kernel // 2
        return self.node(
            "Conv", x, self.weight(outputs, inputs // groups, kernel, kernel), self.weight(outputs),
            kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, group=groups)

    def linear(self, x, inputs, outputs):
        return self.node("Gemm", x, self.weight(outputs, inputs), self.weight(outputs), transB=1)

    def clip(self, x):
        if not any(w.name == "six" for w in self.weights):
            for name, value in [("zero", 0), ("six", 6)]:
                self.weights.append(numpy_helper.from_array(np.float32(value), name))
        return self.node("Clip", x, "zero", "six")

    def save(self, output, path):
        graph = helper.make_graph(
            self.nodes, path.stem, [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 224, 224])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", 1000])], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, path)


def vgg16(path):
    n, x, channels = Network(), "x", 3
    for width in [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0]:
        if width:
            x, channels = n.node("Relu", n.conv(x, channels, width, 3)), width
        else:
            x = n.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = n.node("Flatten", x)
    for inputs, outputs in [(512 * 49, 4096), (4096, 4096)]:
        x = n.node("Relu", n.linear(x, inputs, outputs))
    n.save(n.linear(x, 4096, 1000), path)


def resnet50(path):
    n = Network()
    x = n.node("Relu", n.conv("x", 3, 64, 7, 2))
    x, channels = n.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), 64
    for width, blocks, first in [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]:
        for stride in [first] + [1] * (blocks - 1):
            y = n.node("Relu", n.conv(x, channels, width, 1))
            y = n.node("Relu", n.conv(y, width, width, 3, stride))
            y = n.conv(y, width, 4 * width, 1)
            short = x if channels == 4 * width else n.conv(x, channels, 4 * width, 1, stride)
            x, channels = n.node("Relu", n.node("Add", y, short)), 4 * width
    x = n.node("Flatten", n.node("GlobalAveragePool", x))
    n.save(n.linear(x, channels, 1000), path)


def mobilenet_v2(path):
    n = Network()
    x, channels = n.clip(n.conv("x", 3, 32, 3, 2)), 32
    table = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for expand, width, blocks, first in table:
        for stride in [first] + [1] * (blocks - 1):
            inner = channels * expand
            y = n.clip(n.conv(x, channels, inner, 1)) if expand > 1 else x
            y = n.clip(n.conv(y, inner, inner, 3, stride, inner))
            y = n.conv(y, inner, width, 1)
            x, channels = n.node("Add", x, y) if stride == 1 and channels == width else y, width
    x = n.node("GlobalAveragePool", n.clip(n.conv(x, channels, 1280, 1)))
    n.save(n.linear(n.node("Flatten", x), 1280, 1000), path)


NETWORKS = {"vgg16": vgg16, "resnet50": resnet50, "mobilenet_v2": mobilenet_v2}


def make(folder):
    """Makes what is not there yet, and gives the paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.onnx" for name in NETWORKS}
    for name, path in paths.items():
        if not path.exists():
            NETWORKS[name](path)
    return paths


if __name__ == "__main__":
    make(sys.argv[1])
