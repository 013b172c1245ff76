"""The cores and features that the LLVM inside TVM knows, and what is said of one it does not."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from edgecc.errors import BuildError
from edgecc.target import Target

LIST = """python -c "from targets.tvm.llvm_names import *; print(*{call})\""""


def known_cores(triple: str) -> list[str]:
    """Return LLVM's name of every core of an architecture (`aarch64-linux-gnu`), in order."""
    from tvm.target import Target as TvmTarget
    from tvm.target import codegen

    target = TvmTarget({"kind": "llvm", "mtriple": triple})
    return sorted(map(str, codegen.llvm_get_cpu_archlist(target)))


def known_features(triple: str) -> list[str]:
    """Return LLVM's name of every feature that some core of an architecture has, in order."""
    return sorted(set().union(*(features_of(cpu, triple) for cpu in known_cores(triple))))


def features_of(cpu: str, triple: str, changes: Iterable[str] = ()) -> set[str]:
    """Return the features of a core, `changes` (`+dotprod`, `-sve`) made."""
    from tvm.target import Target as TvmTarget
    from tvm.target import codegen

    target = {"kind": "llvm", "mtriple": triple, "mcpu": cpu, "mattr": list(changes)}
    return set(map(str, codegen.llvm_get_cpu_features(TvmTarget(target))))


def check_core(target: Target, cpu: str, triple: str) -> None:
    """Refuse a core that LLVM does not know. Errors: `BuildError`."""
    from tvm.target import codegen

    if codegen.llvm_is_valid_cpu(cpu, triple):
        return
    known = known_cores(triple)
    raise BuildError(
        f"LLVM {codegen.llvm_version_major()} knows no core '{cpu}' for {triple}"
        f" (`cpu` in the board file of '{target.name}')",
        hint=_known(cpu, known, f"known_cores('{triple}')"),
    )


def check_features(target: Target, cpu: str, triple: str) -> None:
    """Refuse a feature without a sign, or one that LLVM does not know. Errors: `BuildError`."""
    from tvm.target import codegen

    for feature in target.features:
        sign, name = feature[:1], feature[1:]
        if sign not in ("+", "-"):
            raise BuildError(
                f"`features` in the board file of '{target.name}' has '{feature}', without a sign",
                hint=f"'+{feature}' is to have it, '-{feature}' to leave it out",
            )
        known = known_features(triple)
        # Some that are known no core has; LLVM itself warns of one that it does not know.
        if name in known or name in features_of(cpu, triple, [f"+{name}"]):
            continue
        raise BuildError(
            f"LLVM {codegen.llvm_version_major()} knows no feature '{name}' for {triple}"
            f" (`features` in the board file of '{target.name}')",
            hint=_known(name, known, f"known_features('{triple}')"),
        )


def _known(word: str, known: list[str], call: str) -> str:
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    nearest = f"the nearest of {len(known)} are {', '.join(near)}" if near else "it knows none near"
    return f"{nearest}; all: {LIST.format(call=call)}"
