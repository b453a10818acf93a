"""Assignment of an ONNX file's constants to a module's tensors: by name, by value, by folded BatchNorm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import nn

from . import folding
from .graph import Array, Graph, Slot, slots
from .running import Trace
from .tensors import Entry, Layout, layout, layouts

# Keys of module tensors by input of a node.
ROLES = {
    "BatchNormalization": {1: "weight", 2: "bias", 3: "running_mean", 4: "running_var"},
    "InstanceNormalization": {1: "weight", 2: "bias"},
    "LayerNormalization": {1: "weight", 2: "bias"},
    "GroupNormalization": {1: "weight", 2: "bias"},
    "Conv": {1: "weight", 2: "bias"},
    "ConvTranspose": {1: "weight", 2: "bias"},
    "Gemm": {1: "weight", 2: "bias"},
    "MatMul": {1: "weight"},
    "PRelu": {1: "weight"},
}
# Operators with a bias as input 2.
BIASED = {"Conv", "ConvTranspose", "Gemm"}
RECURRENT = {"LSTM", "GRU", "RNN"}

EXPORT = "export the module again with secateur.torch.export, which keeps all parameters apart, and prune that file"
PROTECT = "protect this layer and those whose channels it takes from pruning"
COMPUTED = "make the result the parameter, for example with torch.nn.utils.parametrize.remove_parametrizations, and export again"


@dataclass
class Assignment:
    """New elements of a module's tensors, and what could not be assigned."""

    values: dict[Entry, Array] = field(default_factory=dict)
    # New biases of layers that have none, with the slot they come from.
    biases: dict[nn.Module, tuple[Array, Slot]] = field(default_factory=dict)
    # Module of a layer's weight, and the node that it is.
    layers: dict[nn.Module, Slot] = field(default_factory=dict)
    # Remedy by the description of a problem.
    problems: dict[str, str] = field(default_factory=dict)
    # Paths of BatchNorm modules whose scale, shift and variance are lost.
    reset: list[str] = field(default_factory=list)
    # Reason for a name that is in both, but with other elements.
    stale: dict[str, str] = field(default_factory=dict)
    # Shapes and indices that the cut changes.
    integers: list[Slot] = field(default_factory=list)


