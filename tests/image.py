"""Dockerfiles carried out in a chroot, where no container engine runs."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

QUIET = ("man", "doc", "locale")
PIP = ("/etc/pip.conf", "/root/.config/pip/pip.conf", "/root/.pip/pip.conf")
NETWORK = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs")
TOOLS = ("mmdebstrap", "unshare", "chroot", "qemu-aarch64-static", "update-binfmts")
PACKAGES = (
    *("base-files", "base-passwd", "bash", "coreutils", "dash", "findutils", "grep", "gzip"),
    *("libc-bin", "libgomp1", "libstdc++6", "login", "passwd", "python3", "sed", "tar"),
)


def missing() -> str | None:
    """Why no root can be made here."""
    if os.geteuid() != 0:
        return "only root makes a chroot"
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"there is no {', '.join(lacking)}" if lacking else None


def steps(dockerfile: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, one line each."""
    text = dockerfile.read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    pairs = [line.partition(" ") for line in lines if line and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in pairs]


def make_root(root: Path, architecture: str) -> None:
    """Unpack a small Debian with Python and pip into `root`, from this machine's own archive."""
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    listed = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()
    archive = next(line for line in listed if "security" not in line)
    if architecture == "arm64":
        enable_qemu()
    subprocess.run(
        [
            *("mmdebstrap", "--quiet", "--variant=extract", f"--architectures={architecture}"),
            f"--include={','.join([*PACKAGES, 'python3-pip'])}",
            "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
            '--aptopt=Apt::Install-Recommends "false"',
            *(f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in QUIET),
            *("bookworm", root, f"deb {archive} bookworm main"),
        ],
        check=True,
        capture_output=True,
    )
    for kind in ("passwd", "group"):
        shutil.copy(root / f"usr/share/base-passwd/{kind}.master", root / "etc" / kind)
    for name in ("shadow", "gshadow"):
        (root / "etc" / name).touch(mode=0o600)
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):  # python's images have none
        marker.unlink()
    subprocess.run(["chroot", root, "/sbin/ldconfig"], check=True)


def enable_qemu() -> None:
    """Let the kernel start programs for arm64; that does not outlive a boot."""
    registered = Path("/proc/sys/fs/binfmt_misc")
    if not (registered / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", registered], check=True)
    if not (registered / "qemu-aarch64").exists():
        subprocess.run(["update-binfmts", "--enable", "qemu-aarch64"], check=True)


@dataclass
class Image:
    """What the steps of a Dockerfile have made so far, and how its programs start."""

    root: Path
    context: Path
    user: str = "root"
    folder: str = "/"
    entry: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """What of the base image's own is not here to be run."""

    def build(self, dockerfile: Path) -> Image:
        """Carry out every step behind the first, the base image."""
        first, *rest = steps(dockerfile)
        assert first[0] == "FROM"
        for word, text in rest:
            self._step(word, text)
        return self

    def run(self, *arguments: str, entry: list[str] | None = None) -> str:
        """Start the image's program as its user, as `docker run` does; return what it prints."""
        return self._start([*(self.entry if entry is None else entry), *arguments])

    def _step(self, word: str, text: str) -> None:
        if word == "RUN" and "apt-get" in text:
            self.skipped.append(text)
        elif word == "RUN":
            self._start(["/bin/sh", "-c", text])
        elif word == "COPY":
            *sources, target = text.split()
            for source in sources:
                self._copy(self.context / source, target)
        elif word == "WORKDIR":
            self.folder = text
            (self.root / text.lstrip("/")).mkdir(exist_ok=True)
        elif word == "USER":
            self.user = text
        elif word == "ENTRYPOINT":
            self.entry = json.loads(text)
        else:
            raise AssertionError(f"{word} is not carried out here")

    def _copy(self, source: Path, target: str) -> None:
        place = self.root / target.lstrip("/")
        if source.is_dir():
            shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
            return
        place = place / source.name if target.endswith("/") else place
        place.parent.mkdir(exist_ok=True)
        shutil.copy(source, place)

    def _start(self, words: list[str]) -> str:
        """Run a command in the root, with this machine's network and its settings of pip."""
        root = shlex.quote(str(self.root))
        mounts = [f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev"]
        for path in [*NETWORK, *PIP, *_local_indexes()]:
            if not Path(path).exists():
                continue
            inside = self.root / path.lstrip("/")
            if Path(path).is_dir():
                inside.mkdir(parents=True, exist_ok=True)
            else:
                inside.parent.mkdir(parents=True, exist_ok=True)
                inside.touch()
            mounts.append(f"mount --bind {path} {shlex.quote(str(inside))}")
        home = "/root" if self.user == "root" else f"/home/{self.user}"
        kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        kept |= {"PIP_QUIET": "1"} | {
            name: os.environ[name] for name in os.environ if name.lower().endswith("_proxy")
        }
        inner = f"cd {self.folder} && exec {shlex.join(words)}"
        chroot = ["chroot", f"--userspec={self.user}", str(self.root), "/bin/sh", "-c", inner]
        script = " && ".join([*mounts, f"exec {shlex.join(chroot)}"])
        done = subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--propagation=private", "sh", "-c", script],
            env={**kept, "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": home},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{shlex.join(words)}:\n{done.stdout}{done.stderr}"
        return done.stdout


def _local_indexes() -> list[str]:
    """Folders that this machine's pip takes packages from, as well as from its registry."""
    told = os.environ.get("PIP_FIND_LINKS", "").split()
    for path in map(Path, PIP):
        words = path.read_text().split() if path.exists() else []
        # the pages of an index link to files beside its folder
        told += [str(Path(word[7:]).parent) for word in words if word.startswith("file://")]
    return [word for word in dict.fromkeys(told) if word.startswith("/") and Path(word).is_dir()]
