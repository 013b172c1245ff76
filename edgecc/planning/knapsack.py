"""One choice for every layer, the least error within a budget: the multiple-choice knapsack."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgecc.errors import BudgetError
from edgecc.planning.beam import ROUNDING, Layer, multipliers, nearest, search


@dataclass(frozen=True)
class Choice:
    """One thing that a layer can become."""

    cost: float
    error: float


class Unreachable(BudgetError):  # noqa: N818  (it is a BudgetError, with the numbers)
    """No selection is cheap enough."""

    def __init__(self, limits: Sequence[float], reachable: Sequence[float]) -> None:
        wanted, found = (", ".join(f"{n:.6g}" for n in each) for each in (limits, reachable))
        super().__init__(f"a cost of {wanted} cannot be reached; the smallest reachable is {found}")
        self.limits = tuple(limits)
        self.reachable = tuple(reachable)
        """The nearest costs that can be met (together), one for each limit."""


Table = Sequence[Sequence[Choice]]
"""The choices of each layer."""


def choose(table: Table, limit: float) -> list[int]:
    """Return the index of one choice for each layer: the least sum of errors for which the sum
    of costs is within `limit`, near-exact and always the same.

    Errors: `Unreachable`; ValueError for costs or errors that are no numbers from 0 on.
    """
    return choose_all([table], [limit])


def choose_all(tables: Sequence[Table], limits: Sequence[float]) -> list[int]:
    """Do as `choose` with several costs at once, a table and a limit for each; the tables differ
    in their costs alone.

    Errors: as `choose`; with several limits, a budget that only just can be met may be missed.
    """
    layers = [_layer(number, each) for number, each in enumerate(zip(*tables, strict=True))]
    if not layers:
        return []
    bound = np.asarray(limits, dtype=np.float64)
    scale = np.where(bound > 0, bound, 1.0)
    layers = [Layer(layer.costs / scale, layer.errors) for layer in layers]
    within = bound / scale + ROUNDING
    worth = multipliers(layers, within)
    found = None if worth is None else search(layers, within, worth)
    if found is None:
        found = nearest(layers, within)
        costs = sum(layer.costs[q] for layer, q in zip(layers, found, strict=True))
        if (costs > within).any():
            raise Unreachable(limits, list(costs * scale))
    return found


def _layer(number: int, rows: tuple[Sequence[Choice], ...]) -> Layer:
    costs = np.array([[choice.cost for choice in row] for row in rows], dtype=np.float64).T
    errors = np.array([choice.error for choice in rows[0]], dtype=np.float64)
    if not errors.size:
        raise ValueError(f"layer {number} has no choice")
    both = np.column_stack([costs, errors])
    if not (np.isfinite(both).all() and (both >= 0).all()):
        worst = int(np.argmin((np.isfinite(both) & (both >= 0)).all(axis=1)))
        raise ValueError(f"layer {number}, choice {worst}: its cost and error are {both[worst]}")
    return Layer(costs, errors)


@dataclass(frozen=True)
class Standing:
    """How a choice compares with the others of its layer, whatever the budget."""

    status: Literal["frontier", "dominated", "off the hull"]
    """`off the hull`: a mixture of its two neighbours on the frontier would be cheaper; it is
    chosen only to fill up a budget."""
    by: tuple[int, ...] = ()
    """The choice that costs no more and is no worse, or the two neighbours."""


def frontier(choices: Sequence[Choice]) -> list[Standing]:
    """Return how each choice stands against the others."""
    order = sorted(range(len(choices)), key=lambda i: (choices[i].cost, choices[i].error, i))
    found = [Standing("frontier")] * len(choices)
    hull: list[int] = []
    best = -1
    for i in order:
        if best >= 0 and choices[i].error >= choices[best].error:
            found[i] = Standing("dominated", (best,))
            continue
        best = i
        while len(hull) > 1 and _above(choices[hull[-1]], choices[hull[-2]], choices[i]):
            found[hull.pop()] = Standing("off the hull")
        hull.append(i)
    for left, right in itertools.pairwise(hull):
        for i in range(len(choices)):
            inside = choices[left].cost < choices[i].cost < choices[right].cost
            if inside and found[i].status == "off the hull":
                found[i] = Standing("off the hull", (left, right))
    return found


def _above(middle: Choice, left: Choice, right: Choice) -> bool:
    """Whether `middle` lies above the line from `left` to `right`."""
    run, rise = right.cost - left.cost, right.error - left.error
    return (middle.error - left.error) * run > rise * (middle.cost - left.cost)
