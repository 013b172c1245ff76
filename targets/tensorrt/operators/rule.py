"""A restriction on an operator, in the releases that have it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from targets.tensorrt.operators.site import Site
from targets.tensorrt.versions import Number

Test = Callable[[Site], str | None]
"""Why a node does not fit, as said of TensorRT ("takes ..."), or None."""


@dataclass(frozen=True)
class Rule:
    """What some releases ask of an operator."""

    operators: str
    """Their names, with spaces between."""
    test: Test
    hint: str | None = None
    since: Number = (0, 0)
    until: Number = (999, 0)
    """The first release without it."""
    fatal: bool = True

    def holds(self, number: Number) -> bool:
        """Whether the release `number` has the restriction."""
        return self.since <= number < self.until


def known(what: str, *places: int) -> Test:
    """A test that these inputs are initialisers (or Constants), where they are given."""

    def test(site: Site) -> str | None:
        if not any(site.computed(place) for place in places):
            return None
        return f"takes {what} of {site.kind} as an initializer alone; here it is computed"

    return test


def only(attribute: str, default: str, allowed: str) -> Test:
    """A test that an attribute of words has one of the `allowed` values (spaces between)."""

    def test(site: Site) -> str | None:
        value = site.attribute(attribute, default)
        if value in allowed.split():
            return None
        return f"knows no {attribute}={value} of {site.kind}"

    return test


def all_ones(attribute: str) -> Test:
    """A test that a list of numbers is left out or all 1."""

    def test(site: Site) -> str | None:
        values = list(site.attribute(attribute, []))
        if all(value == 1 for value in values):
            return None
        return f"takes no {attribute} of {site.kind}; these are {'x'.join(map(str, values))}"

    return test


def ranks(low: int, high: int, what: str) -> Test:
    """A test that the first input has so many dimensions."""

    def test(site: Site) -> str | None:
        rank = site.rank()
        if rank is None or low <= rank <= high:
            return None
        return f"takes {what} of {site.kind}; this input has {rank} dimensions"

    return test