class Mapper:
    """Assigns the constants of a file, node by node."""

    def __init__(
        self,
        original: Graph,
        pruned: Graph,
        tensors: Mapping[str, Entry],
        calls: Trace,
        modules: Mapping[str, nn.Module],
        cut: Mapping[str, Sequence[Sequence[int] | None]],
    ) -> None:
        self.original, self.pruned = original, pruned
        self.tensors, self.trace, self.modules, self.cut = tensors, calls, modules, cut
        self.result = Assignment()
        self.slots: dict[Slot, tuple[Entry, Layout] | None] = {}
        self.used: set[Entry] = set()
        self.unique = list(dict.fromkeys(tensors.values()))

    def assign(self) -> Assignment:
        """Returns the assignment for all nodes."""
        by_node: dict[int, list[Slot]] = {}
        for slot in slots(self.original, self.pruned):
            array = slot.after if slot.before is None else slot.before
            if array is not None and np.issubdtype(array.dtype, np.integer):
                if slot.changed and slot.after is not None:
                    self.result.integers.append(slot)
                continue
            by_node.setdefault(id(slot.node), []).append(slot)
        for group in by_node.values():
            for slot in group:
                self._by_name(slot)
        unnamed = [[s for s in group if s not in self.slots] for group in by_node.values()]
        for group, everything in zip(unnamed, by_node.values(), strict=True):
            if group and not self._folded(group, everything):
                self._by_value(group, everything)
        for group in by_node.values():
            for slot in group:
                self._judge(slot)
        return self.result

    def _by_name(self, slot: Slot) -> None:
        """Maps the constants behind a slot whose names and elements are those of a tensor."""
        if slot.before is None:
            return
        for name in self.original.sources(slot.value):
            entry = self.tensors.get(name)
            before = self.original.constant(name)
            if entry is None or before is None:
                continue
            how = layout(entry, before)
            if how is None:
                self.result.stale[name] = (
                    f"the file's {name!r} has other elements than the module's: was it trained, or run in training mode, "
                    "since the export?"
                )
                continue
            after = self.pruned.constant(name)
            if after is None and slot.after is not None:
                # The pruned file has only the value computed from it.
                how = layout(entry, slot.before)
                after = slot.after
            if after is not None and how is not None:
                self._set(slot, entry, how, after)

    def _set(self, slot: Slot, entry: Entry, how: Layout, after: Array) -> None:
        new = how.to_tensor(after)
        known = self.result.values.get(entry)
        if known is not None and not np.array_equal(known, new):
            several = f"{slot}: {entry.name} is used several times, and the file has different elements for each use"
            self.result.problems[several] = "protect the layer from pruning, or prune without repair"
        self.result.values.setdefault(entry, new)
        self.slots[slot] = (entry, how)
        self.used.add(entry)
        if ROLES.get(slot.node.op, {}).get(slot.index) == "weight":
            self.result.layers.setdefault(entry.owner, slot)

    def _by_value(self, group: Sequence[Slot], everything: Sequence[Slot]) -> None:
        """Maps a node's constants to tensors of equal elements, of one module if possible."""
        options: dict[Slot, list[tuple[Entry, Layout]]] = {}
        for slot in group:
            if slot.before is None or slot.after is None or slot.before.ndim == 0:
                continue
            role = ROLES.get(slot.node.op, {}).get(slot.index)
            found = []
            for entry in self.unique:
                if entry.tensor.numel() == slot.before.size and (role is None or entry.key == role or not _standard(entry.owner)):
                    how = layout(entry, slot.before)
                    if how is not None:
                        found.append((entry, how))
            options[slot] = found
        siblings = {self.slots[s][0].owner for s in everything if self.slots.get(s)}  # type: ignore[index]
        owners = [{e.owner for e, _ in found} for found in options.values() if found]
        common = set.intersection(*owners) if owners else set()
        for slot, found in options.items():
            if not found:
                continue
            entry, how = min(
                found,
                key=lambda c: (
                    c[0].owner not in siblings,
                    c[0].owner_path != slot.node.scope,
                    c[0].owner not in common,
                    c[0] in self.used,
                    self.trace.position(c[0].owner_path),
                ),
            )
            self._set(slot, entry, how, slot.after)  # type: ignore[arg-type]

    def _folded(self, group: Sequence[Slot], everything: Sequence[Slot]) -> bool:
        """Maps a node whose weight contains the scale of a BatchNorm."""
        weight = next((s for s in group if s.index == 1 and s.node.op in BIASED), None)
        if weight is None or weight.before is None or weight.after is None:
            return False
        bias = next((s for s in everything if s.index == 2), None)
        if any(layout(e, weight.before) for e in self.unique if e.tensor.numel() == weight.before.size):
            return False
        pairs = [
            (self.modules[layer], self.modules[norm])
            for layer, norm in dict.fromkeys(self.trace.normalized)
            if self.modules[layer] not in self.result.layers
        ]
        for layer, norm in pairs:
            found = folding.recognize(layer, norm, weight.before, None if bias is None else bias.before)
            if found is not None:
                self._unfold(found, weight, bias)
                return True
        return False

    def _unfold(self, found: folding.Folded, weight: Slot, bias: Slot | None) -> None:
        after = found.layout.to_tensor(weight.after)  # type: ignore[arg-type]
        before = found.layout.to_tensor(weight.before)  # type: ignore[arg-type]
        groups = int(weight.pruned.attributes.get("group", 1)) if weight.pruned else 1
        axis = 1 if getattr(found.layer, "transposed", False) else 0
        kept = self._kept(weight, found.layout.axes[axis], before, after, axis, groups)
        by_owner = {(e.owner, e.key): e for e in self.unique}
        if kept is None:
            path = by_owner[found.norm, "running_mean"].owner_path
            self.result.reset.append(path)
        new = folding.unfolded(found, after, None if bias is None else bias.after, kept, groups)
        for key, array in new.items():
            owner = found.layer if key.startswith("layer.") else found.norm
            self.result.values[by_owner[owner, key.split(".", 1)[1]]] = array
        entry = by_owner[found.layer, "weight"]
        self.result.layers[found.layer] = weight
        for slot in (weight, bias):
            if slot is not None:
                self.slots[slot] = (entry, found.layout)

    def _kept(
        self, slot: Slot, file_axis: int | None, before: Array, after: Array, axis: int, groups: int
    ) -> Sequence[int] | None:
        """Returns the kept output channels: from the cut, else by comparing filters."""
        if before.shape == after.shape:
            return list(range(before.shape[axis] * (groups if axis else 1)))
        for name in self.original.sources(slot.value):
            axes = self.cut.get(name)
            if axes is not None and file_axis is not None and (axis == 0 or groups == 1):
                kept = axes[file_axis]
                return list(range(before.shape[axis])) if kept is None else list(kept)
        if axis and groups != 1:
            return None
        return folding.kept_by_values(np.moveaxis(before, axis, 0), np.moveaxis(after, axis, 0))

    def _judge(self, slot: Slot) -> None:
        """Records a changed constant that is not mapped, or a bias that the module lacks."""
        if slot in self.slots or not slot.changed:
            return
        if slot.index == 2 and slot.node.op in BIASED and slot.after is not None and _all_zero(slot.before):
            if _all_zero(slot.after):
                return
            owner = next((m for m, s in self.result.layers.items() if s.node is slot.node), None)
            if owner is not None and hasattr(owner, "bias") and owner.bias is None:
                self.result.biases[owner] = (slot.after, slot)
                return
        after = slot.before if slot.pruned is None else slot.after
        if slot.before is not None and after is not None and _uniform(slot.before, after):
            # Scales and shifts that the exporter adds to a layer without them, and states of zeros.
            return
        reason, remedy = self._reason(slot)
        self.result.problems[f"{slot}: {reason}"] = remedy

    def _reason(self, slot: Slot) -> tuple[str, str]:
        """Returns why a slot has no tensor, and a remedy."""
        if slot.node.op in RECURRENT:
            return "recurrent layers store their gates in another order, which is not mapped back", PROTECT
        if isinstance(self.modules.get(slot.node.scope), nn.MultiheadAttention):
            return "the file has the weights of attention heads, which are not mapped back", PROTECT
        for name in self.original.sources(slot.value):
            if name in self.result.stale:
                return self.result.stale[name], EXPORT
            if name != slot.value and name in self.tensors:
                return f"forward computes this from {name!r}, and the pruned file has the result only", COMPUTED
        if slot.pruned is None:
            return "the pruned file has no such node", EXPORT
        shape = None if slot.before is None else slot.before.shape
        near = [e.name for e in self.unique if shape and any(True for _ in layouts(tuple(e.tensor.shape), shape))]
        if near:
            return f"no tensor of the module has these elements; of this shape: {', '.join(near[:3])}", EXPORT
        return "no tensor of the module has this shape and these elements", EXPORT


def _standard(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn.")


def _all_zero(array: Array | None) -> bool:
    return array is None or not np.any(array)


def _uniform(before: Array, after: Array) -> bool:
    first = before.reshape(-1)[:1]
    return bool(first.size and np.all(before == first) and np.all(after == first))
