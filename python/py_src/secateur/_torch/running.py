"""Runs of a module on an example, in evaluation mode and without side effects on its modes."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from .errors import ModuleError

NORMS = (nn.modules.batchnorm._BatchNorm,)


def arguments(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns positional and named arguments: of a tensor, a sequence of arguments, or a mapping by name."""
    if isinstance(example, Mapping):
        return (), dict(example)
    if isinstance(example, (tuple, list)):
        return tuple(example), {}
    return (example,), {}


def tensors(value: Any) -> list[torch.Tensor]:
    """Returns the tensors in nested sequences and mappings, in their order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [t for item in value.values() for t in tensors(item)]
    if isinstance(value, (tuple, list)):
        return [t for item in value for t in tensors(item)]
    return []


def moved(value: Any, device: torch.device) -> Any:
    """Returns nested sequences and mappings with their tensors on a device."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {key: moved(item, device) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(moved(item, device) for item in value)
    return value


def device_of(module: nn.Module) -> torch.device:
    """Returns the device of a module's first parameter or buffer; the CPU without any."""
    for tensor in (*module.parameters(), *module.buffers()):
        return tensor.device
    return torch.device("cpu")


def plain(module: nn.Module) -> nn.Module:
    """Returns the user's module behind `torch.compile`.

    Raises:
        ModuleError: the module is scripted, or wrapped for several devices.
        TypeError: the object is no module.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"a module is a torch.nn.Module, got {type(module).__name__}")
    while isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
        module = inner
    if isinstance(module, (torch.jit.ScriptModule, nn.parallel.DistributedDataParallel, nn.DataParallel)):
        raise ModuleError(
            f"a {type(module).__name__} cannot change its widths",
            remedy="use the plain nn.Module first, then script or wrap it",
        )
    return module


@contextmanager
def evaluation(module: nn.Module) -> Iterator[None]:
    """Puts a module into evaluation mode, and restores the mode of each of its modules."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, training in modes:
            m.training = training


def run(module: nn.Module, example: Any) -> list[torch.Tensor]:
    """Returns the output tensors of a module in evaluation mode, in full precision, without gradients."""
    positional, named = moved(arguments(example), device_of(module))
    matmul = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with evaluation(module), torch.no_grad(), torch.backends.cudnn.flags(allow_tf32=False):
            return tensors(module(*positional, **named))
    finally:
        torch.set_float32_matmul_precision(matmul)


@dataclass
class Trace:
    """Calls of the modules that hold tensors, in their order."""

    calls: list[str] = field(default_factory=list)
    # Module paths of a layer and of the BatchNorm that takes its output.
    normalized: list[tuple[str, str]] = field(default_factory=list)

    def position(self, path: str) -> int:
        """Returns the place of a module's first call, after all others if it is not called."""
        return self.calls.index(path) if path in self.calls else len(self.calls)


def trace(module: nn.Module, example: Any) -> Trace:
    """Runs a module and records the calls.

    Raises:
        ModuleError: the module fails on the example.
    """
    result = Trace()
    producers: dict[int, tuple[weakref.ref[torch.Tensor], str]] = {}

    def before(path: str, owner: nn.Module, inputs: Any) -> None:
        result.calls.append(path)
        given = tensors(inputs)
        if given and isinstance(owner, NORMS):
            reference, producer = producers.get(id(given[0]), (None, ""))
            if reference is not None and reference() is given[0]:
                result.normalized.append((producer, path))

    def after(path: str, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            producers[id(output)] = (weakref.ref(output), path)

    handles = []
    for path, owner in module.named_modules():
        if next(owner.parameters(recurse=False), None) is None and next(owner.buffers(recurse=False), None) is None:
            continue
        handles.append(owner.register_forward_pre_hook(lambda m, i, p=path: before(p, m, i)))
        handles.append(owner.register_forward_hook(lambda m, i, o, p=path: after(p, o)))
    try:
        run(module, example)
    except Exception as error:
        raise ModuleError(
            "the module fails on the example", [str(error)], "give an example that `module(example)` accepts"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return result
