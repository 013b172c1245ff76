"""An arm64 machine (Cortex-A72) on this one, whose clock counts instructions: 1 ns each.

QEMU's whole-system emulation with `-icount`, made and started by the project's tools (`arm64/` in
EDGECC_TOOLS, else ../shared/tools beside the checkout). Needs root and Debian's packages
qemu-user-static binfmt-support mmdebstrap qemu-system-arm ipxe-qemu cpio e2fsprogs.

Files lie in the machine under their SHA-256 and are linked to where they belong, so that only new
ones travel: a few megabytes over its network (1-2 MB/s), more into its disk, which takes a restart
of some five seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEEDED = ("qemu-system-aarch64", "mmdebstrap", "update-binfmts", "cpio", "debugfs", "ssh", "scp")
HOME = "/opt/edge"
PUSHED_AT_MOST = 6_000_000
"""Bytes that are quicker over the network than by a restart."""
WHEELS = ("numpy", "onnxruntime==1.31.1")
PLATFORMS = [f"manylinux_2_{minor}_aarch64" for minor in (28, 27, 24, 17)]
PLATFORMS += ["manylinux2014_aarch64", "any"]


class Vm:
    """The machine; its folder keeps what setting it up takes a minute for."""

    def __init__(self, work: Path, port: int = 2223) -> None:
        tools = os.environ.get("EDGECC_TOOLS", str(ROOT.parent / "shared" / "tools"))
        self.tools = Path(tools) / "arm64"
        self.work, self.port = work.resolve(), port
        self.folder = self.work / "vm"
        missing = [name for name in NEEDED if shutil.which(name) is None]
        if missing or os.geteuid() or not self.tools.is_dir():
            sys.exit(f"needs root, {self.tools} and: {', '.join(missing) or 'nothing else'}")

    def run(self, command: str) -> str:
        """What a command prints there; exits where it fails."""
        line = ["ssh", *self._ssh(), "-p", str(self.port), "root@127.0.0.1", command]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"in the machine, {command} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def place(self, files: Mapping[str, Path]) -> None:
        """Start the machine where it is off, and put files there, by their path below HOME."""
        self._set_up()
        digests = {path: _sha256(path) for path in files.values()}
        by_digest = {digest: path for path, digest in digests.items()}
        new = {key: path for key, path in by_digest.items() if key not in self._there()}
        size = sum(path.stat().st_size for path in new.values())
        if self._runs() and size <= PUSHED_AT_MOST:
            self._push(new)
        else:
            self.stop()
            self._bake(by_digest)
            self._control("start")
        pairs = [(digests[path], f"{HOME}/{name}") for name, path in files.items()]
        folders = sorted({os.path.dirname(place) for _, place in pairs})
        links = [f"ln -f {HOME}/store/{digest} '{place}'" for digest, place in pairs]
        self.run("\n".join([f"mkdir -p {' '.join(map(repr, folders))}", "set -e", *links]))

    def fetch(self, names: Sequence[str], folder: Path) -> None:
        """Bring files or folders here, under the same names, by their path below HOME."""
        words = " ".join(f"'{name}'" for name in names)
        line = ["ssh", *self._ssh(), "-p", str(self.port), "root@127.0.0.1"]
        with subprocess.Popen([*line, f"tar c -C {HOME} {words}"], stdout=subprocess.PIPE) as sent:
            subprocess.run(["tar", "x", "-C", str(folder)], stdin=sent.stdout, check=True)

    def stop(self) -> None:
        """Switch it off, where it runs."""
        if self._runs():
            end = ["ssh", *self._ssh(), "-O", "exit", "-p", str(self.port), "root@127.0.0.1"]
            subprocess.run(end, capture_output=True, check=False)
            self._control("stop")
        (self.folder / "pushed.json").unlink(missing_ok=True)

    def _runs(self) -> bool:
        try:
            os.kill(int((self.folder / "pid").read_text()), 0)
        except (OSError, ValueError):
            return False
        return True

    def _control(self, word: str) -> None:
        script = ["bash", str(self.tools / "vm.sh"), word, str(self.folder), str(self.port)]
        subprocess.run(script, env={**os.environ, "ICOUNT": "0", "MEM": "2048"}, check=True)

    def _ssh(self) -> list[str]:
        known = self.work / "known_hosts"
        names = {
            "UserKnownHostsFile": known,
            "BatchMode": "yes",
            "ControlMaster": "auto",
            "ControlPersist": "600",
            "ControlPath": self.folder / "ssh",
        }
        options = [word for name, value in names.items() for word in ("-o", f"{name}={value}")]
        return ["-i", str(self.work / "edge/id_edge"), *options]

    def _set_up(self) -> None:
        """Make the root, onnxruntime in it, kernel and disk, each where it is not there yet."""
        base = self.folder / "base.img"
        if base.is_file():
            return
        self.work.mkdir(parents=True, exist_ok=True)
        root, wheels, store = self.work / "edge/root", self.work / "py", self.work / "store"
        self._script("setup_edge.sh", self.work / "edge", EXTRA_PKGS="python3")
        key = (root / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
        (self.work / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {key}")
        if not wheels.is_dir():
            self._fetch(wheels)
        store.mkdir(exist_ok=True)
        payload = f"{wheels} {store}"
        self._script("setup_vm.sh", self.folder, root, PAYLOAD=payload, IMGSIZE="4G")
        (self.folder / "root.img").rename(base)

    def _script(self, name: str, *words: Path, **environment: str) -> None:
        line = ["bash", str(self.tools / name), *map(str, words)]
        done = subprocess.run(
            line, env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{name} ended with {done.returncode}: {done.stderr[-600:]}")

    def _fetch(self, folder: Path) -> None:
        """onnxruntime for aarch64, and compiled: 50 million instructions a second are few."""
        tags = [word for platform in PLATFORMS for word in ("--platform", platform)]
        tags += [word for abi in ("cp311", "abi3", "none") for word in ("--abi", abi)]
        pip = ["install", "--quiet", "--only-binary=:all:", "--no-compile", "--target"]
        versions = ["--python-version", "3.11", "--implementation", "cp"]
        line = [sys.executable, "-m", "pip", *pip, str(folder), *versions, *tags, *WHEELS]
        subprocess.run(line, check=True)
        if sys.version_info[:2] == (3, 11):
            mode = ["--invalidation-mode", "unchecked-hash"]
            line = [sys.executable, "-m", "compileall", "-q", *mode, str(folder)]
            subprocess.run(line, check=False)

    def _there(self) -> set[str]:
        lists = [self.folder / name for name in ("baked.json", "pushed.json")]
        return {
            digest for path in lists if path.is_file() for digest in json.loads(path.read_text())
        }

    def _push(self, new: Mapping[str, Path]) -> None:
        if not new:
            return
        with tempfile.TemporaryDirectory() as scratch:
            for digest, path in new.items():
                (Path(scratch) / digest).symlink_to(path.resolve())
            names = [str(Path(scratch) / digest) for digest in new]
            place = f"root@127.0.0.1:{HOME}/store/"
            line = ["scp", "-q", "-p", *self._ssh(), "-P", str(self.port), *names, place]
            subprocess.run(line, check=True)
        known = self.folder / "pushed.json"
        before = json.loads(known.read_text()) if known.is_file() else []
        known.write_text(json.dumps([*before, *new]))

    def _bake(self, files: Mapping[str, Path]) -> None:
        """Write a disk with these files, and no others beyond the system's."""
        disk = self.folder / "root.img"
        copy: Sequence[str] = ["cp", "--sparse=always", str(self.folder / "base.img"), str(disk)]
        subprocess.run(copy, check=True)
        orders = [f'write "{path.resolve()}" {digest}' for digest, path in files.items()]
        orders.insert(0, f"cd {HOME}/store")
        line = ["debugfs", "-w", "-f", "-", str(disk)]
        told = "\n".join(orders) + "\n"
        done = subprocess.run(line, input=told, capture_output=True, text=True, check=False)
        complaints = done.stderr.splitlines()[1:]  # the first line is its version
        if done.returncode or complaints:
            sys.exit(f"debugfs cannot write the disk: {complaints or done.returncode}")
        (self.folder / "baked.json").write_text(json.dumps(list(files)))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
