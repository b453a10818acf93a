#!/usr/bin/env python3
"""Times training steps of Secateur and of PyTorch eager on the same networks in turn, and prints images per second.

    pip install torch torchvision onnx onnxscript
    python3 benches/peers/training.py [--device cpu] [--rounds 3] [--steps 5] [--bench BINARY] [NETWORK:BATCH ...]

Networks: resnet20 (CIFAR-10, 32×32) and any classifier of torchvision (224×224); by default resnet20:64 and resnet18:8.
A step is a forward pass, the cross-entropy, a backward pass, clipping and AdamW, with the stored statistics of
BatchNormalization (PyTorch: eval mode). PyTorch uses the CPU with as many threads as Secateur, or CUDA with --device
and TF32 off, if it has a GPU. Rounds alternate; ratios are medians over the rounds of one run.
"""

import argparse
import os
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import torch
import torchvision
from torch import nn
from torch.nn import functional as F

REPOSITORY = Path(__file__).resolve().parents[2]


class Block(nn.Module):
    """A residual block of the CIFAR ResNets (He 2016), with a projection where the shape changes."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


def resnet20():
    blocks, width = [], 16
    for outputs, stride in [(16, 1), (32, 2), (64, 2)]:
        for i in range(3):
            blocks.append(Block(width, outputs, stride if i == 0 else 1))
            width = outputs
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def network(name):
    """Returns a network in evaluation mode, and the side of its images."""
    if name == "resnet20":
        return resnet20().eval(), 32
    return getattr(torchvision.models, name)().eval(), 224


def torch_step(net, images, labels):
    """Returns a function that trains one step."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-5, weight_decay=1e-4)

    def step():
        loss = F.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        return loss.item()

    return step


def seconds(step, count):
    """Returns the median seconds of some steps, after one that does not count."""
    step()
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def bench_binary():
    """Builds Secateur's benchmark and returns its path."""
    done = subprocess.run(["cargo", "bench", "--bench", "training", "--no-run"], cwd=REPOSITORY, check=True,
                          capture_output=True, text=True)
    return re.search(r"Executable .*\((.*)\)", done.stderr).group(1)


def secateur(binary, path, batch, side, args):
    """Returns images per second of a step, and forward passes that take as long."""
    line = [binary, str(path), "--batch", str(batch), "--size", f"3x{side}x{side}", "--steps", str(args.steps)]
    if args.device != "cpu":
        line += ["--device", args.device]
    found = subprocess.run(line, check=True, capture_output=True, text=True, cwd=REPOSITORY).stdout
    rate, passes = re.search(r"^step\s+([\d.]+) images/s, ([\d.]+) forward", found, re.M).groups()
    return float(rate), float(passes)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("networks", nargs="*", default=["resnet20:64", "resnet18:8"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--bench", help="benchmark that `cargo bench --bench training --no-run` built")
    args = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    where = "cuda" if args.device != "cpu" and torch.cuda.is_available() else "cpu"
    binary = args.bench or bench_binary()
    print(f"PyTorch {torch.__version__} on {where}, {torch.get_num_threads()} threads; Secateur on {args.device}")
    print("| network | batch | Secateur, images/s | PyTorch, images/s | ratio | forward passes a step |")
    print("|---|---|---|---|---|---|")
    for spec in args.networks:
        name, batch = spec.split(":")
        net, side = network(name)
        images = torch.randn(int(batch), 3, side, side)
        labels = torch.arange(int(batch)) % 10
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.onnx"
            torch.onnx.export(net, (images[:1],), path, dynamo=False, do_constant_folding=False,
                              training=torch.onnx.TrainingMode.PRESERVE, input_names=["x"], output_names=["y"],
                              dynamic_axes={"x": {0: "N"}, "y": {0: "N"}})
            step = torch_step(net.to(where), images.to(where), labels.to(where))
            ours, theirs, passes = [], [], []
            for _ in range(args.rounds):
                rate, of = secateur(binary, path, batch, side, args)
                ours.append(rate)
                passes.append(of)
                theirs.append(int(batch) / seconds(step, args.steps))
        ratio = statistics.median(a / b for a, b in zip(ours, theirs))
        print(f"| {name} | {batch} | {statistics.median(ours):.1f} | {statistics.median(theirs):.1f} | {ratio:.2f} "
              f"| {statistics.median(passes):.2f} |", flush=True)


if __name__ == "__main__":
    main()
