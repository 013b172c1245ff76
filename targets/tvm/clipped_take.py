"""Gathers that stay inside their input, whatever indices they are given at run time."""

from __future__ import annotations

from typing import Any

from targets.tvm.relax_values import rewritten


def clip_takes(module: Any) -> Any:
    """Return a Relax module whose every `take` clips its indices.

    TVM's frontend imports Gather as a `take` in "fast" mode, which reads outside the array for an
    index outside it (and says so on stderr, each time). ONNX leaves such an index undefined.
    """
    import tvm
    from tvm import relax

    take = tvm.ir.Op.get("relax.take")

    @relax.expr_functor.mutator
    class ClipTakes(relax.PyExprMutator):  # type: ignore[misc]
        def visit_call_(self, call: Any) -> Any:
            call = self.visit_expr_post_order(call)
            if not call.op.same_as(take) or call.attrs.mode != "fast":
                return call
            return relax.op.take(*call.args, axis=call.attrs.axis, mode="clip")

    return rewritten(ClipTakes(module), module)
