"""Prunes the demo network by its own images: statistics, a cut to half of the MACs, the proof, and the time it saves.

With your own network and data: secateur.prune("net.onnx", "images/", preset="imagenet", keep_macs=0.5), or a DataLoader.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np

import secateur

network = secateur.Network(Path(__file__).resolve().parents[2] / "assets" / "demo.onnx")
# The command generates images that the demo network knows. Any iterable of images will do; labels are not needed.
subprocess.run([sys.executable, "-m", "secateur", "demo", "--write-images", "images.npz", "--count", "200"], check=True)
images = np.load("images.npz")["images"]

profile = secateur.profile(network, images)
for layer, statistics in profile.statistics().items():
    print(f"{layer:8} {len(statistics['post_mean']):4} channels, zero in {statistics['post_apoz'].mean():.0%} of places")

result = secateur.prune(network, images, keep_macs=0.5)
print(result)
print(f"proved on {result.proof.inputs} inputs, largest error {result.proof.max_rel_err:.1e}")
if result.quality is not None:
    print(f"the original's class for {result.quality.agreement:.1%} of {result.quality.images} other images")
result.save("small.onnx")

original, small = secateur.bench([network, result], seconds=1)
print(f"{original.latency_ms.median:.2f} ms → {small.latency_ms.median:.2f} ms an image")
