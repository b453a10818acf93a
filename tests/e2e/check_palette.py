#!/usr/bin/env python3
"""Checks files with shared weights in ONNX Runtime: check_palette.py BIN SHARED [--device D]

The outputs must be those of a network that stores the same weights one by one: bit for bit, if the runtime computes the
weights when it loads the file. Without optimizations it does not, and then packs matrices in another order.
"""

import argparse
import pathlib
import tempfile

import common
import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

BITS = (4, 6, 8)
CASES = [
    ("mnist_lenet_caffe", ["--preset", "raw", "--scale", "256"], "mnist/train-images-idx3-ubyte.gz", "mnist/t10k-images-idx3-ubyte.gz", 0.2),
    ("cifar10_resnet20", ["--preset", "cifar10"], "cifar10/calibration.npz", "cifar10/test.npz", 1.5),
    ("cifar10_resnet56", ["--preset", "cifar10"], "cifar10/calibration.npz", "cifar10/test.npz", 1.0),
]


def session(model, optimized=True):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def expanded(shared, original):
    """Returns the original with the weights that the nodes of `shared` compute, and their names."""
    stored = {tensor.name for tensor in shared.graph.initializer}
    names = [t.name for t in original.graph.initializer if t.name not in stored and len(t.dims) > 1]
    weights = onnx.ModelProto()
    weights.CopyFrom(shared)
    del weights.graph.output[:]
    weights.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    needed = set(names)
    nodes = []
    for node in reversed(weights.graph.node):
        if needed & set(node.output):
            nodes.insert(0, node)
            needed |= set(node.input)
    computed = onnx.helper.make_graph(
        nodes, "weights", [], weights.graph.output, [t for t in weights.graph.initializer if t.name in needed]
    )
    computed = onnx.helper.make_model(computed, opset_imports=shared.opset_import, ir_version=shared.ir_version)
    values = dict(zip(names, session(computed).run(None, {})))
    plain = onnx.ModelProto()
    plain.CopyFrom(shared)
    kept = [node for node in shared.graph.node if not any(node.output[0] == other.output[0] for other in nodes)]
    del plain.graph.node[:]
    plain.graph.node.extend(kept)
    plain.graph.initializer.extend(numpy_helper.from_array(values[name], name) for name in names)
    return plain, values


def same(report, name, shared, plain):
    """Compares both files, with and without the optimizations of the runtime."""
    declared = shared.graph.input[0].type.tensor_type.shape.dim
    shape = [dim.dim_value or 2 for dim in declared]
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    for optimized in (True, False):
        outputs = [session(model, optimized).run(None, {shared.graph.input[0].name: x}) for model in (shared, plain)]
        if optimized:
            equal = all(np.array_equal(a, b) for a, b in zip(*outputs))
        else:
            equal = all(np.abs(a - b).max() <= common.TOLERANCE * np.abs(b).max() for a, b in zip(*outputs))
        how = "optimized" if optimized else "as it is"
        report.check(equal, f"{name}: outputs in ONNX Runtime, {how}", f"{sum(o.size for o in outputs[0])} numbers")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("shared", type=pathlib.Path)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    report, program = common.Report(), common.Program(args.program)
    with tempfile.TemporaryDirectory(prefix="secateur-e2e-") as folder:
        for network, recipe, calibration, test, points in CASES:
            model = args.shared / "models" / f"{network}.onnx"
            original = onnx.load(model)
            for bits in BITS:
                name, out = f"{network}, {bits} bits", pathlib.Path(folder) / "shared.onnx"
                data = ["--data", args.shared / "data" / calibration, *recipe, "--images", 512]
                data += ["--test", args.shared / "data" / test]
                code, result = program.json(
                    "quantize", model, f"--palette={bits}bit", *data, "--device", args.device, "-o", out
                )
                if not report.check(code == 0, f"{name}: quantize", common.message(result)[:200]):
                    continue
                shared = onnx.load(out)
                onnx.checker.check_model(shared)
                plain, values = expanded(shared, original)
                most = max(len(np.unique(value)) for value in values.values())
                report.check(most <= 2**bits, f"{name}: values of a weight", f"at most {most}")
                same(report, name, shared, plain)
                count = sum(value.size for value in values.values())
                stored = sum(t.ByteSize() for t in shared.graph.initializer)
                rest = sum(t.ByteSize() for t in plain.graph.initializer) - 4 * count
                of_codebooks = len(values) * (4 * 2**bits + 600) + 4096
                report.check(
                    stored - rest <= count * bits / 8 + of_codebooks, f"{name}: bytes of the indices",
                    f"{stored:,} for {count:,} weights",
                )
                report.check(
                    out.stat().st_size == result["after"]["bytes"] > result["after"]["coded_bytes"],
                    f"{name}: sizes", f"{result['after']}",
                )
                top1 = result["top1"]
                lost = 100 * (top1["before"] - top1["after"])
                report.check(lost <= points, f"{name}: lost top-1", f"{lost:.2f} points")
    report.finish()


if __name__ == "__main__":
    main()
