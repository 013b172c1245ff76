"""The search behind the knapsack.

The linear relaxation prices the budget (a multiplier a constraint) and bounds the error from
below. A beam from layer to layer then keeps, of all partial selections, those of little waste:
what they lose against the best that the multipliers allow. Costs are never rounded, so what is
found is always within the budget.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]
TRIED = 32768
"""How many partial selections the search tries for a layer, at most about."""
KEPT = (64, 1024)
"""How many of them it keeps at least, and at most."""
FIRST_WASTE = 1e-4
"""What the search allows to be wasted at first, of the least error."""
ROUNDING = 1e-9
"""A limit may be passed by this fraction of it, for sums in another order."""


@dataclass(frozen=True)
class Layer:
    """The choices of a layer."""

    costs: Floats
    """(choices, constraints), as fractions of the limits."""
    errors: Floats
    """(choices,)"""


def _linear(layers: list[Layer], goal: Floats, rows: Floats, within: Floats) -> Any:
    """Solve the relaxation in which a layer may be a mixture of its choices. `rows` are the
    constraints; columns past the choices belong to no layer.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    owner = np.repeat(np.arange(len(layers)), [layer.errors.size for layer in layers])
    ones = np.ones(owner.size)
    shape = (len(layers), goal.size)
    one_each = csr_array((ones, (owner, np.arange(owner.size))), shape=shape)
    return linprog(goal, A_ub=rows, b_ub=within, A_eq=one_each, b_eq=np.ones(len(layers)))


def multipliers(layers: list[Layer], within: Floats) -> Floats | None:
    """Return what a unit of each budget is worth in error, (constraints,); None where the
    limits cannot be met.
    """
    costs = np.concatenate([layer.costs for layer in layers]).T
    if any(sum(layer.costs[:, k].min() for layer in layers) > w for k, w in enumerate(within)):
        return None
    errors = np.concatenate([layer.errors for layer in layers])
    size = float(errors.max()) or 1.0  # the solver's tolerances are absolute
    solved = _linear(layers, errors / size, costs, within)
    return None if solved.x is None else np.maximum(-solved.ineqlin.marginals, 0.0) * size


def nearest(layers: list[Layer], within: Floats) -> list[int]:
    """Return the selection that comes nearest to all limits together."""
    costs = np.concatenate([layer.costs for layer in layers]).T
    unit = np.where(within > 2 * ROUNDING, within, 1.0)
    rows = np.column_stack([costs, -unit])  # so many times the limits, for the least such number
    solved = _linear(layers, np.append(np.zeros(costs.shape[1]), 1.0), rows, np.zeros(unit.size))
    weights = -np.asarray(solved.ineqlin.marginals)
    return [
        int(np.lexsort((each.errors, each.costs.sum(axis=1), each.costs @ weights))[0])
        for each in layers
    ]


def search(layers: list[Layer], within: Floats, worth: Floats) -> list[int] | None:
    """Return the best selection found, its waste allowed for little by little."""
    lost = [layer.errors + layer.costs @ worth for layer in layers]
    least = sum(float(each.min()) for each in lost) - float(worth @ within)
    most = sum(float(np.ptp(each)) for each in lost) + float(worth @ within)
    found, best, allowed = None, math.inf, FIRST_WASTE * max(least, 0.0) + ROUNDING * most
    while True:
        selection = _beam(layers, within, worth, allowed)
        if selection is not None:
            error = sum(float(each.errors[q]) for each, q in zip(layers, selection, strict=True))
            if error < best:
                found, best = selection, error
        if best - least <= allowed or allowed >= most:
            return found
        allowed = min(4 * allowed, best - least)


def _beam(layers: list[Layer], within: Floats, worth: Floats, allowed: float) -> list[int] | None:
    """Select layer by layer, those with the finest choices last.

    A selection wastes what its choices lose against the best at these prices, and the budget
    that it leaves; those that waste more than `allowed` are dropped.
    """
    order = sorted(range(len(layers)), key=lambda i: -float(np.ptp(layers[i].costs, axis=0).max()))
    lost = [layers[i].errors + layers[i].costs @ worth for i in order]
    open_ = [np.flatnonzero(each - each.min() <= allowed) for each in lost]
    low = _later([layers[i].costs[o].min(axis=0) for i, o in zip(order, open_, strict=True)])
    high = _later([layers[i].costs[o].max(axis=0) for i, o in zip(order, open_, strict=True)])
    spent, error, waste = np.zeros((1, within.size)), np.zeros(1), np.zeros(1)
    steps: list[tuple[Integers, Integers]] = []
    for place, i in enumerate(order):
        some = open_[place]
        wasted = waste[:, None] + (lost[place][some] - lost[place].min())
        costs = spent[:, None, :] + layers[i].costs[some]
        left = np.maximum(within - costs - high[place], 0.0) @ worth
        fits = (costs + low[place] <= within).all(axis=2) & (wasted + left <= allowed)
        origin, choice = np.nonzero(fits)
        if not origin.size:
            return None
        room = TRIED // (open_[place + 1].size if place + 1 < len(order) else 1)
        kept = _thinned(costs[origin, choice], wasted[origin, choice], int(np.clip(room, *KEPT)))
        origin, choice = origin[kept], choice[kept]
        spent, waste = costs[origin, choice], wasted[origin, choice]
        error = error[origin] + layers[i].errors[some[choice]]
        steps.append((origin, some[choice]))
    state = int(np.lexsort((spent.sum(axis=1), error))[0])
    selection = [0] * len(layers)
    for i, (origin, choice) in zip(reversed(order), reversed(steps), strict=True):
        selection[i], state = int(choice[state]), int(origin[state])
    return selection


def _later(costs: list[Floats]) -> Floats:
    """The sum of all rows behind each."""
    rows = np.array(costs)
    return np.flip(np.cumsum(np.flip(rows, 0), axis=0), 0) - rows


def _thinned(spent: Floats, waste: Floats, width: int) -> Integers:
    """Which states to keep: of each cell of a grid over what they spend, that of least waste.

    The grid is fine along the mean of all costs, coarse along their differences.
    """
    if waste.size <= width:
        return np.arange(waste.size)
    mean = spent.mean(axis=1)
    along = np.column_stack([mean, spent[:, 1:] - mean[:, None]])
    others = along.shape[1] - 1
    sides = [width] if not others else [width >> 4, *[round(16 ** (1 / others))] * others]
    low, span = along.min(axis=0), np.ptp(along, axis=0)
    cells = (along - low) / np.where(span > 0, span, 1.0) * (np.array(sides) - 1e-6)
    key = np.ravel_multi_index(tuple(cells.astype(np.intp).T), tuple(sides))
    least = np.full(math.prod(sides), np.inf)
    np.minimum.at(least, key, waste)
    candidates = np.flatnonzero(waste == least[key])
    return np.sort(candidates[np.unique(key[candidates], return_index=True)[1]])
