"""Shared helpers: `case` and `each`, which add to `CASES`, and constructors of tensors."""

import numpy as np

LATEST = 24  # the newest opset that ONNX Runtime 1.32 calls released
CASES = {}


def case(name, opset, nodes, *, fixed=False, edit=None, formula=None, **tensors):
    """Adds the case NAME_opOPSET.

    `edit` changes the finished model, for example its encodings. `formula` computes the outputs from the inputs if no
    runtime computes them correctly."""
    name = f"{name}_op{opset}"
    assert name not in CASES, name
    CASES[name] = dict(opset=opset, nodes=nodes, fixed=fixed, edit=edit, formula=formula, tensors=tensors)


def each(name, opsets, nodes, **rest):
    """Adds a case at several opsets between which the operator must not change."""
    for opset in opsets:
        case(name, opset, nodes, **rest)


def positive(*shape):
    """Numbers in 0.1 .. 2."""
    return lambda rng: rng.uniform(0.1, 2.0, shape).astype(np.float32)


def small(*shape):
    """Numbers with small powers and exponentials."""
    return lambda rng: rng.uniform(-1.5, 1.5, shape).astype(np.float32)


def scaled(*shape):
    """Weights scaled so that outputs have the magnitude of inputs."""
    return lambda rng: (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def ints(*values):
    """A 1-D int64 tensor."""
    return np.array(values, np.int64)


def floats(*values):
    """A 1-D float tensor."""
    return np.array(values, np.float32)


def scalar(value, dtype=np.float32):
    """A tensor of rank 0."""
    return np.array(value, dtype)
