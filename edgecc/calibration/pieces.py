"""Pieces of a network, run in onnxruntime over batches of activations."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from edgecc.errors import ModelError
from edgecc.target import Arrays

Batches = list[Any]
"""One value's arrays, a batch each."""


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
    ) -> dict[str, Batches]:
        """Run `nodes` on each of `count` batches; return the wanted values, a list of arrays each.

        Errors: `edgecc.errors.ModelError` where onnxruntime takes a node not.
        """
        import onnxruntime

        wanted = [value.name or "" for value in outputs]
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = os.cpu_count() or 1
        piece = self._piece(nodes, {name: batches[0] for name, batches in inputs.items()}, wanted)
        found: dict[str, Batches] = defaultdict(list)
        try:
            session = onnxruntime.InferenceSession(
                piece.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            for index in range(count):
                feed: Arrays = {name: np.asarray(b[index]) for name, b in inputs.items()}
                for name, array in zip(wanted, session.run(wanted, feed), strict=True):
                    found[name].append(array)
        except Exception as error:  # onnxruntime raises a type of its own for each status
            text = " ".join(str(error).split())[:300]
            names = ", ".join(node.name or node.op_type for node in nodes[:3])
            raise ModelError(f"onnxruntime cannot run {names} on its own: {text}") from None
        return found

    def _piece(
        self, nodes: Sequence[ir.Node], inputs: Mapping[str, Any], outputs: Sequence[str]
    ) -> onnx.ModelProto:
        types = {
            value.name: value.dtype for node in nodes for value in node.outputs if value is not None
        }
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
            [
                onnx.helper.make_tensor_value_info(name, types[name] or ir.DataType.FLOAT, None)
                for name in outputs
            ],
            [ir.to_proto(_named(tensor, name)) for name, tensor in weights.items()],
        )
        return onnx.helper.make_model(
            graph, opset_imports=self._opsets, ir_version=min(self.model.ir_version or 8, 10)
        )


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


def _info(name: str, array: Any) -> onnx.ValueInfoProto:
    kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    return onnx.helper.make_tensor_value_info(name, kind, [None] * array.ndim)


def _named(tensor: Any, name: str | None) -> Any:
    return ir.tensor(tensor.numpy(), name=name)
