"""From TVM's Relax to scheduled loops: blocks of channels, fusion, a schedule for each function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgecc.target import Core
from targets.tvm.account import Account
from targets.tvm.compute.shuffle import SCHEDULED
from targets.tvm.layout.convert import in_blocks
from targets.tvm.layout.rules import RULES
from targets.tvm.options import USUAL, Options
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
    account: Account
    """The same in numbers."""


def lower(module: Any, core: Core, target: Any, options: Options = USUAL) -> Lowered:
    """Lower what `to_relax` returned for `target` (TVM's), whose cores are like `core`."""
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
    options.tell("laying out channels in blocks")
    with target:
        module = tvm.transform.Sequential(before)(module)
        module = in_blocks(module, core, RULES, winograd=options.winograd)
        options.tell("fusing operators")
        module = tvm.transform.Sequential(fuse)(module)
        module = tvm.transform.Sequential(tidy)(paired(module, core))
    if options.tuned is not None:
        module = options.tuned(module)
    functions = {v: f for v, f in module.functions_items() if isinstance(f, tvm.tirx.PrimFunc)}
    done: list[Any] = []
    left: list[Any] = []
    for number, (variable, function) in enumerate(functions.items()):
        options.tell(f"{number} of {len(functions)} functions scheduled")
        ready = bool(function.attrs.get(SCHEDULED, False))
        found = function if ready else scheduled(function, core)
        (left if found is None else done).append(variable)
        if found is not None:
            module[variable] = found
    account = Account.of(module["main"], functions, left)
    names, unscheduled = (sorted(str(v.name_hint) for v in found) for found in (done, left))
    return Lowered(module, names, unscheduled, account)
