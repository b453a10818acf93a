"""Exports of modules to ONNX with parameters that keep their names."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import io
import os
import re
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from . import running
from .errors import ModuleError

# Operators whose results are folded even if they take parameters, because no new elements arise.
MOVING = {"Shape", "Size", "Cast", "CastLike", "Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten"}


def export(
    module: nn.Module,
    example: Any,
    path: str | os.PathLike[str] | None,
    *,
    exporter: str,
    opset: int | None,
    dynamic_batch: bool,
    fold: bool,
    input_names: Sequence[str] | None,
    output_names: Sequence[str] | None,
) -> bytes:
    """See `secateur.torch.export`."""
    module = running.plain(module)
    kinds = {"auto": ["dynamo", "torchscript"], "dynamo": ["dynamo"], "torchscript": ["torchscript"]}.get(exporter)
    if kinds is None:
        raise ValueError(f"exporter is auto, dynamo or torchscript, got {exporter!r}")
    if exporter == "auto" and importlib.util.find_spec("onnxscript") is None:
        kinds = ["torchscript"]
    positional, named = running.moved(running.arguments(example), running.device_of(module))
    failures: list[str] = []
    for free in (True, False) if dynamic_batch else (False,):
        for kind in kinds:
            try:
                with running.evaluation(module), torch.no_grad():
                    data = _export(kind, module, positional, named, free, opset, fold, input_names, output_names)
            except Exception as error:  # The exporters raise errors of many types.
                failures.append(f"{kind}, {'free' if free else 'fixed'} batch: {_first_line(error)}")
                continue
            if free and not _is_free(data):
                failures.append(f"{kind}, free batch: the exporter fixed the first axis, because forward depends on its size")
            for failure in failures:
                warnings.warn(f"the export was not as asked for: {failure}", stacklevel=3)
            if path is not None:
                _write(Path(path), data)
            return data
    raise ModuleError(
        "the module cannot be exported",
        failures,
        "change what the message names in forward, or call torch.onnx.export yourself and pass the file",
    )


def _export(
    kind: str,
    module: nn.Module,
    positional: tuple[Any, ...],
    named: dict[str, Any],
    free: bool,
    opset: int | None,
    fold: bool,
    input_names: Sequence[str] | None,
    output_names: Sequence[str] | None,
) -> bytes:
    names = list(input_names) if input_names else _input_names(module, positional, named)
    outputs = list(output_names) if output_names else None
    common: dict[str, Any] = {"input_names": names, "output_names": outputs, "opset_version": opset}
    # The TorchScript exporter prints its graph if it fails.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        if kind == "torchscript":
            return _torchscript(module, positional, named, free, fold, common)
        return _dynamo(module, positional, named, free, fold, common)


def _torchscript(
    module: nn.Module, positional: tuple[Any, ...], named: dict[str, Any], free: bool, fold: bool, common: dict[str, Any]
) -> bytes:
    names = common["input_names"]
    results = running.tensors(module(*positional, **named))
    outputs = common["output_names"] or (["output"] if len(results) == 1 else [f"output_{i}" for i in range(len(results))])
    batch = _batch(running.tensors(positional) + running.tensors(named))
    axes = {
        name: {0: "batch"}
        for name, tensor in zip([*names, *outputs], [*running.tensors(positional), *running.tensors(named), *results])
        if tensor.dim() and tensor.shape[0] == batch
    }
    buffer: Any = io.BytesIO()
    torch.onnx.export(
        module,
        positional,
        buffer,
        kwargs=named or None,
        dynamo=False,
        do_constant_folding=fold,
        dynamic_axes=axes if free else None,
        **{**common, "output_names": outputs},
    )
    return bytes(buffer.getvalue())


def _dynamo(
    module: nn.Module, positional: tuple[Any, ...], named: dict[str, Any], free: bool, fold: bool, common: dict[str, Any]
) -> bytes:
    shapes: Any = None
    if free:
        batch = _batch(running.tensors(positional) + running.tensors(named))
        if batch == 1:
            # torch.export takes sizes of 1 for constants.
            positional, named = _twice((positional, named))
        size = max(batch, 2)
        dimension = torch.export.Dim("batch")
        shapes = _shapes(module, positional, named, size, dimension)
    program = torch.onnx.export(
        module,
        positional,
        kwargs=named or None,
        dynamo=True,
        optimize=fold,
        verbose=False,
        dynamic_shapes=shapes,
        **common,
    )
    own = {name for name, _ in (*module.named_parameters(), *module.named_buffers())}
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    if not fold:
        # Shapes and zero biases that the exporter computes in the graph would block channels.
        import onnxscript.optimizer

        def keeps_values(node: Any) -> bool | None:
            arithmetic = node.op_type not in MOVING
            return False if arithmetic and any(i is not None and i.name in own for i in node.inputs) else None

        onnxscript.optimizer.fold_constants(program.model, onnx_shape_inference=True, should_fold=keeps_values)
        onnxscript.optimizer.remove_unused_nodes(program.model)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.onnx"
        program.save(str(file))
        model = onnx.load(str(file))
    if not fold:
        _drop_zero_biases(model, own)
    return bytes(model.SerializeToString())


def _drop_zero_biases(model: onnx.ModelProto, own: set[str]) -> None:
    """Removes biases of zeros that the exporter gave to convolutions without one."""
    initializers = {t.name: t for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose") and len(node.input) == 3 and node.input[2] not in own:
            bias = initializers.get(node.input[2])
            if bias is not None and not np.any(numpy_helper.to_array(bias)):
                del node.input[2]
    used = {name for node in model.graph.node for name in node.input} | {value.name for value in model.graph.output}
    kept = [t for t in model.graph.initializer if t.name in used or t.name in own]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _input_names(module: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> list[str]:
    """Returns the names of forward's parameters, if each is one tensor."""
    count = len(running.tensors(positional)) + len(running.tensors(named))
    if count == 1:
        return ["input"]
    parameters = [p for p in inspect.signature(module.forward).parameters if p not in named][: len(positional)]
    names = [*parameters, *named]
    return names if len(names) == count else [f"input_{i}" for i in range(count)]


