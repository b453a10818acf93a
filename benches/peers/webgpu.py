#!/usr/bin/env python3
"""ONNX Runtime by WebGPU on one network, for peers.py: webgpu.py MODEL.onnx X.npy --answer Y.npy | --seconds S

It runs with onnxruntime-webgpu in front of everything on PYTHONPATH. With --answer the first output is written, with
--seconds the median seconds of a run are printed: shaders are compiled before, transfers are part of it.
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
    parser.add_argument("--answer")
    parser.add_argument("--seconds", type=float)
    args = parser.parse_args()
    session = onnxruntime.InferenceSession(args.model, providers=["WebGpuExecutionProvider"])
    if session.get_providers()[0] != "WebGpuExecutionProvider":
        raise SystemExit(f"no WebGPU here, but {session.get_providers()}")
    feed = {session.get_inputs()[0].name: np.load(args.x)}
    answer = session.run(None, feed)[0]
    if args.answer:
        np.save(args.answer, answer)
        return
    times, begin = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begin < args.seconds:
        start = time.perf_counter()
        session.run(None, feed)
        times.append(time.perf_counter() - start)
    # The first one may still allocate.
    print(statistics.median(times[1:]))


if __name__ == "__main__":
    main()
