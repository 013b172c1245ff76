"""tensorly without training: the peers of `peers.py` that decompose convolutions.

Every convolution but the first gets the same share; `chains.py` says of what, and what it becomes.
"""

from __future__ import annotations

import numpy as np
import onnx
from chains import Convolution, Cp, Piece, Tucker2
from multiply_adds import multiply_adds, shapes
from onnx import helper, numpy_helper


def decompose(
    model: onnx.ModelProto, method: Tucker2 | Cp, macs: float, shape: tuple[int, ...]
) -> onnx.ModelProto:
    """Decompose every convolution but the first, down to the share `macs` of the multiply-adds."""
    whole = sum(multiply_adds(model, shape).values())
    found = {conv.node.output[0]: conv for conv in convolutions(model, shape)[1:]}
    shares = affordable(found, method, macs, whole)
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


def affordable(
    found: dict[str, Convolution], method: Tucker2 | Cp, macs: float, whole: int
) -> dict[str, float]:
    """The same share for every convolution, the greatest that leaves no more than `macs`.

    Ranks are whole, so a little remains; the first convolutions get one rank more for it.
    `whole` are the multiply-adds of the network as it is.
    """

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
    return shares


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
