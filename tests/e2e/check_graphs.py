#!/usr/bin/env python3
"""Compares random networks and their cuts in ONNX Runtime: check_graphs.py DIR

DIR contains NNN.original.onnx, NNN.masked.onnx and NNN.small.onnx, which tests/graphs.rs writes if
SECATEUR_DUMP_GRAPHS is set. Every file must be valid, and the small network must have the outputs of the masked one.
"""

import pathlib
import sys

import onnx

import common


def main():
    report, folder = common.Report(), pathlib.Path(sys.argv[1])
    for path in sorted(folder.glob("*.small.onnx")):
        name = path.name.split(".")[0]
        files = {kind: folder / f"{name}.{kind}.onnx" for kind in ("original", "masked", "small")}
        models = {kind: onnx.load(file) for kind, file in files.items()}
        try:
            for model in models.values():
                onnx.checker.check_model(model, full_check=True)
            feeds = common.random_feeds(models["original"], batch=3)
            masked, small = (common.ort_outputs(models[kind], feeds) for kind in ("masked", "small"))
        except Exception as error:  # noqa: BLE001 invalid files cause many kinds of exceptions
            report.check(False, name, f"{type(error).__name__}: {error}"[:300])
            continue
        error = common.worst_error(small, masked)
        left = path.stat().st_size / files["original"].stat().st_size
        report.check(error <= common.TOLERANCE, name, f"{error:.1e}, {left:.2f} of the bytes")
    report.finish()


if __name__ == "__main__":
    main()
