"""Sending and fetching files through what any device has: `sh`, `cat`, `tar` and `sha256sum`."""

from __future__ import annotations

import os
import shlex
import shutil
import tarfile
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from edgecc.errors import DeviceError, UsageError
from edgecc.model import sha256
from edgecc.target import Tell

if TYPE_CHECKING:
    from edgecc.device.transport import Transport

LOOK_S = 60.0
SLOWEST_BYTES_PER_S = 100_000.0
"""A link that moves less is as good as lost."""
SPACE = "make room on the device: what edgecc keeps there is in ~/.cache/edgecc"


def push(
    transport: Transport, local: Path, remote: str, tell: Tell, without: Collection[str]
) -> None:
    """See `Transport.push`. Of what a full disk did not take, nothing stays there."""
    place = _absolute(transport, remote)
    try:
        _push(transport, local, place, tell, without)
    except DeviceError as error:
        if error.hint == SPACE:
            _sh(transport, f"rm -rf {_q(place)}.*.part*")
        raise


def _push(
    transport: Transport, local: Path, place: str, tell: Tell, without: Collection[str]
) -> None:
    if local.is_dir():
        here = {
            path.relative_to(local).as_posix(): path
            for path in sorted(local.rglob("*"))
            if path.is_file() and path.relative_to(local).parts[0] not in without
        }
        _push_folder(transport, here, place, tell)
    elif local.is_file():
        if _hashes(transport, str(PurePosixPath(place).parent), [PurePosixPath(place).name]) != {
            PurePosixPath(place).name: sha256(local)
        }:
            tell(f"sending {local.name}, {local.stat().st_size / 1e6:.1f} MB")
            part = _send(transport, local, place)
            mode = "755" if os.access(local, os.X_OK) else "644"
            _sh(transport, f"chmod {mode} {_q(part)} && mv -f {_q(part)} {_q(place)}")
    else:
        raise UsageError(f"there is no file {local} to send")


def _push_folder(transport: Transport, here: dict[str, Path], place: str, tell: Tell) -> None:
    there = _hashes(transport, place, list(here))
    missing = [name for name, path in here.items() if there.get(name) != sha256(path)]
    if not missing:
        return
    size = sum(here[name].stat().st_size for name in missing)
    tell(f"sending {len(missing)} of {len(here)} files, {size / 1e6:.1f} MB")
    with tempfile.TemporaryDirectory() as scratch:
        packed = Path(scratch) / "files.tar"
        with tarfile.open(packed, "w", format=tarfile.GNU_FORMAT) as tar:
            for name in missing:
                with here[name].open("rb") as stream:
                    tar.addfile(_entry(name, here[name]), stream)
        part = _send(transport, packed, place)
    fresh = f"{part}.files"
    names = "".join(f"./{name}\0" for name in missing).encode()
    _sh(
        transport,
        f"rm -rf {_q(fresh)} && mkdir -p {_q(fresh)} && tar -xf {_q(part)} -C {_q(fresh)} && "
        f'cd {_q(fresh)} && find . -type d | while IFS= read -r d; do mkdir -p {_q(place)}/"$d"; '
        f'done && xargs -0 sh -c \'place=$1; shift; for f; do mv -f "$f" "$place/$f" || exit 255; '
        f"done' sh {_q(place)} && cd / && rm -rf {_q(fresh)} {_q(part)}",
        stdin=names,
        timeout_s=LOOK_S + size / SLOWEST_BYTES_PER_S,
    )


def _entry(name: str, path: Path) -> tarfile.TarInfo:
    """The same bytes for the same file whenever it is packed: a broken push can go on."""
    entry = tarfile.TarInfo(name)
    entry.size = path.stat().st_size
    entry.mode = 0o755 if os.access(path, os.X_OK) else 0o644
    return entry


