"""A node with all that a rule asks of it: attributes, shapes, types, and what is constant."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from edgecc.errors import BuildError

Shape = tuple[int | None, ...]
"""None for a size that is not known."""
LIGHT_BYTES = 1024
"""Fractions in larger tensors are left out: no rule looks at them."""
FRACTIONS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16}


@dataclass
class Scope:
    """A graph's names; those of the graph that it stands in are seen through `outer`."""

    outer: Scope | None = None
    tensors: dict[str, TensorProto] = field(default_factory=dict)
    """Initialisers, and what Constant nodes hold."""
    kinds: dict[str, tuple[int, Shape | None]] = field(default_factory=dict)
    """Element type and shape of values."""
    makers: dict[str, NodeProto] = field(default_factory=dict)

    def tensor(self, name: str) -> TensorProto | None:
        """The constant called `name`, if it is one."""
        if name in self.tensors or name in self.makers or self.outer is None:
            return self.tensors.get(name)
        return self.outer.tensor(name)

    def kind(self, name: str) -> tuple[int, Shape | None]:
        """The element type (0 where unknown) and the shape (None where unknown) of a value."""
        if name in self.kinds or self.outer is None:
            return self.kinds.get(name, (TensorProto.UNDEFINED, None))
        return self.outer.kind(name)

    def maker(self, name: str) -> NodeProto | None:
        """The node that makes a value."""
        return self.makers.get(name) or (self.outer.maker(name) if self.outer else None)


@dataclass(frozen=True)
class Site:
    """One node in its scope."""

    node: NodeProto
    scope: Scope

    @property
    def kind(self) -> str:
        """The operator."""
        return str(self.node.op_type)

    @property
    def label(self) -> str:
        """The node's name, or its first output's where it has none."""
        return str(self.node.name or next(iter(self.node.output), self.kind))

    def given(self, place: int) -> bool:
        """Whether the optional input at `place` is there."""
        return place < len(self.node.input) and bool(self.node.input[place])

    def attribute(self, name: str, default: Any = None) -> Any:
        """The value of an attribute: int, float, str, or a list of them."""
        for attribute in self.node.attribute:
            if attribute.name == name:
                found = onnx.helper.get_attribute_value(attribute)
                return found.decode(errors="replace") if isinstance(found, bytes) else found
        return default

    def shape(self, place: int = 0) -> Shape | None:
        """The shape of an input."""
        return self.scope.kind(self.node.input[place])[1] if self.given(place) else None

    def rank(self, place: int = 0) -> int | None:
        """The number of dimensions of an input."""
        shape = self.shape(place)
        return None if shape is None else len(shape)

    def dtype(self, place: int = 0) -> int:
        """The element type of an input; 0 where it is not known."""
        return self.scope.kind(self.node.input[place])[0] if self.given(place) else 0

    def computed(self, place: int) -> bool:
        """Whether an input is there and known at run time only."""
        return self.given(place) and self.scope.tensor(self.node.input[place]) is None

    def constant(self, place: int) -> npt.NDArray[Any] | None:
        """The numbers of an input, where they are known and few."""
        tensor = self.scope.tensor(self.node.input[place]) if self.given(place) else None
        return None if tensor is None or not _has_numbers(tensor) else _array(tensor)

    def made_by(self, place: int) -> str:
        """The operator that makes an input; "" for none."""
        maker = self.scope.maker(self.node.input[place]) if self.given(place) else None
        return "" if maker is None else str(maker.op_type)

    def output_shape(self, place: int = 0) -> Shape | None:
        """The shape of an output."""
        return self.scope.kind(self.node.output[place])[1]


@dataclass(frozen=True)
class Network:
    """A model as the rules read it."""

    model: ModelProto
    scope: Scope
    sites: tuple[Site, ...]
    """Every node in the order of the file; those of a subgraph behind the node that has it."""

    @property
    def opset(self) -> int:
        """The opset of ONNX's own operators."""
        return next((o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx")), 1)


def read(path: Path) -> Network:
    """Read an ONNX file, with its shapes inferred and without its large weights.

    Errors: `edgecc.errors.BuildError` for a file that is none.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except (OSError, DecodeError) as error:
        raise BuildError(
            f"{path} cannot be read as ONNX: {str(error).splitlines()[0]}",
            hint="it is written by edgecc build; build again",
        ) from None
    for graph in _graphs(model.graph):
        for tensor in graph.initializer:
            _lighten(tensor)
    # where the file has a type wrong, the shapes in it must do
    with contextlib.suppress(onnx.shape_inference.InferenceError):
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    scope, sites = _scan(model.graph, None)
    return Network(model, scope, tuple(sites))


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs that a node has as attributes."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _graphs(inner)


def _scan(graph: GraphProto, outer: Scope | None) -> tuple[Scope, list[Site]]:
    scope = Scope(outer)
    for value in [*graph.input, *graph.value_info, *graph.output]:
        scope.kinds[value.name] = _kind(value)
    for tensor in graph.initializer:
        scope.tensors[tensor.name] = tensor
        scope.kinds[tensor.name] = tensor.data_type, tuple(tensor.dims)
    sites: list[Site] = []
    for node in graph.node:
        for name in filter(None, node.output):
            scope.makers[name] = node
        if node.op_type == "Constant" and (tensor := _held(node)) is not None:
            scope.tensors[node.output[0]] = tensor
            scope.kinds[node.output[0]] = tensor.data_type, tuple(tensor.dims)
        sites.append(Site(node, scope))
        for inner in subgraphs(node):
            sites += _scan(inner, scope)[1]
    return scope, sites


def _kind(value: ValueInfoProto) -> tuple[int, Shape | None]:
    if not value.type.HasField("tensor_type"):
        return TensorProto.UNDEFINED, None
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return tensor.elem_type, None
    sizes = (d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
    return tensor.elem_type, tuple(sizes)


def _held(node: NodeProto) -> TensorProto | None:
    """What a Constant node holds, where it is a tensor of numbers."""
    for attribute in node.attribute:
        if attribute.name == "value":
            tensor: TensorProto = attribute.t
            return tensor
        if attribute.name.startswith("value_") and "string" not in attribute.name:
            found = onnx.helper.get_attribute_value(attribute)
            kind = np.float32 if "float" in attribute.name else np.int64
            return onnx.numpy_helper.from_array(np.asarray(found, kind))
    return None


def _lighten(tensor: TensorProto) -> None:
    if tensor.data_type in FRACTIONS and len(tensor.raw_data) > LIGHT_BYTES:
        tensor.ClearField("raw_data")
    if tensor.data_type in FRACTIONS and len(tensor.float_data) * 4 > LIGHT_BYTES:
        tensor.ClearField("float_data")


def _has_numbers(tensor: TensorProto) -> bool:
    if tensor.data_location == TensorProto.EXTERNAL or tensor.data_type == TensorProto.STRING:
        return False
    held = (tensor.raw_data, tensor.float_data, tensor.int32_data, tensor.int64_data)
    return 0 in tensor.dims or any(map(len, held)) or bool(tensor.double_data or tensor.uint64_data)


def _array(tensor: TensorProto) -> npt.NDArray[Any]:
    found: npt.NDArray[Any] = onnx.numpy_helper.to_array(tensor)
    return found
