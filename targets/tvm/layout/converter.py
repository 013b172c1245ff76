"""What the rules of the layout work with: operands in blocks or as `NCHW`, and new calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecc.target import Core
from targets.tvm.compute.shuffle import shuffle
from targets.tvm.compute.transforms import packed, unpacked
from targets.tvm.layout.blocked import Blocked, Joined, in_order, lanes_for
from targets.tvm.relax_values import is_var, sizes

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
        self.wanted: dict[Any, tuple[tuple[int, ...], int]] = {}
        self.current: Any = None
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
