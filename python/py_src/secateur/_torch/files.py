"""Files of a module's tensors with its widths."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from . import running, widths
from .errors import ModuleError
from .tensors import entries
from .transaction import Transaction

FORMAT = "secateur.torch"
VERSION = 1


def save(module: nn.Module, path: str | os.PathLike[str]) -> None:
    """See `secateur.torch.save`."""
    module = running.plain(module)
    content = {
        "format": FORMAT,
        "version": VERSION,
        "state_dict": {k: v.detach() for k, v in module.state_dict().items() if isinstance(v, torch.Tensor)},
        "others": _others(module),
        "widths": {name: found for name, m in module.named_modules() if (found := widths.widths(m))},
    }
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        torch.save(content, partial)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def load(module: nn.Module | Callable[[], nn.Module], path: str | os.PathLike[str]) -> nn.Module:
    """See `secateur.torch.load`."""
    if not isinstance(module, nn.Module):
        module = module()
    plain = running.plain(module)
    content = _read(path)
    state, others = content["state_dict"], content["others"]
    modules = dict(plain.named_modules())
    _check(plain, state, others, content["widths"], modules, path)
    with Transaction(plain) as transaction:
        for name, saved in {**state, **others}.items():
            owner_path, _, key = name.rpartition(".")
            owner = modules[owner_path]
            tensor = getattr(owner, key)
            if tensor is None:
                weight = owner.weight
                if not isinstance(weight, torch.Tensor):
                    raise ModuleError(f"{owner_path} has no weight beside which {key} can be created")
                owner.register_parameter(key, nn.Parameter(saved.to(weight), requires_grad=weight.requires_grad))
            else:
                transaction.set(tensor, saved.to(dtype=tensor.dtype, device=tensor.device, copy=True))
        for name, attributes in content["widths"].items():
            widths.set_widths(modules[name], attributes)
        transaction.commit()
    return module


def _others(module: nn.Module) -> dict[str, torch.Tensor]:
    """Returns the tensors that a state_dict leaves out: unsaved buffers and plain attributes."""
    state = module.state_dict()
    return {name: entry.tensor.detach() for name, entry in entries(module).items() if name not in state}


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ModuleError(f"{os.fspath(path)} is not a file of secateur.torch.save", [str(error).splitlines()[0]]) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ModuleError(
            f"{os.fspath(path)} is not a file of secateur.torch.save",
            remedy="load a state_dict with module.load_state_dict",
        )
    if content.get("version") != VERSION:
        raise ModuleError(
            f"{os.fspath(path)} has version {content.get('version')}, expected {VERSION}",
            remedy="install a newer secateur",
        )
    return content


def _check(
    module: nn.Module,
    state: dict[str, torch.Tensor],
    others: dict[str, torch.Tensor],
    saved_widths: dict[str, dict[str, Any]],
    modules: dict[str, nn.Module],
    path: str | os.PathLike[str],
) -> None:
    """Refuses the file of another architecture."""
    own = {**module.state_dict(), **_others(module)}
    saved = {**state, **others}
    problems = [f"missing in the file: {name}" for name, t in own.items() if name not in saved and isinstance(t, torch.Tensor)]
    for name, tensor in saved.items():
        owner_path, _, key = name.rpartition(".")
        owner = modules.get(owner_path)
        if name not in own:
            if owner is None or owner._parameters.get(key, 0) is not None:
                problems.append(f"missing in the module: {name}")
        elif own[name].dim() != tensor.dim():
            problems.append(f"{name} has {own[name].dim()} axes in the module, {tensor.dim()} in the file")
        elif own[name].dtype.is_floating_point != tensor.dtype.is_floating_point:
            problems.append(f"{name} has type {own[name].dtype} in the module, {tensor.dtype} in the file")
    for name, attributes in saved_widths.items():
        mine = widths.widths(modules[name]) if name in modules else {}
        if set(mine) != set(attributes):
            problems.append(f"module {name!r} has {sorted(mine) or 'no widths'}, in the file {sorted(attributes)}")
    if problems:
        raise ModuleError(
            f"{os.fspath(path)} belongs to another architecture",
            problems,
            "build the module as it was when it was exported; only the numbers of channels may differ",
        )
