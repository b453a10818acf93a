#!/usr/bin/env python3
"""Random networks and their cuts before ONNX Runtime: check_graphs.py DIR

DIR holds NNN.original.onnx, NNN.masked.onnx and NNN.small.onnx, as tests/graphs.rs writes them where
SECATEUR_DUMP_GRAPHS names it. Every file must be valid; the small network must answer what the masked one
answers.
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
            masked, small = (common.answers(models[kind], feeds) for kind in ("masked", "small"))
        except Exception as error:  # noqa: BLE001 an invalid file shows itself in many ways
            report.check(False, name, f"{type(error).__name__}: {error}"[:300])
            continue
        error = common.worst_error(small, masked)
        left = path.stat().st_size / files["original"].stat().st_size
        report.check(error <= common.TOLERANCE, name, f"{error:.1e}, {left:.2f} of the bytes")
    report.finish()


if __name__ == "__main__":
    main()
