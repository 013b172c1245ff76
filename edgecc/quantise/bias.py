"""Biases corrected for what rounding weights does to the mean of a layer's output.

Before:  W x + b, and Wq x + b in int8      Wq: the weights on int8's grid
After:   Wq x + b + (W - Wq) mu             mu: the mean of the input's channels
Activations behind a Relu have means as large as their deviations, so half of what rounding weights
changes is one shift for each output channel, which the bias, in float32, takes back. Where the
input is padded with zeros the shift is a little less.
Paper: "Data-Free Quantization through Weight Equalization and Bias Correction" (ICCV 2019).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from edgecc.conv import Array, Conv, constant, is_convolution, is_gemm, read
from edgecc.graph import add_initializer
from edgecc.quantise.placement import quantised_from
from edgecc.quantise.ranges import Channels
from edgecc.quantise.thresholds import LEVELS


def correct_biases(model: ir.Model, channels: Mapping[str, Channels]) -> int:
    """Correct every convolution and Gemm whose weights have a Q/DQ pair; return how many."""
    corrected = 0
    for node in [node for node in model.graph if is_convolution(node) or is_gemm(node)]:
        x, weight = quantised_from(node.inputs[0]), quantised_from(node.inputs[1])
        seen = channels.get(x.name or "") if x is not None else None
        if seen is None or weight is None or node.op_type == "ConvTranspose":
            continue
        scale = _scale(node)
        paired = node.inputs[1]
        node.replace_input_with(1, weight)
        conv = read(node)
        node.replace_input_with(1, paired)
        if not isinstance(conv, Conv) or scale is None or len(seen.mean) != conv.in_channels:
            continue
        _add(node, _shift(conv, scale, seen.mean))
        corrected += 1
    return corrected


def _shift(conv: Conv, scale: Array, mean: Array) -> Array:
    """(W - Wq) mu, (O,)."""
    rows = conv.weight.reshape(conv.out_channels, -1).astype(np.float64)
    step = scale.reshape(-1, 1).astype(np.float64)
    lost = rows - np.clip(np.round(rows / step), -LEVELS - 1, LEVELS) * step
    lost = lost.reshape(conv.out_channels, -1, conv.taps).sum(axis=2)  # (O, I/G)
    means = np.repeat(mean.reshape(conv.groups, -1), conv.out_channels // conv.groups, axis=0)
    shift: Array = np.sum(lost * means, axis=1)
    return shift


def _scale(node: ir.Node) -> Array | None:
    weight = node.inputs[1]
    pair = weight.producer() if weight is not None else None
    return constant(pair.inputs[1]) if pair is not None else None


def _add(node: ir.Node, shift: Array) -> None:
    """Add to the bias of a node (O,), which may have none."""
    given = node.inputs[2] if len(node.inputs) > 2 else None
    known = constant(given)
    bias = shift if known is None else known + shift
    name = f"{node.name}.corrected_bias"
    assert isinstance(node.graph, ir.Graph)
    made = add_initializer(node.graph, name, bias.astype(np.float32))
    if len(node.inputs) < 3:
        node.resize_inputs(3)
    node.replace_input_with(2, made)
