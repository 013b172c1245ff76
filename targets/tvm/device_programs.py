"""What runs `model.so` without Python: libedgecc.so with its header, and edgecc-run upon it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from edgecc.target import Target
from targets.tvm.toolchain import zig_cc

SOURCES = Path(__file__).parent / "device"
LIBRARY = ("edgecc.c", "signature.c", "tvm.c")
RUNNER = ("run.c", "npy.c")
# No build id, no symbols, no paths: the same bytes in any folder.
COMPILE = ("-std=c11", "-O2", "-Wall", "-Werror", "-s", "-Wl,--build-id=none")
BESIDE = "-Wl,-rpath,$ORIGIN"


def write_programs(target: Target, folder: Path) -> None:
    """Write edgecc.h, libedgecc.so and edgecc-run into `folder`, where TVM's libraries are.

    Errors: `BuildError`.
    """
    import tvm_ffi.libinfo

    headers = {tvm_ffi.libinfo.find_include_path(), tvm_ffi.libinfo.find_dlpack_include_path()}
    shutil.copyfile(SOURCES / "edgecc.h", folder / "edgecc.h")
    shared = [
        *(*COMPILE, "-shared", "-fPIC", "-fvisibility=hidden", "-Wl,-soname,libedgecc.so"),
        *(f"-I{path}" for path in sorted(headers)),
        *(os.fspath(SOURCES / source) for source in LIBRARY),
        *("-o", "libedgecc.so", "-L.", "-ltvm_runtime", "-ltvm_ffi", "-lpthread", "-ldl", BESIDE),
    ]
    zig_cc(target, shared, folder)
    program = [
        *COMPILE,
        *(os.fspath(SOURCES / source) for source in RUNNER),
        *("-o", "edgecc-run", "-L.", "-ledgecc", "-Wl,--allow-shlib-undefined", BESIDE),
    ]
    zig_cc(target, program, folder)
