"""Fixtures: the demo network, and images that are generated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "assets" / "demo.onnx"


@pytest.fixture(scope="session")
def demo() -> str:
    return str(DEMO)


@pytest.fixture(scope="session")
def model() -> onnx.ModelProto:
    return onnx.load(str(DEMO))


@pytest.fixture(scope="session")
def images() -> NDArray[np.uint8]:
    """60 images with soft structures, N×H×W×C."""
    random = np.random.default_rng(5)
    coarse = random.integers(0, 256, (60, 8, 8, 3)).astype(np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


@pytest.fixture(scope="session")
def classes(demo: str, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The classes that the original gives to the images, so that its top-1 is 100 %."""
    import onnxruntime as ort

    session = ort.InferenceSession(demo)
    x = images.transpose(0, 3, 1, 2).astype(np.float32) / 255
    scores = session.run(None, {session.get_inputs()[0].name: x})[0]
    return np.asarray(scores).reshape(len(images), -1).argmax(1).astype(np.int64)
