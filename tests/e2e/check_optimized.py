#!/usr/bin/env python3
"""Prunes files that ONNX Runtime's optimizer wrote: check_optimized.py BIN SHARED

Files of the levels "basic" and "extended" are pruned to the MACs of their originals, keep their fused nodes, and agree with
the masked original in ONNX Runtime. Files of level "all" for one kind of processor are refused with a remedy.
"""

import collections
import pathlib
import sys
import tempfile

import onnx
import onnxruntime

import common

NETWORKS = ("cifar10_resnet20", "emotion_mini_xception", "vww_mobilenet_v1_0.25_96_mlperftiny")
LEVELS = onnxruntime.GraphOptimizationLevel


def optimized(path, level, out):
    """Saves the file as ONNX Runtime optimizes it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.graph_optimization_level = 4, level
    options.optimized_model_filepath = str(out)
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def operators(model):
    return collections.Counter((n.domain, n.op_type) for n in model.graph.node)


def main():
    program, shared = common.Program(sys.argv[1]), pathlib.Path(sys.argv[2])
    report = common.Report()
    with tempfile.TemporaryDirectory(prefix="secateur-e2e-") as folder:
        path, out, masked = (pathlib.Path(folder) / name for name in ("net.onnx", "out.onnx", "masked.onnx"))
        for name in NETWORKS:
            macs = set()
            for level in (LEVELS.ORT_ENABLE_BASIC, LEVELS.ORT_ENABLE_EXTENDED):
                optimized(shared / f"models/{name}.onnx", level, path)
                code, result = program.json("prune", path, "-o", out, "--masked", masked, "--criterion", "l1",
                                            "--keep-macs", "0.6", "--device", "cpu")
                if not report.check(code == 0, f"{name}, {level.name}: is pruned", "" if code == 0 else common.message(result)):
                    continue
                before, small, reference = map(onnx.load, (path, out, masked))
                report.check(operators(small) == operators(before), f"{name}, {level.name}: keeps its nodes", dict(operators(small)))
                feeds = common.random_feeds(before, batch=1)
                error = common.worst_error(common.ort_outputs(small, feeds), common.ort_outputs(reference, feeds))
                report.check(error <= common.TOLERANCE, f"{name}, {level.name}: in ONNX Runtime", f"{error:.1e}")
                macs.add(result["removed_channels"])
            report.check(len(macs) == 1, f"{name}: equal cuts at both levels", macs)
            optimized(shared / f"models/{name}.onnx", LEVELS.ORT_ENABLE_ALL, path)
            if not any(domain == "com.microsoft.nchwc" for domain, _ in operators(onnx.load(path))):
                report.skip(f"{name}: level all", "this processor has no layout of its own")
                continue
            code, result = program.json("prune", path, "-o", out, "--keep-macs", "0.6")
            report.check(code == 2 and "ORT_ENABLE_BASIC" in str(result), f"{name}: level all is refused", common.message(result))
    report.finish()


if __name__ == "__main__":
    main()
