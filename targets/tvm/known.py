"""What a network computes from its weights alone, and from shapes, evaluated by numpy.

TVM's own FoldConstant compiles and runs a function for each such operator: a quarter of a second
for the index arithmetic that its frontend puts before a single Gather. What is not in the table is
left to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from targets.tvm.relax_values import rewritten

Array = npt.NDArray[Any]
LARGEST = 1 << 24
"""Numbers in what one operator makes: a weight that is spread out is not stored."""


def with_known_values(module: Any) -> Any:
    """Return a Relax module whose functions hold as constants what is known of them."""
    from tvm import relax

    @relax.expr_functor.mutator
    class Known(relax.PyExprMutator):  # type: ignore[misc]
        def __init__(self, mod: Any) -> None:
            super().__init__(mod)
            self.found: dict[Any, Any] = {}

        def visit_var_binding_(self, binding: Any) -> None:
            made = self.visit_expr(binding.value)
            if isinstance(binding.var, relax.DataflowVar) and _is_known(made):
                self.found[binding.var] = made
            else:
                super().visit_var_binding_(relax.VarBinding(binding.var, made))

        def visit_dataflow_var_(self, var: Any) -> Any:
            return self.found[var] if var in self.found else super().visit_dataflow_var_(var)

        def visit_call_(self, call: Any) -> Any:
            call = self.visit_expr_post_order(call)
            values = _evaluated(call)
            return call if values is None else relax.const(values, str(values.dtype))

    return rewritten(Known(module), module)


def _is_known(value: Any) -> bool:
    import tvm

    return isinstance(value, tvm.ir.expr.GenericConst)


def _evaluated(call: Any) -> Array | None:
    """Return the numbers that `call` gives, None where they are not known here."""
    rule = RULES.get(getattr(call.op, "name", ""))
    shape = getattr(getattr(call.ty, "shape", None), "values", None)
    if rule is None or shape is None:
        return None
    operands = [_value(operand) for operand in call.args]
    if any(operand is None for operand in operands):
        return None
    sizes = tuple(int(size) for size in shape)
    if np.prod(sizes, dtype=np.int64) > LARGEST:
        return None
    made = np.asarray(rule(call.attrs, *operands))
    fits = (made.shape, str(made.dtype)) == (sizes, str(call.ty.dtype))
    return np.asarray(made, order="C") if fits else None


def _value(operand: Any) -> Array | None:
    """Return a constant's numbers or the sizes of a shape, None where they are not known."""
    import tvm
    from tvm import relax

    if _is_known(operand):
        held = operand.value
        return held.numpy() if isinstance(held, tvm.runtime.Tensor) else None
    if isinstance(operand, relax.ShapeExpr):
        sizes: Any = operand.values
    elif isinstance(operand.ty, relax.ShapeType):
        sizes = operand.ty.values
    else:
        return None
    known = sizes is not None and all(hasattr(size, "value") for size in sizes)
    return np.array([int(size) for size in sizes], np.int64) if known else None


def _take(attrs: Any, data: Array, indices: Array) -> Array | None:
    axis = None if attrs.axis is None else int(attrs.axis)
    size = data.size if axis is None else data.shape[axis]
    if attrs.mode == "fast" and indices.size and not 0 <= indices.min() <= indices.max() < size:
        return None
    return np.take(data, indices, axis=axis, mode="wrap" if attrs.mode == "wrap" else "clip")


def _permuted(attrs: Any, data: Array) -> Array:
    return np.transpose(data, None if attrs.axes is None else [int(axis) for axis in attrs.axes])


RULES: dict[str, Callable[..., Array | None]] = {
    "relax.add": lambda attrs, a, b: a + b,
    "relax.multiply": lambda attrs, a, b: a * b,
    "relax.less": lambda attrs, a, b: a < b,
    "relax.where": lambda attrs, chosen, a, b: np.asarray(np.where(chosen, a, b)),
    "relax.take": _take,
    "relax.permute_dims": _permuted,
    "relax.reshape": lambda attrs, a, shape: a.reshape(shape),
    "relax.shape_to_tensor": lambda attrs, shape: shape,
}
