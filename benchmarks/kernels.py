"""One convolution of channels in blocks as a compiled function, its tile or Winograd form given."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np

from edgecc.target import Core, Target
from targets.tvm.compute import convolution
from targets.tvm.compute.window import Window
from targets.tvm.compute.winograd import Form, transformed_weights, winograd
from targets.tvm.core import core_of
from targets.tvm.schedules.choose import scheduled
from targets.tvm.schedules.tile import Tile
from targets.tvm.toolchain import llvm_target

Run = Callable[[], object]
TURN = 2
"""Runs of a turn, of which the last counts: the first finds another kernel's weights."""


@dataclass(frozen=True)
class Shape:
    """A square convolution that keeps the size of its maps; channels are multiples of 16."""

    inputs: int
    outputs: int
    size: int
    taps: tuple[int, int] = (3, 3)

    @property
    def window(self) -> Window:
        """Of stride 1, padded on all sides."""
        down, along = (taps // 2 for taps in self.taps)
        return Window(self.taps, (1, 1), (1, 1), (down, along, down, along))

    @property
    def flops(self) -> int:
        """A multiply-add is two."""
        return 2 * self.inputs * self.outputs * self.size**2 * self.taps[0] * self.taps[1]

    def __str__(self) -> str:
        high, wide = self.taps
        return f"{self.inputs}->{self.outputs} {high}x{wide} at {self.size}x{self.size}"


class Kernels:
    """Makes kernels for the core of this machine."""

    def __init__(self, host: Target) -> None:
        import tvm

        self.core: Core = core_of(host)
        self.target = tvm.target.Target(llvm_target(host))
        self.random = np.random.default_rng(0)

    def direct(self, shape: Shape, tile: Tile) -> Run:
        """The sum over the window, so many sums in registers."""
        weights = self._weights(shape)

        def compute(x: Any, w: Any) -> Any:
            with patch.object(convolution, "register_tile", lambda *_: tile):
                return convolution.dense(x, w, window=shape.window, groups=1, core=self.core)

        return self._compiled(shape, weights, compute)

    def winograd(self, shape: Shape, form: Form) -> Run:
        """Winograd's minimal filtering in this form."""
        weights = transformed_weights(self._weights(shape), form.outputs)

        def compute(x: Any, w: Any) -> Any:
            return winograd(x, w, window=shape.window, groups=1, form=form)

        return self._compiled(shape, weights, compute)

    def _weights(self, shape: Shape) -> np.ndarray:
        lanes = self.core.lanes
        sizes = (shape.outputs // lanes, shape.inputs // lanes, *shape.taps, lanes, lanes)
        return self.random.standard_normal(sizes, np.float32)

    def _compiled(self, shape: Shape, weights: np.ndarray, compute: Callable[..., Any]) -> Run:
        import tvm
        from tvm import te

        lanes = self.core.lanes
        sizes = (1, shape.inputs // lanes, shape.size, shape.size, lanes)
        x = te.placeholder(sizes, name="x")
        w = te.placeholder(weights.shape, name="w")
        y = compute(x, w)
        function = scheduled(te.create_prim_func([x, w, y]), self.core)
        if function is None:
            raise ValueError(f"no schedule fits {shape}")
        main = tvm.compile(function, target=self.target)["main"]
        given = self.random.standard_normal(sizes, np.float32)
        wanted = np.zeros([int(size) for size in y.shape], np.float32)
        arrays = [tvm.runtime.tensor(array) for array in (given, weights, wanted)]
        return lambda: main(*arrays)


def medians(runs: Sequence[Run], rounds: int) -> np.ndarray:
    """Seconds of each, in turns."""
    times = np.empty((rounds, len(runs)))
    for number in range(rounds):
        for index, run in enumerate(runs):
            for _ in range(TURN):
                start = time.perf_counter()
                run()
                times[number, index] = time.perf_counter() - start
    return np.median(times, axis=0)
