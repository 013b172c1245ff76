from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from edgecc import catalog
from edgecc.measure.log_energy import analyse
from edgecc.report.power import show_power

LOG = Path(__file__).parents[3] / "examples/power.log"


def shown(width: int) -> str:
    known = {name: board.power for name, board in catalog.targets().items() if board.power}
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False, markup=False)
    show_power(console, Console(file=io.StringIO()), analyse(LOG, known, runs=250))
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 80, 100, 160])
def test_no_number_is_broken_however_narrow_the_terminal_is(width: int) -> None:
    text = shown(width)
    assert max(map(len, text.splitlines())) <= width
    for number in ("11.81 ±0.79", "4.55 ±0.41", "106.3 ±10.2", "36.00 ±3.29", "425.2 ±40.9"):
        assert number in text
