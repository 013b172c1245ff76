"""Balance factors between convolutions: channels of one activation made alike, for int8's sake.

Before:  Conv(W1, b1) -> Relu -> Conv(W2)           one scale for all channels in between
After:   Conv(W1/s, b1/s) -> Relu -> Conv(W2*s)     s (C,), one factor for each channel
Exact but for rounding, as what stands between (nothing, Relu, LeakyRelu, pooling) lets positive
factors pass. A channel much smaller than the greatest one uses few of int8's levels; factors
s = a^p / w^(1-p) even out the activations' ranges `a` (p = 1), or share the burden with the weights
`w` that take the factors over. p is chosen for each activation: the one that promises the least
noise at the readers' outputs, rounding of activations and weights together; none where all do harm.
Refuses a value that others than convolutions read, and bounded activations (Clip, Sigmoid).
Papers: "Data-Free Quantization through Weight Equalization and Bias Correction" (ICCV 2019), where
weights alone are looked at and p is 1/2; "SmoothQuant" (ICML 2023), whose formula for s this is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgecc.conv import Array, Conv, is_convolution, read
from edgecc.graph import add_initializer, drop_initializer
from edgecc.quantise.ranges import Channels
from edgecc.quantise.thresholds import LEVELS
from edgecc.rewrite import Decision

NAME = "balance"
PASSES_FACTORS = ("AveragePool", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Relu")
POWERS = (0.25, 0.5, 0.75, 1.0)
WORTH = 0.98
"""Noise after balancing over noise before, above which it is not worth it."""
SMALLEST = 1e-3
"""The least range of a channel, of the greatest: smaller ones are not blown up further."""


@dataclass(frozen=True, eq=False)
class Pair:
    """A convolution, and those that alone read what it makes."""

    node: ir.Node
    conv: Conv
    readers: tuple[tuple[ir.Node, Conv], ...]
    between: ir.Value
    """What the readers read."""


def balance(model: ir.Model, channels: Mapping[str, Channels]) -> list[Decision]:
    """Balance every pair of convolutions in place; report the noise that is left, or why not.

    `channels` is what `edgecc.quantise.ranges.scan` found of the activations.
    """
    decisions = []
    for node in [node for node in model.graph if is_convolution(node)]:
        name = node.name or ""
        found = _pair(node)
        if isinstance(found, str):
            decisions.append(Decision(name, NAME, refusal=found))
            continue
        seen = channels.get(found.between.name or "")
        if seen is None or len(seen.greatest) != found.conv.out_channels or seen.amax <= 0:
            decisions.append(Decision(name, NAME, refusal="nothing is known of its output"))
            continue
        power, noise = _best(found, seen)
        if power is None:
            refusal = "its channels are even enough" if noise >= WORTH else "no power helps"
            decisions.append(Decision(name, NAME, refusal=refusal))
            continue
        _apply(found, _factors(found, seen, power))
        note = f"{noise:.0%} of the rounding noise is left at {found.between.name}"
        decisions.append(Decision(name, NAME, options={"power": power}, note=note))
    return decisions


def noise(pair: Pair, seen: Channels, factors: Array) -> float:
    """Return the noise power that int8 brings to the readers' outputs, over that of what they read,
    summed over the readers.

    `factors` (C,). Rounding to steps of d moves a number by d^2/12 on average (squared), but zeros
    not at all, and none further than to zero.
    """
    steps = factors * np.max(seen.greatest / factors) / LEVELS  # of the original's numbers
    moved = np.minimum(steps**2 / 12 * seen.density, seen.energy)  # (C,)
    total = 0.0
    for _, conv in pair.readers:
        weight = conv.matrix().reshape(conv.out_channels, -1, conv.taps)  # (O, I/G, taps)
        squares = np.square(weight).sum(axis=2)  # (O, I/G)
        scale, energy = _by_filter(conv, factors), _by_filter(conv, seen.energy)  # (O, I/G)
        of_activation = float(np.sum(squares * _by_filter(conv, moved)))
        rounded = np.abs(weight * scale[..., None]).max(axis=(1, 2)) / LEVELS  # (O,)
        of_weights = rounded**2 / 12 * np.sum(energy / scale**2, axis=1) * conv.taps
        signal = float(np.sum(squares * energy))
        total += (of_activation + float(of_weights.sum())) / (signal or 1.0)
    return total


def _best(pair: Pair, seen: Channels) -> tuple[float | None, float]:
    """The power with the least noise, and its noise over that without factors."""
    plain = noise(pair, seen, np.ones_like(seen.greatest))
    found = {p: noise(pair, seen, _factors(pair, seen, p)) / (plain or 1.0) for p in POWERS}
    power = min(found, key=lambda p: found[p])
    return (power if found[power] < WORTH else None), found[power]


def _factors(pair: Pair, seen: Channels, power: float) -> Array:
    """(C,), such that the greatest activation stays as it is."""
    range_of = np.maximum(seen.greatest, SMALLEST * seen.amax)
    weights = np.zeros(pair.conv.out_channels)
    for _, conv in pair.readers:
        np.maximum(weights, _reach(conv), out=weights)
    weights = np.maximum(weights, SMALLEST * float(weights.max()) or 1.0)
    factors = range_of**power / weights ** (1 - power)
    factors[seen.greatest == 0] = 1.0
    moved: Array = factors * (np.max(seen.greatest / factors) / seen.amax)
    return moved


def _reach(conv: Conv) -> Array:
    """The greatest weight on each input channel, (I,)."""
    shape = (conv.groups, conv.out_channels // conv.groups, -1, conv.taps)
    reach: Array = np.abs(conv.matrix().reshape(shape)).max(axis=(1, 3)).ravel()
    return reach


def _by_filter(conv: Conv, of_channels: Array) -> Array:
    """What is known of the input channels (I,), for each filter: (O, I/G)."""
    grouped = of_channels.reshape(conv.groups, -1)
    return np.repeat(grouped, conv.out_channels // conv.groups, axis=0)


def _pair(node: ir.Node) -> Pair | str:
    conv = read(node)
    if not isinstance(conv, Conv):
        return str(conv)
    value = node.outputs[0]
    while True:
        readers = value.consumers()
        if value.is_graph_output() or not readers:
            return "the network gives out what it makes"
        between = readers[0]
        if len(set(readers)) > 1 or between.op_type not in PASSES_FACTORS:
            break
        value = between.outputs[0]
    found = []
    for reader in dict.fromkeys(readers):
        other = read(reader) if is_convolution(reader) else None
        if not isinstance(other, Conv) or reader.inputs[0] is not value:
            return f"{reader.op_type} '{reader.name}' reads it too"
        found.append((reader, other))
    return Pair(node, conv, tuple(found), value)


def _apply(pair: Pair, factors: Array) -> None:
    """Write the factors into the weights on both sides."""
    rows = factors.reshape(-1, *(1,) * (pair.conv.weight.ndim - 1))
    _replace(pair.node, 1, pair.conv.weight / rows)
    if pair.conv.bias is not None:
        _replace(pair.node, 2, pair.conv.bias / factors)
    for node, conv in pair.readers:
        scale = _by_filter(conv, factors)
        _replace(node, 1, conv.weight * scale.reshape(*scale.shape, *(1,) * len(conv.kernel)))


def _replace(node: ir.Node, index: int, array: Array) -> None:
    old = node.inputs[index]
    assert old is not None
    assert old.const_value is not None
    assert isinstance(node.graph, ir.Graph)
    dtype = old.const_value.numpy().dtype
    name = old.name or "weight"
    if len(old.uses()) == 1 and old.is_initializer():  # nobody else reads the name
        old.const_value = ir.tensor(array.astype(dtype), name=name)
        return
    node.replace_input_with(index, add_initializer(node.graph, name, array.astype(dtype)))
    drop_initializer(node.graph, old)
