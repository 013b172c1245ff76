"""Orders of channels that a reader wants: the convolution before it writes them so, for nothing."""

from __future__ import annotations

from typing import Any

from targets.tvm.layout.converter import Converter
from targets.tvm.layout.convolutions import lane_order
from targets.tvm.layout.elementwise import FINITE
from targets.tvm.relax_values import is_var, number


def find_wanted(convert: Converter, function: Any) -> None:
    """Note in `convert.wanted` which results should have which order and lanes."""
    calls = {
        binding.var: binding.value for block in function.body.blocks for binding in block.bindings
    }
    for call in calls.values():
        wish = lane_order(convert, call)
        source = _producer(convert, calls, call.args[0]) if wish is not None else None
        if wish is not None and source is not None:
            convert.wanted[source] = wish


def _producer(convert: Converter, calls: dict[Any, Any], value: Any) -> Any:
    """Return the dense convolution that `value` comes from, number by number, for one reader."""
    while is_var(value) and convert.readers.get(value) == 1 and value in calls:
        call = calls[value]
        name = getattr(getattr(call, "op", None), "name", None)
        if name == "relax.nn.conv2d":
            return value if int(call.attrs.groups) == 1 else None
        if name not in FINITE or any(number(other) is None for other in call.args[1:]):
            return None
        value = call.args[0]
    return None
