#!/usr/bin/env python3
"""Runs the example of docs/cut.md: check_cut.py BIN SHARED

The function in that document cuts ResNet-20's parameters by a cut file. They must equal those of the network that
`prune` writes.
"""

import pathlib
import re
import sys
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper

import common


def example():
    """Returns the function in the document."""
    text = pathlib.Path(__file__).parents[2].joinpath("docs/cut.md").read_text()
    names = {}
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1), names)  # noqa: S102 our own document
    return names["cut_state_dict"]


def main():
    program, shared = common.Program(sys.argv[1]), pathlib.Path(sys.argv[2])
    report, model = common.Report(), shared / "models/cifar10_resnet20.onnx"
    with tempfile.TemporaryDirectory(prefix="secateur-e2e-") as scratch:
        cut, small = f"{scratch}/cut.json", f"{scratch}/small.onnx"
        code, result = program.json("plan", model, "--criterion", "l1", "--keep-macs", "0.6", "-o", cut)
        report.check(code == 0, "plan writes a cut", "" if code == 0 else common.message(result))
        code, result = program.json("prune", model, "--cut", cut, "-o", small, "--device", "cpu")
        report.check(code == 0, "prune applies the cut", "" if code == 0 else common.message(result))
        arrays = lambda path: {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
        state, expected = example()(arrays(model), cut), arrays(small)
        shared_names = [name for name in expected if name in state and expected[name].dtype == np.float32]
        wrong = [name for name in shared_names if not np.array_equal(state[name], expected[name])]
        smaller = sum(a.size < b.size for a, b in zip(expected.values(), map(arrays(model).get, expected)) if b is not None)
        report.check(not wrong and smaller > 50, "the example of docs/cut.md cuts a state dict equally",
                     f"{len(shared_names)} parameters, {smaller} of them smaller; wrong: {wrong[:3]}")
    report.finish()


if __name__ == "__main__":
    main()
