"""Attributes of modules that contain widths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

# Attributes that are saved beside a state_dict.
ATTRIBUTES = (
    "in_channels",
    "out_channels",
    "groups",
    "in_features",
    "out_features",
    "num_features",
    "num_channels",
    "num_groups",
    "normalized_shape",
    "num_parameters",
    "num_embeddings",
    "embedding_dim",
)


def widths(module: nn.Module) -> dict[str, int | list[int]]:
    """Returns the attributes of one module that contain widths."""
    found: dict[str, int | list[int]] = {}
    for name in ATTRIBUTES:
        value = vars(module).get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            found[name] = value
        elif isinstance(value, (tuple, list)) and all(isinstance(n, int) for n in value):
            found[name] = list(value)
    return found


def set_widths(module: nn.Module, values: Mapping[str, Any]) -> None:
    """Sets attributes; sequences become tuples."""
    for name, value in values.items():
        setattr(module, name, tuple(value) if isinstance(value, (list, tuple)) else value)


def fitting(
    module: nn.Module, old: Mapping[str, tuple[int, ...]], new: Mapping[str, tuple[int, ...]], groups: int | None
) -> dict[str, Any]:
    """Returns a module's attributes for the new shapes of its tensors.

    Args:
        old, new: shapes by key, such as `weight`.
        groups: the groups of its convolution in the pruned file, if known.
    """
    shape = next((s for key in ("weight", "running_mean") if (s := new.get(key))), ())
    before = next((s for key in ("weight", "running_mean") if (s := old.get(key))), ())
    if not shape:
        return {}
    if isinstance(module, nn.modules.conv._ConvNd):
        count = module.groups if groups is None else groups
        ends = (shape[0], shape[1] * count) if module.transposed else (shape[1] * count, shape[0])
        return {"in_channels": ends[0], "out_channels": ends[1], "groups": count}
    if isinstance(module, nn.Linear):
        return {"in_features": shape[1], "out_features": shape[0]}
    if isinstance(module, nn.modules.batchnorm._NormBase):
        return {"num_features": shape[0]}
    if isinstance(module, nn.GroupNorm):
        # Whole groups are removed, so their size stays.
        size = module.num_channels // module.num_groups
        count = groups if groups is not None else shape[0] // size
        return {"num_channels": shape[0], "num_groups": count}
    if isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
        return {"normalized_shape": tuple(shape)}
    if isinstance(module, nn.PReLU):
        return {"num_parameters": shape[0]}
    if isinstance(module, nn.Embedding):
        return {"num_embeddings": shape[0], "embedding_dim": shape[1]}
    return _own_attributes(module, before, shape, groups)


def _own_attributes(module: nn.Module, old: tuple[int, ...], new: tuple[int, ...], groups: int | None) -> dict[str, Any]:
    """Returns the attributes of a user's layer that have the customary names and the old widths."""
    if len(old) < 2 or len(new) != len(old):
        return {}
    count_before = getattr(module, "groups", 1)
    count = groups or 1
    found: dict[str, Any] = {}
    for names, before, after in (
        (("out_channels", "out_features"), old[0], new[0]),
        (("in_channels", "in_features"), old[1] * count_before, new[1] * count),
        (("groups",), count_before, count),
    ):
        found.update({name: after for name in names if vars(module).get(name) == before})
    return found


def adopting(module: nn.Module) -> list[Callable[[], None]]:
    """Lets layers without parameters take the widths of their next inputs; returns functions that end this.

    LayerNorm, GroupNorm, InstanceNorm and BatchNorm without scale and shift have widths, but no tensor to show them.
    """
    handles = []
    for layer in module.modules():
        if isinstance(
            layer, (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)
        ) and not list(layer.parameters(recurse=False)) + list(layer.buffers(recurse=False)):
            handles.append(layer.register_forward_pre_hook(_adopt))
    return [handle.remove for handle in handles]


def _adopt(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    shape = inputs[0].shape
    if isinstance(layer, (nn.LayerNorm, nn.RMSNorm)):
        layer.normalized_shape = tuple(shape[-len(layer.normalized_shape) :])
    elif isinstance(layer, nn.GroupNorm):
        size = layer.num_channels // layer.num_groups
        if shape[1] % size == 0:
            layer.num_channels, layer.num_groups = shape[1], shape[1] // size
    elif isinstance(layer, nn.modules.batchnorm._NormBase):
        layer.num_features = shape[1]
