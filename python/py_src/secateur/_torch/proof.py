"""Comparison of a module's outputs with those of an ONNX file."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch

from .errors import ModuleError
from .graph import Array, Graph
from .running import arguments, tensors

# Largest difference by the coarsest type of the outputs, as a share of an output's largest magnitude.
TOLERANCES = {torch.float64: 1e-4, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 6e-2}


@dataclass(frozen=True)
class Difference:
    """The distance of two sets of outputs."""

    absolute: float
    relative: float
    # First output beyond the tolerance, as a sentence.
    beyond: str


def onnx_outputs(graph: Graph, example: Any) -> list[Array]:
    """Returns the outputs of an ONNX file, by ONNX Runtime, or by onnx's reference if that is not installed.

    Raises:
        ModuleError: the example has other inputs than the file.
    """
    feeds = _feeds(graph, example)
    try:
        onnxruntime: Any = importlib.import_module("onnxruntime")
    except ImportError:
        return [np.asarray(a) for a in onnx.reference.ReferenceEvaluator(graph.model).run(None, feeds)]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            graph.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return [np.asarray(a) for a in session.run(None, feeds)]
    except Exception as error:
        raise ModuleError(
            "ONNX Runtime fails on the pruned file with the example",
            [str(error)],
            "give an example of the shapes with which the module was exported",
        ) from error


def _feeds(graph: Graph, example: Any) -> dict[str, Array]:
    positional, named = arguments(example)
    names = [value.name for value in graph.inputs]
    if named and set(names) <= set(named):
        given = [t for name in names for t in tensors(named[name])]
    else:
        given = tensors(positional) + tensors(named)
    if len(given) != len(names):
        raise ModuleError(
            "the example does not fit the ONNX file",
            [f"expected {len(names)} tensors: {', '.join(names)}", f"got {len(given)}"],
            "give the module's inputs, as a tensor, a tuple, or a dict by the file's names",
        )
    feeds = {}
    for value, tensor in zip(graph.inputs, given, strict=True):
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        array = tensor.detach().cpu()
        if array.dtype == torch.bfloat16:
            array = array.float()
        _check_sizes(value, tuple(array.shape))
        feeds[value.name] = array.numpy().astype(kind)
    return feeds


def _check_sizes(value: onnx.ValueInfoProto, shape: tuple[int, ...]) -> None:
    expected = value.type.tensor_type.shape.dim
    fixed = [d.dim_value if d.HasField("dim_value") else None for d in expected]
    if value.type.tensor_type.HasField("shape") and (
        len(fixed) != len(shape) or any(d is not None and d != n for d, n in zip(fixed, shape, strict=True))
    ):
        text = "×".join("any" if d is None else str(d) for d in fixed)
        raise ModuleError(
            "the example does not fit the ONNX file",
            [f"expected input {value.name!r} of shape {text}", f"got {'×'.join(map(str, shape))}"],
            "give an example of this shape, or export with a free batch",
        )


def compare(module: Sequence[torch.Tensor], file: Sequence[Array], tolerance: float | None) -> Difference:
    """Returns the distance of a module's outputs from a file's."""
    if len(module) != len(file):
        return Difference(np.inf, np.inf, f"the module returns {len(module)} tensors, the file {len(file)}")
    absolute = relative = 0.0
    beyond = ""
    for index, (tensor, array) in enumerate(zip(module, file, strict=True)):
        limit = TOLERANCES.get(tensor.dtype, 0.0) if tolerance is None else tolerance
        ours, theirs = tensor.detach().double().cpu().numpy(), array.astype(np.float64)
        if ours.shape != theirs.shape:
            return Difference(np.inf, np.inf, f"output {index} has shape {ours.shape}, in the file {theirs.shape}")
        if not np.array_equal(np.isfinite(ours), np.isfinite(theirs)):
            return Difference(np.inf, np.inf, f"output {index} has NaN or infinities at other places than in the file")
        finite = np.isfinite(theirs)
        error = float(np.max(np.abs(ours - theirs)[finite], initial=0.0))
        share = error / max(float(np.max(np.abs(theirs)[finite], initial=0.0)), 1e-30)
        absolute, relative = max(absolute, error), max(relative, share if error else 0.0)
        if error and share > limit and not beyond:
            beyond = f"output {index} differs by {share:.1e} of its largest magnitude, the tolerance is {limit:.0e}"
    return Difference(absolute, relative, beyond)
