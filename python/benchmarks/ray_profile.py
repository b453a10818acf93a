"""Measures profiles over a Ray cluster on this machine: against one process, with 1 and 2 workers, and with a killed one.

    python python/benchmarks/ray_profile.py [--count 10000] [--network net.onnx]

It prints the figures of docs/cluster.md: times, the largest relative differences, and the cost of merging profiles.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.data.block import BlockAccessor
from safetensors.numpy import load

import secateur
import secateur.ray

DEMO = Path(__file__).resolve().parents[2] / "assets" / "demo.onnx"


def difference(one: secateur.Profile, other: secateur.Profile) -> float:
    """Returns the largest difference of a tensor's elements, divided by the tensor's largest magnitude."""
    ours, others = load(one.to_bytes()), load(other.to_bytes())
    assert sorted(ours) == sorted(others)
    largest = 0.0
    for name, wanted in others.items():
        got, wanted = ours[name].astype(np.float64), wanted.astype(np.float64)
        known = np.isfinite(wanted)
        assert (known == np.isfinite(got)).all(), name
        scale = np.abs(wanted[known]).max(initial=0.0)
        if scale > 0:
            largest = max(largest, float(np.abs(got - wanted)[known].max() / scale))
    return largest


def actors() -> list[int]:
    """Returns the processes of the workers."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if line.startswith(b"ray::Worker"):
                found.append(int(entry.name))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="number of images")
    parser.add_argument("--network", default=str(DEMO), help="network with images of 3x32x32")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.npz"
        words = ["demo", "--write-images", str(file), "--count", str(asked.count), "-q"]
        subprocess.run([sys.executable, "-m", "secateur", *words], check=True)
        with np.load(file) as stored:
            x, y = np.ascontiguousarray(stored["images"].transpose(0, 2, 3, 1)), stored["labels"].astype(np.int64)
    options: dict[str, Any] = {"mean": 0.5, "std": 0.25, "device": asked.device}

    def timed(what: str, call: Any) -> secateur.Profile:
        start = time.perf_counter()
        found: secateur.Profile = call()
        seconds = time.perf_counter() - start
        print(f"{what}: {seconds:.1f} s, {found.images / seconds:.0f} images/s", flush=True)
        return found

    local = timed("one process", lambda: secateur.profile(asked.network, (x, y), **options))
    # Ray's workers yield to other processes by default, unlike the process that they are compared with.
    os.environ.setdefault("RAY_worker_niceness", "0")
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    blocks = [{"image": images, "label": labels} for images, labels in zip(np.array_split(x, 16), np.array_split(y, 16))]
    dataset = ray.data.from_blocks([BlockAccessor.batch_to_block(block) for block in blocks])
    found = {}
    for count in (1, 2):

        def over(count: int = count, **more: Any) -> secateur.Profile:
            return secateur.ray.profile(asked.network, dataset, concurrency=count, **options, **more)

        found[count] = timed(f"workers: {count}", over)
        print(f"  largest relative difference from one process: {difference(found[count], local):.1e}")
    print(f"1 and 2 workers, equal bytes: {found[1].to_bytes() == found[2].to_bytes()}")
    killed: list[int] = []

    def kill(_: str, done: int, __: int) -> None:
        if done >= asked.count // 3 and not killed and actors():
            killed.append(actors()[0])
            os.kill(killed[0], signal.SIGKILL)

    survived = timed("2 workers, one killed in the middle", lambda: over(2, progress=kill))
    print(f"  killed: {killed}; equal bytes: {survived.to_bytes() == found[2].to_bytes()}")
    ray.shutdown()
    data = local.to_bytes()
    start, rounds = time.perf_counter(), 20
    for _ in range(rounds):
        secateur.merge([secateur.Profile.from_bytes(data)] * 2).to_bytes()
    print(f"a profile: {len(data) / 1e6:.2f} MB; a merge of two: {1e3 * (time.perf_counter() - start) / rounds:.1f} ms")


if __name__ == "__main__":
    main()
