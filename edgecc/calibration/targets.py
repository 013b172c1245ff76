"""What a layer of a network that is being rewritten should put out."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from edgecc.calibration.order import shortcut_of
from edgecc.calibration.pieces import reads
from edgecc.calibration.replay import Replay
from edgecc.calibration.store import Batches, Lazy


@dataclass(frozen=True)
class Rectified:
    """What a ReLU behind a layer was given before anything was rewritten, and what else is added
    to the layer's output before it.
    """

    totals: Batches
    shortcut: Batches | None


def sees_a_change(replay: Replay, node: ir.Node) -> bool:
    """Return whether anything that `node` reads differs from what it was, weights included."""
    return any(replay.changed(value.name or "") for value in reads(node))


def target_of(replay: Replay, node: ir.Node) -> Batches | None:
    """Return what the layer should put out: what it did, and in a residual sum also what the
    shortcut no longer does. None where nothing before it has changed.
    """
    y = node.outputs[0]
    own = replay.before(y.name or "")
    shortcut = shortcut_of(y)
    if shortcut is not None and replay.changed(name := shortcut.name or ""):
        before, now = replay.before(name), replay.now(name)
        if own[0].shape == now[0].shape:
            return Lazy(lambda a, b, c: a + (b - c), own, before, now)
    return own if sees_a_change(replay, node) else None


def rectified_of(replay: Replay, y: ir.Value) -> Rectified | None:
    """Return the ReLU behind a layer with the output `y`, or behind the residual sum that it
    ends in; None where there is none.
    """
    own = replay.before(y.name or "")
    if _relu_follows(y):
        return Rectified(own, None)
    shortcut = shortcut_of(y)
    if shortcut is None or not replay.known(name := shortcut.name or ""):
        return None
    if not _relu_follows(next(iter(y.uses())).node.outputs[0]):
        return None
    before, now = replay.before(name), replay.now(name)
    if own[0].shape != before[0].shape:
        return None
    return Rectified(Lazy(lambda a, b: a + b, own, before), now)


def _relu_follows(y: ir.Value) -> bool:
    uses = list(y.uses())
    return len(uses) == 1 and uses[0].node.op_type == "Relu" and not y.is_graph_output()
