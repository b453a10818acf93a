"""Counts a model's multiply-accumulates for one image, from the shapes in ONNX Runtime.

    python3 macs.py MODEL.onnx

The count is independent of the program's. It includes Conv, ConvTranspose, Gemm and MatMul; biases, pointwise
operators and products of constants are not counted.
"""

import sys

import numpy as np
import onnx
from onnx import numpy_helper

from common import random_feeds, session


def shapes(model):
    """Returns the shape of every value at batch 1."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    declared = {o.name for o in wide.graph.output}
    for node in wide.graph.node:
        wide.graph.output.extend(onnx.ValueInfoProto(name=o) for o in node.output if o and o not in declared)
    feeds = random_feeds(model, batch=1)
    s = session(wide)
    names = [o.name for o in s.get_outputs()]
    found = dict(zip(names, (np.shape(v) for v in s.run(names, feeds))))
    found.update((name, array.shape) for name, array in feeds.items())
    found.update((t.name, tuple(t.dims)) for t in model.graph.initializer)
    return found


def count(model):
    """Returns the MACs of nodes by the name of their first output."""
    shape = shapes(model)
    constant = {t.name for t in model.graph.initializer}
    macs = {}
    for node in model.graph.node:
        if all(i in constant for i in node.input if i):
            constant.update(node.output)
            continue
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Conv":
            # Every output element sums over the window and the input channels of its group.
            macs[node.output[0]] = np.prod(shape[node.output[0]]) * np.prod(shape[node.input[1]][1:])
        elif node.op_type == "ConvTranspose":
            macs[node.output[0]] = np.prod(shape[node.input[0]]) * np.prod(shape[node.input[1]][1:])
        elif node.op_type == "Gemm":
            inner = shape[node.input[0]][0 if attributes.get("transA") else 1]
            macs[node.output[0]] = np.prod(shape[node.output[0]]) * inner
        elif node.op_type == "MatMul":
            macs[node.output[0]] = np.prod(shape[node.output[0]]) * shape[node.input[0]][-1]
    return {k: int(v) for k, v in macs.items()}


def total(model):
    """Returns the MACs of the whole model for one image."""
    return sum(count(model).values())


def parameters(model):
    """Counts float elements in initializers and Constant nodes."""
    tensors = list(model.graph.initializer)
    tensors += [a.t for n in model.graph.node if n.op_type == "Constant" for a in n.attribute if a.name == "value"]
    return sum(numpy_helper.to_array(t).size for t in tensors if t.data_type in (1, 10, 11))


if __name__ == "__main__":
    for path in sys.argv[1:]:
        loaded = onnx.load(path)
        print(f"{total(loaded):>14,} MACs {parameters(loaded):>12,} parameters  {path}")
