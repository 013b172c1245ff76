"""A Relax module to `model.so`, weights inside, linked by Zig so that old boards can load it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgecc.errors import EdgeccError
from edgecc.target import Target
from targets.tvm.core import core_of
from targets.tvm.frontend import last_line, quiet, reraise_interrupt
from targets.tvm.lower import Lowered, lower
from targets.tvm.options import USUAL, Options
from targets.tvm.refusal import NotInTvmError
from targets.tvm.toolchain import llvm_target, narrow, zig_cc
from targets.tvm.wide import beside

# No build id, no symbols, no paths: the same model gives the same bytes in any folder.
LINK = ["-shared", "-s", "-Wl,--build-id=none", "-lm"]


def write_library(
    module: Any,
    target: Target,
    library: Path,
    workspace: Path,
    options: Options = USUAL,
) -> Lowered:
    """Compile `module` for `target` and write the shared `library`.

    `workspace` is an empty folder for object files. Errors: `BuildError`.
    """
    with quiet():
        try:
            executable, lowered = compiled(module, target, options)
        except EdgeccError:
            raise
        except Exception as error:  # TVM raises whatever its C++ or Python ran into
            reraise_interrupt(error)
            raise NotInTvmError(
                f"TVM cannot compile the model for {target.name}: {last_line(error)}"
            ) from error

        options.tell("linking")
        link(executable, target, library, workspace)
    return lowered


def link(built: Any, target: Target, library: Path, workspace: Path) -> None:
    """Write what TVM built as a shared `library`. Errors: `BuildError`."""

    def by_zig(output: str, objects: list[str], options: tuple[str, ...] = ()) -> None:
        # A network that computes nothing (Dropout alone) comes as C source, with `options`.
        names = [Path(item).name for item in objects]
        zig_cc(target, [*LINK, *options, "-o", output, *names], workspace)

    by_zig.object_format = "o"  # type: ignore[attr-defined]
    built.export_library(str(library.absolute()), fcompile=by_zig, workspace_dir=str(workspace))


def compiled(module: Any, target: Target, options: Options = USUAL) -> tuple[Any, Lowered]:
    """Return what TVM's virtual machine runs, and how each function was lowered."""
    import tvm
    from tvm.relax.backend.cpu_generic import pipeline as cpu

    whole = tvm.target.Target(llvm_target(target))
    safe = tvm.target.Target(narrow(llvm_target(target)))
    lowered = lower(module, core_of(target), whole, options)
    module = lowered.module
    options.tell("compiling")
    if target.machine == "x86_64":
        module = beside(module, lowered.scheduled, whole)
    passes = [*cpu.dataflow_lower_passes(safe), *cpu.finalize_passes(safe)]
    executable = tvm.compile(module, target=safe, relax_pipeline=tvm.transform.Sequential(passes))
    return executable, lowered
