"""Compress a network with other people's tools, as edgecc does: no training, no labels.

    PYTHON benchmarks/peers.py MODEL --macs 0.5 --calib X.npz --out OUT.onnx --peer NAME [--all]

One line of JSON a peer: its name and the share of the multiply-adds that it left. `--calib` is an
.npz whose first array holds inputs as the network takes them (N, C, H, W); `--all` runs every peer
and puts the peer's name before the suffix of OUT. tensorly leaves the first convolution as it is.

- torch-pruning removes whole channels, see `peers_torch.py`; one peer for each importance.
- tensorly tucker2: `partial_tucker` over the channels, both ranks the same share of their width.
- tensorly cp: `parafac`, then 1x1, KHx1 and 1xKW depthwise, 1x1. The rank of every convolution
  buys the same share of its multiply-adds. One start (random_state=0), at most 200 sweeps; where it
  starts matters: four starts give 80 to 90 % on resnet20 at half the multiply-adds, and 0 the best.

Paper: "Compression of Deep Convolutional Neural Networks for Fast and Low Power Mobile
Applications" (ICLR 2016) for Tucker-2, there with ranks by VBMF and fine-tuning; "Speeding-up
Convolutional Neural Networks Using Fine-tuned CP-Decomposition" (ICLR 2015) for CP.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

PRUNERS = ("l1", "l2", "activation", "hessian")
PEERS = (*(f"torch-pruning {name}" for name in PRUNERS), "tensorly tucker2", "tensorly cp")
INSTALL = "pip install torch==2.13.0 torch-pruning==1.6.1 tensorly==0.10.0 onnx onnxruntime"
SWEEPS = 200


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


def shapes(model: onnx.ModelProto, shape: tuple[int, ...]) -> dict[str, list[int]]:
    """The shape of every value, for one input of `shape` (N, C, H, W) at batch 1."""
    still = onnx.ModelProto()
    still.CopyFrom(model)
    for dim, size in zip(
        still.graph.input[0].type.tensor_type.shape.dim, (1, *shape[1:]), strict=True
    ):
        dim.dim_value = size
    for value in still.graph.output:
        value.type.tensor_type.ClearField("shape")
    found = onnx.shape_inference.infer_shapes(still, strict_mode=True, data_prop=True).graph
    sizes = {tensor.name: list(tensor.dims) for tensor in found.initializer}
    for value in [*found.input, *found.value_info, *found.output]:
        sizes[value.name] = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    return sizes


def multiply_adds(model: onnx.ModelProto, shape: tuple[int, ...]) -> dict[str, int]:
    """The multiply-adds of every Conv and Gemm at batch 1, by the name of its output."""
    sizes = shapes(model, shape)
    counts = {}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            size = sizes.get(node.output[0], []) if node.op_type == "Conv" else [1]
            if not size or 0 in size:
                raise ValueError(f"the shape of {node.output[0]} is not known")
            counts[node.output[0]] = math.prod(size[2:]) * math.prod(sizes[node.input[1]])
    return counts


@dataclass(frozen=True)
class Convolution:
    """A dense convolution with a kernel wider than 1x1, and where it stands."""

    node: onnx.NodeProto
    weight: np.ndarray  # (O, I, KH, KW)
    before: tuple[int, int]  # height and width of its input
    after: tuple[int, int]  # height and width of its output

    def macs(self) -> int:
        """Multiply-adds as it is."""
        return self.weight.size * math.prod(self.after)

    def attribute(self, name: str, default: list[int]) -> list[int]:
        """Return an attribute that is a list."""
        return next((list(a.ints) for a in self.node.attribute if a.name == name), default)


@dataclass(frozen=True)
class Piece:
    """One convolution of a chain; what it does not say is 1x1 and dense."""

    weight: np.ndarray
    strides: list[int] = field(default_factory=lambda: [1, 1])
    pads: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    dilations: list[int] = field(default_factory=lambda: [1, 1])
    group: int = 1


class Tucker2:
    """1x1 to the input rank, the kernel between the ranks, 1x1 from the output rank."""

    @staticmethod
    def ranks(conv: Convolution, share: float) -> tuple[int, int]:
        """The output and the input rank, each `share` of its width."""
        return max(1, int(share * conv.weight.shape[0])), max(1, int(share * conv.weight.shape[1]))

    def step(self, conv: Convolution) -> float:
        """The share that is worth one rank."""
        return 1 / min(conv.weight.shape[:2])

    def macs(self, conv: Convolution, share: float) -> int:
        """Multiply-adds of the chain."""
        (o, i), (outer, inner) = conv.weight.shape[:2], self.ranks(conv, share)
        kernel = inner * outer * math.prod(conv.weight.shape[2:])
        return i * inner * math.prod(conv.before) + (kernel + outer * o) * math.prod(conv.after)

    def pieces(self, conv: Convolution, share: float) -> list[Piece]:
        """Decompose."""
        from tensorly.decomposition import partial_tucker

        weight = conv.weight.astype(np.float64)
        ranks = list(self.ranks(conv, share))
        (core, (out, into)), _ = partial_tucker(
            weight, ranks, modes=[0, 1], n_iter_max=SWEEPS, tol=1e-7
        )
        strides, pads = conv.attribute("strides", [1, 1]), conv.attribute("pads", [0] * 4)
        kernel = Piece(core, strides, pads, conv.attribute("dilations", [1, 1]))
        return [Piece(into.T[:, :, None, None]), kernel, Piece(out[:, :, None, None])]


class Cp:
    """1x1 to the rank, KHx1 and 1xKW depthwise, 1x1 from the rank."""

    @staticmethod
    def one(conv: Convolution) -> int:
        """Multiply-adds of one rank."""
        o, i, kh, kw = conv.weight.shape
        upright = kh * conv.after[0] * conv.before[1]
        return i * math.prod(conv.before) + upright + (kw + o) * math.prod(conv.after)

    def rank(self, conv: Convolution, share: float) -> int:
        """The rank that `share` of the convolution's multiply-adds buys."""
        return max(1, int(share * conv.macs() / self.one(conv)))

    def step(self, conv: Convolution) -> float:
        """The share that is worth one rank."""
        return self.one(conv) / conv.macs()

    def macs(self, conv: Convolution, share: float) -> int:
        """Multiply-adds of the chain."""
        return self.rank(conv, share) * self.one(conv)

    def pieces(self, conv: Convolution, share: float) -> list[Piece]:
        """Decompose."""
        import tensorly
        from tensorly.decomposition import parafac

        tensorly.tenalg.register_backend_method("unfolding_dot_khatri_rao", contracted)
        tensorly.tenalg.use_dynamic_dispatch()
        rank = self.rank(conv, share)
        weight = conv.weight.astype(np.float32)
        _, (out, into, high, wide) = parafac(
            weight, rank, n_iter_max=SWEEPS, tol=1e-6, random_state=0
        )
        sh, sw = conv.attribute("strides", [1, 1])
        top, left, bottom, right = conv.attribute("pads", [0] * 4)
        dh, dw = conv.attribute("dilations", [1, 1])
        upright, flat = high.T[:, None, :, None], wide.T[:, None, None, :]
        return [
            Piece(into.T[:, :, None, None]),
            Piece(upright, [sh, 1], [top, 0, bottom, 0], [dh, 1], rank),
            Piece(flat, [1, sw], [0, left, 0, right], [1, dw], rank),
            Piece(out[:, :, None, None]),
        ]


