"""Tensors of a module by name, and the layouts in which an ONNX file stores them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from .graph import Array


# Relative precision of bfloat16, which NumPy does not have.
BFLOAT16 = 2.0**-7


@dataclass(eq=False)
class Entry:
    """A tensor of a module: parameter, buffer or plain attribute."""

    # Path as in the state_dict.
    name: str
    owner: nn.Module
    owner_path: str
    key: str
    tensor: torch.Tensor
    # All modules that hold the tensor, with the key in each.
    places: list[tuple[nn.Module, str]] = field(default_factory=list)

    def array(self) -> Array:
        """Returns the elements on the host; bfloat16 as float32."""
        tensor = self.tensor.detach()
        if tensor.dtype == torch.bfloat16:
            tensor = tensor.float()
        return np.asarray(tensor.cpu().numpy())


def entries(module: nn.Module) -> dict[str, Entry]:
    """Returns all tensors of a module by each of their names; shared tensors have one entry."""
    by_identity: dict[int, Entry] = {}
    by_name: dict[str, Entry] = {}
    for path, owner in module.named_modules(remove_duplicate=False):
        for key, tensor in _own(owner):
            name = f"{path}.{key}" if path else key
            entry = by_identity.get(id(tensor))
            if entry is None:
                entry = by_identity[id(tensor)] = Entry(name, owner, path, key, tensor)
            entry.places.append((owner, key))
            by_name[name] = entry
    return by_name


def _own(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    for source in (module._parameters, module._buffers, vars(module)):
        for key, tensor in source.items():
            if isinstance(tensor, torch.Tensor):
                yield key, tensor


@dataclass(frozen=True)
class Layout:
    """The way from a constant of the file back to a tensor of the module."""

    # Axis of the constant for each axis of the tensor; None for an axis of length 1 that the constant lacks.
    axes: tuple[int | None, ...]

    def to_tensor(self, constant: Array) -> Array:
        """Returns a constant of this layout, whatever its sizes, in the tensor's order of axes."""
        shape = tuple(1 if axis is None else constant.shape[axis] for axis in self.axes)
        order = [axis for axis in self.axes if axis is not None]
        rest = [axis for axis in range(constant.ndim) if axis not in order]
        return np.ascontiguousarray(constant.transpose(order + rest).reshape(shape))


def layout(entry: Entry, constant: Array) -> Layout | None:
    """Returns the layout in which a constant stores a tensor's elements, or `None` if they differ."""
    candidates = list(layouts(tuple(entry.tensor.shape), constant.shape))
    array = entry.array() if candidates else np.empty(0)
    for candidate in candidates:
        if _same(candidate.to_tensor(constant), array, entry.tensor.dtype):
            return candidate
    return None


def layouts(tensor: tuple[int, ...], constant: tuple[int, ...]) -> Iterator[Layout]:
    """Yields the layouts by which a constant of one shape can store a tensor of another."""
    if tensor == constant:
        yield Layout(tuple(range(len(tensor))))
    if len(tensor) == len(constant) == 2 and tensor == constant[::-1]:
        yield Layout((1, 0))
    if tensor != constant and [n for n in tensor if n != 1] == [n for n in constant if n != 1]:
        wide = iter(axis for axis, n in enumerate(constant) if n != 1)
        axes = tuple(next(wide) if n != 1 else None for n in tensor)
        yield Layout(axes)


def _same(constant: Array, array: Array, kind: torch.dtype) -> bool:
    """Returns whether arrays have equal elements, up to the precision of the coarser of both types."""
    if constant.dtype == array.dtype and kind != torch.bfloat16:
        return bool(np.array_equal(constant, array))
    if not kind.is_floating_point or not (np.issubdtype(constant.dtype, np.floating) or constant.dtype.name == "bfloat16"):
        return False
    coarse = BFLOAT16 if constant.dtype.name == "bfloat16" else float(np.finfo(constant.dtype).eps)
    epsilon = max(coarse, torch.finfo(kind).eps)
    a, b = constant.astype(np.float64), array.astype(np.float64)
    return bool(np.all(np.abs(a - b) <= epsilon * np.maximum(np.abs(a), np.abs(b)) + 1e-7))


def to_torch(array: Array, like: torch.Tensor) -> torch.Tensor:
    """Returns an array as a tensor with the type, device and memory format of another."""
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    result = torch.from_numpy(np.array(array, order="C")).to(dtype=like.dtype, device=like.device)
    for dimensions, memory_format in ((4, torch.channels_last), (5, torch.channels_last_3d)):
        if like.dim() == dimensions and like.is_contiguous(memory_format=memory_format) and not like.is_contiguous():
            result = result.contiguous(memory_format=memory_format)
    return result
