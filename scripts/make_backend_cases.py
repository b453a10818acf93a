#!/usr/bin/env python3
"""Collects the ONNX standard's own operator tests into one file, for tests/onnx_backend.rs.

    python3 scripts/make_backend_cases.py target/backend_cases.safetensors

Needs onnx 1.23.2, numpy 2.4.6, safetensors 0.8.0; .ci/run calls it. The file is not committed because it is large and
reproducible: the cases come with the `onnx` package (kinds node, simple, pytorch-converted, pytorch-operator).
Contents for every case:

    CASE/model      u8    the bytes of the ONNX file
    CASE/in/NAME    f32   an input (i64 for integers and booleans)
    CASE/out/NAME   f32   an expected output
    CASE/tolerance  f32   an additional relative tolerance for half precision

Skipped are cases with strings, sequences, optionals or complex numbers, of opsets below 7, and those with NaN among
their values, which no comparison may pass; the metadata entry `left_out` counts them.
"""

import glob
import json
import sys
import warnings

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests
from safetensors.numpy import save_file


def read(path):
    """Reads a tensor from a .pb file."""
    tensor = onnx.TensorProto()
    with open(path, "rb") as file:
        tensor.ParseFromString(file.read())
    return numpy_helper.to_array(tensor)


def load(case):
    """Returns the model, the inputs and the expected outputs of the case's first data set."""
    if case.model is not None:
        inputs, outputs = case.data_sets[0]
        return case.model, list(inputs), list(outputs)
    model = onnx.load(f"{case.model_dir}/model.onnx")
    count = lambda kind: len(glob.glob(f"{case.model_dir}/test_data_set_0/{kind}_*.pb"))
    part = lambda kind: [read(f"{case.model_dir}/test_data_set_0/{kind}_{i}.pb") for i in range(count(kind))]
    return model, part("input"), part("output")


def plain(array):
    """Converts a value to f32 or i64; None if it is not a numeric tensor."""
    if isinstance(array, onnx.TensorProto):
        array = numpy_helper.to_array(array)
    if array is None or isinstance(array, (list, dict, str)):
        return None
    array = np.asarray(array)
    if array.dtype == bool or np.issubdtype(array.dtype, np.integer):
        wide = array.astype(np.int64)
        return wide if np.array_equal(wide, array) else None
    if array.dtype.kind in "OSUc":
        return None
    try:
        return np.asarray(array, np.float32, order="C")
    except (TypeError, ValueError):
        return None


# Expected outputs with only four digits.
ROUNDED = dict.fromkeys([
    "node.test_averagepool_2d_ceil_last_window_starts_on_pad",
    "node.test_roialign_aligned_false",
    "node.test_roialign_aligned_true",
], 1e-3)


def tolerance(arrays):
    """Returns the tolerance for intermediate rounding to a narrow type."""
    names = [np.asarray(a).dtype.name for a in arrays if a is not None]
    return 2e-2 if "bfloat16" in names else 2e-3 if "float16" in names else 0.0


def main():
    warnings.simplefilter("ignore")
    tensors, left_out = {}, {}
    for kind in ("node", "simple", "pytorch-converted", "pytorch-operator"):
        for case in load_model_tests(kind=kind):
            why = add(tensors, f"{kind}.{case.name}", *load(case))
            if why:
                left_out[why] = left_out.get(why, 0) + 1
    save_file(tensors, sys.argv[1], {"left_out": json.dumps(left_out)})
    print(sum(k.endswith("/model") for k in tensors), "cases; skipped:", left_out)


def add(tensors, name, model, inputs, outputs):
    """Adds a case; returns the reason if it is skipped."""
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    if opset < 7:
        return "an opset below 7, or another domain only"
    feeds = {i.name: plain(a) for i, a in zip(model.graph.input, inputs)}
    expected = {o.name: plain(a) for o, a in zip(model.graph.output, outputs)}
    if any(a is None for a in [*feeds.values(), *expected.values()]):
        return "strings, sequences, optionals or complex numbers"
    if any(np.isnan(a).any() for a in [*feeds.values(), *expected.values()] if a.dtype == np.float32):
        return "a NaN among the values"
    tensors[f"{name}/model"] = np.frombuffer(model.SerializeToString(deterministic=True), np.uint8)
    tensors[f"{name}/tolerance"] = np.float32([ROUNDED.get(name, tolerance([*inputs, *outputs]))])
    tensors.update({f"{name}/in/{k}": v for k, v in feeds.items()})
    tensors.update({f"{name}/out/{k}": v for k, v in expected.items()})
    return None


if __name__ == "__main__":
    main()
