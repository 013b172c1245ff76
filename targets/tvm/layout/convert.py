"""The pass that lets a network run in blocks of channels, from its first convolution to its last.

Each operator that has a rule is given blocked inputs and gives a blocked output; any other gets its
inputs as `NCHW`, unpacked once where they are needed. So nothing here can be wrong for an operator
that it does not know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecc.target import Core
from targets.tvm.compute.shuffle import shuffle
from targets.tvm.compute.transforms import packed, unpacked
from targets.tvm.layout.blocked import Blocked, Joined, in_order, lanes_for

Rule = Callable[["Converter", Any], "Blocked | Joined | None"]


class Converter:
    """What a rule works with: it reads its operands, blocked or plain, and emits new ones."""

    def __init__(self, core: Core, weight_bytes: int, *, winograd: bool) -> None:
        self.core = core
        self.weight_bytes = weight_bytes
        self.winograd = winograd
        self.known: dict[Any, Blocked] = {}
        self.joined: dict[Any, Joined] = {}
        self.readers: dict[Any, int] = {}
        self.builder: Any = None
        self.visit: Callable[[Any], Any] = lambda expr: expr
        self.bindings: dict[Any, Any] = {}
        self._plain: dict[Any, Any] = {}

    def blocked(self, operand: Any) -> Blocked | None:
        """Return `operand` where it is blocked already."""
        if not is_var(operand):
            return None
        if operand in self.joined and operand not in self.known:
            self.known[operand] = self.copied(self.joined[operand])
        return self.known.get(operand)

    def parts(self, operand: Any) -> tuple[Blocked, ...] | None:
        """Return what `operand` is joined of, where nobody else wants the whole."""
        if not is_var(operand) or operand in self.known or self.readers.get(operand) != 1:
            return None
        found = self.joined.get(operand)
        return None if found is None else found.parts

    def copied(self, given: Joined) -> Blocked:
        """Return tensors that are joined as one."""
        from tvm import relax

        values = relax.Tuple([part.value for part in given.parts])
        value = self.emit(relax.op.concat(values, axis=1))
        return Blocked(value, given.order, given.parts[0].lanes)

    def plain(self, operand: Any) -> Any:
        """Return `operand` as `NCHW`."""
        found = self.blocked(operand)
        if found is None:
            return self.visit(operand)
        if operand not in self._plain:
            self._plain[operand] = self.builder.emit(self.unpack(found))
        return self._plain[operand]

    def unpack(self, given: Blocked) -> Any:
        """Return the call that makes `NCHW` of a blocked value."""
        table = [] if given.plain else [self.constant(given.places())]
        options = {"channels": given.channels, "flat": given.flat}
        return self.te(unpacked, given.value, *table, **options)

    def pack(self, operand: Any, order: tuple[int, ...], lanes: int) -> Blocked:
        """Return `operand`, of shape (N, C, H, W) or (N, C), in this layout."""
        from tvm import relax

        found = self.blocked(operand)
        if found is not None:
            return self.reorder(found, order, lanes)
        whole, shape = self.plain(operand), sizes(operand)
        flat = False
        if shape is not None and len(shape) == 2:
            flat = True
            whole = self.emit(relax.op.reshape(whole, (*shape, 1, 1)))
        made = Blocked(None, order, lanes, flat)
        slots = np.reshape(np.asarray(order, np.int32), (-1, lanes))
        table = [] if made.plain else [self.constant(slots)]
        options = {"channels": made.channels, "blocks": made.blocks, "lanes": lanes}
        return made.like(self.emit(self.te(packed, whole, *table, **options)))

    def reorder(self, given: Blocked, order: tuple[int, ...], lanes: int) -> Blocked:
        """Return the same channels in another layout; an empty slot gets any of them."""
        if (given.order, given.lanes) == (order, lanes):
            return given
        return self.gather(given, given.places()[np.maximum(order, 0)], order, lanes)

    def gather(self, given: Blocked, slots: Any, order: tuple[int, ...], lanes: int) -> Blocked:
        """Return what lies in these `slots` of `given`, in this layout."""
        from tvm import relax

        batch, _, high, wide, held = (int(size) for size in given.value.ty.shape.values)
        function = shuffle((batch, given.blocks, high, wide, held), slots.reshape(-1, lanes))
        name = self.builder.add_func(function, "reordered")
        shape = (batch, len(order) // lanes, high, wide, lanes)
        made = relax.call_tir(name, [given.value], relax.TensorType(shape, "float32"))
        return Blocked(self.emit(made), order, lanes, given.flat)

    def layout(self, channels: int) -> tuple[tuple[int, ...], int]:
        """Return the usual layout of so many channels."""
        lanes = lanes_for(channels, self.core.lanes)
        return in_order(channels, lanes), lanes

    def te(self, compute: Callable[..., Any], *operands: Any, **options: Any) -> Any:
        """Return the call of a function that computes so, with `options` that are known now."""
        return self.builder.call_te(
            lambda *tensors: compute(*tensors, **options),
            *operands,
            primfunc_name_hint=compute.__name__,
        )

    def emit(self, call: Any) -> Any:
        """Return the variable that holds what `call` gives."""
        return self.builder.emit(call)

    def fields(self, operand: Any) -> list[Any]:
        """Return the members of a tuple, as they were before this pass."""
        from tvm import relax

        if not isinstance(operand, relax.Tuple):
            operand = self.bindings.get(operand)
        return list(operand.fields) if isinstance(operand, relax.Tuple) else []

    def constant(self, values: npt.NDArray[Any]) -> Any:
        """Return `values` as part of the network."""
        from tvm import relax

        return relax.const(np.ascontiguousarray(values))


def in_blocks(module: Any, core: Core, rules: dict[str, Rule], *, winograd: bool) -> Any:
    """Return `module` with `main` computing in blocks."""
    from tvm import relax
    from tvm.relax.expr_functor import PyExprMutator, mutator

    @mutator
    class InBlocks(PyExprMutator):  # type: ignore[misc]
        def __init__(self, mod: Any) -> None:
            super().__init__(mod)
            self.convert = Converter(core, _weight_bytes(module), winograd=winograd)
            self.convert.builder = self.builder_
            self.convert.visit = self.visit_expr
            self.convert.readers = readers(module["main"])

        def visit_var_binding_(self, binding: Any) -> None:
            self.convert.bindings[binding.var] = binding.value
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

    changed = InBlocks(module)
    for variable, function in module.functions.items():
        if isinstance(function, relax.Function):
            changed.builder_.update_func(variable, changed.visit_expr(function))
    return changed.builder_.get()


def readers(function: Any) -> dict[Any, int]:
    """Return how often each variable of a Relax function is read."""
    from tvm import relax

    found: dict[Any, int] = {}
    for block in function.body.blocks:
        for variable, reading in relax.analysis.udchain(block).items():
            found[variable] = found.get(variable, 0) + len(reading)
    return found


def _weight_bytes(module: Any) -> int:
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
