"""Cuts of a user's module after a pruned ONNX file."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from . import proof, running, widths
from .errors import MappingError, ModuleError, ProofError
from .graph import Graph, Slot, onnx_bytes
from .mapping import Assignment, Mapper
from .outcome import Applied
from .tensors import Entry, entries, to_torch
from .transaction import Transaction

Cut = Mapping[str, Sequence[Sequence[int] | None]]


def apply(
    module: nn.Module,
    result: Any,
    example: Any,
    *,
    original: Any = None,
    cut: Any = None,
    tolerance: float | None = None,
) -> Applied:
    """See `secateur.torch.apply`."""
    module = running.plain(module)
    if original is None:
        original = getattr(result, "original", None)
    if cut is None:
        cut = getattr(result, "cut", None)
    if original is None:
        raise ModuleError(
            "the original ONNX file is missing",
            ["the pruned file alone does not show which tensor of the module a constant was"],
            "pass `original`: the bytes or the path of the file that was pruned",
        )
    before, after = Graph(onnx_bytes(original)), Graph(onnx_bytes(result))
    tensors = entries(module)
    calls = running.trace(module, example)
    assignment = Mapper(before, after, tensors, calls, dict(module.named_modules()), _cut_weights(cut)).assign()
    if assignment.problems:
        raise MappingError(
            "constants of the ONNX file have no counterpart in the module",
            list(assignment.problems),
            "; ".join(dict.fromkeys(assignment.problems.values())),
        )
    if not assignment.values:
        raise MappingError(
            "no constant of the ONNX file is a tensor of the module",
            remedy="pass the module from which the original file was exported",
        )
    expected = proof.onnx_outputs(after, example)
    with Transaction(module) as transaction:
        changed = _change(transaction, assignment, after)
        ends = widths.adopting(module)
        try:
            outputs = running.run(module, example)
        except Exception as error:
            raise ProofError(
                "the module fails with the new widths, and was left as it was", [str(error), *_fixed_sizes(assignment)], FIXED
            ) from error
        finally:
            for end in ends:
                end()
        difference = proof.compare(outputs, expected, tolerance)
        if not difference.beyond:
            transaction.commit()
    if difference.beyond:
        raise ProofError(
            "the module's outputs differ from the pruned file's, and it was left as it was",
            [difference.beyond, *_fixed_sizes(assignment), *_diagnosis(module, before, example, tolerance)],
            FIXED,
        )
    notes = tuple(_reset(assignment) + _left(module, tensors, assignment))
    for note in notes:
        warnings.warn(note, stacklevel=3)
    paths = {m: path for path, m in module.named_modules()}
    return Applied(
        difference.absolute,
        difference.relative,
        len(expected),
        changed,
        tuple(paths[owner] for owner in assignment.biases),
        notes,
    )


FIXED = "compute sizes in forward from the tensors, such as x.flatten(1) in place of x.view(-1, 512)"


def _change(
    transaction: Transaction, assignment: Assignment, pruned: Graph
) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Sets tensors, biases and attributes; returns the old and new shapes of the tensors that changed theirs."""
    _move_biases(assignment, pruned)
    old: dict[nn.Module, dict[str, tuple[int, ...]]] = {}
    for entry in assignment.values:
        for owner, key in entry.places:
            old.setdefault(owner, {})[key] = tuple(entry.tensor.shape)
    changed = {}
    for entry, array in assignment.values.items():
        if tuple(entry.tensor.shape) != array.shape:
            changed[entry.name] = (tuple(entry.tensor.shape), array.shape)
        transaction.set_array(entry, array)
    for owner, (array, _) in assignment.biases.items():
        weight = owner.weight
        if not isinstance(weight, torch.Tensor):
            raise MappingError(f"a {type(owner).__name__} has no weight beside which a bias can be created")
        bias = nn.Parameter(to_torch(array.reshape(-1), weight), requires_grad=weight.requires_grad)
        owner.register_parameter("bias", bias)
    for owner, shapes in old.items():
        new = {key: tuple(getattr(owner, key).shape) for key in shapes}
        widths.set_widths(owner, widths.fitting(owner, shapes, new, _groups(owner, assignment)))
    return changed


