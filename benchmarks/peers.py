"""Compress a network with other people's tools, as edgecc does: no training, no labels.

    PYTHON benchmarks/peers.py MODEL --macs 0.5 --calib X.npz --out OUT.onnx --peer NAME [--all]

One line of JSON a peer: its name and the share of the multiply-adds that it left. `--calib` is an
.npz whose first array holds inputs as the network takes them (N, C, H, W); `--all` runs every peer
and puts the peer's name before the suffix of OUT.

- torch-pruning removes whole channels, see `peers_torch.py`; one peer for each importance.
- tensorly decomposes convolutions, see `peers_tensorly.py`; one peer for Tucker-2 and one for CP.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
from multiply_adds import multiply_adds
from onnx import numpy_helper
from peers_tensorly import Cp, Tucker2, decompose

PRUNERS = ("l1", "l2", "activation", "hessian")
PEERS = (*(f"torch-pruning {name}" for name in PRUNERS), "tensorly tucker2", "tensorly cp")
INSTALL = "pip install torch==2.13.0 torch-pruning==1.6.1 tensorly==0.10.0 onnx onnxruntime"


def main() -> None:
    """Compress with one peer or all of them, and print what each reached."""
    parser = argparse.ArgumentParser(description="Compress a network with other people's tools.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--macs", type=float, required=True, help="share to keep, as in 0.5")
    parser.add_argument("--calib", type=Path, required=True, help=".npz of inputs (N, C, H, W)")
    parser.add_argument("--out", type=Path, required=True)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--peer", choices=PEERS)
    which.add_argument("--all", action="store_true")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", module="tensorly")  # ranks greater than a side are meant
    with np.load(options.calib) as arrays:
        inputs = arrays[arrays.files[0]].astype(np.float32)
    for peer in PEERS if options.all else [options.peer]:
        out = options.out
        if options.all:
            out = out.with_name(f"{out.stem}.{peer.replace(' ', '-')}{out.suffix}")
        try:
            reached = compress(peer, options.model, options.macs, inputs, out)
        except ImportError as error:
            sys.exit(f"peers: {peer} needs {error.name}\n  hint: {INSTALL}")
        except ValueError as error:
            sys.exit(f"peers: {peer}: {error}")
        print(json.dumps({"peer": peer, "macs": round(reached, 4), "out": str(out)}), flush=True)


def compress(peer: str, model: Path, macs: float, inputs: np.ndarray, out: Path) -> float:
    """Compress `model` with `peer` to at most the share `macs` of its multiply-adds.

    `model` has its BatchNorms folded; what is written to `out` is float32. `inputs` (N, C, H, W)
    fix the shapes that are counted at, and choose between pruned networks. Returns the share that
    is left, counted on the graph written.
    """
    tool, method = peer.split()
    graph = prepare(onnx.load(model))
    if tool == "torch-pruning":
        import peers_torch

        small = peers_torch.prune(graph, method, macs, inputs)
    else:
        small = decompose(graph, Tucker2() if method == "tucker2" else Cp(), macs, inputs.shape)
    used = {name for node in small.graph.node for name in node.input}
    kept = [tensor for tensor in small.graph.initializer if tensor.name in used]
    del small.graph.initializer[:]
    small.graph.initializer.extend(kept)
    onnx.checker.check_model(small, full_check=True)
    onnx.save(small, out)
    before, after = (sum(multiply_adds(g, inputs.shape).values()) for g in (graph, small))
    return after / before


def prepare(model: onnx.ModelProto) -> onnx.ModelProto:
    """Constants become initialisers, half precision single, and weights are no longer inputs."""
    graph = model.graph
    constants = [
        n for n in graph.node if n.op_type == "Constant" and n.attribute[0].name == "value"
    ]
    for node in constants:
        graph.initializer.append(node.attribute[0].t)
        graph.initializer[-1].name = node.output[0]
        graph.node.remove(node)
    for tensor in graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT16:
            single = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(single, tensor.name))
    for value in [*graph.input, *graph.output]:
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    weights = {tensor.name for tensor in graph.initializer}
    kept = [value for value in graph.input if value.name not in weights]
    del graph.input[:], graph.value_info[:]
    graph.input.extend(kept)
    model.ir_version = max(model.ir_version, 4)  # before it, every weight had to be an input
    return model


if __name__ == "__main__":
    main()
