"""Whether `edgecc bench` can be trusted: the same again, two that are alike, the order of several.

    python benchmarks/bench_trust.py [--backends tvm onnxruntime] [--trials 20] [--runs 3]
        [--work FOLDER] [--port 2225] [--assets FOLDER] [--json FILE] [--limit]

resnet20 and five rewrites of it at half the multiply-adds are built for `rpi4` and measured over
ssh in an emulated machine whose clock counts instructions (`arm_vm.py`), through devices.toml as a
board would be. Runs of `edgecc bench` on the original agree within 0.1 %; with a copy of itself as
baseline the ratio is 1 within its interval in every trial; the rewrites come in the same order in
every run. Trials take a minute each with TVM; onnxruntime takes long to start there, and has
`--trials` of its own: one. `--limit` exits with 1 where one of the three does not hold.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from arm_timing import TARGET
from arm_vm import HOME, Vm
from networks import add_assets_option, check_assets
from ratios import table_head, table_row
from speed_goals import finish
from speed_networks import FAMILIES, SMALL_PICTURE, Timed, rewritten, timed_networks

import edgecc
from edgecc.measure.bench import Wish, bench
from edgecc.measure.statistics import Interval
from edgecc.measure.trust import Limits

DEVICE = "vm"
ORIGINAL = "original"
AGREEMENT = 0.001
PYTHON = f"{HOME}/python-with-onnxruntime"
WISH = Wish(
    rounds=3,
    seconds=0.05,
    energy_s=None,
    pin=False,
    threads=1,
    profile=False,
    limits=Limits(samples=6),
)
"""Short: a clock that counts instructions needs no averages."""
HEADS = ("backend", "what", "figure", "holds", "seconds")


@dataclass(frozen=True)
class Shown:
    """One thing that must hold."""

    backend: str
    what: str
    figure: str
    holds: bool
    seconds: float

    def row(self) -> list[str]:
        """As the table has it."""
        return [self.backend, self.what, self.figure, str(self.holds), f"{self.seconds:.0f}"]


def main() -> None:
    """Print the table, and what was missed."""
    options = _options()
    check_assets(options.assets)
    vm = Vm(options.work, options.port)
    shown: list[Shown] = []
    print(table_head(HEADS), flush=True)
    try:
        vm.place({})
        _make_device(vm)
        os.chdir(vm.work)
        network = timed_networks(options.assets, options.work, SMALL_PICTURE)[0]
        for backend in options.backends:
            bundles = _built(network, backend, options.work)
            trials = options.trials if backend == "tvm" else options.slow_trials
            for each in _checks(bundles, backend, trials, options.runs):
                print(table_row(each.row()), flush=True)
                shown.append(each)
    finally:
        vm.stop()
    missed = [f"{each.backend}: {each.what}: {each.figure}" for each in shown if not each.holds]
    finish([vars(each) for each in shown], missed, options.json, limit=options.limit)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Whether 'edgecc bench' can be trusted.")
    add_assets_option(parser)
    parser.add_argument("--backends", nargs="*", default=["tvm", "onnxruntime"])
    parser.add_argument("--trials", type=int, default=20, help="of two that are alike, with TVM")
    parser.add_argument("--slow-trials", type=int, default=1, help="the same with onnxruntime")
    parser.add_argument("--runs", type=int, default=3, help="of everything else")
    work = Path(tempfile.gettempdir()) / "edgecc-trust"
    parser.add_argument("--work", type=Path, default=work, help="for the machine and the models")
    parser.add_argument("--port", type=int, default=2225, help="of the machine's ssh, here")
    parser.add_argument("--json", type=Path, help="the rows, as numbers")
    parser.add_argument("--limit", action="store_true", help="exit with 1 where one does not hold")
    return parser.parse_args()


def _make_device(vm: Vm) -> None:
    """Write devices.toml and the ssh configuration that it names; give the machine a Python."""
    wrapper = f'#!/bin/sh\\nexec env PYTHONPATH={HOME}/py /usr/bin/python3 \\"\\$@\\"\\n'
    vm.run(f'printf "{wrapper}" > {PYTHON}; chmod 755 {PYTHON}')
    config = vm.work / "ssh_config"
    config.write_text(
        f"Host 127.0.0.1\n  IdentityFile {vm.work / 'edge/id_edge'}\n"
        f"  UserKnownHostsFile {vm.work / 'known_hosts'}\n  BatchMode yes\n"
    )
    (vm.work / "devices.toml").write_text(
        f'[{DEVICE}]\nurl = "ssh://root@127.0.0.1:{vm.port}"\ntarget = "{TARGET}"\n'
        f'ssh_config = "{config}"\npython = "{PYTHON}"\n'
    )


def _built(network: Timed, backend: str, work: Path) -> dict[str, Path]:
    """Build the network as it is and rewritten, each into a bundle."""
    models = {ORIGINAL: network.model}
    models |= {family: rewritten(network, family, TARGET, work).model for family in FAMILIES}
    made = {}
    for name, model in models.items():
        out = work / f"{backend}-{name}"
        shutil.rmtree(out, ignore_errors=True)
        edgecc.build(model, TARGET, backend=backend, passes="", shape=network.shape, out=out)
        made[name] = out
    return made


def _checks(bundles: dict[str, Path], backend: str, trials: int, runs: int) -> list[Shown]:
    """All three, with one backend."""
    return [
        _same_again(bundles[ORIGINAL], backend, runs),
        _alike(bundles[ORIGINAL], backend, trials),
        _order({name: path for name, path in bundles.items() if name != ORIGINAL}, backend, runs),
    ]


def _median_ms(bundle: Path) -> float:
    found = bench(bundle, DEVICE, WISH)
    found.demand()
    median_ms = found.measurement.latency["A"].median_ms
    print(f"{bundle.name}: {median_ms:.4f} ms", file=sys.stderr, flush=True)
    return median_ms


def _same_again(bundle: Path, backend: str, runs: int) -> Shown:
    start = time.monotonic()
    medians = [_median_ms(bundle) for _ in range(runs)]
    apart = max(medians) / min(medians) - 1
    figure = f"{runs} runs of {medians[0]:.3f} ms are {apart:.1e} apart"
    seconds = time.monotonic() - start
    return Shown(backend, "runs agree within 0.1 %", figure, apart <= AGREEMENT, seconds)


def _alike(bundle: Path, backend: str, trials: int) -> Shown:
    start = time.monotonic()
    found = [_ratio(bundle, bundle) for _ in range(trials)]
    held = sum(each.low <= 1 <= each.high for each in found)
    worst = max((each.value for each in found), key=lambda value: abs(value - 1))
    figure = f"{held} of {trials}, the furthest {worst:.5f}"
    seconds = time.monotonic() - start
    return Shown(backend, "two alike: 1 is in the interval", figure, held == trials, seconds)


def _ratio(bundle: Path, against: Path) -> Interval:
    found = bench(bundle, DEVICE, WISH, against=against)
    found.demand()
    assert found.measurement.ratio is not None  # as it is trusted
    print(f"{bundle.name} over itself: {found.measurement.ratio}", file=sys.stderr, flush=True)
    return found.measurement.ratio


def _order(bundles: dict[str, Path], backend: str, runs: int) -> Shown:
    start = time.monotonic()
    orders = []
    for _ in range(runs):
        medians = {name: _median_ms(path) for name, path in bundles.items()}
        orders.append(sorted(medians, key=medians.__getitem__))
    figure = f"{runs} runs: {' < '.join(orders[0])}"
    same = all(order == orders[0] for order in orders)
    return Shown(backend, "the same order every time", figure, same, time.monotonic() - start)


if __name__ == "__main__":
    main()
