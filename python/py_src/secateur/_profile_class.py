"""Profiles: the statistics of a network's layers over images."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _secateur


class Profile:
    """The statistics of a network's weights and activations, made by :func:`profile`, or loaded from a file.

    Profiles can be pickled, so that workers may return them.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Loads a profile from a file."""
        self._native = _secateur.Profile.load(path)

    @classmethod
    def _of(cls, native: _secateur.Profile) -> Profile:
        profile = cls.__new__(cls)
        profile._native = native
        return profile

    @classmethod
    def from_bytes(cls, data: bytes) -> Profile:
        """Reads a profile from the contents of a file."""
        return cls._of(_secateur.Profile.from_bytes(data))

    def to_bytes(self) -> bytes:
        """Returns the contents of the profile's file."""
        return self._native.to_bytes()

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        return (_from_bytes, (self.to_bytes(),))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the profile to a file, whole or not at all (docs/profile.md describes it)."""
        self._native.save(path)

    @property
    def header(self) -> dict[str, Any]:
        """Origin and progress: model, data, preprocessing, images, layers."""
        header: dict[str, Any] = json.loads(self._native.header())
        return header

    @property
    def images(self) -> int:
        """Number of images in the statistics."""
        return int(self.header["images"])

    @property
    def complete(self) -> bool:
        """False if the pass was ended early, so that it can be continued."""
        return bool(self.header["complete"])

    @property
    def layers(self) -> list[str]:
        """Names of the layers, in graph order."""
        return [name for name, _ in self.header["layers"]]

    def statistics(self) -> dict[str, dict[str, npt.NDArray[np.float64]]]:
        """Returns statistics by layer and name, each an array with a number for each output channel.

        Names begin with ``weight_`` (of filters), ``pre_`` and ``post_`` (of values before and after the activation), for
        example ``weight_l1``, ``post_mean``, ``post_apoz``; ``…_se`` is a standard error over images. Statistics that are
        unknown are left out; docs/profile.md explains all.
        """
        columns = self._native.columns()
        return {
            layer: {name: np.frombuffer(values, "<f8") for name, values in statistics.items()}
            for layer, statistics in columns.items()
        }

    def class_means(self) -> dict[str, npt.NDArray[np.float64]]:
        """Returns by layer the mean activation of each class and channel, [classes, channels]; empty without labels."""
        counts, sums = self._native.classes()
        images = np.maximum(np.asarray(counts, dtype=np.float64), 1)[:, np.newaxis]
        return {
            layer: np.frombuffer(values, "<f8").reshape(len(counts), -1) / images for layer, values in sums.items()
        }

    def __repr__(self) -> str:
        state = "" if self.complete else ", incomplete"
        return f"<secateur.Profile of {self.header['model']}: {self.images} images, {len(self.layers)} layers{state}>"


def _from_bytes(data: bytes) -> Profile:
    return Profile.from_bytes(data)
