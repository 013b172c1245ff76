"""From TVM's Relax to scheduled loops: blocks of channels, fusion, a schedule for each function."""

from __future__ import annotations

from typing import Any

from targets.tvm.core import Core
from targets.tvm.layout.convert import in_blocks
from targets.tvm.layout.rules import RULES
from targets.tvm.schedules.choose import scheduled


def lowered(module: Any, target: Any, core: Core) -> tuple[Any, list[str]]:
    """Return `module` as functions with loops, and the names of those that have a schedule."""
    import tvm
    from tvm import relax

    before = [relax.transform.DecomposeOpsForInference(), relax.transform.FoldConstant()]
    after = [
        relax.transform.LegalizeOps(),
        relax.transform.AnnotateTIROpPattern(),
        relax.transform.FoldConstant(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
        relax.transform.DeadCodeElimination(),
    ]
    with target:
        module = tvm.transform.Sequential(before)(module)
        module = in_blocks(module, core, RULES)
        module = tvm.transform.Sequential(after)(module)
    done = []
    for variable, function in list(module.functions_items()):
        if isinstance(function, tvm.tirx.PrimFunc):
            found = scheduled(function, core)
            if found is not None:
                module[variable] = found
                done.append(str(variable.name_hint))
    return module, sorted(done)
