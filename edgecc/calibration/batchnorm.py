"""What BatchNorm already says of a network's activations: the mean of their channels, without data.

Behind a BatchNorm a channel has mean beta and variance gamma^2, as far as the inputs are like those
of the training; taken as normal, what it has behind an activation follows. With these means a
rewrite corrects its bias although nothing was measured: on ResNet-20, that brings a data-free
decomposition most of the way that real means do.
Source: Nagel et al., "Data-Free Quantization through Weight Equalization and Bias Correction",
    ICCV 2019, for Relu and its clipped kinds; here also LeakyRelu, and what lies between.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from scipy.special import ndtr

from edgecc.conv import Array, constant, ints

HUGE = 1e100
"""Where a Clip without a bound has it; its square is still a number."""
TINY = 1e-30


@dataclass(frozen=True, eq=False)
class Channels:
    """How the channels of a value are distributed over samples and positions."""

    mean: Array
    """(C,)"""
    variance: Array | None
    """(C,); None where only the mean is known."""


def channel_means(model: ir.Model) -> dict[str, Array]:
    """Return the mean of each channel (C,) by the name of the value, where BatchNorm tells it.

    `model` is as it was loaded, its BatchNorms not folded; values of its main graph alone. Known
    are the outputs of BatchNorm and of what follows from them through Relu, LeakyRelu, Clip, Add,
    Sum, Concat of channels, average pools, Identity and Dropout. Not known is a MaxPool's: the mean
    of a maximum depends on how alike neighbours are.
    """
    known: dict[ir.Value, Channels] = {}
    with np.errstate(all="ignore"):
        for node in model.graph:
            found = _behind(node, known)
            if found is not None and np.isfinite(found.mean).all():
                known[node.outputs[0]] = found
    return {value.name: channels.mean for value, channels in known.items() if value.name}


def _behind(node: ir.Node, known: dict[ir.Value, Channels]) -> Channels | None:
    """The channels of the node's first output."""
    if node.domain not in ("", "ai.onnx") or not node.inputs or not node.outputs:
        return None
    if node.op_type == "BatchNormalization":
        return _normalised(node)
    values = [known[value] for value in node.inputs if value is not None and value in known]
    if node.op_type in ("Add", "Sum", "Concat"):
        return _joined(node, values) if len(values) == len(node.inputs) else None
    x = known.get(node.inputs[0]) if node.inputs[0] is not None else None
    if x is None or node.op_type in ("Identity", "Dropout"):
        return x
    if node.op_type in ("AveragePool", "GlobalAveragePool"):
        return None if _averages_zeros(node) else Channels(x.mean, None)
    if x.variance is None:
        return None
    if node.op_type == "LeakyRelu":
        return _leaky(x, node.attributes.get_float("alpha", 0.01))
    bounds = (0.0, HUGE) if node.op_type == "Relu" else _bounds(node)
    return None if bounds is None else _moments(*_clipped(x.mean, x.variance, *bounds))


def _normalised(node: ir.Node) -> Channels | None:
    """Behind a BatchNorm; a channel that never varied does not do so behind it either."""
    numbers = [_number(value) for value in node.inputs[1:5]]
    found = [np.asarray(number, np.float64) for number in numbers if number is not None]
    if len(found) < 4 or found[0].ndim != 1 or len({each.shape for each in found}) > 1:
        return None
    gamma, beta, _, variance = found
    spread = np.maximum(variance, 0)
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    return Channels(beta, gamma**2 * spread / np.maximum(spread + epsilon, TINY))


def _joined(node: ir.Node, values: Sequence[Channels]) -> Channels | None:
    """The sum of values, as if they were independent, or their channels in a row."""
    ranks = {len(value.shape) for value in node.inputs if value is not None and value.shape}
    means = [value.mean for value in values]
    variances = [value.variance for value in values if value.variance is not None]
    complete = len(variances) == len(values)
    if len(ranks) > 1:
        return None
    if node.op_type == "Concat":
        axis = node.attributes.get_int("axis", 1)
        if axis != 1 and axis + next(iter(ranks), 0) != 1:
            return None
        return Channels(np.concatenate(means), np.concatenate(variances) if complete else None)
    if len({mean.shape for mean in means}) > 1:
        return None
    return Channels(np.sum(means, axis=0), np.sum(variances, axis=0) if complete else None)


def _averages_zeros(node: ir.Node) -> bool:
    """Whether a pool counts its padding in."""
    padded = any(ints(node, "pads", [])) or node.attributes.get_string("auto_pad", "") in (
        "SAME_UPPER",
        "SAME_LOWER",
    )
    return padded and bool(node.attributes.get_int("count_include_pad", 0))


def _bounds(node: ir.Node) -> tuple[float, float] | None:
    """The bounds of a Clip, inputs or (before opset 11) attributes; None for anything else."""
    bounds = [-HUGE, HUGE]
    if node.op_type != "Clip":
        return None
    for index, name in enumerate(("min", "max")):
        value = node.inputs[1 + index] if len(node.inputs) > 1 + index else None
        number = _number(value)
        if value is not None and (number is None or number.size != 1):
            return None
        given = node.attributes.get_float(name, bounds[index]) if number is None else number.item()
        bounds[index] = min(max(float(given), -HUGE), HUGE)
    return min(bounds), bounds[1]


def _number(value: ir.Value | None) -> Array | None:
    """A constant, also where it is not yet an initializer but the output of a Constant."""
    made = None if value is None else value.producer()
    if value is None or made is None or made.op_type != "Constant" or made.domain:
        return constant(value)
    if set(made.attributes) not in ({"value"}, {"value_float"}):
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def _clipped(mean: Array, variance: Array, low: float, high: float) -> tuple[Array, Array]:
    """First and second moment of a normal variable clipped to [low, high]."""
    deviation = np.sqrt(variance) + TINY
    below, above = (low - mean) / deviation, (high - mean) / deviation
    under, over = ndtr(below), ndtr(-above)
    inside = 1 - under - over
    at_low, at_high = (np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi) for t in (below, above))
    first = low * under + high * over + mean * inside + deviation * (at_low - at_high)
    second = low**2 * under + high**2 * over + (mean**2 + variance) * inside
    second += deviation * ((mean + low) * at_low - (mean + high) * at_high)
    return first, second


def _leaky(x: Channels, slope: float) -> Channels:
    """Behind a LeakyRelu: its positive half, and the rest of the moments on a slope."""
    assert x.variance is not None
    first, second = _clipped(x.mean, x.variance, 0.0, HUGE)
    below = x.mean**2 + x.variance - second
    return _moments((1 - slope) * first + slope * x.mean, second + slope**2 * below)


def _moments(first: Array, second: Array) -> Channels:
    return Channels(first, np.maximum(second - first**2, 0))
