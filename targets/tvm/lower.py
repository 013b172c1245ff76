"""From TVM's Relax to scheduled loops: blocks of channels, fusion, a schedule for each function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgecc.target import Core
from targets.tvm.layout.convert import in_blocks
from targets.tvm.layout.rules import RULES
from targets.tvm.pairs import paired
from targets.tvm.schedules.choose import scheduled


@dataclass(frozen=True)
class Lowered:
    """A network as functions with loops."""

    module: Any
    scheduled: list[str]
    """The functions that have a schedule of ours."""
    unscheduled: list[str]
    """Those that are left to TVM and LLVM."""


def lower(
    module: Any,
    core: Core,
    target: Any,
    *,
    winograd: bool = True,
    tuned: Callable[[Any], Any] | None = None,
) -> Lowered:
    """Lower what `to_relax` returned for `target` (TVM's), whose cores are like `core`.

    `tuned` may change the tiles of the functions before they are scheduled.
    """
    import tvm
    from tvm import relax

    before = [
        relax.backend.DispatchSampling(),
        relax.backend.DispatchSortScan(),
        relax.transform.DecomposeOpsForInference(),
        relax.transform.FoldConstant(),
    ]
    fuse = [
        relax.transform.LegalizeOps(),
        relax.transform.AnnotateTIROpPattern(),
        relax.transform.FoldConstant(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
        relax.transform.DeadCodeElimination(),
    ]
    tidy = [
        relax.transform.RewriteDataflowReshape(),
        relax.transform.DeadCodeElimination(),
    ]
    with target:
        module = tvm.transform.Sequential(before)(module)
        module = in_blocks(module, core, RULES, winograd=winograd)
        module = tvm.transform.Sequential(fuse)(module)
        module = tvm.transform.Sequential(tidy)(paired(module, core))
    if tuned is not None:
        module = tuned(module)
    done: list[str] = []
    left: list[str] = []
    for variable, function in list(module.functions_items()):
        if isinstance(function, tvm.tirx.PrimFunc):
            found = scheduled(function, core)
            (left if found is None else done).append(str(variable.name_hint))
            if found is not None:
                module[variable] = found
    return Lowered(module, sorted(done), sorted(left))
