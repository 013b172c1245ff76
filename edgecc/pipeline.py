"""A sequence of passes with a text form: "fold_batchnorm, dac(rank=4)"."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import onnx_ir as ir

from edgecc.errors import UsageError, did_you_mean
from edgecc.rewrite import ConvRewrite, Decision, Pass

_STEP = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\(([^()]*)\))?\s*(,|$)")


@dataclass(frozen=True)
class Report:
    """What one pass did."""

    by: str
    """The pass in its text form."""
    decisions: list[Decision]
    of_convolutions: bool = False
    """Whether the decisions are about convolutions and what replaced them."""


Observer = Callable[[Report, ir.Model], None]
"""Called after each pass with its report and the model as it left it."""


@dataclass(frozen=True)
class Pipeline:
    """Passes in the order in which they run."""

    passes: tuple[Pass, ...]

    @classmethod
    def parse(cls, text: str, known: Mapping[str, type[Pass]]) -> Pipeline:
        """Read a text such as "fold_batchnorm, dac(rank=4)"; an empty one has no passes.

        The options of a pass are the fields of its dataclass.
        Errors: `edgecc.errors.UsageError` for unknown passes, unknown options, bad values.
        """
        return cls(tuple(_make(name, options, known) for name, options in _steps(text)))

    def __str__(self) -> str:
        return ", ".join(map(str, self.passes))

    def __add__(self, other: Pipeline) -> Pipeline:
        return Pipeline(self.passes + other.passes)

    def run(self, model: ir.Model, observers: Iterable[Observer] = ()) -> list[Report]:
        """Run every pass on `model`, in place, and report what each did."""
        reports = []
        for step in self.passes:
            report = Report(str(step), step.run(model), isinstance(step, ConvRewrite))
            reports.append(report)
            for observe in observers:
                observe(report, model)
        return reports


def make_pass(name: str, options: Mapping[str, Any], known: Mapping[str, type[Pass]]) -> Pass:
    """Make the pass called `name` with options as JSON has them.

    Errors: `edgecc.errors.UsageError`.
    """
    kind = _find(name, known)
    types_of = typing.get_type_hints(kind)
    names = [f.name for f in fields(kind)]
    for option, value in options.items():
        if option not in names:
            raise UsageError(
                f"{name} has no option '{option}'",
                hint=f"its options are {', '.join(names)}" if names else f"{name} takes no options",
            )
        wanted = _plain_types(types_of[option])
        if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
            raise UsageError(f"{name}({option}={value!r}) is not {_in_words(wanted)}")
    return kind(**options)


def _find(name: str, known: Mapping[str, type[Pass]]) -> type[Pass]:
    if name not in known:
        raise UsageError(f"there is no pass named '{name}'", hint=did_you_mean(name, known))
    return known[name]


def _steps(text: str) -> Iterator[tuple[str, str]]:
    position, end = 0, len(text.rstrip().removesuffix(","))
    while text[position:end].strip():
        match = _STEP.match(text, position, end)
        if match is None:
            raise UsageError(
                f"'{text[position:end].strip()}' is not a pass",
                hint='write passes as "fold_batchnorm, dac(rank=4)"',
            )
        yield match[1], match[2] or ""
        position = match.end()


def _make(name: str, text: str, known: Mapping[str, type[Pass]]) -> Pass:
    types_of = typing.get_type_hints(_find(name, known))
    options: dict[str, Any] = {}
    for item in filter(str.strip, text.split(",")):
        option, equals, value = (part.strip() for part in item.partition("="))
        if not equals:
            raise UsageError(
                f"'{item.strip()}' in {name}({text}) has no value",
                hint=f"write {name}(option=value)",
            )
        wanted = _plain_types(types_of[option]) if option in types_of else (str,)
        options[option] = _value(value, wanted)
    return make_pass(name, options, known)


def _plain_types(hint: Any) -> tuple[type, ...]:
    """The types a field takes, without None: `int | None` is (int,); a float takes ints too."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    plain = tuple(t for t in (typing.get_args(hint) if union else (hint,)) if t is not type(None))
    return (*plain, int) if float in plain else plain


def _value(text: str, wanted: tuple[type, ...]) -> Any:
    """Read a value as the first of the wanted types that takes it; else leave it a string."""
    if bool in wanted and text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        if kind in wanted:
            try:
                return kind(text)
            except ValueError:
                continue
    return text


def _in_words(wanted: tuple[type, ...]) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
    kinds = [kind for kind in wanted if not (kind is int and float in wanted)]
    return " or ".join(words.get(kind, kind.__name__) for kind in kinds)
