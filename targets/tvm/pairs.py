"""Puts a depthwise convolution and the pointwise one that reads it into one function.

What lies between them is several times the size of either side (DAC's multiplier): computed by
rows, it never leaves the nearest caches.
"""

from __future__ import annotations

import math
from typing import Any

from edgecc.target import Core
from targets.tvm.compute.convolution import CROPPED, KIND
from targets.tvm.compute.window import PADDED
from targets.tvm.relax_values import readers, sizes
from targets.tvm.schedules.body import Body


def paired(module: Any, core: Core) -> Any:
    """Return `module`, whose functions are fused, with such pairs as one function each."""
    import tvm
    from tvm import relax
    from tvm.relax.expr_functor import PyExprMutator, mutator

    kinds = {v: _kind(f, core) for v, f in module.functions_items() if _is_loops(f)}
    call_tir = tvm.ir.Op.get("relax.call_tir")
    uses = readers(module["main"])

    @mutator
    class Pairs(PyExprMutator):  # type: ignore[misc]
        def __init__(self, mod: Any) -> None:
            super().__init__(mod)
            self.calls: dict[Any, Any] = {}
            self.count = 0

        def visit_var_binding_(self, binding: Any) -> None:
            self.calls[binding.var] = binding.value
            super().visit_var_binding_(binding)

        def visit_call_(self, call: Any) -> Any:
            first = self._producer(call)
            if first is None:
                return super().visit_call_(call)
            operands = [*first.args[1].fields, *call.args[1].fields[1:]]
            self.count += 1
            made = self.builder_.add_func(_pair(first, call), f"depthwise_pointwise{self.count}")
            return relax.Call(made, [self.visit_expr(operand) for operand in operands])

        def _producer(self, call: Any) -> Any:
            if not call.op.same_as(call_tir) or kinds.get(call.args[0]) != "pointwise":
                return None
            data = call.args[1].fields[0]
            found = self.calls.get(data)
            if found is None or uses.get(data) != 1 or not hasattr(found, "op"):
                return None
            if not found.op.same_as(call_tir) or kinds.get(found.args[0]) != "on_lanes":
                return None
            return found if _pays(data, call.args[1].fields[1], core) else None

    changed = Pairs(module)
    changed.builder_.update_func(module.get_global_var("main"), changed.visit_expr(module["main"]))
    if not changed.count:
        return module
    passes = [
        relax.transform.DeadCodeElimination(),
        relax.transform.FuseTIR(),
        relax.transform.DeadCodeElimination(),
    ]
    return tvm.transform.Sequential(passes)(changed.builder_.get())


def _pair(first: Any, second: Any) -> Any:
    """Return a function of Relax that calls both, for `FuseTIR` to make one of."""
    from tvm import relax

    builder = relax.BlockBuilder()
    inputs = [relax.Var(f"a{i}", x.ty) for i, x in enumerate(first.args[1].fields)]
    others = [relax.Var(f"b{i}", x.ty) for i, x in enumerate(second.args[1].fields[1:])]
    attrs = {"Primitive": True}
    with builder.function("pair", [*inputs, *others], attrs=attrs, private=True):
        with builder.dataflow():
            between = builder.emit(relax.call_tir(first.args[0], inputs, first.ty_args[0]))
            made = relax.call_tir(second.args[0], [between, *others], second.ty_args[0])
            result = builder.emit_output(made)
        builder.emit_func_output(result)
    return builder.get()["pair"]


def _is_loops(function: Any) -> bool:
    import tvm

    return isinstance(function, tvm.tirx.PrimFunc)


def _kind(function: Any, core: Core) -> str | None:
    """Return what `function` computes, None where it does not do it in whole lines."""
    body = Body(function, core)
    blocks = body.blocks()
    kinds = [str(found) for block in blocks if (found := body.annotation(block, KIND))]
    names = {body.name(block) for block in blocks}
    whole = CROPPED not in names and not (kinds == ["pointwise"] and PADDED in names)
    return kinds[0] if len(kinds) == 1 and whole else None


def _pays(between: Any, weights: Any, core: Core) -> bool:
    """Whether what lies between leaves the first cache, and weights stay in the second one: they
    are read for each of the rows."""
    shape, taps = sizes(between), sizes(weights)
    if shape is None or taps is None:
        return False
    near, far = core.l1_kb * 1024, core.l2_kb * 1024
    return math.prod(shape) * 4 > near and math.prod(taps) * 4 <= far / 4
