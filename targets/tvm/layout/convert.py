"""The pass that lets a network run in blocks of channels, from its first convolution to its last.

Each operator that has a rule is given blocked inputs and gives a blocked output; any other gets its
inputs as `NCHW`, unpacked once where they are needed. So nothing here can be wrong for an operator
that it does not know.
"""

from __future__ import annotations

from typing import Any

from edgecc.target import Core
from targets.tvm.layout.blocked import Blocked, Joined
from targets.tvm.layout.converter import Converter, Rule
from targets.tvm.layout.wanted import find_wanted
from targets.tvm.relax_values import readers, rewritten, weight_bytes


def in_blocks(module: Any, core: Core, rules: dict[str, Rule], *, winograd: bool) -> Any:
    """Return `module` with `main` computing in blocks."""
    from tvm import relax
    from tvm.relax.expr_functor import PyExprMutator, mutator

    @mutator
    class InBlocks(PyExprMutator):  # type: ignore[misc]
        def __init__(self, mod: Any) -> None:
            super().__init__(mod)
            self.convert = Converter(core, weight_bytes(module), winograd=winograd)
            self.convert.builder = self.builder_
            self.convert.visit = self.visit_expr
            self.convert.readers = readers(module["main"])
            find_wanted(self.convert, module["main"])

        def visit_var_binding_(self, binding: Any) -> None:
            self.convert.bindings[binding.var] = binding.value
            self.convert.current = binding.var
            made = self._rewritten(binding.value)
            if made is None:
                super().visit_var_binding_(binding)
            elif isinstance(binding.var, relax.DataflowVar):
                if isinstance(made, Joined):
                    self.convert.joined[binding.var] = made
                else:
                    self.convert.known[binding.var] = made
            else:
                one = self.convert.copied(made) if isinstance(made, Joined) else made
                whole = self.convert.unpack(one)
                super().visit_var_binding_(relax.VarBinding(binding.var, whole))

        def visit_dataflow_var_(self, var: Any) -> Any:
            if var in self.convert.known or var in self.convert.joined:
                return self.convert.plain(var)
            return super().visit_dataflow_var_(var)

        def _rewritten(self, value: Any) -> Blocked | Joined | None:
            import tvm

            if not isinstance(value, relax.Call) or not isinstance(value.op, tvm.ir.Op):
                return None
            rule = rules.get(value.op.name)
            return rule(self.convert, value) if rule else None

    return rewritten(InBlocks(module), module)
