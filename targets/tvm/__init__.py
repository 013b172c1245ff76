"""The TVM backend: ONNX to machine code for ARM and x86 processors, with a runner in C."""

from __future__ import annotations

from targets.tvm.backend import TvmBackend

__all__ = ["TvmBackend"]