def _is_free(data: bytes) -> bool:
    """Returns whether the first axis of an input has no fixed size."""
    graph = onnx.load_from_string(data).graph
    shapes = [value.type.tensor_type.shape.dim for value in graph.input]
    return any(len(shape) > 0 and not shape[0].HasField("dim_value") for shape in shapes)


def _batch(given: Iterable[torch.Tensor]) -> int:
    return next((t.shape[0] for t in given if t.dim()), 1)


def _twice(value: Any) -> Any:
    """Returns nested arguments with batches of one sample doubled."""
    if isinstance(value, torch.Tensor):
        return torch.cat([value, value]) if value.dim() and value.shape[0] == 1 else value
    if isinstance(value, dict):
        return {key: _twice(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(_twice(item) for item in value)
    return value


def _shapes(module: nn.Module, positional: tuple[Any, ...], named: dict[str, Any], size: int, dimension: Any) -> Any:
    def of(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return {0: dimension} if value.dim() and value.shape[0] == size else None
        if isinstance(value, dict):
            return {key: of(item) for key, item in value.items()}
        if isinstance(value, (tuple, list)):
            return tuple(of(item) for item in value)
        return None

    if not named:
        return of(positional)
    parameters = list(inspect.signature(module.forward).parameters)[: len(positional)]
    return {**dict(zip(parameters, of(positional), strict=True)), **of(named)}


def _write(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _first_line(error: Exception) -> str:
    # torch.export's own text is about the steps of an export; the error behind it is about the module.
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(cause))
    lines = [line for line in text.splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[0][:200] if lines else ''}"
