#!/usr/bin/env python3
"""Compares `run` with ONNX Runtime on every network in SHARED/models: check_models.py BIN SHARED

Inputs are preprocessed real images, on the CPU and on the first adapter. Every output must be within 1e-4 of ONNX
Runtime's, with and without its graph optimizations.
"""

import os
import pathlib
import sys
import tempfile

import onnx

import common

def main():
    program, shared = common.Program(sys.argv[1]), pathlib.Path(sys.argv[2])
    report = common.Report()
    adapters = program.adapters()
    devices = ["cpu"] + [str(a["index"]) for a in adapters[:1]]
    if not adapters:
        verdict = "FAILED" if os.environ.get("SECATEUR_REQUIRE_GPU") else "skipped"
        report.row(verdict, "the GPU", "`devices` lists no adapter")
    with tempfile.TemporaryDirectory(prefix="secateur-e2e-") as scratch:
        for path in sorted((shared / "models").glob("*.onnx")):
            check(report, program, shared, path, devices, pathlib.Path(scratch))
    report.finish()


def check(report, program, shared, path, devices, scratch):
    """Checks one network on every device."""
    name = path.stem
    model = onnx.load(path)
    ((value, dims),) = common.own_inputs(model)
    feeds = {value: common.pictures(shared, name, common.concrete(dims, batch=2))}
    expected = {"plain": common.ort_outputs(model, feeds), "optimised": common.ort_outputs(model, feeds, optimise=True)}
    expected = {k: {common.file_name(n): a for n, a in v.items()} for k, v in expected.items()}
    for device in devices:
        code, result, got = common.run_model(program, path, feeds, scratch / f"{name}-{device}", device)
        if code != 0:
            report.check(False, f"{name} on {device}", f"exit code {code}: {common.message(result)[:300]}")
            continue
        errors = {k: common.worst_error(got, v) for k, v in expected.items()}
        detail = ", ".join(f"{k} {e:.1e}" for k, e in errors.items())
        if set(got) != set(expected["plain"]):
            detail = f"outputs {sorted(got)}, expected {sorted(expected['plain'])}"
        report.check(all(e <= common.TOLERANCE for e in errors.values()), f"{name} on {device}", detail)


if __name__ == "__main__":
    main()
