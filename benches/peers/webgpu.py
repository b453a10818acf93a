#!/usr/bin/env python3
"""Runs one network in ONNX Runtime with WebGPU, for peers.py: webgpu.py MODEL.onnx X.npy --output Y.npy | --seconds S

onnxruntime-webgpu must come first on PYTHONPATH. --output writes the first output. --seconds prints the median seconds
of a run, including transfers and excluding the compilation of shaders.
"""

import argparse
import statistics
import time

import numpy as np
import onnxruntime


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("x")
    parser.add_argument("--output")
    parser.add_argument("--seconds", type=float)
    args = parser.parse_args()
    session = onnxruntime.InferenceSession(args.model, providers=["WebGpuExecutionProvider"])
    if session.get_providers()[0] != "WebGpuExecutionProvider":
        raise SystemExit(f"WebGPU is not available, only {session.get_providers()}")
    feed = {session.get_inputs()[0].name: np.load(args.x)}
    output = session.run(None, feed)[0]
    if args.output:
        np.save(args.output, output)
        return
    times, begin = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begin < args.seconds:
        start = time.perf_counter()
        session.run(None, feed)
        times.append(time.perf_counter() - start)
    # The first run may still allocate.
    print(statistics.median(times[1:]))


if __name__ == "__main__":
    main()
