"""ONNX graphs as nodes and constants."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
from numpy.typing import NDArray
from onnx import numpy_helper

Array = NDArray[Any]

# Operators whose output is not determined by constant inputs.
RANDOM = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"}


def onnx_bytes(source: Any) -> bytes:
    """Returns the bytes of a model: bytes, a path, a `ModelProto`, or an object with one of these as `onnx`."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        model = onnx.load(str(path), load_external_data=False)
        if not any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer):
            return path.read_bytes()
        return bytes(onnx.load(str(path)).SerializeToString())
    if isinstance(source, onnx.ModelProto):
        return bytes(source.SerializeToString())
    if hasattr(source, "onnx"):
        return onnx_bytes(source.onnx)
    raise TypeError(f"expected ONNX bytes, a path, or a result of `prune`, got {type(source).__name__}")


@dataclass(frozen=True, eq=False)
class Node:
    """A node with the attributes that layers need."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    # Path of the module that the exporter recorded, "" if it recorded none.
    scope: str
    proto: onnx.NodeProto = field(repr=False)


class Graph:
    """The main graph of a model, with its constants resolved on demand."""

    def __init__(self, data: bytes) -> None:
        self.model = onnx.load_from_string(data)
        graph = self.model.graph
        self.nodes = [_node(proto) for proto in graph.node]
        self.by_output = {name: node for node in self.nodes for name in node.outputs}
        self.initializers = {tensor.name: tensor for tensor in graph.initializer}
        self.inputs = [value for value in graph.input if value.name not in self.initializers]
        self.outputs = [value.name for value in graph.output]
        self._constants: dict[str, Array | None] = {}
        self._fixed = set(self.initializers)
        for node in self.nodes:
            if node.op not in RANDOM and not _has_subgraph(node) and all(i in self._fixed for i in node.inputs if i):
                self._fixed.update(node.outputs)

    def is_constant(self, name: str) -> bool:
        """Returns whether a value depends on initializers alone."""
        return name in self._fixed

    def sources(self, name: str) -> list[str]:
        """Returns the names of the constants from which a constant is computed, itself first."""
        found: dict[str, None] = {}
        pending = [name]
        while pending:
            current = pending.pop(0)
            if current in found:
                continue
            found[current] = None
            node = self.by_output.get(current)
            if node is not None:
                pending.extend(filter(None, node.inputs))
        return list(found)

    def constant(self, name: str) -> Array | None:
        """Returns the elements of a constant, or `None` if the value is not constant."""
        if name not in self._constants:
            self._constants[name] = self._compute(name)
        return self._constants[name]

    def consumers(self, name: str) -> list[Node]:
        """Returns the nodes that take a value."""
        return [node for node in self.nodes if name in node.inputs]

    def _compute(self, name: str) -> Array | None:
        if name in self.initializers:
            return numpy_helper.to_array(self.initializers[name])
        if not self.is_constant(name):
            return None
        node = self.by_output[name]
        inputs: dict[str, Any] = {i: self.constant(i) for i in node.inputs if i}
        if node.op == "Identity":
            return self.constant(node.inputs[0])
        graph = onnx.helper.make_graph(
            [node.proto],
            "constant",
            [onnx.helper.make_tensor_value_info(i, _element_type(a), None) for i, a in inputs.items()],
            [onnx.ValueInfoProto(name=name)],
        )
        model = onnx.helper.make_model(graph, opset_imports=self.model.opset_import)
        results: Any = onnx.reference.ReferenceEvaluator(model).run([name], inputs)
        return np.asarray(results[0])


@dataclass(frozen=True, eq=False)
class Slot:
    """A constant input of a node, in the original and in the pruned file."""

    node: Node
    index: int
    # Name of the value in the original, or in the pruned file if only that has it.
    value: str
    before: Array | None
    after: Array | None
    # The node of the pruned file; its attributes may differ, such as `group`.
    pruned: Node | None

    def __str__(self) -> str:
        shapes = " → ".join("none" if a is None else "×".join(map(str, a.shape)) or "scalar" for a in (self.before, self.after))
        place = f", module {self.node.scope!r}" if self.node.scope else ""
        return f"{self.node.op} node {self.node.name!r}, input {self.index} {self.value!r} ({shapes}){place}"

    @property
    def changed(self) -> bool:
        """Whether the pruned file has other elements here."""
        if self.before is None or self.after is None:
            return self.before is not self.after
        return not np.array_equal(self.before, self.after)


def slots(original: Graph, pruned: Graph) -> Iterator[Slot]:
    """Yields the constant inputs of all nodes that compute something from the network's inputs, in order of the nodes."""
    by_name = {node.name: node for node in pruned.nodes if node.name}
    for node in original.nodes:
        if all(original.is_constant(i) for i in node.inputs if i):
            continue
        twin = next((pruned.by_output[o] for o in node.outputs if o in pruned.by_output), by_name.get(node.name))
        if twin is not None and twin.op != node.op:
            twin = None
        for index in range(max(len(node.inputs), len(twin.inputs) if twin else 0)):
            name = node.inputs[index] if index < len(node.inputs) else ""
            other = twin.inputs[index] if twin and index < len(twin.inputs) else ""
            before = original.constant(name) if name else None
            after = pruned.constant(other) if other else None
            if before is None and (name or after is None):
                continue
            yield Slot(node, index, name or other, before, after, twin)


def _node(proto: onnx.NodeProto) -> Node:
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute}
    name = proto.name or next(iter(proto.output), "")
    return Node(name, proto.op_type, tuple(proto.input), tuple(proto.output), attributes, _scope(proto), proto)


def _has_subgraph(node: Node) -> bool:
    return any(isinstance(value, onnx.GraphProto) for value in node.attributes.values())


def _element_type(array: Array) -> int:
    return int(onnx.helper.np_dtype_to_tensor_dtype(array.dtype))


def _scope(proto: onnx.NodeProto) -> str:
    """Returns the module path in a node's metadata (torch.export) or name (TorchScript)."""
    for entry in proto.metadata_props:
        if entry.key == "pkg.torch.onnx.name_scopes":
            try:
                scopes = ast.literal_eval(entry.value)
            except (ValueError, SyntaxError):
                return ""
            return str(scopes[-2]) if len(scopes) > 1 else ""
    if not proto.name.startswith("/"):
        return ""
    # TorchScript writes "/layer1/layer1.0/conv1/Conv": a child of a Sequential repeats its parent's name.
    path: list[str] = []
    for part in proto.name.split("/")[1:-1]:
        if path and part.startswith(path[-1] + "."):
            path.pop()
        path.append(part)
    return ".".join(path)
