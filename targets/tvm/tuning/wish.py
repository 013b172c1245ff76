"""What a user asks of the tuner, and where what it measures is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgecc.errors import UsageError
from edgecc.target import Target
from targets.tvm.device_runtime import cache_folder
from targets.tvm.toolchain import TVM, host_cpu, installed_versions, triple_of
from targets.tvm.tuning.address import Address
from targets.tvm.tuning.records import Database

FILE = "tuning.jsonl"


@dataclass(frozen=True)
class Wish:
    """How many tiles to measure where, or the file with those to take."""

    trials: int
    """Of one network, counting those measured by earlier builds; 0 takes what there is."""
    address: Address | None
    file: Path | None
    """Read instead of the cache."""
    tell: Callable[[str], None]

    @classmethod
    def parse(cls, target: Target, tune: str, rpc: str | None, tell: Callable[[str], None]) -> Wish:
        """Read `--tune` and `--rpc`, and see whether a server answers.

        Errors: `UsageError`, `DeviceError`.
        """
        if not tune.isdecimal():
            if rpc is not None:
                raise UsageError(
                    f"--tune {tune} takes what was measured, and --rpc measures",
                    hint="give a number of trials, as --tune 200",
                )
            path = Path(tune)
            inside = path / "tvm" / FILE
            return cls(0, None, inside if path.is_dir() else path, tell)
        trials = int(tune)
        if rpc is None and trials and not target.is_native:
            raise UsageError(
                f"tuning measures on the board, and nothing says where {target.name} is",
                hint="give the address of its TVM RPC server, as --rpc 192.168.1.7:9090",
            )
        address = Address.parse(rpc or "local") if trials else None
        if address is not None and address.is_local and not target.is_native:
            raise UsageError(
                f"--rpc local measures on this machine, {target.name} is {target.machine}",
                hint="give the address of its TVM RPC server, as --rpc 192.168.1.7:9090",
            )
        if address is not None:
            address.check()
        return cls(trials, address, None, tell)

    def database(self, target: Target) -> Database:
        """Open what was measured. Errors: `UsageError` for a file that is not for this target."""
        cpu = target.cpu or host_cpu(triple_of(target))
        made_for = {"target": target.name, "cpu": cpu, "tvm": TVM}
        made_for["llvm"] = installed_versions()["llvm"]
        if self.file is not None:
            return Database.read(self.file, made_for, must_exist=True)
        name = f"{target.name}-{TVM}"
        if target.cpu is None:  # the home of several machines, perhaps
            name = f"{target.name}-{cpu}-{TVM}"
        return Database.read(cache_folder() / "tuning" / name / "records.jsonl", made_for)
