"""Plans, builds and measures until the device itself meets the budget, or shows that it cannot.

Each measurement adds its layers to the price table, so that the next plan is made with prices of
the device. Beside that, what is planned for the convolutions is scaled by what the whole network
then took: it has other operators, and fuses them with what stands next to them.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from edgecc import bundle, job
from edgecc.errors import BudgetError, EdgeccError, UsageError
from edgecc.measure.bench import Wish, bench
from edgecc.measure.conclusion import Conclusion
from edgecc.planning.budget import Budget
from edgecc.request import Request
from edgecc.target import Tell

TRIES = 5
NEAR = 0.05
"""A network this much smaller than asked for, or less, is as good as it gets."""
FINEST = 0.02
"""Fractions closer than this give the same plan, or one as good."""
LOOP = "loop.json"


@dataclass(frozen=True)
class Try:
    """One plan, as it was measured."""

    planned: float
    """What was asked of the convolutions, at the prices that were known then."""
    measured: float
    """What the device took for the whole network, of the original's time."""
    low: float
    high: float
    met: bool


@dataclass(frozen=True)
class Closed:
    """The bundle that the device took within the budget."""

    build: job.Build
    conclusion: Conclusion
    tries: tuple[Try, ...]


@dataclass
class Search:
    """What was tried, and what to ask of the convolutions next."""

    goal: float
    tries: list[Try] = field(default_factory=list)
    refused: float = 0.0
    """So little of the convolutions no plan can leave."""

    def next(self) -> float | None:
        """Return what to ask for; None where there is nothing left to gain."""
        if not self.tries:
            return self.goal
        last = self.tries[-1]
        if last.met and last.measured > self.goal * (1 - NEAR):
            return None
        low = max([self.refused, *(t.planned for t in self.tries if t.met)])
        high = min([1.0, *(t.planned for t in self.tries if not t.met and t.planned > low)])
        if high - low < FINEST:
            return None
        asked = self._on_the_line()
        inside = low + FINEST / 2 < asked < high - FINEST / 2
        return asked if inside else (low + high) / 2

    def _on_the_line(self) -> float:
        """What would just do, if time grew evenly between the two nearest to the goal."""
        known = [(1.0, 1.0), *((t.planned, t.measured) for t in self.tries)]
        known.sort(key=lambda point: abs(point[1] - self.goal))
        (near, near_took), (far, far_took) = known[:2]
        if near_took == far_took:
            return near
        aim = self.goal * (1 - NEAR / 2)
        return near + (aim - near_took) * (far - near) / (far_took - near_took)


def until_met(
    model: Path,
    target: str,
    device: str,
    request: Request,
    wish: Wish,
    *,
    out: Path,
    tries: int = TRIES,
    tell: Tell = lambda text: None,
    lowering: Mapping[str, Any] | None = None,
) -> Closed:
    """Build `model` so that `device` takes no more of the original's time than `request` allows.

    `lowering` are more keywords for `edgecc.job.build`: backend, shape. The bundle that keeps the
    most of the network goes to `out`, its measurements in it.
    Errors: `edgecc.errors.UsageError` without a budget for latency, `edgecc.errors.BudgetError`
    where the device cannot meet it, `edgecc.errors.EdgeccError` and its kinds.
    """
    goal = next((b.fraction for b in request.goal.budgets if b.quantity == "latency"), None)
    if goal is None:
        raise UsageError(
            "there is no budget to meet on the device", hint="--latency 0.6 is one that it measures"
        )
    options = dict(lowering or {})
    search = Search(goal)
    best: tuple[job.Build, Conclusion] | None = None
    refusal: BudgetError | None = None
    with tempfile.TemporaryDirectory() as scratch, traces_kept(Path(scratch), out):
        original = Path(scratch) / "original"
        plain = _as_it_is(request, options)
        job.build(model, target, request=plain, out=original, progress=tell, **options)
        while len(search.tries) < tries and (asked := search.next()) is not None:
            tell(f"try {len(search.tries) + 1}: {asked:.3g} of the convolutions' time")
            folder = Path(scratch) / f"try-{len(search.tries) + 1}" / out.name
            wanted = _asking(request, asked)
            try:
                built = job.build(
                    model, target, request=wanted, out=folder, progress=tell, **options
                )
            except BudgetError as error:
                refusal, search.refused = error, max(asked, search.refused)
                if not search.tries:
                    raise
                continue
            found = bench(folder, device, wish, against=original, tell=tell)
            search.tries.append(_tried(asked, found, goal))
            tell(f"the device takes {search.tries[-1].measured:.3g} of the original's time")
            if search.tries[-1].met:  # each further one is asked to keep more of the network
                best = built, found
        if best is None:
            raise _impossible(goal, search.tries, refusal)
        return _kept(best, search.tries, out)


