"""A Relax module to `model.so`, weights inside, linked by Zig so that old boards can load it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgecc.target import Target
from targets.tvm.frontend import last_line, quiet, reraise_interrupt
from targets.tvm.refusal import NotInTvmError
from targets.tvm.toolchain import llvm_target, zig_cc

# No build id, no symbols, no paths: the same model gives the same bytes in any folder.
LINK = ["-shared", "-s", "-Wl,--build-id=none", "-lm"]


def write_library(module: Any, target: Target, library: Path, workspace: Path) -> None:
    """Compile `module` with TVM's default pipeline for CPUs and write the shared `library`.

    `workspace` is an empty folder for object files. Errors: `BuildError`.
    """
    import tvm
    from tvm import relax

    core = tvm.target.Target(llvm_target(target))
    pipeline = tvm.transform.Sequential(
        [relax.transform.DecomposeOpsForInference(), relax.get_default_pipeline(core)]
    )
    with quiet():
        try:
            executable = tvm.compile(module, target=core, relax_pipeline=pipeline)
        except Exception as error:  # TVM raises whatever its C++ or Python ran into
            reraise_interrupt(error)
            raise NotInTvmError(
                f"TVM cannot compile the model for {target.name}: {last_line(error)}"
            ) from error

        def link(output: str, objects: list[str], options: tuple[str, ...] = ()) -> None:
            # A network that computes nothing (Dropout alone) comes as C source, with `options`.
            names = [Path(item).name for item in objects]
            zig_cc(target, [*LINK, *options, "-o", output, *names], workspace)

        link.object_format = "o"  # type: ignore[attr-defined]
        executable.export_library(
            str(library.absolute()), fcompile=link, workspace_dir=str(workspace)
        )
