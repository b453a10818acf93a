#!/usr/bin/env python3
"""Prunes networks that mix channels, and compares them with ONNX Runtime: check_mixing.py BIN

The networks contain group normalization, attention and statistics over channels, in the form of exporters. Without
--inexact, the pruned network must have the outputs of the masked original, also for a batch. With --inexact, the
result must name the nodes at which removed channels mix, the file must be valid, and `run` must agree with ONNX Runtime.
"""

import json
import pathlib
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import common

# The first opset with a GroupNormalization that ONNX's checker accepts (that of opset 18 was withdrawn).
OPSET = 21


class Net:
    """A graph under construction; the batch is free."""

    def __init__(self, seed):
        self.rng, self.nodes, self.constants = np.random.default_rng(seed), [], []

    def weight(self, *shape, around=0.0, scale=None):
        scale = scale or (1 / max(np.prod(shape[1:]), 1)) ** 0.5
        return self.constant((around + scale * self.rng.standard_normal(shape)).astype(np.float32))

    def constant(self, array):
        name = f"w{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def ints(self, *values):
        return self.constant(np.array(values, np.int64))

    def node(self, op, *inputs, outputs=1, **attributes):
        name = f"{op}{len(self.nodes)}"
        made = [f"{name}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), made, name, **attributes))
        return made[0] if outputs == 1 else made

    def conv(self, x, c, out, kernel=3, stride=1):
        pads = [kernel // 2 if stride == 1 else 0] * 4
        return self.node("Conv", x, self.weight(out, c, kernel, kernel), self.weight(out), pads=pads, strides=[stride] * 2)

    def linear(self, x, c, out):
        return self.node("Add", self.node("MatMul", x, self.weight(c, out, scale=c**-0.5)), self.weight(out))

    def norm(self, x, c):
        return self.node("LayerNormalization", x, self.weight(c, around=1, scale=0.2), self.weight(c, scale=0.2), axis=-1)

    def save(self, path, x, side, classes=5):
        shape = lambda *d: ["N", *d]
        graph = helper.make_graph(
            self.nodes, "mixing", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape(3, side, side))],
            [helper.make_tensor_value_info(x, TensorProto.FLOAT, shape(classes))], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)


def head(net, x, c):
    """Global pooling and a classifier."""
    return net.node("Gemm", net.node("Flatten", net.node("GlobalAveragePool", x)), net.weight(5, c), net.weight(5), transB=1)


def group_norm(path, exported):
    net, c, groups = Net(1), 16, 4
    x = net.conv("x", 3, c)
    for _ in range(2):
        y = net.conv(x, c, c)
        if exported:
            y = net.node("Reshape", y, net.ints(0, groups, -1))
            y = net.node("InstanceNormalization", y, net.constant(np.ones(groups, np.float32)), net.constant(np.zeros(groups, np.float32)))
            y = net.node("Reshape", y, net.ints(0, c, 16, 16))
            y = net.node("Mul", y, net.weight(c, 1, 1, around=1, scale=0.3))
            y = net.node("Add", y, net.weight(c, 1, 1, scale=0.3))
        else:
            y = net.node("GroupNormalization", y, net.weight(c, around=1, scale=0.3), net.weight(c, scale=0.3), num_groups=groups)
        x = net.node("Relu", net.node("Add", x, y))
    net.save(path, head(net, x, c), 16)


def vit(path, heads=4, c=32, side=4):
    """Two transformer blocks with a fused linear layer for queries, keys and values, as in timm."""
    net, tokens, d = Net(2), side * side, c // heads
    x = net.node("Reshape", net.conv("x", 3, c, kernel=4, stride=4), net.ints(0, c, -1))
    x = net.node("Add", net.node("Transpose", x, perm=[0, 2, 1]), net.weight(1, tokens, c))
    for _ in range(2):
        y = net.node("Reshape", net.linear(net.norm(x, c), c, 3 * c), net.ints(0, tokens, 3, heads, d))
        y = net.node("Transpose", y, perm=[2, 0, 3, 1, 4])
        q, k, v = (net.node("Gather", y, net.constant(np.int64(i)), axis=0) for i in range(3))
        q = net.node("Mul", q, net.constant(np.float32(d**-0.5)))
        a = net.node("MatMul", q, net.node("Transpose", k, perm=[0, 1, 3, 2]))
        a = net.node("Softmax", net.node("Add", a, net.weight(1, heads, tokens, tokens)), axis=-1)
        y = net.node("Transpose", net.node("MatMul", a, v), perm=[0, 2, 1, 3])
        x = net.node("Add", x, net.linear(net.node("Reshape", y, net.ints(0, tokens, c)), c, c))
        y = net.node("Relu", net.linear(net.norm(x, c), c, 2 * c))
        x = net.node("Add", x, net.linear(y, 2 * c, c))
    x = net.node("ReduceMean", x, net.ints(1), keepdims=0)
    net.save(path, net.node("Gemm", x, net.weight(5, c), net.weight(5), transB=1), 16)