def _move_biases(assignment: Assignment, pruned: Graph) -> None:
    """Moves the new bias of a layer into the running mean of the BatchNorm that alone takes its output."""
    by_owner = {(e.owner, e.key): e for e in assignment.values}
    norms = {s.node.outputs[0]: owner for owner, s in assignment.layers.items() if s.node.op == "BatchNormalization"}
    for owner, (array, slot) in list(assignment.biases.items()):
        if slot.pruned is None:
            continue
        consumers = pruned.consumers(slot.pruned.outputs[0])
        if len(consumers) != 1 or slot.pruned.outputs[0] in pruned.outputs:
            continue
        norm = norms.get(consumers[0].outputs[0])
        mean = by_owner.get((norm, "running_mean")) if norm is not None else None
        if mean is not None:
            assignment.values[mean] = assignment.values[mean] - array.reshape(-1)
            del assignment.biases[owner]


def _groups(owner: nn.Module, assignment: Assignment) -> int | None:
    slot = assignment.layers.get(owner)
    if slot is None or slot.pruned is None:
        return None
    if slot.pruned.op in ("Conv", "ConvTranspose"):
        return int(slot.pruned.attributes.get("group", 1))
    if slot.pruned.op == "GroupNormalization":
        return int(slot.pruned.attributes["num_groups"])
    return None


def _cut_weights(cut: Any) -> Cut:
    """Returns the kept indices of a cut: a mapping as in the cut file, its JSON, a path, or an object with `weights`."""
    if cut is None:
        return {}
    if isinstance(cut, (str, os.PathLike)):
        text = str(cut)
        cut = json.loads(text if text.lstrip().startswith("{") else Path(cut).read_text(encoding="utf-8"))
    elif isinstance(cut, (bytes, bytearray)):
        cut = json.loads(cut)
    weights = cut.get("weights", cut) if isinstance(cut, Mapping) else getattr(cut, "weights", None)
    if not isinstance(weights, Mapping):
        raise TypeError(f"expected a cut with `weights`, got {type(cut).__name__}")
    return weights


def _fixed_sizes(assignment: Assignment) -> list[str]:
    """Returns the shapes and indices of the file that the cut changes; forward may contain them as numbers."""
    return [f"{_values(s)} the file changes {s}" for s in assignment.integers]


def _values(slot: Slot) -> str:
    texts = [str(a.reshape(-1).tolist()) for a in (slot.before, slot.after) if a is not None and a.size <= 8]
    return " → ".join(texts) + ":" if texts else ""


def _diagnosis(module: nn.Module, original: Graph, example: Any, tolerance: float | None) -> list[str]:
    """Returns a sentence if the uncut module does not compute the original file."""
    difference = proof.compare(running.run(module, example), proof.onnx_outputs(original, example), tolerance)
    return [f"the uncut module does not compute the original file either: {difference.beyond}"] if difference.beyond else []


def _left(module: nn.Module, tensors: Mapping[str, Entry], assignment: Assignment) -> list[str]:
    """Names parameters that no node of the file uses, if there are any."""
    done = {id(e.tensor) for e in assignment.values}
    parameters = {id(p) for p in module.parameters()}
    left = [e.name for e in dict.fromkeys(tensors.values()) if id(e.tensor) in parameters - done]
    if not left:
        return []
    return [f"parameters that the ONNX file does not contain keep their shapes: {_some(left)}"]


def _reset(assignment: Assignment) -> list[str]:
    """Names BatchNorm modules that start from neutral values, if there are any."""
    if not assignment.reset:
        return []
    return [
        "the export folded BatchNorm, and the channels that were kept are unknown, so scale, shift and variance start from "
        "1, 0, 1. In evaluation mode the outputs are equal; in training mode they are normalized anew. Pass `cut`, or export "
        f"with secateur.torch.export. This concerns {_some(assignment.reset)}"
    ]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
