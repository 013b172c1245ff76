"""Pieces of a network, run in onnxruntime over batches of activations."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from edgecc.calibration.store import Batches
from edgecc.errors import ModelError


class Network:
    """A model and the sessions that run pieces of it in onnxruntime."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self._opsets = [
            onnx.helper.make_opsetid(domain, version)
            for domain, version in model.opset_imports.items()
        ]

    def run(
        self,
        nodes: Sequence[ir.Node],
        inputs: Mapping[str, Batches],
        outputs: Iterable[ir.Value],
        count: int,
    ) -> Iterator[dict[str, Any]]:
        """Run `nodes` on each of `count` batches; yield the wanted values by name, batch by batch.

        Errors: `edgecc.errors.ModelError` where onnxruntime takes a node not.
        """
        import onnxruntime

        wanted = [value.name or "" for value in outputs]
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = os.cpu_count() or 1
        piece = self._piece(nodes, {name: batches[0] for name, batches in inputs.items()}, wanted)
        with _told(nodes, None):
            session = onnxruntime.InferenceSession(
                piece.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        hint = _fixed_batch(self.model)
        for index in range(count):
            feed = {name: _fed(batches[index]) for name, batches in inputs.items()}
            with _told(nodes, hint):
                found = session.run(wanted, feed)
            yield dict(zip(wanted, found, strict=True))

    def _piece(
        self, nodes: Sequence[ir.Node], inputs: Mapping[str, Any], outputs: Sequence[str]
    ) -> onnx.ModelProto:
        weights = {
            value.name: value.const_value
            for node in nodes
            for value in reads(node)
            if value.const_value is not None and value.name not in inputs
        }
        graph = onnx.helper.make_graph(
            [ir.to_proto(node) for node in nodes],
            "piece",
            [_info(name, array) for name, array in inputs.items()],
            [onnx.ValueInfoProto(name=name) for name in outputs],  # onnxruntime finds the types
            [ir.to_proto(_named(tensor, name)) for name, tensor in weights.items()],
        )
        return onnx.helper.make_model(
            graph, opset_imports=self._opsets, ir_version=min(self.model.ir_version or 8, 10)
        )


@contextlib.contextmanager
def _told(nodes: Sequence[ir.Node], hint: str | None) -> Iterator[None]:
    """Turn what onnxruntime raises, a type of its own for each status, into one error."""
    try:
        yield
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        names = ", ".join(node.name or node.op_type for node in nodes[:3])
        message = f"onnxruntime cannot run {names} on its own: {text}"
        raise ModelError(message, hint=hint) from None


def _fixed_batch(model: ir.Model) -> str | None:
    """What to try where samples do not go through together; None where the batch is fixed."""
    for value in model.graph.inputs:
        sizes = list(value.shape) if value.shape is not None else []
        if sizes and not isinstance(sizes[0], int) and value.const_value is None:
            rest = "".join(f",{size if isinstance(size, int) else '...'}" for size in sizes[1:])
            return (
                "several samples go in at a time, as its inputs say; if it takes one alone, "
                f"--shape {value.name}:1{rest} fixes that"
            )
    return None


def _fed(batch: Any) -> Any:
    return batch if isinstance(batch, list) else np.asarray(batch)


def reads(node: ir.Node) -> list[ir.Value]:
    """The values that a node reads, those too that its subgraphs take from outside."""
    found = [value for value in node.inputs if value is not None]
    for attribute in node.attributes.values():
        if graphs := _graphs(attribute):
            for graph in graphs:
                inner = list(graph.all_nodes())
                inside = {id(v) for n in inner for v in n.outputs} | {id(v) for v in graph.inputs}
                inside |= {id(v) for v in graph.initializers.values()}
                for nested in (g for n in inner for a in n.attributes.values() for g in _graphs(a)):
                    inside |= {id(v) for v in nested.inputs}
                    inside |= {id(v) for v in nested.initializers.values()}
                everything = [v for n in inner for v in n.inputs if v is not None]
                everything += list(graph.outputs)
                found += [v for v in everything if id(v) not in inside]
    return found


def _graphs(attribute: ir.Attr) -> list[ir.Graph]:
    if attribute.type == ir.AttributeType.GRAPH:
        return [attribute.as_graph()]
    return list(attribute.as_graphs()) if attribute.type == ir.AttributeType.GRAPHS else []


def _info(name: str, batch: Any) -> onnx.ValueInfoProto:
    """The type of an input, from one of its batches; sequences have lists."""
    first = batch[0] if isinstance(batch, list) and batch else batch
    dtype = np.dtype(np.float32) if isinstance(first, list) else first.dtype
    kind = onnx.helper.np_dtype_to_tensor_dtype(dtype)
    if isinstance(batch, list):
        return onnx.helper.make_tensor_sequence_value_info(name, kind, None)
    return onnx.helper.make_tensor_value_info(name, kind, [None] * batch.ndim)


def _named(tensor: Any, name: str | None) -> Any:
    return ir.tensor(tensor.numpy(), name=name)