def contracted(
    tensor: np.ndarray, cp: tuple[np.ndarray, list[np.ndarray]], mode: int
) -> np.ndarray:
    """What tensorly asks of a sweep, factor by factor, the widest first.

    The same sums as tensorly's own, which forms a Khatri-Rao product of 100 MB for 128 channels.
    """
    weights, factors = cp
    left = list(range(tensor.ndim))
    for other in sorted({*left} - {mode}, key=lambda m: -tensor.shape[m]):
        moved = np.moveaxis(tensor, left.index(other), len(left) - 1)
        if len(left) == len(factors):
            flat = moved.reshape(-1, moved.shape[-1]) @ factors[other]
            tensor = flat.reshape(*moved.shape[:-1], -1)
        else:
            tensor = (moved * factors[other]).sum(axis=-2)
        left.remove(other)
    return tensor * weights


def decompose(
    model: onnx.ModelProto, method: Tucker2 | Cp, macs: float, shape: tuple[int, ...]
) -> onnx.ModelProto:
    """Give every convolution the same share, the greatest that leaves no more than `macs`.

    Ranks are whole, so a little remains; the first convolutions get one rank more for it.
    """
    whole = sum(multiply_adds(model, shape).values())
    found = {conv.node.output[0]: conv for conv in convolutions(model, shape)[1:]}

    def total(shares: dict[str, float]) -> float:
        return (
            1 - sum(max(0, c.macs() - method.macs(c, shares[n])) for n, c in found.items()) / whole
        )

    low, high = 0.0, 1.0
    for _ in range(40):
        share = (low + high) / 2
        low, high = (share, high) if total(dict.fromkeys(found, share)) <= macs else (low, share)
    shares = dict.fromkeys(found, low)
    if total(shares) > macs:
        raise ValueError(f"rank 1 leaves {total(shares):.3f} of the multiply-adds, not {macs}")
    for name, conv in found.items():
        more = {**shares, name: low + method.step(conv)}
        shares = more if total(more) <= macs else shares
    cheaper = {n: c for n, c in found.items() if method.macs(c, shares[n]) < c.macs()}
    small = onnx.ModelProto()
    small.CopyFrom(model)
    del small.graph.node[:]
    for node in model.graph.node:
        if conv := cheaper.get(node.output[0]):
            chain(small.graph, node, method.pieces(conv, shares[node.output[0]]))
        else:
            small.graph.node.append(node)
    return small


def convolutions(model: onnx.ModelProto, shape: tuple[int, ...]) -> list[Convolution]:
    """Every dense convolution wider than 1x1, in order."""
    sizes = shapes(model, shape)
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    found = []
    for node in model.graph.node:
        weight = weights.get(node.input[1]) if node.op_type == "Conv" else None
        if weight is None or weight.shape[2:] == (1, 1):
            continue
        if weight.shape[1] == sizes[node.input[0]][1]:
            before, after = (tuple(sizes[name][2:]) for name in (node.input[0], node.output[0]))
            found.append(Convolution(node, weight, before, after))
    return found


def chain(graph: onnx.GraphProto, node: onnx.NodeProto, pieces: list[Piece]) -> None:
    """Append `pieces` in the place of the convolution `node`, which gives its bias to the last."""
    source = node.input[0]
    for index, piece in enumerate(pieces):
        last = index == len(pieces) - 1
        name = f"{node.output[0]}.{index}"
        weight = numpy_helper.from_array(piece.weight.astype(np.float32), f"{name}.weight")
        graph.initializer.append(weight)
        result = node.output[0] if last else name
        inputs = [source, weight.name, *(node.input[2:] if last else [])]
        attributes = {key: value for key, value in vars(piece).items() if key != "weight"}
        attributes["kernel_shape"] = list(piece.weight.shape[2:])
        graph.node.append(helper.make_node("Conv", inputs, [result], name, **attributes))
        source = result


if __name__ == "__main__":
    main()
