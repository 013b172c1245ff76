"""Many small networks in one, side by side, written as text.

A branch is nodes in ONNX's text form, separated by `;`, and ends in `y`. Values have names that say
what they are: `h5` is 5 channels in the layout that the compiler chose (a 1x1 convolution made
them), `p5` the first 5 channels of the input as they are, `w8x5x3x3` weights of that shape, `b8` a
bias; letters may follow (`w8x5x3x3b`) where two are wanted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper
from onnx.parser import parse_node
from tvm_networks import HOST, by_onnxruntime, error, given, network, run_lowered

from edgecc.target import Core, Target

CHANNELS = 40
"""Of the input, x."""
LIMIT = 2e-5
"""Of the largest number: what onnxruntime adds up in another order, Winograd's error included."""
SMALL = HOST.model_copy(
    update={
        "core": Core(
            lanes=8, registers=16, l1_kb=0.5, l2_kb=4, fma_per_cycle=2, loads_per_cycle=2,
            fma_cycles=4,
        )
    }
)  # fmt: skip
"""Caches so small that small networks leave them: what is large is computed in chunks of rows."""
Tables = Mapping[str, np.ndarray]


def side_by_side(
    shape: tuple[int, ...], branches: Mapping[str, str], tables: Tables | None = None
) -> onnx.ModelProto:
    """x -> y0, y1, ...: the output of each branch; `tables` are constants that are no weights."""
    random = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {}
    sources: dict[str, onnx.NodeProto] = {}
    nodes: list[onnx.NodeProto] = []
    for index, text in enumerate(branches.values()):
        own: dict[str, str] = {}
        for node in (parse_node(part.strip()) for part in text.split(";")):
            for name in node.input:
                if re.fullmatch(r"w\d+(x\d+)*[a-z]?|b\d+[a-z]?", name):
                    weights.setdefault(name, _weight(random, name))
                elif re.fullmatch(r"[hp]\d+", name):
                    sources.setdefault(name, _source(name, weights, random))
                elif tables and name in tables:
                    weights[name] = tables[name]
            own |= {name: f"{name}{index}" for name in node.output}
            made = onnx.NodeProto()
            made.CopyFrom(node)
            made.input[:] = [own.get(name, name) for name in node.input]
            made.output[:] = [own[name] for name in node.output]
            nodes.append(made)
    outputs = [f"y{index}" for index in range(len(branches))]
    return network(18, [*sources.values(), *nodes], weights, shape, outputs)


def _weight(random: np.random.Generator, name: str) -> np.ndarray:
    sizes = [int(size) for size in re.findall(r"\d+", name)]
    scale = np.sqrt(1 / max(1, int(np.prod(sizes[1:]))))
    return (random.standard_normal(sizes) * scale).astype(np.float32)


def _source(
    name: str, weights: dict[str, np.ndarray], random: np.random.Generator
) -> onnx.NodeProto:
    channels = int(name[1:])
    if name[0] == "p":
        for key, value in (("zero", 0), ("one", 1), (f"end{channels}", channels)):
            weights[key] = np.array([value], np.int64)
        return helper.make_node("Slice", ["x", "zero", f"end{channels}", "one"], [name])
    weights[f"from{channels}"] = _weight(random, f"w{channels}x{CHANNELS}x1x1")
    return helper.make_node("Conv", ["x", f"from{channels}"], [name])


def check(
    branches: Mapping[str, str],
    pixels: Sequence[int] = (13, 9),
    *,
    batch: int = 1,
    target: Target = HOST,
    tables: Tables | None = None,
    left: Sequence[str] = (),
) -> list[str]:
    """Assert that every branch equals onnxruntime and that all but `left` has a schedule.

    Returns the scheduled functions.
    """
    model = side_by_side((batch, CHANNELS, *pixels), branches, tables)
    inputs = given(model)
    found, lowered = run_lowered(model, inputs, target)
    wanted = by_onnxruntime(model, inputs)
    errors = {n: error(w, g) for n, w, g in zip(branches, wanted, found, strict=True)}
    wrong = {name: worst for name, worst in errors.items() if not worst < LIMIT}
    assert not wrong, f"not onnxruntime's numbers: {wrong}"
    assert sorted(lowered.unscheduled) == sorted(left), f"left: {lowered.unscheduled}"
    return list(lowered.scheduled)
