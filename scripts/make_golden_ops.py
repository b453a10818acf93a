#!/usr/bin/env python3
"""Makes tests/golden/ops.safetensors: small ONNX models and the answers that ONNX Runtime gives.

    python3 scripts/make_golden_ops.py tests/golden/ops.safetensors

needs onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, safetensors 0.8.0. Everything is seeded by the
case's name, so that a new case changes no other one (the last digit of a sum may depend on the
processor). For every case the file has

    CASE/model      u8    the bytes of the ONNX file
    CASE/in/NAME    f32   what to feed (i64 for an integer input)
    CASE/out/NAME   f32   what must come (i64 for an integer or bool output)

and the file's metadata entry `origin` tells which versions made it, and which cases ONNX Runtime
does not run, so that onnx.reference or a formula in golden/ answered instead. Where both
runtimes answer they are compared; a disagreement is printed, and ONNX Runtime's answer is taken: in
all that are printed today (LRN, BatchNormalization 9, Softmax up to 12, MaxPool SAME_LOWER, 1-D
GlobalMaxPool) PyTorch takes its side.

The cases themselves are in the package golden, a file a family of operators.
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
    """The tensor that a case's entry stands for."""
    if callable(spec):
        return spec(rng)
    if isinstance(spec, tuple):
        return rng.standard_normal(spec).astype(np.float32)
    return spec


def build(name, opset, nodes, fixed, edit, tensors):
    """The case's model, and what to feed it."""
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
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir, producer_name="golden"
    )
    if edit:
        edit(model)
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    for output, known in zip(model.graph.output, inferred.graph.output):
        output.CopyFrom(known)
    return model, feeds


def runtime(model, feeds):
    """ONNX Runtime's answers, without its optimisations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run([o.name for o in model.graph.output], feeds)


def declare_shapes(model, feeds):
    """Where inference gave an output no shape, declares free dimensions: a file must declare some."""
    unknown = [o for o in model.graph.output if not o.type.tensor_type.HasField("shape")]
    for output in unknown:
        if output.type.tensor_type.elem_type == TensorProto.UNDEFINED:
            output.type.tensor_type.elem_type = TensorProto.FLOAT
    for output, answer in zip(model.graph.output, runtime(model, feeds) if unknown else []):
        if output in unknown:
            dims = [f"{output.name}_{i}" for i in range(np.asarray(answer).ndim)]
            output.CopyFrom(helper.make_tensor_value_info(output.name, output.type.tensor_type.elem_type, dims))
            print(f"{model.graph.name}: {output.name} declared with free dimensions")


def agree(a, b):
    """Whether two answers are the same but for rounding."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return False
    a, b = a.astype(np.float64), b.astype(np.float64)
    return bool(np.all(np.abs(a - b) <= 1e-6 + 1e-5 * np.abs(b).max(initial=0.0)))


def main():
    """Builds, answers, cross-checks and writes every case."""
    tensors, by_reference, by_formula, disagree, unchecked = {}, [], [], [], []
    for name, spec in CASES.items():
        formula = spec.pop("formula")
        model, feeds = build(name, **spec)
        try:
            declare_shapes(model, feeds)
        except Exception as error:  # noqa: BLE001
            sys.exit(f"{name}: {error}")
        # Inference fails on this function's own body.
        sound = all(n.op_type != "MeanVarianceNormalization" for n in model.graph.node)
        onnx.checker.check_model(model, full_check=sound)
        try:
            reference = ReferenceEvaluator(model).run(None, feeds)
        except Exception as error:  # noqa: BLE001 the reference lacks some operators and old forms
            reference, why = None, f"{type(error).__name__}: {error}"
        try:
            answers = runtime(model, feeds) if formula is None else formula(**feeds)
        except Exception as error:  # noqa: BLE001
            if reference is None:
                sys.exit(f"{name}: neither judge answers: {why}; ONNX Runtime: {error}")
            answers = reference
            by_reference.append(name)
        if formula:
            by_formula.append(name)
        elif reference is None:
            unchecked.append(f"{name}: {why.splitlines()[0][:90]}")
        elif not all(agree(a, r) for a, r in zip(answers, reference)):
            disagree.append(name)
        key = lambda part, value: f"{name}/{part}/{re.sub('[^A-Za-z0-9_.-]', '_', value)}"
        tensors[f"{name}/model"] = np.frombuffer(model.SerializeToString(deterministic=True), np.uint8)
        for part, values in (("in", feeds.items()), ("out", zip([o.name for o in model.graph.output], answers))):
            for value, array in values:
                kind = np.float32 if np.issubdtype(np.asarray(array).dtype, np.floating) else np.int64
                tensors[key(part, value)] = np.ascontiguousarray(array, kind)
                assert np.isfinite(tensors[key(part, value)]).all(), name
    # One entry only: safetensors writes several in no fixed order.
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
    for title, names in (("judged by onnx.reference", by_reference), ("judged by a formula", by_formula),
                         ("not cross-checked", unchecked),
                         ("onnx.reference disagrees, ONNX Runtime taken", disagree)):
        print(f"{title}: {len(names)}", *names, sep="\n  ")


if __name__ == "__main__":
    main()