@contextlib.contextmanager
def traces_kept(scratch: Path, out: Path) -> Iterator[None]:
    """Where the block ends without a bundle, keep what its tries measured in `<out>-trace` and let
    the error name that place.
    """
    try:
        yield
    except (EdgeccError, KeyboardInterrupt) as error:
        kept = out.parent / f"{out.name}-trace"
        moved = {str(path): str(kept / path.name) for path in scratch.glob("try-*/*/trace/*")}
        for there, here in moved.items():
            shutil.copytree(there, here, dirs_exist_ok=True)
        if not moved:
            raise
        told = [error.message, error.hint or ""] if isinstance(error, EdgeccError) else [str(error)]
        for there, here in moved.items():
            told = [text.replace(there, here) for text in told]
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(told[0]) from None
        said = f"what was measured: {kept}"
        raise type(error)(told[0], hint=f"{told[1]}. {said}" if told[1] else said) from None


def _as_it_is(request: Request, options: Mapping[str, Any]) -> Request:
    """What leaves the convolutions alone; INT8 takes the samples all the same."""
    if options.get("precision") not in ("int8", "best"):
        return Request(passes="")
    return Request(
        passes="",
        calib=request.source,
        preprocessing=request.preprocessing,
        samples=request.samples,
    )


def _asking(request: Request, fraction: float) -> Request:
    """The same request with another budget for latency."""
    budgets = tuple(
        Budget("latency", fraction) if budget.quantity == "latency" else budget
        for budget in request.goal.budgets
    )
    return replace(request, goal=replace(request.goal, budgets=budgets))


def _tried(asked: float, found: Conclusion, goal: float) -> Try:
    found.demand()
    between = found.measurement.ratio
    assert between is not None  # as it is trusted
    return Try(asked, between.value, between.low, between.high, between.value <= goal)


def _impossible(goal: float, tries: Sequence[Try], refusal: BudgetError | None) -> BudgetError:
    nearest = min(tries, key=lambda t: t.measured)
    why = f"; further down, {refusal.message}" if refusal else ""
    return BudgetError(
        f"the device does not run the network in {goal:g} of the original's time: of "
        f"{len(tries)} plans the fastest takes {nearest.measured:.3g} ({nearest.low:.3g} to "
        f"{nearest.high:.3g}){why}",
        hint=f"--latency {nearest.measured + 0.005:.2f} can be met; more takes other --families, "
        "or a looser --max-error",
    )


def _kept(best: tuple[job.Build, Conclusion], tries: Sequence[Try], out: Path) -> Closed:
    """Put the best bundle where it was asked for."""
    built, found = best
    place = found.trace.folder.relative_to(built.folder)
    with bundle.staging(out) as stage:
        shutil.copytree(built.folder, stage, dirs_exist_ok=True)
        told = {"schema_version": 1, "tries": [asdict(each) for each in tries]}
        bundle.write_json(stage / bundle.TRACE / LOOP, told)
    trace = replace(found.trace, folder=out / place)
    return Closed(job.Build(out, built.report), replace(found, trace=trace), tuple(tries))
