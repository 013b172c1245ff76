"""What a layer costs on a target in time and energy: modelled, or measured on the board."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from edgecc.errors import UsageError
from edgecc.layers import Layer
from edgecc.target import Target

Kind = Literal["dense", "pointwise", "grouped", "depthwise", "gemm", "memory"]


class Prices(ABC):
    """What operators cost on a target, one sample at a time."""

    name: str
    """Where the prices come from, in words for the record."""

    @abstractmethod
    def layer_ms(self, layer: Layer) -> float:
        """Return the latency of one operator."""

    @abstractmethod
    def layer_mj(self, layer: Layer) -> float:
        """Return the energy of one operator."""

    def latency_ms(self, layers: Sequence[Layer]) -> float:
        """Return the latency of operators that run one after another."""
        return sum(map(self.layer_ms, layers))

    def energy_mj(self, layers: Sequence[Layer]) -> float:
        """Return the energy of operators that run one after another."""
        return sum(map(self.layer_mj, layers))


def kind_of(layer: Layer) -> Kind:
    """Return what kind of kernel an operator needs."""
    if not layer.weight:
        return "memory"
    if len(layer.weight) == 2:
        return "gemm"
    if layer.groups == 1:
        return "dense" if math.prod(layer.weight[2:]) > 1 else "pointwise"
    one_to_one = layer.weight[:2] == (layer.groups, 1)
    return "depthwise" if one_to_one else "grouped"


def signature(layer: Layer) -> str:
    """Return what the price of an operator is filed under: operator and sizes, no weights."""
    words = [layer.operator, "x".join(map(str, layer.weight)), "on", "x".join(map(str, layer.x))]
    if layer.window is None:
        words += ["to", "x".join(map(str, layer.y))]
    else:
        for letter, numbers in (
            ("s", layer.window.strides),
            ("p", layer.window.pads),
            ("d", layer.window.dilations),
        ):
            words += [letter + ",".join(map(str, numbers))] if numbers else []
        words.append(f"g{layer.groups}")
    return " ".join(word for word in words if word)


def prices_of(target: Target, table: Path | None = None) -> Prices:
    """Return the prices of a target: those measured in `table`, else its roofline.

    Errors: `edgecc.errors.UsageError` for a file that is no price table, or another board's.
    """
    from edgecc.planning.measured import Measured, PriceTable
    from edgecc.planning.roofline import Roofline

    model = Roofline(target)
    if table is None:
        return model
    read = PriceTable.read(table)
    if read.board != target.name:
        raise UsageError(
            f"the prices in {table} were measured on {read.board}, not on {target.name}",
            hint=f"--target {read.board}, or leave them out to estimate",
        )
    return Measured(read, model)
