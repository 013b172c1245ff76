"""AVX-512 for scheduled functions alone.

The LLVM 22 inside this TVM vectorises `i % n` wrongly for AVX-512, so what has no schedule of ours
(its loops are left to LLVM's own vectoriser) is compiled without it. A module of TVM has one
target: scheduled functions become a module of their own, which the network calls by name.
"""

from __future__ import annotations

from typing import Any

from targets.tvm.relax_values import rewritten


def beside(module: Any, names: list[str], target: Any) -> Any:
    """Return `module` with the functions `names` compiled for `target`, attached to it."""
    import tvm
    from tvm import relax
    from tvm.relax.expr_functor import PyExprMutator, mutator

    chosen = {
        variable: f for variable, f in module.functions_items() if variable.name_hint in names
    }
    if not chosen:
        return module
    call_tir = tvm.ir.Op.get("relax.call_tir")

    @mutator
    class CallByName(PyExprMutator):  # type: ignore[misc]
        def visit_call_(self, call: Any) -> Any:
            call = super().visit_call_(call)
            if not call.op.same_as(call_tir) or call.args[0] not in chosen:
                return call
            name, operands = call.args[0].name_hint, call.args[1]
            return relax.call_dps_packed(name, operands, call.ty_args[0])

    functions = {v: f.with_attr("global_symbol", v.name_hint) for v, f in chosen.items()}
    library = tvm.tirx.build(tvm.IRModule(functions), target=target)
    result = rewritten(CallByName(module), module)
    for variable in chosen:
        del result[result.get_global_var(variable.name_hint)]
    return result.with_attr("external_mods", [library])
