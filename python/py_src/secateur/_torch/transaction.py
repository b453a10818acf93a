"""Changes of a module that can be undone."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import torch
from torch import nn

from .graph import Array
from .tensors import Entry, to_torch


class Transaction:
    """Restores a module, with its tensors, gradients and attributes, unless `commit` was called.

    Parameters remain the same objects, so tied parameters stay tied.
    """

    def __init__(self, module: nn.Module) -> None:
        self._committed = False
        self._modules = [
            (m, dict(vars(m)), dict(m._parameters), dict(m._buffers), dict(m._modules)) for m in module.modules()
        ]
        held = {id(t): t for m, *_ in self._modules for t in _tensors(m)}
        self._tensors = [(t, t.data, t.grad if t.is_leaf else None, t.requires_grad) for t in held.values()]

    def set(self, tensor: torch.Tensor, new: torch.Tensor) -> None:
        """Replaces the elements of a tensor; a gradient of the old shape is dropped."""
        if tensor.is_leaf and tensor.grad is not None:
            tensor.grad = None
        tensor.data = new

    def set_array(self, entry: Entry, array: Array) -> None:
        """Replaces the elements of a module's tensor by an array, with the tensor's type and device."""
        self.set(entry.tensor, to_torch(array, entry.tensor))

    def commit(self) -> None:
        """Keeps the changes."""
        self._committed = True

    def __enter__(self) -> Transaction:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._committed:
            return
        for tensor, data, gradient, requires_grad in self._tensors:
            tensor.data = data
            if tensor.is_leaf:
                tensor.requires_grad_(requires_grad)
                tensor.grad = gradient
        for module, attributes, parameters, buffers, children in self._modules:
            held: Sequence[tuple[dict[str, Any], dict[str, Any]]] = (
                (module._parameters, parameters),
                (module._buffers, buffers),
                (module._modules, children),
            )
            for current, saved in held:
                current.clear()
                current.update(saved)
            vars(module).clear()
            vars(module).update(attributes)


def _tensors(module: nn.Module) -> list[torch.Tensor]:
    return [
        value
        for source in (module._parameters, module._buffers, vars(module))
        for value in source.values()
        if isinstance(value, torch.Tensor)
    ]
