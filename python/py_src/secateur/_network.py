"""Networks: ONNX models whose channels can be analyzed, profiled and pruned."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _secateur
from ._items import to_numpy


class Network:
    """An ONNX model. Networks can be pickled, so that workers may be given them.

    Args:
        source: Path of an ONNX file, its bytes, an ``onnx.ModelProto``, or a :class:`Result` of :func:`prune` or
            :class:`Finetuned` of :func:`finetune`.
        inexact: True to let channels that a normalization, softmax or reduction mixes be removed one by one. The rest is
            normalized without them, which changes the outputs; results name the nodes.
        values: Fixed values of inputs that are no data, by name: a number, or one for each element.
        sizes: Whole shapes of inputs whose sizes the file leaves free, by name, with the batch axis.

    Raises:
        ModelError: It is no ONNX model, or violates the standard.
        UnsupportedError: It uses an operator or shape that the engine does not support.
        MissingFileError: There is no file at the path.

    Example:
        >>> net = Network("net.onnx")                       # doctest: +SKIP
        >>> net.macs, net.params                            # doctest: +SKIP
        (15705344, 484914)
    """

    def __init__(
        self,
        source: Any,
        *,
        inexact: bool = False,
        values: Mapping[str, Any] | None = None,
        sizes: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        numbers = [(name, [float(v) for v in np.ravel(value)]) for name, value in (values or {}).items()]
        shapes = [(name, list(shape)) for name, shape in (sizes or {}).items()]
        options = {"inexact": inexact, "values": numbers or None, "sizes": shapes or None}
        if isinstance(source, (str, os.PathLike)):
            self._native = _secateur.Network(os.fspath(source), None, options)
            return
        if hasattr(source, "SerializeToString"):
            source = source.SerializeToString()
        elif not isinstance(source, (bytes, bytearray, memoryview)) and hasattr(source, "onnx"):
            source = source.onnx
        if isinstance(source, memoryview):
            source = source.tobytes()
        if not isinstance(source, (bytes, bytearray)):
            raise TypeError(f"a network is a path, bytes, an onnx.ModelProto or a Result, got {type(source).__name__}")
        self._native = _secateur.Network(None, source, options)

    @classmethod
    def _of(cls, native: _secateur.Network) -> Network:
        network = cls.__new__(cls)
        network._native = native
        return network

    def _with(self, onnx: bytes) -> Network:
        """Returns another model with the options of this one."""
        inexact, values, sizes = self._native.options()
        return Network(onnx, inexact=inexact, values=dict(values), sizes=dict(sizes))

    @property
    def path(self) -> str | None:
        """Path of the file, or None for a model in memory."""
        path = self._native.path
        return None if path is None else os.fspath(path)

    @property
    def sha256(self) -> str:
        """SHA-256 of the file's bytes and of its external data, in hexadecimal."""
        return self._native.sha256

    @property
    def onnx(self) -> bytes:
        """The contents of the file with all tensors inside, for example for ``onnxruntime.InferenceSession``."""
        return self._native.onnx()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file, whole or not at all."""
        self._native.save(path)

    @property
    def inputs(self) -> dict[str, tuple[int | None, ...]]:
        """Inputs that data must feed: sizes of one sample by name, without the batch axis; None for free sizes."""
        return {name: tuple(sizes) for name, sizes in self._native.sample()}

    def summary(self) -> dict[str, Any]:
        """Returns layers, costs and coupled channels, and what blocks their removal, as plain data.

        Keys: ``opset``, ``cost`` (macs, params, bytes), ``inputs``, ``outputs``, ``layers``, ``coupled`` (sets of channels
        that are kept or removed together), ``groups`` (sets of the same layers), ``host_nodes``, ``inexact``.
        """
        summary: dict[str, Any] = json.loads(self._native.summary())
        return summary

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations for one image."""
        return int(self.summary()["cost"]["macs"])

    @property
    def params(self) -> int:
        """Parameters: weights and biases."""
        return int(self.summary()["cost"]["params"])

    def run(
        self,
        inputs: Mapping[str, Any] | Any,
        *,
        taps: Sequence[str] = (),
        device: int | str = "auto",
        precision: str = "f32",
    ) -> dict[str, npt.NDArray[Any]]:
        """Runs one forward pass, and returns the outputs by name, then the inner values that ``taps`` names.

        Args:
            inputs: Arrays by the names of the inputs, with the batch axis; an array will do for a network of one input.
            taps: Names of inner values.
            device: "auto", "cpu", a number, or a part of a name, as :func:`devices` lists them.
            precision: Storage of values between layers, "f32" or "f16".

        Raises:
            InputError: An input is missing, unknown, or has the wrong shape.
        """
        if not isinstance(inputs, Mapping):
            inputs = {next(iter(self.inputs)): inputs}
        arrays = [(name, to_numpy(value)) for name, value in inputs.items()]
        given = [(name, array.shape, array.astype("<f4").tobytes()) for name, array in arrays]
        options = {"device": device, "precision": precision}
        found = self._native.run(given, list(taps), options)
        return {name: np.frombuffer(data, dtype).reshape(shape) for name, dtype, shape, data in found}

    def __reduce__(self) -> tuple[Any, tuple[bytes, dict[str, Any]]]:
        inexact, values, sizes = self._native.options()
        return _from_bytes, (self.onnx, {"inexact": inexact, "values": dict(values), "sizes": dict(sizes)})

    def __repr__(self) -> str:
        return f"secateur.Network({self.path or '<bytes>'!r}, sha256={self.sha256[:12]}…)"


def _from_bytes(onnx: bytes, options: dict[str, Any]) -> Network:
    return Network(onnx, **options)


def as_network(given: Any) -> Network:
    """Returns a network for all that :class:`Network` takes."""
    return given if isinstance(given, Network) else Network(given)
