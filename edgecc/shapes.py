"""The sizes of a model's inputs: as the file says, as the user says, or assumed and told."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from edgecc.errors import ModelError, UsageError, did_you_mean
from edgecc.graph import bitwidth

Shape = tuple[int, ...]
GivenShapes = Mapping[str, Sequence[int]] | Sequence[str]
"""Shapes as a user gives them: by input, or as the command line does."""
ASSUMED_BATCH = 1
ASSUMED_SIZE = 224
"""What a dynamic height or width is taken for where a figure needs a number."""
MEMORY_BYTES = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
MAX_BYTES = MEMORY_BYTES // 8
"""A network with a larger tensor than this cannot be run here to check it."""


@dataclass(frozen=True)
class Shapes:
    """The shape of every input, complete, and which of them the model does not fix."""

    inputs: dict[str, Shape]
    assumed: dict[str, str]
    """Inputs with dynamic sizes, and those sizes in words: "N is 1, H is 224"."""
    fixed: bool = False
    """Whether those sizes are now the model's, as its backend takes no open ones."""


def parse_shape(text: str) -> tuple[str, Shape]:
    """Read "INPUT:1,3,224,224"; without a name it is "", the model's only input.

    Errors: `edgecc.errors.UsageError`.
    """
    name, _, sizes = text.rpartition(":")
    try:
        shape = tuple(int(size) for size in sizes.replace("x", ",").split(","))
    except ValueError:
        raise UsageError(
            f"'{text}' is not a shape", hint="write --shape INPUT:1,3,224,224"
        ) from None
    if min(shape) < 1:
        raise UsageError(f"'{text}' has a size below 1")
    return name, shape


def read_shapes(given: GivenShapes | None) -> dict[str, Shape]:
    """Return shapes by input, from a mapping or from texts such as "INPUT:1,3,224,224".

    Errors: `edgecc.errors.UsageError`.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        texts = [f"{name}:{','.join(map(str, shape))}" for name, shape in given.items()]
    else:
        texts = [given] if isinstance(given, str) else list(given)
    shapes: dict[str, Shape] = {}
    for name, shape in map(parse_shape, texts):
        if name in shapes:
            raise UsageError(f"--shape gives the input '{name}' twice")
        shapes[name] = shape
    return shapes


def fix(model: ir.Model, shapes: Mapping[str, Shape]) -> dict[str, ir.Shape]:
    """Write shapes into the model's inputs, and forget all that followed from the old ones, which
    are returned.

    Errors: `edgecc.errors.UsageError` for an unknown input, or where the model has another rank
    or another fixed size.
    """
    inputs = {v.name or "": v for v in model.graph.inputs if not v.is_initializer()}
    replaced: dict[str, ir.Shape] = {}
    for given, shape in shapes.items():
        name = next(iter(inputs)) if given == "" and len(inputs) == 1 else given
        if name not in inputs:
            raise UsageError(
                f"the model has no input '{name}'" if name else "--shape needs the input's name",
                hint=did_you_mean(name, inputs),
            )
        old = list(inputs[name].shape or ())
        clash = len(old) != len(shape) or any(
            isinstance(a, int) and a != b for a, b in zip(old, shape, strict=False)
        )
        if clash:
            raise UsageError(
                f"--shape {name}:{_text(shape)} does not fit the model, where it is {_text(old)}"
            )
        replaced[name] = inputs[name].shape or ir.Shape([])
        inputs[name].shape = ir.Shape(shape)
    if shapes:
        for node in model.graph:
            for value in node.outputs:
                value.shape = None
    return replaced


def settle(model: ir.Model, given: Mapping[str, Shape], *, dynamic: bool) -> Shapes:
    """Write the shapes that the user gave into the model; complete the rest for the figures.

    A size that stays open is taken for 1 in front (the batch), for what the convolution behind it
    wants as channels, and else for `ASSUMED_SIZE`; a name means the same everywhere. Where the
    backend is not `dynamic`, an open batch is fixed at 1, and other open sizes are an error.
    Errors: `edgecc.errors.UsageError`, `edgecc.errors.ModelError`.
    """
    named = _named_sizes(model, fix(model, given))
    found = _complete(model, named)
    if found.assumed and not dynamic:
        for value in model.graph.inputs:
            if any(not isinstance(size, int) for size in list(value.shape or ())[1:]):
                raise ModelError(
                    f"input '{value.name}' has open sizes ({_text(list(value.shape or ()))}), and "
                    "this backend compiles for fixed ones",
                    hint=f"give them: --shape {value.name}:{_text(found.inputs[value.name or ''])}",
                )
        fix(model, found.inputs)
        return replace(found, fixed=True)
    return found


def _named_sizes(model: ir.Model, old: Mapping[str, ir.Shape]) -> dict[str, int]:
    """The sizes that the user's shapes gave to names: N is 4."""
    new = {value.name or "": list(value.shape or ()) for value in model.graph.inputs}
    return {
        str(was.value): now
        for name, shape in old.items()
        for was, now in zip(shape, new[name], strict=True)
        if not isinstance(was, int) and was.value is not None and isinstance(now, int)
    }


def _complete(model: ir.Model, named: dict[str, int]) -> Shapes:
    inputs: dict[str, Shape] = {}
    assumed: dict[str, str] = {}
    for value in model.graph.inputs:
        if value.is_initializer():
            continue
        sizes, told = [], []
        for axis, size in enumerate(value.shape or ()):
            if isinstance(size, int):
                sizes.append(size)
                continue
            guess = _guess(value, axis)
            label = f"axis {axis}" if size.value is None else str(size.value)
            sizes.append(guess if size.value is None else named.setdefault(label, guess))
            told.append(f"{label} is {sizes[-1]}")
        name = value.name or ""
        inputs[name] = tuple(sizes)
        if told:
            assumed[name] = ", ".join(told)
    return Shapes(inputs, assumed)


def check_sizes(model: ir.Model) -> None:
    """Refuse a model with a tensor larger than `MAX_BYTES`, or with an input of negative size.

    Errors: `edgecc.errors.ModelError`.
    """
    for value in model.graph.inputs:
        if any(isinstance(size, int) and size < 0 for size in value.shape or ()):
            raise ModelError(
                f"input '{value.name}' has a negative size: {_text(list(value.shape or ()))}",
                hint="an open size has a name or nothing in its place; export the model again",
            )
    values = [*model.graph.inputs, *(v for node in model.graph for v in node.outputs)]
    for value in values:
        sizes = [size for size in value.shape or () if isinstance(size, int)]
        bits = bitwidth(value.dtype) or 8
        if math.prod(sizes) * bits // 8 > MAX_BYTES:
            raise ModelError(
                f"'{value.name}' of shape {_text(list(value.shape or ()))} would take "
                f"{math.prod(sizes) * bits / 8e9:.3g} GB,"
                f" and this machine has {MEMORY_BYTES / 1e9:.3g} GB in all",
                hint="check the sizes of the model's inputs, or fix them with --shape",
            )


def _guess(value: ir.Value, axis: int) -> int:
    if axis == 0:
        return ASSUMED_BATCH
    if axis == 1:
        for use in value.uses():
            weight = use.node.inputs[1] if use.node.op_type == "Conv" else None
            channels = weight.shape[1] if weight is not None and weight.shape else None
            if isinstance(channels, int):
                return channels * use.node.attributes.get_int("group", 1)
    return ASSUMED_SIZE


def _text(sizes: Sequence[int | ir.SymbolicDim]) -> str:
    return ",".join(str(s) if isinstance(s, int) else str(s.value or "?") for s in sizes)
