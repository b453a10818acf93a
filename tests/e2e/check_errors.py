#!/usr/bin/env python3
"""Runs the program on invalid inputs: check_errors.py BIN

Each run must end with exit code 2 and one helpful error on stderr, without a panic or a backtrace. It must not leave
an output or a temporary file. With --json, stdout must be exactly one JSON object with the error.
"""

import json
import pathlib
import re
import resource
import shutil
import sys
import tempfile

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import common

PANIC = re.compile(r"panicked|backtrace|RUST_|thread '|unwrap\(\)|assertion", re.IGNORECASE)


def network():
    """A small valid network: Conv, Relu, Conv, Relu, GlobalAveragePool, Flatten, Gemm."""
    rng = np.random.default_rng(0)
    weights = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (12, 8, 3, 3), "b2": (12,), "w3": (5, 12), "b3": (5,)}
    make = helper.make_node
    nodes = [
        make("Conv", ["x", "w1", "b1"], ["c1"], "conv1", pads=[1, 1, 1, 1]),
        make("Relu", ["c1"], ["r1"], "relu1"),
        make("Conv", ["r1", "w2", "b2"], ["c2"], "conv2", pads=[1, 1, 1, 1]),
        make("Relu", ["c2"], ["r2"], "relu2"),
        make("GlobalAveragePool", ["r2"], ["p"], "pool"),
        make("Flatten", ["p"], ["f"], "flatten"),
        make("Gemm", ["f", "w3", "b3"], ["y"], "gemm", transB=1),
    ]
    graph = helper.make_graph(
        nodes, "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n) for n, s in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


def changed(edit):
    """Returns the network's bytes after `edit`."""
    model = network()
    edit(model, {t.name: t for t in model.graph.initializer}, {n.name: n for n in model.graph.node})
    return model.SerializeToString()


def bad_models():
    """Yields a name, the bytes, and a pattern that the error must match."""
    sound = network().SerializeToString()

    def huge(model, weights, nodes):
        weights["w1"].dims[:] = [2**31, 2**31, 3, 3]

    def huge_without_data(model, weights, nodes):
        weights["w1"].ClearField("raw_data")
        weights["w1"].dims[:] = [2**20, 2**20]

    def negative(model, weights, nodes):
        weights["w1"].dims[0] = -8

    def cyclic(model, weights, nodes):
        nodes["conv1"].input[0] = "r2"

    def unknown(model, weights, nodes):
        nodes["relu1"].op_type, nodes["relu2"].op_type = "Frobnicate", "Quuxify"

    def unknown_domain(model, weights, nodes):
        nodes["relu1"].domain = "com.example.elsewhere"
        model.opset_import.append(helper.make_opsetid("com.example.elsewhere", 1))

    def nan(model, weights, nodes):
        array = numpy_helper.to_array(weights["w2"]).copy()
        array[3, 2, 1, 0] = np.nan
        weights["w2"].CopyFrom(numpy_helper.from_array(array, "w2"))

    def misfit(model, weights, nodes):
        weights["w2"].CopyFrom(numpy_helper.from_array(np.ones((12, 7, 3, 3), np.float32), "w2"))

    def short(model, weights, nodes):
        weights["w2"].raw_data = weights["w2"].raw_data[:-4]

    def dangling(model, weights, nodes):
        nodes["conv2"].input[0] = "undefined_value"

    def twice(model, weights, nodes):
        nodes["relu2"].output[0] = "r1"

    def no_output(model, weights, nodes):
        model.graph.output[0].name = "undefined_value"

    def no_nodes(model, weights, nodes):
        del model.graph.node[:]

    def bad_attribute(model, weights, nodes):
        nodes["conv1"].attribute[0].ints[:] = [1, 1, 1]

    def zero_stride(model, weights, nodes):
        nodes["conv1"].attribute.append(helper.make_attribute("strides", [0, 0]))

    def external(model, weights, nodes):
        weights["w1"].ClearField("raw_data")
        weights["w1"].data_location = TensorProto.EXTERNAL
        weights["w1"].external_data.add(key="location", value="../../../etc/hostname")

    def external_missing(model, weights, nodes):
        weights["w1"].ClearField("raw_data")
        weights["w1"].data_location = TensorProto.EXTERNAL
        weights["w1"].external_data.add(key="location", value="not-here.bin")

    cuts = [1, 10, len(sound) // 4, len(sound) // 2, 3 * len(sound) // 4, len(sound) - 1]
    yield from ((f"truncated after {cut} of {len(sound)} bytes", sound[:cut], "") for cut in cuts)
    yield "empty file", b"", ""
    yield "text file", b"This is not a network.\n" * 40, ""
    yield "random bytes", np.random.default_rng(1).bytes(4096), ""
    yield "weights that claim 2^62 elements", changed(huge), "w1"
    yield "weights that claim 2^40 elements and have none", changed(huge_without_data), "w1"
    yield "a negative dimension", changed(negative), "w1"
    yield "a cyclic graph", changed(cyclic), "cycl|circle|order"
    yield "two unknown operators", changed(unknown), "Frobnicate.*Quuxify|Quuxify.*Frobnicate"
    yield "an operator of an unknown domain", changed(unknown_domain), r"com\.example\.elsewhere"
    yield "a NaN among the weights", changed(nan), "w2|conv2"
    yield "weights that do not fit the node before", changed(misfit), "conv2"
    yield "weights with too few bytes", changed(short), "w2"
    yield "an undefined input", changed(dangling), "undefined_value"
    yield "a value defined twice", changed(twice), "r1"
    yield "an undefined output", changed(no_output), "undefined_value"
    yield "no nodes at all", changed(no_nodes), ""
    yield "pads of the wrong length", changed(bad_attribute), "conv1"
    yield "a stride of zero", changed(zero_stride), "conv1"
    yield "external data outside the folder", changed(external), "w1|hostname"
    yield "external data that is missing", changed(external_missing), "not-here.bin"


class Refusals:
    """Runs the program and checks its errors."""

    def __init__(self, program, report, scratch):
        self.program, self.report, self.scratch = program, report, scratch

    def refused(self, name, *arguments, says=""):
        """Runs a command as text and as JSON; nothing in the scratch folder may change."""
        before = self.files()
        faults = []
        code, out, err = self.program(*arguments, "--color", "never", timeout=120)
        if code != 2:
            faults.append(f"exit code {code}")
        if PANIC.search(out + err):
            faults.append(f"a panic shows: {err[:200]!r}")
        errors = len(re.findall(r"^error", err, re.MULTILINE))
        if errors != 1:
            faults.append(f"{errors} errors on stderr: {err[:200]!r}")
        if not re.search(says, err, re.DOTALL | re.IGNORECASE):
            faults.append(f"does not say {says!r}: {err[:400]!r}")
        if out:
            faults.append(f"stdout: {out[:100]!r}")
        code, out, err = self.program(*arguments, "--json", timeout=120)
        try:
            text = json.loads(out)["error"]["message"]
            if not isinstance(text, str) or not text:
                faults.append("an empty error.message")
        except (ValueError, LookupError, TypeError):
            faults.append(f"--json prints {out[:150]!r}")
        if code != 2 or PANIC.search(out + err):
            faults.append(f"--json: exit code {code}, {err[:150]!r}")
        if self.files() != before:
            faults.append(f"files changed: {sorted(set(self.files().items()) ^ set(before.items()))[:4]}")
        self.report.check(not faults, name, "; ".join(faults))

    def files(self):
        """Every file below the scratch folder with its size and time."""
        found = [(p, p.lstat()) for p in self.scratch.rglob("*")]
        return {str(p.relative_to(self.scratch)): (s.st_size, s.st_mtime_ns) for p, s in found if not p.is_dir()}


def models(refusals, out):
    """Bad files, through the three verbs that read one."""
    feed = refusals.scratch / "x.npy"
    for name, data, says in bad_models():
        path = refusals.scratch / "bad.onnx"
        path.write_bytes(data)
        refusals.refused(f"inspect: {name}", "inspect", path, says=says)
        run = ["run", path, "--input", f"x={feed}", "--output-dir", refusals.scratch / "outputs", "--device", "cpu"]
        refusals.refused(f"run: {name}", *run, says=says)
        refusals.refused(f"prune: {name}", "prune", path, *RANDOM, "-o", out, says=says)
        path.unlink()


RANDOM = ["--data", "random:4", "--allow-random", "--criterion", "l1", "--keep-macs", "0.7", "--device", "cpu"]


def data(refusals, good, out):
    """Calibration sets that are not one."""
    def prune(source):
        return ["prune", good, "--data", source, "--criterion", "l1", "--keep-macs", "0.7", "-o", out, "--device", "cpu"]

    empty, broken = refusals.scratch / "empty", refusals.scratch / "broken"
    empty.mkdir()
    broken.mkdir()
    (broken / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0 and then nothing")
    (broken / "b.png").write_bytes(b"")
    np.savez(refusals.scratch / "names.npz", pictures=np.zeros((2, 3, 8, 8), np.uint8))
    np.save(refusals.scratch / "rank2.npy", np.zeros((4, 4), np.float32))
    np.save(refusals.scratch / "nan.npy", np.full((4, 3, 8, 8), np.nan, np.float32))
    (refusals.scratch / "cut-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03\0\0\x27\x10\0\0\0\x1c")
    refusals.refused("data: an empty folder", *prune(empty), says="empty")
    refusals.refused("data: only broken images", *prune(broken), says="a.jpg|b.png|broken")
    refusals.refused("data: a folder that is not there", *prune(refusals.scratch / "nowhere"), says="nowhere")
    refusals.refused("data: npz without images", *prune(refusals.scratch / "names.npz"), says="images")
    refusals.refused("data: npy of rank 2", *prune(refusals.scratch / "rank2.npy"), says="rank2.npy")
    refusals.refused("data: NaN in the images", *prune(refusals.scratch / "nan.npy"), says="NaN|finite")
    refusals.refused("data: a truncated idx file", *prune(refusals.scratch / "cut-images-idx3-ubyte"), says="idx")
    refusals.refused("data: random without --allow-random", *prune("random:4"), says="allow-random")
    refusals.refused("data: random:none", *prune("random:none"), says="random")


def options(refusals, good, out):
    """Requests that cannot be fulfilled."""
    def prune(*rest, target=out, source=good):
        return ["prune", source, "--data", "random:4", "--allow-random", "-o", target, "--device", "cpu", *rest]

    budget = ["--criterion", "l1", "--keep-macs", "0.7"]
    refusals.refused("budget: impossible, the smallest is reported", *prune("--criterion", "l1", "--keep-macs", "0.001"),
                  says=r"(smallest|least|lowest|minimum).*\d|\d.*(smallest|least|lowest|minimum)")
    for value in ("0", "-0.5", "1.5", "nan", "many"):
        refusals.refused(f"budget: --keep-macs {value}", *prune("--criterion", "l1", f"--keep-macs={value}"), says="keep-macs")
    refusals.refused("budget: none", *prune("--criterion", "l1"), says="keep")
    refusals.refused("criterion: apozz", *prune("--criterion", "apozz", "--keep-macs", "0.7"), says=r"\bapoz\b")
    refusals.refused("output: the folder is missing", *prune(*budget, target=refusals.scratch / "no" / "where.onnx"), says="where|no")
    directory = refusals.scratch / "directory.onnx"
    directory.mkdir()
    refusals.refused("output: the path is a folder", *prune(*budget, target=directory), says="directory")
    refusals.refused("output: the same file as the input", *prune(*budget, target=good), says="same|input")
    refusals.refused("model: not there", *prune(*budget, source=refusals.scratch / "nothing.onnx"), says="nothing.onnx")
    refusals.refused("model: a folder", *prune(*budget, source=directory), says="directory")
    refusals.refused("device: number 99", "run", good, "--input", f"x={refusals.scratch / 'x.npy'}", "--output-dir",
                  refusals.scratch / "outputs", "--device", "99", says="99")
    refusals.refused("device: a name that nothing has", "bench", good, "--device", "no such gpu", says="no such gpu")
    refusals.refused("verb: unknown", "purne", good, says="prune")
    refusals.refused("option: unknown", *prune(*budget, "--keep-mac", "3"), says="keep-mac")


def feeds(refusals, good):
    """Invalid inputs of `run`."""
    def run(value, name="x"):
        return ["run", good, "--input", f"{name}={value}", "--output-dir", refusals.scratch / "outputs", "--device", "cpu"]

    sound = refusals.scratch / "x.npy"
    bad = refusals.scratch / "bad.npy"
    bad.write_bytes(sound.read_bytes()[:-7])
    refusals.refused("input: a truncated npy", *run(bad), says="bad.npy")
    bad.write_bytes(b"\x93NUMPY\x01\x00\xff\xff{'descr': ")
    refusals.refused("input: a malformed header", *run(bad), says="bad.npy")
    bad.write_bytes(b"1 2 3")
    refusals.refused("input: not an npy", *run(bad), says="bad.npy")
    np.save(bad, np.zeros((1, 3, 8, 9, 1), np.float32))
    refusals.refused("input: of another rank", *run(bad), says="x")
    np.save(bad, np.zeros((1, 4, 8, 8), np.float32))
    refusals.refused("input: of another shape", *run(bad), says="x")
    np.save(bad, np.array(["a", "b"]))
    refusals.refused("input: of strings", *run(bad), says="bad.npy")
    refusals.refused("input: of another name", *run(sound, "z"), says="x")
    refusals.refused("input: none", "run", good, "--output-dir", refusals.scratch / "outputs", "--device", "cpu", says="x|input")
    refusals.refused("input: not there", *run(refusals.scratch / "none.npy"), says="none.npy")
    bad.unlink()


def main():
    program, report = common.Program(sys.argv[1]), common.Report()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="secateur-e2e-"))
    try:
        good, out = scratch / "good.onnx", scratch / "out.onnx"
        good.write_bytes(network().SerializeToString())
        np.save(scratch / "x.npy", np.ones((1, 3, 8, 8), np.float32))
        code, result = program.json("prune", good, *RANDOM, "-o", out)
        report.check(code == 0 and out.exists(), "the valid network is pruned", "" if code == 0 else common.message(result))
        out.unlink(missing_ok=True)
        refusals = Refusals(program, report, scratch)
        models(refusals, out)
        data(refusals, good, out)
        options(refusals, good, out)
        feeds(refusals, good)
        largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        report.check(largest < 1024, "every run took less than a GiB of memory", f"{largest:.0f} MiB at most")
    finally:
        shutil.rmtree(scratch)
    report.finish()


if __name__ == "__main__":
    main()
