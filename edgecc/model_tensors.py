"""The tensors of a model file: they hold what their shape says, and lie where they may."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import onnx

from edgecc.errors import ModelError
from edgecc.graph import bitwidth

DAMAGED = "the file is damaged; export or copy it again"


def check_tensors(proto: onnx.ModelProto, folder: Path) -> None:
    """Check every tensor of a model whose file lies in `folder`.

    Errors: `edgecc.errors.ModelError` for sizes that do not match the data, and for external data
    outside `folder`, absent, or too short.
    """
    for tensor in tensors(proto):
        name, count = tensor.name or "a constant", math.prod(tensor.dims)
        if any(size < 0 for size in tensor.dims):
            raise ModelError(
                f"tensor '{name}' has a negative size: {list(tensor.dims)}", hint=DAMAGED
            )
        bits = bitwidth(tensor.data_type)  # of strings, the size is their own matter
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _check_external(tensor, folder, None if bits is None else -(-count * bits // 8))
        elif tensor.HasField("raw_data") and bits is not None:
            wanted = -(-count * bits // 8)
            if len(tensor.raw_data) != wanted:
                raise ModelError(
                    f"tensor '{name}' of shape {list(tensor.dims)} needs {wanted} bytes "
                    f"and has {len(tensor.raw_data)}",
                    hint=DAMAGED,
                )


def external_files(proto: onnx.ModelProto, folder: Path) -> list[Path]:
    """Return the files beside the model that hold its weights, each once, by name."""
    found = {
        _location(tensor, folder)
        for tensor in tensors(proto)
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    }
    return sorted(found)


def tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor of a model: initialisers and attributes, sub-graphs and functions."""
    yield from _of_graph(proto.graph)
    for function in proto.functions:
        for node in function.node:
            yield from _of_node(node)


def _of_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _of_node(node)


def _of_node(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("g"):
            yield from _of_graph(attribute.g)
        for graph in attribute.graphs:
            yield from _of_graph(graph)


def _check_external(tensor: onnx.TensorProto, folder: Path, needed: int | None) -> None:
    path = _location(tensor, folder)
    if not path.is_file():
        raise ModelError(
            f"the weights of '{tensor.name}' are missing: there is no file {path.name} beside the "
            "model",
            hint="a model with external data is several files; copy all of them",
        )
    if path.stat().st_nlink > 1:
        raise ModelError(
            f"the weights in {path.name} have several hard links, so others may change them",
            hint=f"make a copy of its own: cp {path.name} copy && mv copy {path.name}",
        )
    entries = {entry.key: entry.value for entry in tensor.external_data}
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries["length"]) if "length" in entries else needed
    except ValueError:
        raise ModelError(f"tensor '{tensor.name}' has no sensible place in {path.name}") from None
    size = path.stat().st_size
    if offset < 0 or (length is not None and (length < 0 or offset + length > size)):
        raise ModelError(
            f"tensor '{tensor.name}' ends at byte {offset + (length or 0)} of {path.name}, which "
            f"has {size}",
            hint="was the file cut short?",
        )
    if needed is not None and length != needed:
        raise ModelError(
            f"tensor '{tensor.name}' of shape {list(tensor.dims)} needs {needed} bytes and has "
            f"{length}",
            hint=DAMAGED,
        )


def _location(tensor: onnx.TensorProto, folder: Path) -> Path:
    location = next((e.value for e in tensor.external_data if e.key == "location"), "")
    path = (folder / location).resolve()
    if not location or Path(location).is_absolute() or folder.resolve() not in path.parents:
        raise ModelError(
            f"the weights of '{tensor.name}' lie outside the model's folder: '{location}'",
            hint="edgecc reads nothing but the folder of the model",
        )
    return path
