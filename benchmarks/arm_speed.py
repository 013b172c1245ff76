"""Instruction time on a Cortex-A72, edgecc's libraries beside onnxruntime's: no board is needed.

    python benchmarks/arm_speed.py [--only resnet20 ...] [--families dense dac ...] [--quick]
        [--work FOLDER] [--port 2223] [--assets FOLDER] [--json FILE] [--limit]

The networks of `cpu_speed.py` are built for `rpi4`, as they are and rewritten at half the
multiply-adds, and run in an emulated machine whose clock counts instructions (`arm_vm.py`):
edgecc's by the C runner of the bundle, onnxruntime's aarch64 build by Python, one thread each.
Figures are millions of instructions, which repeat to 1e-4. Pictures are 32x32 for the networks
that take any.
Setting the machine up takes two minutes, once; what onnxruntime takes is kept with it. `--quick`
looks at resnet20 alone. `--limit` exits with 1 where the goal is missed or numbers are wrong.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path

from arm_timing import TARGET, Job, Time, instruction_times
from arm_vm import Vm
from networks import add_assets_option, check_assets
from ratios import Ratio, table_head, table_row
from speed_goals import DENSE, arm_misses, finish
from speed_networks import FAMILIES, SMALL_PICTURE, Timed, rewritten, timed_networks

HEADS = ("network", "family", "MACs", "edgecc M", "onnxruntime M", "ratio", "of original", "error")


def main() -> None:
    """Print the table, and what was missed."""
    options = _options()
    check_assets(options.assets)
    vm = Vm(options.work, options.port)
    rows: list[dict] = []
    print(table_head(HEADS))
    try:
        for network in timed_networks(options.assets, options.work, SMALL_PICTURE):
            if network.name in (options.only or [network.name]):
                for row in measured(network, options.families, options.work, vm):
                    print(_shown(row), flush=True)
                    rows.append(row)
    finally:
        vm.stop()
    told, missed = arm_misses(rows)
    print("\n" + "\n".join(told))
    finish(rows, missed, options.json, limit=options.limit)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Instruction time beside onnxruntime on ARM.")
    add_assets_option(parser)
    parser.add_argument("--only", nargs="*", help="networks; default: all")
    parser.add_argument("--families", nargs="*", default=[DENSE, *FAMILIES])
    parser.add_argument("--quick", action="store_true", help="resnet20 alone")
    work = Path(tempfile.gettempdir()) / "edgecc-speed"
    parser.add_argument("--work", type=Path, default=work, help="for the machine and the models")
    parser.add_argument("--port", type=int, default=2223, help="of the machine's ssh, here")
    parser.add_argument("--json", type=Path, help="the rows, as numbers")
    parser.add_argument("--limit", action="store_true", help="exit with 1 where a goal is missed")
    options = parser.parse_args()
    options.only = ["resnet20"] if options.quick and not options.only else options.only
    return options


def measured(network: Timed, families: list[str], work: Path, vm: Vm) -> list[dict]:
    """The rows of a network in all its forms; the original is measured in any case."""
    with tempfile.TemporaryDirectory() as scratch:
        macs, jobs = {}, {}
        for family in dict.fromkeys([DENSE, *families]):
            model, macs[family] = network.model, 1.0
            if family != DENSE:
                small = rewritten(network, family, TARGET, work)
                model, macs[family] = small.model, small.macs
            name = f"{network.name}-{family}"
            jobs[family] = Job.built(name, model, network.shape, Path(scratch) / name)
        times = dict(zip(jobs, instruction_times(vm, list(jobs.values())), strict=True))
    original = times[DENSE].theirs
    return [
        _row(network, family, macs[family], times[family], original, jobs[family].build_s)
        for family in families
    ]


def _row(
    network: Timed, family: str, macs: float, time: Time, original: float, build_s: float
) -> dict:
    """As `cpu_speed.py` writes one: the intervals are points."""
    ratios = [time.ours / time.theirs, time.ours / original]
    own, of_original = (asdict(Ratio(value, value, value)) for value in ratios)
    return {
        "network": network.name,
        "family": family,
        "threads": 1,
        "macs": macs,
        "ours_ms": time.ours,
        "theirs_ms": time.theirs,
        "ratio": own,
        "of_original": of_original if family != DENSE else None,
        "error": time.error,
        "build_s": build_s,
    }


def _shown(row: dict) -> str:
    of_original = f"{row['of_original']['value']:.3f}" if row["of_original"] else ""
    cells = [row["network"], row["family"], f"{row['macs']:.3f}"]
    cells += [f"{row[side]:.2f}" for side in ("ours_ms", "theirs_ms")]
    return table_row([*cells, f"{row['ratio']['value']:.3f}", of_original, f"{row['error']:.0e}"])


if __name__ == "__main__":
    main()
