"""Rules for convolutions, pools and normalisations."""

from __future__ import annotations

from onnx import TensorProto

from targets.tensorrt.operators.rule import Rule, Test, all_ones, known, ranks
from targets.tensorrt.operators.site import Site

FOLD = "build with edgecc's own passes: fold_constants makes an initializer of what can be known"
WHOLE = {TensorProto.INT32, TensorProto.INT64, TensorProto.UINT32, TensorProto.UINT64}


def _indices(site: Site) -> str | None:
    used = len(site.node.output) > 1 and site.node.output[1]
    return "has no second output (Indices) of MaxPool" if used else None


def _weights(site: Site) -> str | None:
    if site.made_by(1) == "DequantizeLinear":
        return None
    return known("the weights", 1)(site)


def _first_output_only(site: Site) -> str | None:
    used = any(site.node.output[1:])
    return f"has the first output of {site.kind} alone" if used else None


def _training(site: Site) -> str | None:
    flag = site.constant(2)
    if site.computed(2) or (flag is not None and flag.any()):
        return "runs Dropout as at inference alone; this one may train"
    return None


def _whole_numbers(site: Site) -> str | None:
    if site.dtype() in WHOLE:
        return f"multiplies no integers in {site.kind}"
    return None


SPATIAL: Test = ranks(3, 5, "one to three spatial dimensions")
RULES = (
    Rule("Conv ConvTranspose", SPATIAL, "TensorRT convolves in 2-D and 3-D (1-D as 2-D)"),
    Rule("Conv ConvTranspose", _weights, FOLD, until=(8, 5)),
    Rule(
        "ConvTranspose",
        all_ones("dilations"),
        "TensorRT 8.0 (JetPack 4.6) dilates it; or write the zeros into the kernel",
        until=(8, 0),
    ),
    Rule("AveragePool MaxPool LpPool", ranks(3, 5, "2-D and 3-D windows"), "reshape around it"),
    Rule(
        "AveragePool MaxPool LpPool",
        ranks(4, 99, "2-D and 3-D windows by its documents"),
        "if the board refuses it, put a dimension of 1 in with Unsqueeze and Squeeze",
        fatal=False,
    ),
    Rule(
        "AveragePool MaxPool LpPool",
        all_ones("dilations"),
        "its pools have no dilations; take the values apart with Slice before a plain pool",
    ),
    Rule("MaxPool", _indices, "take the Indices out of the network, MaxUnpool with them"),
    Rule("Dropout", _training, "export the model for inference"),
    Rule(
        "InstanceNormalization",
        known("scale and B", 1, 2),
        FOLD,
        until=(10, 0),
    ),
    Rule(
        "InstanceNormalization",
        ranks(3, 4, "one or two spatial dimensions"),
        "TensorRT 7.2 and newer normalise in 3-D",
        until=(7, 2),
    ),
    Rule(
        "InstanceNormalization",
        ranks(3, 5, "3 to 5 dimensions"),
        "reshape around it",
        until=(10, 0),
    ),
    Rule("LayerNormalization", _first_output_only, "compute mean and deviation with ReduceMean"),
    Rule("MatMul Gemm", _whole_numbers, "cast its inputs to float"),
)
