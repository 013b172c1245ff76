"""What NVIDIA's own ONNX parser says, where TensorRT for RTX is installed. It needs no GPU."""

from __future__ import annotations

import onnx


def complaints(model: onnx.ModelProto) -> list[str]:
    """What the parser has against a model; nothing where there is no parser."""
    try:
        import tensorrt_rtx as trt
    except ImportError:
        return []
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)  # the parser keeps no reference of its own
    parser = trt.OnnxParser(network, logger)
    parser.parse(model.SerializeToString())
    return [str(parser.get_error(index)) for index in range(parser.num_errors)]
