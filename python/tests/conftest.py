"""Fixtures: the demo network, and the images that it was made for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
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
def built_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's images and labels as a file, N×C×H×W."""
    file = tmp_path_factory.mktemp("demo") / "images.npz"
    words = ["demo", "--write-images", str(file), "--count", "60", "--seed", "5"]
    subprocess.run([sys.executable, "-m", "secateur", *words], check=True)
    return file


@pytest.fixture(scope="session")
def images(built_in: Path) -> NDArray[np.uint8]:
    """60 images, N×H×W×C."""
    stored: NDArray[np.uint8] = np.load(built_in)["images"]
    return np.ascontiguousarray(stored.transpose(0, 2, 3, 1))


@pytest.fixture(scope="session")
def classes(demo: str, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The classes that the original gives to the images, so that its top-1 is 100 %."""
    session = ort.InferenceSession(demo)
    x = images.transpose(0, 3, 1, 2).astype(np.float32) / 255
    scores = session.run(None, {session.get_inputs()[0].name: x})[0]
    return np.asarray(scores).reshape(len(images), -1).argmax(1).astype(np.int64)
