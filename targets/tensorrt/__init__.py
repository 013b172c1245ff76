"""The TensorRT backend: the model that a Jetson's own TensorRT builds its engine from."""

from targets.tensorrt.backend import TensorrtBackend

__all__ = ["TensorrtBackend"]
