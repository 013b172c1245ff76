"""What every activation of a network holds over the calibration samples, in bounded memory.

Two passes over the samples: the first takes the greatest magnitude and the mean square of each
channel, the second counts magnitudes up to the greatest in `BINS` bins. onnxruntime's calibrators
keep the activations of all samples until the end (256 photographs through SqueezeNet are 5 GB),
and know no channels, which balancing needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgecc.conv import Array
from edgecc.errors import ModelError
from edgecc.quantise.thresholds import BINS, NOTHING, Method, threshold
from edgecc.target import Arrays

MOST_NUMBERS = 2**26
"""Activations held at once, as far as the network's batch can be split: 256 MB."""


@dataclass(eq=False)
class Channels:
    """What the channels of one activation hold."""

    greatest: Array
    """(C,) the greatest magnitude."""
    squares: Array
    """(C,) the sum of squares."""
    sums: Array
    others: Array
    """(C,) the numbers that are not zero."""
    count: int = 0
    """Numbers in a channel."""

    @property
    def amax(self) -> float:
        """The greatest magnitude of all."""
        return float(self.greatest.max())

    @property
    def mean(self) -> Array:
        """(C,) the mean."""
        return self.sums / max(self.count, 1)

    @property
    def energy(self) -> Array:
        """(C,) the mean square."""
        return self.squares / max(self.count, 1)

    @property
    def density(self) -> Array:
        """(C,) the share that is not zero."""
        return self.others / max(self.count, 1)

    def add(self, array: npt.NDArray[np.float32]) -> None:
        """Take in a batch (N, C, ...)."""
        rows = array.reshape(len(array), len(self.greatest), -1)
        self.greatest = np.maximum(self.greatest, np.abs(rows).max(axis=(0, 2)))
        self.squares = self.squares + np.einsum("nck,nck->c", rows, rows, dtype=np.float64)
        self.sums = self.sums + rows.sum(axis=(0, 2), dtype=np.float64)
        self.others = self.others + np.count_nonzero(rows, axis=(0, 2))
        self.count += rows.shape[0] * rows.shape[2]


class Tapped:
    """A network that gives every activation in float32 as an output, and its inputs too."""

    def __init__(self, model: Path) -> None:
        import onnxruntime

        proto = onnx.shape_inference.infer_shapes(onnx.load(model))
        weights = {tensor.name for tensor in proto.graph.initializer}
        given = [value for value in proto.graph.input if value.name not in weights]
        self._is_fixed = any(_first_size(value) for value in given)
        self._inputs = {value.name for value in given if _is_float(value)}
        constants = {n for node in proto.graph.node if _is_constant(node) for n in node.output}
        constants |= weights
        inner = [v for v in proto.graph.value_info if _is_float(v) and v.name not in constants]
        there = {value.name for value in proto.graph.output}
        self._outputs = [v.name for v in proto.graph.output if _is_float(v)]
        self._outputs += [value.name for value in inner if value.name not in there]
        proto.graph.output.extend(value for value in inner if value.name not in there)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        external = onnx.external_data_helper
        external.load_external_data_for_model(proto, str(model.parent))
        self._session = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._most: int | None = 1

    def run(self, feeds: Sequence[Arrays]) -> Iterator[Arrays]:
        """Yield the activations by name, as many samples at once as fit.

        Errors: `edgecc.errors.ModelError` where one is no finite number.
        """
        for feed in feeds:
            for part in self._parts(feed):
                found = dict(
                    zip(self._outputs, self._session.run(self._outputs, part), strict=True)
                )
                found |= {name: part[name] for name in self._inputs}
                yield {name: array for name, array in found.items() if array.size and array.ndim}
                samples = len(next(iter(part.values())))
                numbers = sum(array.size for array in found.values()) / samples
                self._most = max(1, int(MOST_NUMBERS / numbers))

    def _parts(self, feed: Arrays) -> Iterator[Arrays]:
        count = len(next(iter(feed.values())))
        if self._is_fixed:
            yield feed
            return
        start = 0
        while start < count:
            end = start + (self._most or 1)
            yield {name: array[start:end] for name, array in feed.items()}
            start = end


def scan(model: Path, feeds: Sequence[Arrays]) -> dict[str, Channels]:
    """Return what the channels of every float32 activation hold.

    Errors: `edgecc.errors.ModelError` where one is infinite or NaN.
    """
    found: dict[str, Channels] = {}
    for arrays in Tapped(model).run(feeds):
        for name, array in arrays.items():
            if name not in found:
                channels = array.shape[1] if array.ndim > 1 else 1
                blank = np.zeros(channels)
                found[name] = Channels(blank, blank, blank, blank)
            if len(found[name].greatest) == (array.shape[1] if array.ndim > 1 else 1):
                found[name].add(array)
    for name, channels in found.items():
        if not np.isfinite(channels.greatest).all():
            raise ModelError(
                f"'{name}' is infinite or NaN on the calibration samples",
                hint="give samples of the range the network was trained on",
            )
    return found


def ranges(
    model: Path, feeds: Sequence[Arrays], method: Method, known: dict[str, Channels] | None = None
) -> dict[str, float]:
    """Return for each float32 activation the magnitude that int8's 127 stands for.

    `known` is what `scan` found. Errors: as `scan`.
    """
    channels = scan(model, feeds) if known is None else known
    amax = {name: found.amax for name, found in channels.items()}
    if method == "minmax":
        return {name: value if value > NOTHING else 1.0 for name, value in amax.items()}
    counts = {name: np.zeros(BINS, np.int64) for name in amax}
    for arrays in Tapped(model).run(feeds):
        for name, array in arrays.items():
            if amax[name] > NOTHING:
                counts[name] += magnitudes(array, amax[name])
    return {name: threshold(counts[name], amax[name], method) for name in amax}


def magnitudes(array: npt.NDArray[Any], amax: float) -> npt.NDArray[np.int64]:
    """Count the magnitudes from 0 to `amax` in `BINS` bins; zeros, which int8 holds exactly, not.

    What lies above `amax` counts as `amax`.
    """
    flat = np.abs(array.ravel())
    flat = flat[flat > 0]
    places = np.minimum((flat * np.float32(BINS / amax)).astype(np.int32), BINS - 1)
    counted: npt.NDArray[np.int64] = np.bincount(places, minlength=BINS)
    return counted


def _is_float(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT)


def _is_constant(node: onnx.NodeProto) -> bool:
    return node.op_type in ("Constant", "ConstantOfShape")


def _first_size(value: onnx.ValueInfoProto) -> int:
    dims = value.type.tensor_type.shape.dim
    return int(dims[0].dim_value) if dims else 1
