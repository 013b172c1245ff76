"""What could become of each convolution: every family at every rank worth trying, with the error
under the calibration statistics and the operators it would take.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from edgecc.calibration.collect import Layer as Collected
from edgecc.conv import Conv, Refusal
from edgecc.layers import Layer, Sizes, dense
from edgecc.rewrite import ConvRewrite

MOST_EFFORT = 1e9
"""Multiply-adds that a family may take on one convolution, if it was not asked for by name: some
seconds."""
LARGE_PATCH = 2000
"""Of choices for patches above this size only one in two is tried, one in three above twice it:
each takes seconds."""
FEWEST_STEPS = 8
"""Ranks are multiples of the target's granule where so many of them fit into the channels."""
AT_ONCE = 2
"""Convolutions whose candidates are solved side by side."""
HELD_BYTES = 300_000_000
"""What the covariances of those that wait may take: a wide one as much as a hundred narrow ones."""


@dataclass(frozen=True)
class Candidate:
    """One thing that a convolution could become."""

    rewrite: ConvRewrite | None
    """None is the convolution as it is."""
    error: float
    """The share of its output's energy that is lost."""
    layers: tuple[Layer, ...]
    """The operators that it takes."""

    @property
    def family(self) -> str | None:
        """The name of the rewrite."""
        return self.rewrite.name if self.rewrite else None

    @property
    def options(self) -> dict[str, Any]:
        """The options of the rewrite."""
        return self.rewrite.options() if self.rewrite else {}

    @property
    def reads(self) -> float:
        """The share of its input's channels that it reads at all."""
        first = self.layers[0]
        chosen = first.operator == "Gather" and len(self.layers) == 2
        return min(1.0, first.y[0] / first.x[0]) if chosen else 1.0

    @property
    def last(self) -> tuple[Layer, ...]:
        """The operator that makes its output, if it is one that can make fewer channels."""
        return self.layers[-1:] if self.layers[-1].groups == 1 and self.layers[-1].weight else ()

    def __str__(self) -> str:
        return str(self.rewrite) if self.rewrite else "the convolution as it is"

    @property
    def macs(self) -> int:
        """Multiply-adds of one sample."""
        return sum(layer.macs for layer in self.layers)

    @property
    def params(self) -> int:
        """Weights to store."""
        return sum(layer.params for layer in self.layers)


@dataclass(frozen=True)
class Row:
    """A convolution and its candidates; the first is the convolution as it is."""

    name: str
    candidates: tuple[Candidate, ...]
    refusals: Mapping[str, str] = field(default_factory=dict)
    """By family, why there is no candidate of it."""


def tabulate(
    collected: Iterable[Collected],
    families: Sequence[ConvRewrite],
    sizes: Mapping[str, Sizes],
    granule: int,
    *,
    patient: bool = False,
    also: Callable[[Collected], None] = lambda layer: None,
) -> Iterator[Row]:
    """Yield the row of every convolution in `sizes` (name to the spatial sizes of its input).

    Families whose search would take long are left out, unless one is `patient`. The work is
    spread over threads; the rows come in order and do not depend on how many. `also` is called in
    these for each layer.
    """

    def row_of(layer: Collected, name: str) -> Row:
        also(layer)
        step = _suited(granule, layer.conv)
        going = itertools.takewhile(lambda family: not stopped.is_set(), families)
        return _row(layer, going, sizes[name], step, patient)

    stopped = threading.Event()
    waiting: deque[tuple[Future[Row], int]] = deque()
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        for layer in collected:
            name = layer.node.name or ""
            if name not in sizes:
                continue
            waiting.append((pool.submit(row_of, layer, name), layer.statistics.size_bytes))
            while sum(size for row, size in waiting if not row.done()) > HELD_BYTES:
                yield waiting.popleft()[0].result()
        for row, _ in waiting:
            yield row.result()
    finally:
        stopped.set()  # what still runs then is not asked for any more
        pool.shutdown(cancel_futures=True)


def _suited(granule: int, conv: Conv) -> int:
    """A granule that leaves a narrow convolution some choice."""
    width = min(conv.weight.shape[0] // conv.groups, conv.weight.shape[1])
    while granule > 1 and width < FEWEST_STEPS * granule:
        granule //= 2
    return granule


def _row(
    layer: Collected,
    families: Iterable[ConvRewrite],
    sizes: Sizes,
    granule: int,
    patient: bool,
) -> Row:
    conv = layer.conv
    found = [Candidate(None, 0.0, tuple(dense(conv, sizes)))]
    refusals: dict[str, str] = {}
    for family in families:
        refusal = family.refuse(conv)
        if refusal is None and not patient and family.effort(conv) > MOST_EFFORT:
            refusal = Refusal("its search is long here; name it in --families to insist")
        choices = [] if refusal else _offered(family, layer, found[0].macs, sizes, granule)
        if not patient:
            choices = choices[:: 1 + min(conv.patch_size // LARGE_PATCH, 2)]
        if not choices:
            refusals[family.name] = str(refusal or "none of its choices saves multiply-adds")
            continue
        for choice, error in zip(
            choices, family.errors(conv, layer.statistics, choices), strict=True
        ):
            found.append(Candidate(choice, error, tuple(choice.layers(conv, sizes))))
    return Row(layer.node.name or "", tuple(found), refusals)


def _offered(
    family: ConvRewrite, layer: Collected, macs: int, sizes: Sizes, granule: int
) -> list[ConvRewrite]:
    """The choices that have the options which the user gave; where none has, what they settle to
    if that saves any of the `macs`.
    """
    choices, given = list(family.choices(layer.conv, granule)), family.options()
    agreeing = [c for c in choices if all(getattr(c, k) == v for k, v in given.items())]
    if agreeing or not given:
        return list(agreeing)
    settled = family.settle(layer.conv, layer.statistics)
    if isinstance(settled, Refusal):
        return []
    saves = sum(each.macs for each in settled.layers(layer.conv, sizes)) < macs
    return [settled] if saves else []
