"""What a plan costs: the candidates of a network, priced on a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from edgecc.cost import Cost
from edgecc.layers import Layer
from edgecc.planning.budget import Budget
from edgecc.planning.prices import Prices
from edgecc.planning.storage import Storage
from edgecc.planning.table import Candidate, Row
from edgecc.rewrite import ConvRewrite


@dataclass(frozen=True)
class Selection:
    """One candidate of each row."""

    rows: Sequence[Row]
    chosen: Sequence[int]

    @property
    def steps(self) -> dict[str, ConvRewrite | None]:
        """The rewrite of each convolution, None where it stays as it is."""
        pairs = zip(self.rows, self.chosen, strict=True)
        return {row.name: row.candidates[index].rewrite for row, index in pairs}


@dataclass
class Costs:
    """The candidates of a network, and what they cost on a target."""

    rows: Sequence[Row]
    prices: Prices | None
    """None where nothing is known of the target's time and energy, and nobody asks."""
    whole: Cost
    """The network as it is, with what is not in the rows."""
    feeds: Mapping[str, str] = field(default_factory=dict)
    """By convolution the one that it alone reads: channels left out in the one go in the other."""
    macs: Mapping[str, int] = field(default_factory=dict)
    """By convolution, what it takes as it is, with the batch that the network has."""
    storage: Storage = field(default_factory=Storage)
    """Weights that convolutions share, and biases that the re-fit adds."""
    _known: dict[str, list[list[float]]] = field(default_factory=dict)

    def readings(self, quantities: Sequence[str]) -> list[Costs]:
        """How weights that are shared may be counted, the reading that reaches less first."""
        if "params" not in quantities:
            return [self]
        found = [replace(self, storage=each, _known={}) for each in self.storage.readings()]
        return sorted(found, key=lambda costs: costs.smallest("params"))

    @property
    def prunes(self) -> bool:
        """Whether any candidate leaves out channels that another convolution need not compute."""
        rows = (row for row in self.rows if row.name in self.feeds)
        return any(c.reads < 1 for row in rows for c in row.candidates)

    def spared(self, quantity: str, fraction: float) -> dict[str, float]:
        """By convolution, what its producer costs that has itself come down to a fraction."""
        pairs = zip(self.rows, self.by_candidate(quantity), strict=True)
        dense = {row.name: costs[0] for row, costs in pairs}
        return {name: fraction * dense.get(self.feeds.get(name, ""), 0.0) for name in dense}

    def fraction(self, quantity: str, selection: Selection) -> float:
        """What a selection leaves of a quantity, predicted, as a fraction of the original."""
        pairs = list(zip(self.rows, selection.chosen, strict=True))
        if quantity == "params":
            chosen = [(row, row.candidates[index]) for row, index in pairs]
            left = float(self.storage.left(self.whole.params, chosen))
        else:
            costs = zip(self.by_candidate(quantity), selection.chosen, strict=True)
            left = sum(row[index] for row, index in costs) + self.rest(quantity)
        return self.ratio(quantity, left - self._saved(quantity, selection))

    def smallest(self, quantity: str) -> float:
        """The smallest fraction of a quantity that any selection reaches."""
        spent = sum(min(row) for row in self.by_candidate(quantity))
        return self.ratio(quantity, spent + self.rest(quantity))

    def ratio(self, quantity: str, left: float) -> float:
        """The fraction that is left; of nothing, all."""
        before = self._before(quantity)
        return left / before if before else 1.0

    def cost(self, quantity: str, layers: Sequence[Layer]) -> float:
        """What operators cost, in the unit of the quantity."""
        if quantity == "macs":
            return float(sum(layer.macs for layer in layers))
        if quantity == "params":
            return float(sum(layer.params for layer in layers))
        if self.prices is None:
            raise ValueError(f"the target has no prices for {quantity}")
        price = self.prices.latency_ms if quantity == "latency" else self.prices.energy_mj
        return price(layers)

    def by_candidate(self, quantity: str) -> list[list[float]]:
        """What each candidate of each row costs."""
        if quantity not in self._known:
            self._known[quantity] = [
                [self._price(quantity, row, candidate) for candidate in row.candidates]
                for row in self.rows
            ]
        return self._known[quantity]

    def _price(self, quantity: str, row: Row, candidate: Candidate) -> float:
        if quantity == "params" and candidate.rewrite is None:
            return float(self.storage.kept(row.name, candidate.params))
        return self._times(quantity, row) * self.cost(quantity, candidate.layers)

    def _times(self, quantity: str, row: Row) -> float:
        """How many samples a convolution sees for each of the network's inputs."""
        once = row.candidates[0].macs
        return self.macs.get(row.name, once) / once if quantity == "macs" and once else 1.0

    def _before(self, quantity: str) -> float:
        if quantity == "macs":
            return float(self.whole.macs)
        if quantity == "params":
            return float(self.whole.params)
        return sum(row[0] for row in self.by_candidate(quantity))

    def rest(self, quantity: str) -> float:
        """What is not in the rows, and stays."""
        if quantity == "params":
            return float(self.storage.rest(self.whole.params, self.rows))
        return self._before(quantity) - sum(row[0] for row in self.by_candidate(quantity))

    def limit(self, budget: Budget, slack: float = 1.0) -> float:
        """What the rows may cost for `slack` times a budget; below 0 nothing can."""
        if not self._before(budget.quantity):
            return 0.0 if budget.fraction == 1 else -1.0  # of nothing there is no part
        return slack * budget.fraction * self._before(budget.quantity) - self.rest(budget.quantity)

    def _saved(self, quantity: str, selection: Selection) -> float:
        """What producers are spared, as their readers leave out channels."""
        pairs = zip(self.rows, selection.chosen, strict=True)
        chosen = {row.name: row.candidates[index] for row, index in pairs}
        return sum(
            (1 - reader.reads) * self.cost(quantity, chosen[self.feeds[name]].last)
            for name, reader in chosen.items()
            if reader.reads < 1 and self.feeds.get(name) in chosen
        )
