#!/usr/bin/env python3
"""VGG-19 with random weights, as large as the trained one (575 MB): make_vgg19.py FILE.onnx"""

import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTHS = [64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512, 512, 512, 512, 0]


def main():
    rng, nodes, weights = np.random.default_rng(0), [], []

    def weight(name, *shape):
        scale = np.float32((2 / max(np.prod(shape[1:]), 1)) ** 0.5)
        weights.append(numpy_helper.from_array(rng.standard_normal(shape, np.float32) * scale, name))
        return name

    def node(op, name, *inputs, **attributes):
        nodes.append(helper.make_node(op, list(inputs), [f"{name}_out"], name, **attributes))
        return f"{name}_out"

    x, channels, side = "x", 3, 224
    for i, width in enumerate(WIDTHS):
        if not width:
            x, side = node("MaxPool", f"pool{i}", x, kernel_shape=[2, 2], strides=[2, 2]), side // 2
            continue
        kernel, bias = weight(f"conv{i}.weight", width, channels, 3, 3), weight(f"conv{i}.bias", width)
        x, channels = node("Relu", f"relu{i}", node("Conv", f"conv{i}", x, kernel, bias, pads=[1] * 4)), width
    x, channels = node("Flatten", "flatten", x), channels * side * side
    for i, width in enumerate([4096, 4096, 1000]):
        matrix, bias = weight(f"fc{i}.weight", width, channels), weight(f"fc{i}.bias", width)
        x, channels = node("Gemm", f"fc{i}", x, matrix, bias, transB=1), width
        x = node("Relu", f"fcrelu{i}", x) if i < 2 else x
    graph = helper.make_graph(
        nodes, "vgg19", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 224, 224])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["N", 1000])], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), sys.argv[1])


if __name__ == "__main__":
    main()
