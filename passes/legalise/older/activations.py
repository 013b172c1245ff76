"""Activations and comparisons as older operators, each with its formula. Exact but for rounding."""

from __future__ import annotations

import math

import onnx_ir as ir

from edgecc.conv import Refusal
from passes.legalise.older.emitter import Emitter, Operand


def hard_swish(node: ir.Node, build: Emitter) -> str:
    """x * max(0, min(1, x / 6 + 1/2))."""
    gate = build.op("HardSigmoid", build.x, alpha=1 / 6, beta=0.5)
    build.replace_by(build.op("Mul", build.x, gate))
    return "x * HardSigmoid(x)"


def hard_sigmoid(node: ir.Node, build: Emitter) -> str:
    """max(0, min(1, alpha * x + beta))."""
    x = build.x
    alpha = node.attributes.get_float("alpha", 0.2)
    beta = node.attributes.get_float("beta", 0.5)
    scaled = build.op("Mul", x, build.number(alpha, x))
    build.replace_by(build.clip(build.op("Add", scaled, build.number(beta, x)), 0, 1))
    return "Clip(alpha * x + beta, 0, 1)"


def gelu(node: ir.Node, build: Emitter) -> str:
    """x/2 * (1 + erf(x / sqrt 2)), or x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))."""
    x = build.x
    if node.attributes.get_string("approximate", "none") == "tanh":
        cube = build.op("Mul", build.op("Mul", x, x), x)
        bent = build.op("Add", x, build.op("Mul", cube, build.number(0.044715, x)))
        scaled = build.op("Mul", bent, build.number(math.sqrt(2 / math.pi), x))
        curve, note = build.op("Tanh", scaled), "x/2 * (1 + Tanh(...))"
    else:
        curve = build.op("Erf", build.op("Mul", x, build.number(math.sqrt(0.5), x)))
        note = "x/2 * (1 + Erf(x / sqrt 2))"
    half = build.op("Mul", x, build.number(0.5, x))
    build.replace_by(build.op("Mul", half, build.op("Add", curve, build.number(1, x))))
    return note


def mish(node: ir.Node, build: Emitter) -> str:
    """x * tanh(ln(1 + e^x))."""
    gate = build.op("Tanh", build.op("Softplus", build.x))
    build.replace_by(build.op("Mul", build.x, gate))
    return "x * Tanh(Softplus(x))"


def swish(node: ir.Node, build: Emitter) -> str:
    """x / (1 + e^(-alpha x))."""
    x, alpha = build.x, node.attributes.get_float("alpha", 1.0)
    scaled = x if alpha == 1 else build.op("Mul", x, build.number(alpha, x))
    build.replace_by(build.op("Mul", x, build.op("Sigmoid", scaled)))
    return "x * Sigmoid(alpha * x)"


def celu(node: ir.Node, build: Emitter) -> str:
    """max(0, x) + min(0, alpha * (e^(x / alpha) - 1))."""
    x, alpha = build.x, node.attributes.get_float("alpha", 1.0)
    if alpha == 1:
        build.replace_by(build.op("Elu", x))
        return "Elu(x)"
    curve = build.op("Elu", build.op("Div", x, build.number(alpha, x)))
    build.replace_by(build.op("Mul", curve, build.number(alpha, x)))
    return "alpha * Elu(x / alpha)"


def thresholded_relu(node: ir.Node, build: Emitter) -> str:
    """Return x where x > alpha, else 0."""
    x = build.x
    alpha = build.number(node.attributes.get_float("alpha", 1.0), x)
    above = build.op("Greater", x, alpha, dtype=ir.DataType.BOOL)
    build.replace_by(_where(build, above, x, build.number(0, x)))
    return "Where(x > alpha, x, 0)"


def shrink(node: ir.Node, build: Emitter) -> str:
    """Return x + bias below -lambd, x - bias above lambd, else 0."""
    x = build.x
    limit = node.attributes.get_float("lambd", 0.5)
    bias = build.number(node.attributes.get_float("bias", 0.0), x)
    below = build.op("Less", x, build.number(-limit, x), dtype=ir.DataType.BOOL)
    above = build.op("Greater", x, build.number(limit, x), dtype=ir.DataType.BOOL)
    upper = _where(build, above, build.op("Sub", x, bias), build.number(0, x))
    build.replace_by(_where(build, below, build.op("Add", x, bias), upper))
    return "Where(x < -lambd, x + bias, Where(x > lambd, x - bias, 0))"


def or_equal(node: ir.Node, build: Emitter) -> str:
    """Return x > y or x = y (less alike): false for NaN, as it should be."""
    strict = node.op_type.removesuffix("OrEqual")
    x, y = node.inputs
    sides = [build.op(kind, x, y, dtype=ir.DataType.BOOL) for kind in (strict, "Equal")]
    build.replace_by(build.op("Or", *sides))
    return f"Or({strict}, Equal)"


def cast_like(node: ir.Node, build: Emitter) -> str | Refusal:
    """Return a Cast to the type of the second input, which is known here."""
    like = node.inputs[1]
    if like is None or like.dtype is None:
        return Refusal("the type that it casts to is not known")
    build.replace_by(build.op("Cast", build.x, dtype=like.dtype, to=int(like.dtype)))
    return f"Cast to {like.dtype.name}"


def _where(build: Emitter, condition: ir.Value, x: ir.Value, other: Operand) -> ir.Value:
    return build.op("Where", condition, x, other, dtype=x.dtype)
