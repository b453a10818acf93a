#!/usr/bin/env python3
"""Generates tests/golden/ops.safetensors: small ONNX models with the outputs of ONNX Runtime.

    python3 scripts/make_golden_ops.py tests/golden/ops.safetensors

Needs onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, safetensors 0.8.0. Random numbers are seeded by the case's name, so
a new case changes no other one (the last digit of a sum may depend on the processor). Contents for every case:

    CASE/model      u8    the bytes of the ONNX file
    CASE/in/NAME    f32   an input (i64 for integers)
    CASE/out/NAME   f32   an expected output (i64 for integers and booleans)

The metadata entry `origin` records the versions, and the cases that ONNX Runtime does not run: their outputs come from
onnx.reference or from a formula in golden/. If both runtimes run a case, their outputs are compared; a disagreement is
printed, and ONNX Runtime's output is used. PyTorch agrees with ONNX Runtime in all current disagreements (LRN,
BatchNormalization 9, Softmax up to 12, MaxPool SAME_LOWER, 1-D GlobalMaxPool), except those of recurrent layers:
onnx.reference ignores their clip, lengths, activations and coupled gates.

The cases are in the package golden, one file for each operator family.
"""

import json
import re
import sys
import zlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper, parser
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import save

from golden import CASES

MAX_BYTES = 1_500_000


def make(spec, rng):
    """Creates a tensor from its specification in a case."""
    if callable(spec):
        return spec(rng)
    if isinstance(spec, tuple):
        return rng.standard_normal(spec).astype(np.float32)
    return spec


def build(name, opset, nodes, fixed, edit, tensors):
    """Builds the model of a case; returns it with its inputs."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    values = {key: make(spec, rng) for key, spec in tensors.items()}
    feeds = {k: v for k, v in values.items() if k.startswith("x")}
    parsed = [parser.parse_node(line.strip()) for line in nodes.strip().split("\n")]
    for index, node in enumerate(parsed):
        node.name = f"{node.op_type}_{index}"

    def info(key, value):
        shape = list(value.shape)
        if key in feeds and len(shape) >= 2 and not fixed:
            shape[0] = "N"
        return helper.make_tensor_value_info(key, helper.np_dtype_to_tensor_dtype(value.dtype), shape)

    ir = helper.find_min_ir_version_for([helper.make_opsetid("", opset)])
    # Before IR 4 an initializer had to be listed among the graph's inputs too.
    listed = [k for k in values if k in feeds or ir < 4]
    outputs = [o for node in parsed for o in node.output if o.startswith("y")]
    graph = helper.make_graph(
        parsed,
        name,
        [info(k, values[k]) for k in listed],
        [helper.make_tensor_value_info(o, TensorProto.UNDEFINED, None) for o in outputs],
        [numpy_helper.from_array(v, k) for k, v in values.items() if k not in feeds],
    )
    fused = {node.domain for node in parsed if node.domain}
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in sorted(fused))]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=ir, producer_name="golden")
    if edit:
        edit(model)
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    for output, known in zip(model.graph.output, inferred.graph.output):
        output.CopyFrom(known)
    return model, feeds


def runtime(model, feeds):
    """Returns ONNX Runtime's outputs, computed without graph optimizations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run([o.name for o in model.graph.output], feeds)


def declare_shapes(model, feeds):
    """Declares free dimensions for outputs whose shape was not inferred, since a file must declare a shape."""
    unknown = [o for o in model.graph.output if not o.type.tensor_type.HasField("shape")]
    for output in unknown:
        if output.type.tensor_type.elem_type == TensorProto.UNDEFINED:
            output.type.tensor_type.elem_type = TensorProto.FLOAT
    for output, array in zip(model.graph.output, runtime(model, feeds) if unknown else []):
        if output in unknown:
            dims = [f"{output.name}_{i}" for i in range(np.asarray(array).ndim)]
            output.CopyFrom(helper.make_tensor_value_info(output.name, output.type.tensor_type.elem_type, dims))
            print(f"{model.graph.name}: {output.name} declared with free dimensions")


def agree(a, b):
    """Returns whether two outputs are equal up to rounding."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return False
    a, b = a.astype(np.float64), b.astype(np.float64)
    return bool(np.all(np.abs(a - b) <= 1e-6 + 1e-5 * np.abs(b).max(initial=0.0)))


def main():
    """Builds, runs, cross-checks and writes every case."""
    tensors, by_reference, by_formula, disagree, unchecked = {}, [], [], [], []
    for name, spec in CASES.items():
        formula = spec.pop("formula")
        model, feeds = build(name, **spec)
        try:
            declare_shapes(model, feeds)
        except Exception as error:  # noqa: BLE001
            sys.exit(f"{name}: {error}")
        # Shape inference fails on the body of this function.
        sound = all(n.op_type != "MeanVarianceNormalization" for n in model.graph.node)
        # ONNX Runtime's optimizer writes this operator at opsets that lack it.
        older = spec["opset"] < 17 and any(n.op_type == "LayerNormalization" for n in model.graph.node)
        if not older:
            onnx.checker.check_model(model, full_check=sound)
        try:
            reference = ReferenceEvaluator(model).run(None, feeds)
        except Exception as error:  # noqa: BLE001 onnx.reference lacks some operators and old versions
            reference, why = None, f"{type(error).__name__}: {error}"
        try:
            outputs = runtime(model, feeds) if formula is None else formula(**feeds)
        except Exception as error:  # noqa: BLE001
            if reference is None:
                sys.exit(f"{name}: neither runtime runs it: {why}; ONNX Runtime: {error}")
            outputs = reference
            by_reference.append(name)
        if formula:
            by_formula.append(name)
        elif reference is None:
            unchecked.append(f"{name}: {why.splitlines()[0][:90]}")
        elif not all(agree(a, r) for a, r in zip(outputs, reference)):
            disagree.append(name)
        key = lambda part, value: f"{name}/{part}/{re.sub('[^A-Za-z0-9_.-]', '_', value)}"
        tensors[f"{name}/model"] = np.frombuffer(model.SerializeToString(deterministic=True), np.uint8)
        for part, values in (("in", feeds.items()), ("out", zip([o.name for o in model.graph.output], outputs))):
            for value, array in values:
                kind = np.float32 if np.issubdtype(np.asarray(array).dtype, np.floating) else np.int64
                tensors[key(part, value)] = np.ascontiguousarray(array, kind)
                assert np.isfinite(tensors[key(part, value)]).all(), name
    # A single entry: safetensors writes several entries in no fixed order.
    origin = {
        "made_by": f"scripts/make_golden_ops.py, onnxruntime {onnxruntime.__version__}, onnx {onnx.__version__}",
        "judged_by_onnx_reference": by_reference,
        "judged_by_formula": by_formula,
    }
    data = save(tensors, {"origin": json.dumps(origin)})
    assert len(data) < MAX_BYTES, len(data)
    with open(sys.argv[1], "wb") as file:
        file.write(data)
    print(f"{len(CASES)} cases, {len(data)} bytes")
    for title, names in (("outputs by onnx.reference", by_reference), ("outputs by a formula", by_formula),
                         ("not cross-checked", unchecked),
                         ("onnx.reference disagrees, ONNX Runtime used", disagree)):
        print(f"{title}: {len(names)}", *names, sep="\n  ")


if __name__ == "__main__":
    main()