def cbam(path, c=12):
    """Attention over channels, then over space."""
    net = Net(3)
    x = net.node("Relu", net.conv("x", 3, c))
    x = net.node("Relu", net.conv(x, c, c))
    gate = net.conv(net.node("Relu", net.conv(net.node("GlobalAveragePool", x), c, 4, kernel=1)), 4, c, kernel=1)
    x = net.node("Mul", x, net.node("Sigmoid", gate))
    both = net.node("Concat", net.node("ReduceMean", x, net.ints(1)), net.node("ReduceMax", x, net.ints(1)), axis=1)
    x = net.node("Mul", x, net.node("Sigmoid", net.conv(both, 2, 1, kernel=7)))
    net.save(path, head(net, net.conv(x, c, 8), 8), 16)


NETWORKS = {
    "group_norm": lambda path: group_norm(path, False),
    "group_norm_exported": lambda path: group_norm(path, True),
    "vit": vit,
    "cbam": cbam,
}
# Prefixes of the nodes at which removed channels mix.
INEXACT = {"vit": "LayerNormalization", "cbam": "Reduce"}


def pruned(program, path, scratch, keep, *options):
    out, masked = scratch / "out.onnx", scratch / "masked.onnx"
    code, result = program.json("prune", path, "-o", out, "--masked", masked, "--criterion", "random", "--seed", "3",
                                "--keep-macs", keep, "--max-cut", "0.8", "--device", "cpu", *options)
    if code != 0:
        return None, common.message(result)
    models = {"original": onnx.load(path), "small": onnx.load(out), "masked": onnx.load(masked)}
    onnx.checker.check_model(models["small"], full_check=True)
    return models, result


def exact(report, program, name, path, scratch):
    models, result = pruned(program, path, scratch, "0.75")
    if not report.check(models is not None, f"{name} is pruned", result if models is None else ""):
        return
    worst = 0.0
    for batch in (1, 3):
        feeds = common.random_feeds(models["original"], batch=batch, seed=batch)
        worst = max(worst, common.worst_error(*(common.ort_outputs(models[m], feeds) for m in ("small", "masked"))))
    good = worst <= common.TOLERANCE and result["proof"]["exact"] and not result["inexact"]
    report.check(good and result["removed_channels"] > 0, f"{name} exact", f"{worst:.1e}, {result['removed_channels']} channels")


def inexact(report, program, name, path, scratch):
    models, result = pruned(program, path, scratch, "0.5", "--inexact")
    if not report.check(models is not None, f"{name} is pruned with --inexact", result if models is None else ""):
        return
    says = result["inexact"] and all(node.startswith(INEXACT[name]) for node in result["inexact"])
    proof = result["proof"]
    report.check(says and not proof["exact"] and proof["passed"] and proof["difference"] > 0, f"{name} is reported as inexact", result["inexact"])
    feeds = common.random_feeds(models["original"], batch=2)
    code, result, got = common.run_model(program, scratch / "out.onnx", feeds, scratch / "run", "cpu")
    expected = {common.file_name(n): a for n, a in common.ort_outputs(models["small"], feeds).items()}
    error = common.worst_error(got, expected) if code == 0 else common.message(result)
    report.check(code == 0 and error <= common.TOLERANCE, f"{name} inexact, in ONNX Runtime", error)
    # A cut file records inexact cuts.
    plan, again = scratch / "cut.json", scratch / "again.onnx"
    code, _ = program.json("plan", path, "-o", plan, "--criterion", "random", "--seed", "3", "--keep-macs", "0.5", "--max-cut", "0.8", "--inexact")
    same = code == 0 and program.json("prune", path, "--cut", plan, "-o", again, "--device", "cpu")[0] == 0
    same = same and again.read_bytes() == (scratch / "out.onnx").read_bytes()
    report.check(same and json.loads(plan.read_text())["inexact"], f"{name} is identical with a cut file")
    code, _ = program.json("prune", path, "--cut", plan, "-o", again, "--inexact")
    report.check(code == 2, f"{name} refuses --inexact with a cut file")


def main():
    program, report = common.Program(sys.argv[1]), common.Report()
    with tempfile.TemporaryDirectory(prefix="secateur-e2e-") as folder:
        for name, make in NETWORKS.items():
            scratch = pathlib.Path(folder) / name
            scratch.mkdir()
            path = scratch / "net.onnx"
            make(path)
            exact(report, program, name, path, scratch)
            if name in INEXACT:
                inexact(report, program, name, path, scratch)
    report.finish()


if __name__ == "__main__":
    main()