def _send(transport: Transport, local: Path, place: str) -> str:
    """Send a file beside `place`, from where it broke off; return the path that it has there."""
    digest, size = sha256(local), local.stat().st_size
    part = f"{place}.{digest[:16]}.part"
    parent = _q(str(PurePosixPath(place).parent))
    for fresh in (False, True):
        clear = f"rm -f {_q(part)} && " if fresh else ""
        text = f"mkdir -p {parent} && {clear}: >> {_q(part)} && wc -c < {_q(part)}"
        there = int(_sh(transport, text))
        with local.open("rb") as stream:
            stream.seek(there if there <= size else 0)
            timeout_s = LOOK_S + size / SLOWEST_BYTES_PER_S
            _sh(transport, f"cat >> {_q(part)}", stdin=stream, timeout_s=timeout_s)
        if _hashes(transport, str(PurePosixPath(part).parent), [PurePosixPath(part).name]) == {
            PurePosixPath(part).name: digest
        }:
            return part
    raise DeviceError(
        f"{transport.name}: {local.name} arrived changed twice", hint="is its disk full or failing?"
    )


def pull(transport: Transport, remote: str, local: Path) -> None:
    """See `Transport.pull`."""
    place = PurePosixPath(_absolute(transport, remote))
    local.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{local.name}.", dir=local.parent) as scratch:
        packed = Path(scratch) / "files.tar"
        _fetch(transport, place, packed)
        made = _unpack(packed, Path(scratch) / "files", transport.name) / place.name
        if local.is_dir():
            shutil.rmtree(local)
        made.rename(local)


def _fetch(transport: Transport, place: PurePosixPath, packed: Path) -> None:
    argv = ["tar", "-cf", "-", "-C", str(place.parent), "--", place.name]
    text = f"[ ! -e {_q(str(place))} ] || du -sk {_q(str(place))} | cut -f1"
    size = _sh(transport, text).strip()
    if not size:
        raise DeviceError(f"{transport.name} has no file {place}")
    timeout_s = LOOK_S + int(size) * 1024 / SLOWEST_BYTES_PER_S
    with packed.open("wb") as stream:
        transport.run(argv, timeout_s=timeout_s, stdout=stream)


def _unpack(packed: Path, folder: Path, device: str) -> Path:
    """Take files alone out of an archive, and none that leaves `folder`."""
    try:
        with tarfile.open(packed) as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise DeviceError(f"{device} sent a file that lies elsewhere: {member.name}")
                if member.isdir():
                    (folder / path).mkdir(parents=True, exist_ok=True)
                if not member.isfile():
                    continue
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                source = tar.extractfile(member)
                assert source is not None
                with (folder / path).open("wb") as stream:
                    shutil.copyfileobj(source, stream)
                (folder / path).chmod(0o755 if member.mode & 0o100 else 0o644)
    except tarfile.TarError as error:
        raise DeviceError(f"{device} sent an archive that is damaged: {error}") from None
    return folder


def _hashes(transport: Transport, folder: str, names: Sequence[str]) -> dict[str, str]:
    """The digests of those files that are there."""
    text = f"cd {_q(folder)} 2>/dev/null || exit 0; xargs -0 sha256sum -- 2>/dev/null || :"
    listing = "".join(f"./{name}\0" for name in names).encode()
    listed = _sh(transport, text, stdin=listing, timeout_s=LOOK_S * 5)
    found = {}
    for line in listed.splitlines():
        digest, _, name = line.lstrip("\\").partition(" ")
        if line.startswith("\\"):  # names with a backslash or a line's end are written escaped
            name = name.replace("\\n", "\n").replace("\\\\", "\\")
        found[name.lstrip(" *").removeprefix("./")] = digest
    return found


def _sh(
    transport: Transport,
    text: str,
    *,
    stdin: bytes | BinaryIO = b"",
    timeout_s: float = LOOK_S,
) -> str:
    try:
        return transport.run(["sh", "-c", text], timeout_s=timeout_s, stdin=stdin).stdout
    except DeviceError as error:
        if "No space left" in error.message:
            raise DeviceError(
                f"{transport.name}: no space is left on its disk", hint=SPACE
            ) from None
        raise


def _absolute(transport: Transport, remote: str) -> str:
    path = remote.removeprefix("~/") if remote.startswith("~/") else remote
    return path if path.startswith("/") else f"{transport.home()}/{path}"


def _q(text: str) -> str:
    return shlex.quote(text)
