"""What is asked of an engine of TensorRT, and how INT8 is told to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class EngineWish:
    """What a user asks of an engine of TensorRT; None leaves it to the board."""

    precision: str | None = None
    """One of the board's (`Engine.precisions`), or "best": INT8 where it costs little."""
    dla: int | None = None
    """The core of the deep-learning accelerator to run on; what it cannot take runs on the GPU."""
    tensorrt: str | None = None
    """The release on the board, "8.2"; None is the board's newest."""


@dataclass(frozen=True)
class Quantisation:
    """How a backend wants INT8 told."""

    form: Literal["qdq", "cache", "both"]
    """A graph with Q/DQ pairs (`INT8_MODEL`), a calibration cache (`CALIBRATION`), or both."""
    release: str
    """Of the TensorRT that reads the cache."""
    freely: bool = False
    """Whether layers may stay in float, where INT8 costs too much."""


INT8_MODEL, CALIBRATION = "model.int8.onnx", "calibration.cache"
"""What quantising leaves beside `model.onnx`, for a backend's `build`."""
