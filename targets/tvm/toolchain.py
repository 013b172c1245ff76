"""What the backend builds with: pinned versions, LLVM's name of a core, Zig as C compiler."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from edgecc.errors import BuildError
from edgecc.target import Target, this_arch
from targets.tvm.llvm_names import check_core, check_features

TVM = "0.27.0.post1"
TVM_FFI = "0.1.14.post1"
OLDEST_GLIBC = (2, 27)  # what libtvm_runtime.so of these wheels asks for
MOST_ERRORS = 20
INSTALL = "pip install 'edgecc[arm]'"

# LLVM goes by the model number of an x86 core; a virtual machine may hide some of its features.
_X86_FALLBACKS = ("x86-64-v3", "x86-64-v2", "x86-64")
_X86_FEATURES = ("ssse3", "sse4_1", "sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni")
# The LLVM 22 inside this TVM vectorises `i % n` wrongly for AVX-512: a Tile reads past its input.
_X86_WITHOUT = ["-avx512f"]


def installed_versions() -> dict[str, str]:
    """Return the versions of TVM, its FFI, Zig and LLVM.

    Errors: `BuildError` where one is missing or not the release that edgecc is tested with.
    """
    found: dict[str, str] = {}
    for package, pinned in {"apache-tvm": TVM, "apache-tvm-ffi": TVM_FFI, "ziglang": None}.items():
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            raise BuildError(
                f"the TVM backend needs {package}, which is not installed", hint=INSTALL
            ) from None
        if pinned not in (None, found[package]):
            raise BuildError(
                f"the TVM backend needs {package} {pinned}, but {found[package]} is installed",
                hint=INSTALL,
            )
    return {**found, "llvm": _llvm_version()}


def _llvm_version() -> str:
    try:
        from tvm.target import codegen
    except (ImportError, OSError) as error:
        raise BuildError(f"TVM is installed but does not load: {error}", hint=INSTALL) from error
    return str(codegen.llvm_version_major())


def llvm_target(target: Target) -> dict[str, str | list[str]]:
    """Return what `tvm.target.Target` takes for this board.

    Errors: `BuildError` for a core or feature that LLVM does not know.
    """
    if target.cpu is None and not target.is_native:
        raise BuildError(
            f"the target '{target.name}' is another machine ({target.machine}) and names no core",
            hint='give the board file a line like cpu = "cortex-a72"',
        )
    triple = triple_of(target)
    cpu = target.cpu or host_cpu(triple)
    check_core(target, cpu, triple)
    check_features(target, cpu, triple)
    return {"kind": "llvm", "mtriple": triple, "mcpu": cpu, "mattr": list(target.features)}


def narrow(target: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
    """Return the target for code whose vectors LLVM makes up by itself."""
    if not str(target["mtriple"]).startswith("x86_64"):
        return target
    return {**target, "mattr": [*target["mattr"], *_X86_WITHOUT]}


def triple_of(target: Target) -> str:
    """Return LLVM's name of the target's architecture and system."""
    return f"{target.machine}-linux-gnu"


def host_cpu(triple: str) -> str:
    """Return LLVM's name of this machine's core, or of one that has no more than it has."""
    from tvm.target import codegen

    cpu = str(codegen.llvm_get_system_cpu()) or "generic"
    if this_arch() != "x86_64":
        return cpu
    flags = cpu_flags()
    return next(
        name for name in (cpu, *_X86_FALLBACKS) if name == "x86-64" or _runs(name, triple, flags)
    )


def cpu_flags() -> set[str]:
    """Return what the kernel says that this x86 machine has, virtual or not."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def _runs(cpu: str, triple: str, flags: set[str]) -> bool:
    from tvm.target import Target as TvmTarget
    from tvm.target import codegen

    if not codegen.llvm_is_valid_cpu(cpu, triple):
        return False
    core = TvmTarget({"kind": "llvm", "mtriple": triple, "mcpu": cpu})
    return all(
        flag in flags
        or not codegen.llvm_cpu_has_features(flag.replace("e4_", "e4.").replace("_", ""), core)
        for flag in _X86_FEATURES
    )


def glibc_for(target: Target) -> str | None:
    """Return the C library to link for; None is Zig's default, older than any that TVM runs on."""
    if target.glibc is None:
        return None
    try:
        version = tuple(int(part) for part in target.glibc.split("."))
    except ValueError:
        raise BuildError(
            f"the target '{target.name}' has glibc = '{target.glibc}', which is no version",
            hint='write it as in glibc = "2.27"',
        ) from None
    if version < OLDEST_GLIBC:
        needed = ".".join(map(str, OLDEST_GLIBC))
        raise BuildError(
            f"the target '{target.name}' has glibc {target.glibc}; TVM's runtime needs {needed}",
            hint="build with --backend onnxruntime, or update the board's system",
        )
    return target.glibc


def zig_cc(target: Target, arguments: list[str], folder: Path) -> None:
    """Run Zig's C compiler for `target` inside `folder`, a build's own. Errors: `BuildError`."""
    glibc = glibc_for(target)
    triple = f"{target.machine}-linux-gnu" + (f".{glibc}" if glibc else "")
    command = [sys.executable, "-m", "ziglang", "cc", "-target", triple, *arguments]
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BuildError(
            f"zig cc -target {triple} ended with {done.returncode}:\n{_own_words(done.stderr)}",
            hint=f"to run it again:\n    {_again(command, folder)}",
        )


def _again(command: list[str], folder: Path) -> str:
    """Return a line for the shell that does what failed, in a copy of `folder` that stays."""
    place = folder
    with contextlib.suppress(OSError):  # a full disk may be what failed
        place = Path(tempfile.mkdtemp(prefix="edgecc-failed-"))
        shutil.copytree(folder, place, dirs_exist_ok=True)
    words = list(command)
    if "-o" in words[:-1]:  # the folder it was to write into goes with the build
        output = words.index("-o") + 1
        words[output] = Path(words[output]).name
    return f"cd {shlex.quote(str(place))} && {shlex.join(words)}"


def _own_words(text: str) -> str:
    """Return what a compiler said: every error, or all of it where nothing is called so."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in lines if re.search("error|cannot|denied", line, re.IGNORECASE)]
    told = [line for line in named if not re.fullmatch(r"\d+ errors? generated\.", line)]
    errors = told or lines or ["it said nothing"]
    shown = errors[:MOST_ERRORS]
    left = [f"and {len(errors) - len(shown)} more"] if len(errors) > len(shown) else []
    return "\n".join(f"    {line}" for line in [*shown, *left])
