"""Prices measured on a board, a JSON file; what was not measured is modelled and scaled to fit."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgecc.conv import Window
from edgecc.errors import UsageError
from edgecc.layers import Layer, output_sizes
from edgecc.planning.prices import Kind, Prices, kind_of, signature

Operator = Literal["Conv", "Gemm", "Gather", "Add"]
Positive = Annotated[int, Field(ge=1)]
Price = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Entry(BaseModel):
    """The price of one operator, as measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    operator: Operator
    x: tuple[Positive, ...] = Field(min_length=1)
    """Channels and spatial sizes of what it reads."""
    channels: Positive
    """Of what it writes."""
    weight: tuple[Positive, ...] = ()
    groups: Positive = 1
    strides: tuple[Positive, ...] = ()
    pads: tuple[int, ...] = ()
    dilations: tuple[Positive, ...] = ()
    latency_ms: Price
    """The median."""
    energy_mj: Price | None = None

    @classmethod
    def of(cls, layer: Layer, latency_ms: float, energy_mj: float | None = None) -> Entry:
        """Return the entry of a layer."""
        window = layer.window or Window((), (), ())
        return cls(
            operator=cast("Operator", layer.operator),
            x=layer.x,
            channels=layer.y[0],
            weight=layer.weight,
            groups=layer.groups,
            strides=window.strides,
            pads=window.pads,
            dilations=window.dilations,
            latency_ms=latency_ms,
            energy_mj=energy_mj,
        )

    @model_validator(mode="after")
    def _sizes_agree(self) -> Entry:
        spatial = len(self.x) - 1
        window = len(self.strides), len(self.pads), len(self.dilations)
        if self.operator in ("Gather", "Add"):
            agree = not self.weight and window == (0, 0, 0)
        else:
            agree = (
                len(self.weight) == spatial + 2
                and window == (spatial, 2 * spatial, spatial)
                and self.weight[0] == self.channels
                and self.weight[1] * self.groups == self.x[0]
                and self.weight[0] % self.groups == 0
            )
        if not agree:
            raise ValueError(f"its sizes do not make a {self.operator}")
        return self

    @property
    def layer(self) -> Layer:
        """The operator that was measured."""
        window = Window(self.strides, self.pads, self.dilations) if self.weight else None
        spatial = self.x[1:]
        if window is not None:
            spatial = output_sizes(spatial, self.weight[2:], window)
        y = (self.channels, *spatial)
        return Layer(self.operator, self.x, y, self.weight, self.groups, window)


class PriceTable(BaseModel):
    """What was measured, and on what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1]
    board: str
    """The name of the target."""
    backend: str
    versions: dict[str, str] = {}
    clocks: dict[str, str | float] = {}
    """What was true while it was measured: modes, frequencies."""
    entries: tuple[Entry, ...] = Field(min_length=1)

    @classmethod
    def read(cls, path: Path) -> PriceTable:
        """Read a price table. Errors: `edgecc.errors.UsageError`."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise UsageError(f"cannot read the prices {path}: {error.strerror}") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise UsageError(
                f"the price table {path} is not one: {where}: {first['msg']}",
                hint="measure it again, or leave it out to estimate",
            ) from None

    def to_json(self) -> str:
        """Return the text of the file."""
        return self.model_dump_json(indent=2, exclude_none=True) + "\n"

    @model_validator(mode="after")
    def _each_once(self) -> PriceTable:
        counted = Counter(signature(entry.layer) for entry in self.entries)
        if twice := [name for name, count in counted.items() if count > 1]:
            raise ValueError(f"{twice[0]} is priced twice")
        return self


class Measured(Prices):
    """The table's prices; of other operators those of `model`, times the mean ratio of measured to
    modelled over what was measured of the same kind (of every kind, where nothing was).
    """

    def __init__(self, table: PriceTable, model: Prices) -> None:
        self._entries = {signature(entry.layer): entry for entry in table.entries}
        self._model = model
        self._ms = _ratios((e.layer, e.latency_ms / model.layer_ms(e.layer)) for e in table.entries)
        self._mj = _ratios(
            (e.layer, e.energy_mj / model.layer_mj(e.layer))
            for e in table.entries
            if e.energy_mj is not None
        )
        with_energy = sum(entry.energy_mj is not None for entry in table.entries)
        scales = ", ".join(f"{kind or 'the rest'} x{r:.2f}" for kind, r in self._ms.items())
        self.name = (
            f"measured on {table.board} with {table.backend}: {len(table.entries)} operators, "
            f"{with_energy} with energy; others by the {model.name}, scaled ({scales})"
        )

    def layer_ms(self, layer: Layer) -> float:
        """Return the measured latency of an operator, or the scaled one."""
        if (entry := self._entries.get(signature(layer))) is not None:
            return entry.latency_ms
        return self._model.layer_ms(layer) * self._ms.get(kind_of(layer), self._ms[None])

    def layer_mj(self, layer: Layer) -> float:
        """Return the measured energy of an operator, or the scaled one."""
        entry = self._entries.get(signature(layer))
        if entry is not None and entry.energy_mj is not None:
            return entry.energy_mj
        return self._model.layer_mj(layer) * self._mj.get(kind_of(layer), self._mj[None])


def _ratios(found: Iterable[tuple[Layer, float]]) -> dict[Kind | None, float]:
    """The geometric mean by kind, and under None that of all; 1 where there is nothing."""
    by_kind: defaultdict[Kind | None, list[float]] = defaultdict(list)
    for layer, ratio in found:
        by_kind[kind_of(layer)].append(math.log(ratio))
        by_kind[None].append(math.log(ratio))
    by_kind = by_kind or defaultdict(list, {None: [0.0]})
    return {kind: math.exp(sum(logs) / len(logs)) for kind, logs in by_kind.items()}
