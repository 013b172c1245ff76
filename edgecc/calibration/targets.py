"""What a layer of a network that is being rewritten should put out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecc.calibration.order import shortcut_of
from edgecc.calibration.pieces import reads
from edgecc.calibration.replay import Replay
from edgecc.calibration.store import Batches, Lazy
from edgecc.conv import Array

RECTIFIERS = frozenset({"Relu", "Clip", "HardSwish", "Gelu", "Mish"})
"""What lets through what is above zero, and below it little or nothing."""
WATCHED = 2000
"""Positions of a batch that are looked at, of each channel."""


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
    return _behind(replay, y, frozenset({"Relu"}))


def passed_of(replay: Replay, y: ir.Value) -> Array | None:
    """Return for each channel of a layer's output `y` the share of the positions at which what
    follows lets it through: (C,). None where nothing that stops it follows.
    """
    found = _behind(replay, y, RECTIFIERS)
    if found is None:
        return None
    parts = [_thinned(batch) > 0 for batch in found.totals]  # (C, positions)
    share: Array = np.concatenate(parts, axis=1).mean(axis=1)
    return share


def _behind(replay: Replay, y: ir.Value, rectifiers: frozenset[str]) -> Rectified | None:
    own = replay.before(y.name or "")
    if _feeds(y, rectifiers):
        return Rectified(own, None)
    shortcut = shortcut_of(y)
    if shortcut is None or not replay.known(name := shortcut.name or ""):
        return None
    if not _feeds(next(iter(y.uses())).node.outputs[0], rectifiers):
        return None
    before, now = replay.before(name), replay.now(name)
    if own[0].shape != before[0].shape:
        return None
    return Rectified(Lazy(lambda a, b: a + b, own, before), now)


def _feeds(y: ir.Value, rectifiers: frozenset[str]) -> bool:
    """Whether rectifiers alone read `y`."""
    nodes = list({id(use.node): use.node for use in y.uses()}.values())
    if y.is_graph_output() or len(nodes) != 1:
        return False
    node = nodes[0]
    return node.op_type in rectifiers and (node.op_type != "Clip" or _clips_at_zero(node))


def _clips_at_zero(node: ir.Node) -> bool:
    least = node.inputs[1] if len(node.inputs) > 1 else None
    return least is not None and least.const_value is not None and least.const_value.numpy() == 0


def _thinned(batch: Any) -> Array:
    """Some of the positions of a batch (B, C, *sizes): (C, P)."""
    rows = np.asarray(batch)
    rows = rows.reshape(*rows.shape[:2], -1)
    count = rows[:, 0].size
    samples, positions = np.divmod(np.arange(0, count, max(1, count // WATCHED)), rows.shape[2])
    found: Array = rows[samples, :, positions].T
    return found
