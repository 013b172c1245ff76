"""What a Relax module says of its values: shapes, numbers, readers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy.typing as npt


def rewritten(changed: Any, module: Any) -> Any:
    """Return `module` with each of its Relax functions as the mutator `changed` makes it."""
    from tvm import relax

    for variable, function in module.functions.items():
        if isinstance(function, relax.Function):
            changed.builder_.update_func(variable, changed.visit_expr(function))
    return changed.builder_.get()


def calls_of(expr: Any) -> Counter[Any]:
    """Return how often each function with loops is called in `expr`, by its global variable."""
    from tvm import ir, relax

    call_tir, found = ir.Op.get("relax.call_tir"), Counter[Any]()

    def visit(node: Any) -> None:
        if isinstance(node, relax.Call) and node.op.same_as(call_tir):
            found[node.args[0]] += 1

    relax.analysis.post_order_visit(expr, visit)
    return found


def readers(function: Any) -> dict[Any, int]:
    """Return how often each variable of a Relax function is read."""
    from tvm import relax

    found: dict[Any, int] = {}
    for block in function.body.blocks:
        for variable, reading in relax.analysis.udchain(block).items():
            found[variable] = found.get(variable, 0) + len(reading)
    return found


def weight_bytes(module: Any) -> int:
    """Return the size of all constants of the network."""
    from tvm import relax

    found: list[int] = []

    def count(node: Any) -> None:
        values = number(node)
        found.append(0 if values is None else values.nbytes)

    relax.analysis.post_order_visit(module["main"], count)
    return sum(found)


def is_var(operand: Any) -> bool:
    """Whether `operand` stands for the result of another call, or an input."""
    from tvm import relax

    return isinstance(operand, relax.Var)


def sizes(value: Any) -> tuple[int, ...] | None:
    """Return the shape of a float32 tensor of known sizes, None of anything else."""
    kind = value.ty
    found = getattr(getattr(kind, "shape", None), "values", None)
    if found is None or str(getattr(kind, "dtype", "")) != "float32":
        return None
    if not all(hasattr(size, "value") for size in found):
        return None
    return tuple(int(size) for size in found)


def number(value: Any) -> npt.NDArray[Any] | None:
    """Return a constant's numbers."""
    import tvm

    held = value.value if isinstance(value, tvm.ir.expr.GenericConst) else None
    return held.numpy() if isinstance(held, tvm.runtime.Tensor) else None
