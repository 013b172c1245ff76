"""Split: a number of parts (opset 18), sizes as an input (13), sizes as an attribute (before)."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgecc.conv import Refusal
from passes.legalise.older.emitter import Emitter, numbers, reads, sizes_of


def without_num_outputs(node: ir.Node, build: Emitter) -> str | Refusal | None:
    """Sizes in place of a number of parts, of which the last may be smaller."""
    parts = node.attributes.get_int("num_outputs", 0)
    if not parts:
        return None
    sizes = sizes_of(build.x)
    size = sizes[node.attributes.get_int("axis", 0)] if sizes else None
    if size is None:
        return Refusal("the size of what it splits is not known")
    node.attributes.pop("num_outputs")
    if size % parts == 0:
        return None
    each = -(-size // parts)
    chunks = [max(0, min(each, size - start * each)) for start in range(parts)]
    build.set_input(1, np.array(chunks, np.int64))
    return f"its sizes are {chunks}"


def sizes_to_attribute(node: ir.Node, build: Emitter) -> str | Refusal:
    """Sizes as an attribute."""
    if not reads(node, 1):
        return ""
    sizes = numbers(node, 1)
    if sizes is None:
        return Refusal("its sizes are computed at run time")
    build.keep_inputs(1)
    node.attributes.add(ir.AttrInt64s("split", sizes))
    return f"sizes {sizes} are an attribute"
