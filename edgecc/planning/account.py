"""What a plan chose and what it passed over, in words and numbers, for the record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgecc.planning.budget import COUNTED, PRICED, Budget
from edgecc.planning.costs import Selection
from edgecc.planning.knapsack import Choice, Standing, frontier
from edgecc.planning.planner import Planner
from edgecc.planning.table import Row


def account(planner: Planner, selection: Selection, budgets: Sequence[Budget]) -> dict[str, Any]:
    """Describe a plan: what it predicts, and by convolution what else there was."""
    quantity = budgets[0].quantity if budgets else "macs"
    told = COUNTED if planner.costs.prices is None else COUNTED + PRICED
    return {
        "prices": planner.costs.prices.name if planner.costs.prices else None,
        "predicted": {name: round(planner.costs.fraction(name, selection), 4) for name in told},
        "convolutions": {
            row.name: {
                "weight": round(planner.weights.get(row.name, 1.0), 4),
                "alternatives": _alternatives(planner, quantity, row, index),
                "refused": dict(row.refusals),
            }
            for row, index in zip(selection.rows, selection.chosen, strict=True)
        },
    }


def _alternatives(planner: Planner, quantity: str, row: Row, chosen: int) -> list[dict[str, Any]]:
    """The chosen candidate, and of each other family the one that costs most nearly as much."""
    costs = [planner.costs.cost(quantity, candidate.layers) for candidate in row.candidates]
    choices = [
        Choice(cost, candidate.error) for cost, candidate in zip(costs, row.candidates, strict=True)
    ]
    standings = frontier(choices)
    nearest = {row.candidates[chosen].family: chosen}
    for index, candidate in enumerate(row.candidates):
        best = nearest.setdefault(candidate.family, index)
        if best != chosen and abs(costs[index] - costs[chosen]) < abs(costs[best] - costs[chosen]):
            nearest[candidate.family] = index
    return [
        {
            "family": row.candidates[index].family,
            "options": row.candidates[index].options,
            "macs": row.candidates[index].macs,
            quantity: round(costs[index], 6),
            "error": float(f"{row.candidates[index].error:.3g}"),
            "why": "chosen" if index == chosen else _why(row, choices, standings, index, chosen),
        }
        for index in sorted(nearest.values(), key=lambda i: (i != chosen, row.candidates[i].error))
    ]


def _why(
    row: Row, choices: Sequence[Choice], standings: Sequence[Standing], index: int, chosen: int
) -> str:
    """Why a candidate was passed over."""
    standing = standings[index]
    if standing.status == "dominated":
        better = row.candidates[standing.by[0]]
        return f"{better} costs no more and loses no more"
    if choices[index].cost > choices[chosen].cost:
        return "dearer: the budget does more good elsewhere"
    return "loses more than the budget asks for"
