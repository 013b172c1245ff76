"""The onnxruntime backend: the model as it is, run anywhere onnxruntime is."""

from targets.onnxruntime.backend import OnnxruntimeBackend

__all__ = ["OnnxruntimeBackend"]
