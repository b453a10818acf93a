#!/usr/bin/env python3
"""Generates networks of full size with random weights: make_networks.py NAME FILE.onnx [BATCH SIDE]

NAME is vgg16, vgg19, resnet50, mobilenet_v2 or densenet161, with torchvision's structure. BatchNormalization is folded
into convolutions, as in exported files, except those of DenseNet, which precede convolutions. Alternatively, NAME describes a single convolution:
conv_IN_OUT_KERNEL_STRIDE_GROUPS, for example conv_144_144_3_1_144. BATCH (default: free) and SIDE (default: 224) are
dimensions of the input.
"""

import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

VGG = {
    "vgg16": [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0],
    "vgg19": [64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512, 512, 512, 512, 0],
}


class Net:
    """A graph under construction; values are (name, channels, side)."""

    def __init__(self):
        self.rng, self.nodes, self.weights = np.random.default_rng(0), [], []

    def weight(self, name, *shape, gain=1.0):
        """Adds weights that preserve the magnitude of activations through a Relu; biases have a scale of 0.1."""
        scale = gain * (2 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.1
        data = self.rng.standard_normal(shape, np.float32) * np.float32(scale)
        self.weights.append(numpy_helper.from_array(data, name))
        return name

    def node(self, op, *inputs, **attributes):
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [f"{name}_out"], name, **attributes))
        return f"{name}_out"

    def conv(self, x, out, kernel, stride=1, groups=1, act=None, gain=1.0):
        value, channels, side = x
        index, pad = len(self.nodes), kernel // 2
        inputs = [value, self.weight(f"w{index}", out, channels // groups, kernel, kernel, gain=gain), self.weight(f"b{index}", out)]
        value = self.node("Conv", *inputs, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, group=groups)
        if act == "relu":
            value = self.node("Relu", value)
        elif act == "relu6":
            value = self.node("Clip", value, "zero", "six")
        return value, out, (side + 2 * pad - kernel) // stride + 1

    def batch_norm(self, x):
        value, channels, side = x
        index, ones = len(self.nodes), np.ones(channels, np.float32)
        for part, data in [("scale", ones), ("shift", 0 * ones), ("mean", 0 * ones), ("var", 2 * ones)]:
            self.weights.append(numpy_helper.from_array(data, f"{part}{index}"))
        parts = [f"{part}{index}" for part in ("scale", "shift", "mean", "var")]
        return self.node("Relu", self.node("BatchNormalization", value, *parts)), channels, side

    def gemm(self, value, channels, out):
        index = len(self.nodes)
        return self.node("Gemm", value, self.weight(f"w{index}", out, channels), self.weight(f"b{index}", out), transB=1)


def vgg(net, x, widths):
    for width in widths:
        if width:
            x = net.conv(x, width, 3, act="relu")
        else:
            x = net.node("MaxPool", x[0], kernel_shape=[2, 2], strides=[2, 2]), x[1], x[2] // 2
    value, channels = net.node("Flatten", x[0]), x[1] * x[2] ** 2
    for width in (4096, 4096):
        value, channels = net.node("Relu", net.gemm(value, channels, width)), width
    return net.gemm(value, channels, 1000)


def resnet50(net, x):
    x = net.conv(x, 64, 7, 2, act="relu")
    x = net.node("MaxPool", x[0], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), x[1], (x[2] + 1) // 2
    for stage, (width, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)]):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            y = net.conv(x, width, 1, act="relu")
            y = net.conv(y, width, 3, stride, act="relu")
            y = net.conv(y, width * 4, 1, gain=0.3)
            shortcut = x if block else net.conv(x, width * 4, 1, stride)
            x = net.node("Relu", net.node("Add", y[0], shortcut[0])), y[1], y[2]
    return head(net, x)


def mobilenet_v2(net, x):
    net.weights += [numpy_helper.from_array(np.float32(v), n) for n, v in [("zero", 0), ("six", 6)]]
    x = net.conv(x, 32, 3, 2, act="relu6")
    settings = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for expand, width, blocks, first_stride in settings:
        for block in range(blocks):
            stride, hidden = 1 if block else first_stride, x[1] * expand
            y = net.conv(x, hidden, 1, act="relu6") if expand > 1 else x
            y = net.conv(y, hidden, 3, stride, groups=hidden, act="relu6")
            y = net.conv(y, width, 1, gain=0.5)
            x = (net.node("Add", x[0], y[0]), *y[1:]) if block else y
    return head(net, net.conv(x, 1280, 1, act="relu6"))


def densenet161(net, x, growth=48):
    x = net.conv(x, 2 * growth, 7, 2, act="relu")
    x = net.node("MaxPool", x[0], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), x[1], (x[2] + 1) // 2
    for stage, layers in enumerate([6, 12, 36, 24]):
        if stage:
            y = net.conv(net.batch_norm(x), x[1] // 2, 1)
            x = net.node("AveragePool", y[0], kernel_shape=[2, 2], strides=[2, 2]), y[1], y[2] // 2
        for _ in range(layers):
            y = net.conv(net.batch_norm(x), 4 * growth, 1, act="relu")
            y = net.conv(y, growth, 3)
            x = net.node("Concat", x[0], y[0], axis=1), x[1] + growth, x[2]
    return head(net, net.batch_norm(x))


def head(net, x):
    return net.gemm(net.node("Flatten", net.node("GlobalAveragePool", x[0])), x[1], 1000)


def make(name, path, batch="N", side=224):
    net, channels, shape = Net(), 3, [1000]
    if name in VGG:
        y = vgg(net, ("x", 3, side), VGG[name])
    elif name.startswith("conv_"):
        channels, out, kernel, stride, groups = map(int, name.split("_")[1:])
        y, _, last = net.conv(("x", channels, side), out, kernel, stride, groups)
        shape = [out, last, last]
    else:
        y = {"resnet50": resnet50, "mobilenet_v2": mobilenet_v2, "densenet161": densenet161}[name](net, ("x", 3, side))
    graph = helper.make_graph(
        net.nodes, name, [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, channels, side, side])],
        [helper.make_tensor_value_info(y, TensorProto.FLOAT, [batch, *shape])], net.weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


if __name__ == "__main__":
    make(*sys.argv[1:3], *(int(n) if n.isdecimal() else n for n in sys.argv[3:]))
