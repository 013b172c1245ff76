"""TVM's runtime libraries for the device: this machine's own, or another's, fetched with pip once.

What was fetched stays in `$XDG_CACHE_HOME/edgecc` (or `~/.cache/edgecc`), each library under its
SHA-256; `tvm-<versions>-<architecture>.json` says which ones belong together.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from edgecc.errors import BuildError
from edgecc.target import this_arch
from targets.tvm.toolchain import TVM, TVM_FFI

LIBRARIES = {  # the file, and where its wheel keeps it
    "libtvm_ffi.so": "tvm_ffi/lib/libtvm_ffi.so",
    "libtvm_runtime.so": "tvm/lib/libtvm_runtime.so",
}
# pip wants every tag spelled out. The libraries are the same for any Python: one is named, so that
# everybody fetches the same file.
PYTHON = ("--python-version", "3.11", "--implementation", "cp", "--abi", "cp311", "--abi", "none")
MANYLINUX = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_24", "manylinux_2_17")


def copy_runtime(arch: str, folder: Path) -> None:
    """Put the runtime libraries for `arch` into `folder`.

    Errors: `BuildError` where they must be fetched and cannot be.
    """
    contents = _installed() if arch == this_arch() else _cached(arch) or _fetched(arch)
    for name, data in contents.items():
        path = folder / name
        path.write_bytes(data)
        path.chmod(0o755)


def _installed() -> dict[str, bytes]:
    found = {}
    for name, inside in LIBRARIES.items():
        package, _, rest = inside.partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise BuildError(f"{package} is not installed", hint="pip install 'edgecc[arm]'")
        found[name] = (Path(spec.origin).parent / rest).read_bytes()
    return found


def cache_folder() -> Path:
    """Return edgecc's folder in the user's cache; it need not exist."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if os.path.isabs(given) else Path.home() / ".cache") / "edgecc"


def _index(arch: str) -> Path:
    return cache_folder() / f"tvm-{TVM}-ffi-{TVM_FFI}-{arch}.json"


def _cached(arch: str) -> dict[str, bytes] | None:
    """Return the libraries where all are there and are what their hash says."""
    try:
        digests = json.loads(_index(arch).read_text())
        contents = {name: (cache_folder() / digests[name]).read_bytes() for name in LIBRARIES}
    except (OSError, ValueError, KeyError, TypeError):
        return None  # never fetched, or damaged: it is fetched again
    intact = all(hashlib.sha256(contents[name]).hexdigest() == digests[name] for name in LIBRARIES)
    return contents if intact else None


def _fetched(arch: str) -> dict[str, bytes]:
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache_folder()) as work:
            contents = _download(arch, Path(work))
            digests = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
            for name, data in contents.items():
                _write(cache_folder() / digests[name], data, Path(work))
            _write(_index(arch), json.dumps(digests, indent=2).encode(), Path(work))
    except OSError as error:
        raise BuildError(
            f"cannot keep TVM's runtime for {arch} in {cache_folder()}: {error.strerror}",
            hint="set XDG_CACHE_HOME to a folder that can be written",
        ) from error
    return contents


def _write(path: Path, data: bytes, work: Path) -> None:
    """Write beside and rename: other processes see the old file or the whole new one."""
    beside = work / path.name
    beside.write_bytes(data)
    beside.replace(path)


def _download(arch: str, work: Path) -> dict[str, bytes]:
    platforms = [word for tag in MANYLINUX for word in ("--platform", f"{tag}_{arch}")]
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--only-binary=:all:", "--no-deps", "--dest", str(work), *PYTHON, *platforms),
        *(f"apache-tvm=={TVM}", f"apache-tvm-ffi=={TVM_FFI}"),
    ]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines or ["no message"]
        raise BuildError(
            f"cannot fetch TVM's runtime for {arch} with pip: {errors[0]}",
            hint="it needs pip and a package index that pip can reach, once; after that the"
            f" libraries are kept in {cache_folder()}, which can be copied between machines",
        )
    contents: dict[str, bytes] = {}
    for wheel in sorted(work.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            present = set(archive.namelist())
            contents |= {n: archive.read(i) for n, i in LIBRARIES.items() if i in present}
    if contents.keys() != LIBRARIES.keys():
        missing = ", ".join(sorted(LIBRARIES.keys() - contents.keys()))
        raise BuildError(f"the wheels of TVM {TVM} for {arch} do not hold {missing}")
    return contents
