"""The TensorRT for RTX backend: engines for the GPU of a PC, built where there is none."""

from targets.tensorrt_rtx.backend import TensorrtRtxBackend

__all__ = ["TensorrtRtxBackend"]
