"""A network in an engine, ready to run again and again with nothing copied, and turns of several.

onnxruntime is bound to arrays that are made once (`io_binding`), the network that edgecc compiled
is called with tensors made once: what either allocates for its outputs is its own affair.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

Arrays = Mapping[str, np.ndarray]
CORES = os.sched_getaffinity(0)
"""Where this program may run: TVM ties the thread that starts its pool to a core."""
FEWEST = 5
MOST = 1000
SETTLE_S = 0.1
"""Longer than the threads of either engine look for new work, which is time of the other's core."""
BLOCK = 4
"""Short runs of a turn."""
LONG_MS = 100.0
"""What makes a run a long one, on which the state of the caches has no effect."""


@dataclass(frozen=True)
class Engine:
    """Something that computes a network's outputs from inputs that were given before."""

    run: Callable[[], object]
    outputs: Callable[[], list[np.ndarray]]
    """Run once; in the order of the model."""


def with_tvm_threads(threads: int) -> None:
    """Start this program again where TVM's pool, which reads its size once, has another."""
    if os.environ.get("TVM_NUM_THREADS") != str(threads):
        names = {name: str(threads) for name in ("TVM_NUM_THREADS", "OMP_NUM_THREADS")}
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **names})


def of_onnxruntime(model: Path, inputs: Arrays, threads: int) -> Engine:
    """Open a model in onnxruntime."""
    os.sched_setaffinity(0, CORES)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
    for output in session.get_outputs():
        binding.bind_output(output.name)

    def outputs() -> list[np.ndarray]:
        session.run_with_iobinding(binding)
        return [np.array(array) for array in binding.copy_outputs_to_cpu()]

    return Engine(lambda: session.run_with_iobinding(binding), outputs)


def of_edgecc(bundle: Path, inputs: Arrays) -> Engine:
    """Open the library of a bundle of the TVM backend."""
    import tvm
    from tvm.runtime.vm import VirtualMachine

    library = tvm.runtime.load_module(str(bundle / "tvm/model.so"))
    main = VirtualMachine(library, tvm.cpu())["main"]
    given = [tvm.runtime.tensor(array) for array in inputs.values()]

    def outputs() -> list[np.ndarray]:
        result = main(*given)
        values = [result] if isinstance(result, tvm.runtime.Tensor) else list(result)
        return [np.array(value.numpy()) for value in values]

    outputs()
    return Engine(lambda: main(*given), outputs)


def random_inputs(model: Path) -> dict[str, np.ndarray]:
    """Numbers for a model whose shapes are fixed, standard normal, in the order it takes them."""
    random = np.random.default_rng(0)
    graph = onnx.load(model).graph
    weights = {tensor.name for tensor in graph.initializer}
    made = {}
    for value in graph.input:
        if value.name not in weights:
            kind = value.type.tensor_type
            dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
            shape = [dim.dim_value for dim in kind.shape.dim]
            made[value.name] = random.standard_normal(shape, np.float32).astype(dtype)
    return made


def interleaved(engines: Sequence[Engine], seconds: float, threads: int = 1) -> np.ndarray:
    """Milliseconds (engines, rounds), in turns for about so many seconds.

    A turn of an engine is one long run; or some short ones, of which the first is not counted: it
    finds the caches full of the other engines' numbers. With several threads a pause comes before,
    so that no engine's idle threads take the cores of the next.
    """
    os.sched_setaffinity(0, CORES)
    pause = 0.0 if threads == 1 else SETTLE_S
    runs = [BLOCK if _turn(engine.run, 1, pause)[0] < LONG_MS else 1 for engine in engines]
    rounds: list[list[float]] = []
    began = time.perf_counter()
    while len(rounds) < FEWEST or (time.perf_counter() - began < seconds and len(rounds) < MOST):
        turns = [
            _turn(engine.run, count, pause) for engine, count in zip(engines, runs, strict=True)
        ]
        rounds.append([float(np.median(turn[1:] or turn)) for turn in turns])
    return np.array(rounds).T


def difference(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> float:
    """The largest error of any output, of that output's largest number; NaN is infinite."""
    worst = 0.0
    for found, wanted in zip(ours, theirs, strict=True):
        if found.shape != wanted.shape:
            return float("inf")
        error = np.abs(found.astype(np.float64) - wanted).max() / (np.abs(wanted).max() or 1.0)
        worst = max(worst, float(error) if np.isfinite(error) else float("inf"))
    return worst


def _turn(run: Callable[[], object], runs: int, pause: float) -> list[float]:
    """The milliseconds of each run of a turn."""
    times = []
    time.sleep(pause)
    for _ in range(runs):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return times
