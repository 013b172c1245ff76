"""How exact convolutions by Winograd are: single ones in each form, and whole networks.

    python benchmarks/winograd_error.py --assets ../shared/assets

Errors are the largest of any output, of the largest output, against float64, on standard normal
inputs; for comparison those of onnxruntime and of the sum over the window (`--no-winograd`).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
from engines import Arrays, difference, of_edgecc, of_onnxruntime, random_inputs
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from single_layers import Layer, network
from speed_networks import timed_networks

import edgecc
from targets.tvm.schedules import minimal

FORMS = [("F(2x2, 3x3)", (3, 3), (2, 2)), ("F(4x4, 3x3)", (3, 3), (4, 4))]
FORMS += [("F(2x1, 3x1)", (3, 1), (2, 1)), ("F(4x1, 3x1)", (3, 1), (4, 1))]
CHANNELS = (16, 64, 256, 512)
PICTURE = 64
"""Height and width for the networks that take any: float64 takes its time."""


def main() -> None:
    """Print a line for each form at each width, and one for each network."""
    parser = argparse.ArgumentParser(description=__doc__)
    assets = os.environ.get("EDGECC_ASSETS", "../shared/assets")
    parser.add_argument("--assets", type=Path, default=Path(assets))
    options = parser.parse_args()
    print(f"{'':24} {'onnxruntime':>12} {'summed':>9} {'Winograd':>9}")
    with tempfile.TemporaryDirectory() as scratch:
        for name, taps, outputs in FORMS:
            for channels in CHANNELS:
                model = Path(scratch) / "layer.onnx"
                layers = Layer(channels, channels, 28, (1, 1)), Layer(channels, channels, 28, taps)
                onnx.save(network(*layers), model)
                shapes = {taps: (outputs,)}
                with (
                    mock.patch.dict(minimal.SHAPES, shapes),
                    mock.patch.object(minimal, "GAIN", 99),
                ):
                    show(f"{name} {channels} channels", model, {}, Path(scratch))
        for timed in timed_networks(options.assets, Path(scratch), PICTURE):
            model = Path(scratch) / "network.onnx"
            prepared = Path(scratch) / timed.name
            edgecc.build(timed.model, passes="", shape=timed.shape, out=prepared)
            onnx.save(inner(onnx.load(prepared / "model.onnx")), model)
            show(timed.name, model, {}, Path(scratch))


def show(name: str, model: Path, shape: Mapping[str, tuple[int, ...]], scratch: Path) -> None:
    """Print the errors of one network."""
    found = []
    for winograd in (False, True):
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            built = edgecc.build(
                model, backend="tvm", passes="", shape=shape, winograd=winograd, out=f"{folder}/b"
            )
            prepared = built.folder / "model.onnx"
            inputs = random_inputs(prepared)
            if not winograd:
                exact = in_float64(prepared, inputs)
                found.append(difference(of_onnxruntime(prepared, inputs, 1).outputs(), exact))
            found.append(difference(of_edgecc(built.folder, inputs).outputs(), exact))
    forms = built.report["artifact"]["details"]["winograd"]
    told = ", ".join(f"{count} {form}" for form, count in forms.items())
    print(f"{name:24} {found[0]:12.1e} {found[1]:9.1e} {found[2]:9.1e}  {told}", flush=True)


def inner(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the network in float32 alone and without a softmax, which would hide what is lost."""
    graph = model.graph
    for node in [node for node in graph.node if node.op_type in ("Cast", "Softmax")]:
        source, made = node.input[0], node.output[0]
        graph.node.remove(node)
        for other in graph.node:
            other.input[:] = [source if name == made else name for name in other.input]
        for value in graph.output:
            value.name = source if value.name == made else value.name
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return model


def in_float64(model: Path, inputs: Arrays) -> list[np.ndarray]:
    """Compute the outputs with float64 in place of float32."""
    wide = onnx.load(model)
    del wide.graph.value_info[:]
    for tensor in wide.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float64), tensor.name))
    for value in (*wide.graph.input, *wide.graph.output):
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    return ReferenceEvaluator(wide).run(
        None, {name: array.astype(np.float64) for name, array in inputs.items()}
    )


if __name__ == "__main__":
    main()
