"""Layers whose BatchNorm an exporter folded into their weights.

Such a layer stores w·s and (b − mean)·s + β for each output channel, s = γ/√(var + ε). A pruned file has a new weight W and
bias B in their place. The module keeps its BatchNorm: of the kept channels, γ, β, var stay, the layer's weight becomes W/s, and
the running mean (β − B)/s. Outputs are then equal, and the running statistics remain those of the layer's output, so that
training continues from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .graph import Array
from .tensors import Layout, layouts

# Scales below this share of the largest one are replaced by 1: a division by them would lose the weight.
SMALLEST_SCALE = 1e-5


@dataclass(frozen=True)
class Folded:
    """A layer and the BatchNorm behind it, recognized in one node."""

    layer: Any
    norm: Any
    layout: Layout


def scale_and_shift(norm: Any) -> tuple[Array, Array, Array] | None:
    """Returns s, β and the running mean of a BatchNorm in float64, or `None` if it has no running statistics."""
    if norm.running_mean is None or norm.running_var is None:
        return None
    mean = _double(norm.running_mean)
    variance = _double(norm.running_var)
    gamma = np.ones_like(mean) if norm.weight is None else _double(norm.weight)
    beta = np.zeros_like(mean) if norm.bias is None else _double(norm.bias)
    return gamma / np.sqrt(variance + float(norm.eps)), beta, mean


def scaled(weight: Array, scale: Array, layer: Any, groups: int) -> Array:
    """Returns a layer's weight with each output channel multiplied by a factor."""
    if getattr(layer, "transposed", False):
        tail = weight.shape[1:]
        grouped = weight.reshape(groups, -1, *tail) * scale.reshape(groups, 1, tail[0], *[1] * (len(tail) - 1))
        return np.asarray(grouped.reshape(weight.shape))
    return np.asarray(weight * scale.reshape(-1, *[1] * (weight.ndim - 1)))


def recognize(layer: Any, norm: Any, weight: Array, bias: Array | None) -> Folded | None:
    """Returns how a node's weight and bias store a layer with the BatchNorm behind it, or `None` if they do not."""
    own = getattr(layer, "weight", None)
    statistics = scale_and_shift(norm)
    if own is None or statistics is None:
        return None
    scale, beta, mean = statistics
    candidates = list(layouts(tuple(own.shape), weight.shape))
    if not candidates:
        return None
    expected_bias = beta - mean * scale
    if layer.bias is not None:
        expected_bias = expected_bias + _double(layer.bias) * scale
    if not _close(np.zeros_like(beta) if bias is None else bias.astype(np.float64), expected_bias):
        return None
    expected = scaled(_double(own), scale, layer, getattr(layer, "groups", 1))
    for candidate in candidates:
        if _close(candidate.to_tensor(weight).astype(np.float64), expected):
            return Folded(layer, norm, candidate)
    return None


def unfolded(
    folded: Folded, weight: Array, bias: Array | None, kept: Sequence[int] | None, groups: int
) -> dict[str, Array]:
    """Returns the new tensors of layer and BatchNorm, keyed `layer.weight`, `norm.running_mean` and so on.

    Args:
        weight: the pruned weight in the layer's order of axes, groups: its groups.
        kept: the kept output channels; `None` if unknown, then the BatchNorm starts with γ = 1, β = 0, var + ε = 1.
    """
    statistics = scale_and_shift(folded.norm)
    if statistics is None:
        raise ValueError("a folded BatchNorm has running statistics")
    transposed = bool(getattr(folded.layer, "transposed", False))
    width = weight.shape[1] * groups if transposed else weight.shape[0]
    new_bias = np.zeros(width) if bias is None else bias.astype(np.float64)
    epsilon = float(folded.norm.eps)
    if kept is None:
        gamma, beta, variance = np.ones(width), np.zeros(width), np.full(width, 1.0 - epsilon)
        scale = np.ones(width)
    else:
        order = np.asarray(kept)
        scale, beta = statistics[0][order], statistics[1][order]
        variance = _double(folded.norm.running_var)[order]
        gamma = np.ones(width) if folded.norm.weight is None else _double(folded.norm.weight)[order]
        tiny = np.abs(scale) <= SMALLEST_SCALE * np.max(np.abs(statistics[0]), initial=0.0)
        if folded.norm.weight is None:
            variance = np.where(tiny, 1.0 - epsilon, variance)
        else:
            gamma = np.where(tiny, np.sqrt(variance + epsilon), gamma)
        scale = np.where(tiny, 1.0, scale)
    result = {
        "layer.weight": scaled(weight.astype(np.float64), 1.0 / scale, folded.layer, groups),
        "norm.running_mean": (beta - new_bias) / scale,
        "norm.running_var": variance,
    }
    if folded.layer.bias is not None:
        result["layer.bias"] = np.zeros(width)
    if folded.norm.weight is not None:
        result["norm.weight"] = gamma
    if folded.norm.bias is not None:
        result["norm.bias"] = beta
    return result


def kept_by_values(before: Array, after: Array) -> list[int] | None:
    """Returns the original filters (rows) from which a cut without repair took each of the remaining ones, or `None`."""
    rows = before.reshape(before.shape[0], -1)
    new = after.reshape(after.shape[0], -1)
    if rows.size == 0 or new.size == 0:
        return None
    order = np.argsort(rows, axis=None)
    ordered = rows.reshape(-1)[order]
    samples = new[:, np.unique(np.linspace(0, new.shape[1] - 1, 16).astype(int))]
    first = np.searchsorted(ordered, samples, "left")
    # Values that occur once belong to one filter; zeros, for example, occur in many.
    single = np.searchsorted(ordered, samples, "right") - first == 1
    owners = order[np.minimum(first, order.size - 1)] // rows.shape[1]
    lowest = np.where(single, owners, rows.shape[0]).min(axis=1)
    highest = np.where(single, owners, -1).max(axis=1)
    if not np.array_equal(lowest, highest) or not np.all(np.diff(lowest) > 0):
        return None
    return [int(row) for row in lowest]


def _double(tensor: Any) -> Array:
    return np.asarray(tensor.detach().double().cpu().numpy())


def _close(a: Array, b: Array) -> bool:
    if a.shape != b.shape:
        return False
    return bool(np.max(np.abs(a - b), initial=0.0) <= 1e-5 * np.max(np.abs(b), initial=0.0) + 1e-7)
