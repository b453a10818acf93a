"""What every family's file needs: `case` and `each`, which add to `CASES`, and tensors to give them."""

import numpy as np

LATEST = 24  # the newest opset that ONNX Runtime 1.32 calls released
CASES = {}


def case(name, opset, nodes, *, fixed=False, edit=None, formula=None, **tensors):
    """Adds the case NAME_opOPSET; `edit` may change the finished model (other encodings), `formula`
    computes the answers from the fed tensors where no runtime does it right."""
    name = f"{name}_op{opset}"
    assert name not in CASES, name
    CASES[name] = dict(opset=opset, nodes=nodes, fixed=fixed, edit=edit, formula=formula, tensors=tensors)


def each(name, opsets, nodes, **rest):
    """The same case at several opsets: nothing changed in between, and that must hold."""
    for opset in opsets:
        case(name, opset, nodes, **rest)


def positive(*shape):
    """Numbers in 0.1 .. 2."""
    return lambda rng: rng.uniform(0.1, 2.0, shape).astype(np.float32)


def small(*shape):
    """Numbers whose powers and exponentials stay tame."""
    return lambda rng: rng.uniform(-1.5, 1.5, shape).astype(np.float32)


def scaled(*shape):
    """Weights that keep what they sum at the size of what they read."""
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
