"""The facts in the board files agree with each other, and with what is known of JetPack."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecc import catalog
from edgecc.errors import EdgeccError, UsageError
from targets.tensorrt.versions import release

BOARDS = catalog.targets()
ENGINES = sorted(name for name, board in BOARDS.items() if board.backend == "tensorrt")
JETSONS = sorted(name for name, board in BOARDS.items() if board.jetson)
SENSORS = sorted(name for name, board in BOARDS.items() if board.power)
PRICED = [(name, each) for name, board in BOARDS.items() for each in board.precisions]
TENSOR_CORES = {"7.2", "8.7"}
SOCS = {"5.3": "tegra210", "6.2": "tegra186", "7.2": "tegra194", "8.7": "tegra234"}


def test_there_is_a_board_for_every_jetson_that_the_project_names() -> None:
    assert ENGINES == ["nano", "orin", "orin-nano", "orin-nx", "tx2", "xavier", "xavier-nx"]
    assert set(JETSONS) == {*ENGINES, "nano-cpu", "orin-cpu", "tx2-cpu", "xavier-cpu"}


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_has_what_its_gpu_has(name: str) -> None:
    board = BOARDS[name]
    assert board.engine is not None
    assert board.jetson is not None
    engine = board.engine
    assert board.jetson.soc == SOCS[engine.compute_capability]
    assert engine.precisions[0] == "fp16"
    with_cores = engine.compute_capability in TENSOR_CORES
    assert ("int8" in engine.precisions) is with_cores
    assert engine.granules["fp16"] == board.granule == (8 if with_cores else 2)
    assert set(engine.granules) <= set(engine.precisions)
    assert engine.sparsity is (engine.compute_capability == "8.7")
    assert engine.dla_cores == (2 if with_cores and name != "orin-nano" else 0)


@pytest.mark.parametrize("name", ENGINES)
def test_releases_of_tensorrt_are_those_of_its_jetpacks(name: str) -> None:
    board = BOARDS[name]
    assert board.engine is not None
    own = [jetpack for jetpack in catalog.jetpacks() if name in jetpack.boards]
    assert board.engine.versions == tuple(jetpack.tensorrt for jetpack in own)
    assert release(board.engine.versions[0]).opset_max == own[0].opset


def test_the_newest_tensorrt_of_each_generation() -> None:
    newest = {name: BOARDS[name].engine.versions[0] for name in ENGINES}
    assert newest["xavier"] == newest["xavier-nx"] == "8.5.2"
    assert newest["nano"] == newest["tx2"] == "8.2.1"
    assert {newest[name] for name in ("orin", "orin-nx", "orin-nano")} == {"10.3.0"}


@pytest.mark.parametrize("name", JETSONS)
def test_modes_are_numbered_and_within_the_board(name: str) -> None:
    board = BOARDS[name]
    assert board.jetson is not None
    modes = board.jetson.modes
    assert [mode.id for mode in modes] == list(range(len(modes)))
    assert len({mode.name for mode in modes}) == len(modes)
    cores = BOARDS[board.board or name].cores
    assert max(mode.cpus for mode in modes) == cores
    for cap in ("cpu_mhz", "gpu_mhz", "dla_mhz", "emc_mhz"):
        told = [mhz for mode in modes if (mhz := getattr(mode, cap)) is not None]
        assert all(100 < mhz < 4000 for mhz in told)


def test_the_name_of_a_model_tells_one_board() -> None:
    printed = {
        "Jetson-AGX": "xavier",
        "NVIDIA Jetson Xavier NX Developer Kit": "xavier-nx",
        "NVIDIA Jetson AGX Orin Developer Kit": "orin",
        "NVIDIA Orin NX Developer Kit": "orin-nx",
        "NVIDIA Jetson Orin Nano Developer Kit": "orin-nano",
        "NVIDIA Jetson Nano Developer Kit": "nano",
        "quill": "tx2",
    }
    for model, board in printed.items():
        matching = [
            name for name in ENGINES if any(part in model for part in BOARDS[name].jetson.models)
        ]
        assert matching == [board]
    modules = [part for name in ENGINES for part in BOARDS[name].jetson.modules]
    assert len(set(modules)) == len(modules)


@pytest.mark.parametrize("name", SENSORS)
def test_the_total_is_one_rail_or_rails_that_do_not_overlap(name: str) -> None:
    power = BOARDS[name].power
    assert power is not None
    names = [word for rail in power.rails for word in (rail.name, *rail.aliases)]
    assert len(set(names)) == len(names)
    inputs = {"VDD_IN", "POM_5V_IN"} & set(names)
    if inputs:  # a rail that feeds the others must not be added to them
        assert set(power.total) == inputs
    else:
        assert len(power.total) > 1


def test_totals() -> None:
    totals = {name: BOARDS[name].power.total for name in ENGINES}
    assert totals == {
        "xavier": ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
        "orin": ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
        "nano": ("POM_5V_IN",),
        **dict.fromkeys(("xavier-nx", "orin-nx", "orin-nano", "tx2"), ("VDD_IN",)),
    }


@pytest.mark.parametrize(("name", "precision"), PRICED)
def test_every_precision_has_prices(name: str, precision: str) -> None:
    board = BOARDS[name].at(precision)
    assert board.peaks is not None
    assert board.peaks.precision == precision


@pytest.mark.parametrize("name", ENGINES)
def test_a_narrower_number_is_faster_and_cheaper(name: str) -> None:
    board = BOARDS[name]
    order = [each for each in ("fp32", "fp16", "int8") if each in board.precisions]
    peaks = [board.at(each).peaks for each in order]
    rates = [each.gmacs_per_s * each.efficiency.dense for each in peaks if each]
    assert rates == sorted(rates)
    costs = [each.pj_per_mac for each in peaks if each]
    assert costs == sorted(costs, reverse=True)


def test_a_board_at_a_precision() -> None:
    xavier = BOARDS["xavier"]
    assert xavier.at("fp16") == xavier
    assert (xavier.at("int8").granule, xavier.at("fp32").granule) == (32, 1)
    int8, fp16 = xavier.at("int8").peaks, xavier.peaks
    assert int8 is not None
    assert fp16 is not None
    assert int8.overhead_us == fp16.overhead_us
    assert int8.gmacs_per_s == 2 * fp16.gmacs_per_s
    grouped = [each.gmacs_per_s * each.efficiency.grouped for each in (int8, fp16)]
    assert grouped[0] == pytest.approx(grouped[1])
    with pytest.raises(UsageError, match="nano does not compute in int8") as error:
        BOARDS["nano"].at("int8")
    assert error.value.hint == "it computes in fp16, fp32"
    assert BOARDS["rpi4"].at("fp32") == BOARDS["rpi4"]


def test_the_cpu_of_a_board_has_its_sensors_and_modes() -> None:
    assert BOARDS["xavier-cpu"].power == BOARDS["xavier"].power is not None
    assert BOARDS["tx2-cpu"].jetson == BOARDS["tx2"].jetson is not None
    assert BOARDS["xavier-cpu"].engine is None


def test_a_processor_of_an_unknown_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = Path(catalog.__file__).parent.parent / "targets/boards/xavier-cpu.toml"
    damaged = text.read_text().replace('board = "xavier"', 'board = "xavia"')
    (tmp_path / "x.toml").write_text(damaged.replace('name = "xavier-cpu"', 'name = "x"'))
    monkeypatch.setattr(catalog, "_plugins", lambda group: iter([tmp_path]))
    catalog.targets.cache_clear()
    try:
        with pytest.raises(EdgeccError, match="board file of x is damaged: its board is 'xavia'"):
            catalog.targets()
    finally:
        catalog.targets.cache_clear()


@pytest.mark.parametrize(
    ("l4t", "tensorrt"),
    [
        ("32.4.3", "7.1.3"),
        ("32.5.2", "7.1.3"),
        ("32.6.1", "8.0.1"),
        ("32.7.6", "8.2.1"),
        ("35.1.0", "8.4.1"),
        ("35.2.1", "8.5.2"),
        ("35.4.1", "8.5.2"),
        ("35.6.5", "8.5.2"),
        ("35.10.1", "8.5.2"),
        ("36.3.0", "8.6.2"),
        ("36.4.7", "10.3.0"),
        ("36.30.0", "10.3.0"),
        ("28.2.1", None),
        ("", None),
        ("unknown", None),
    ],
)
def test_a_release_of_l4t_goes_by_its_prefix(l4t: str, tensorrt: str | None) -> None:
    found = catalog.jetpack_of(l4t)
    assert (found.tensorrt if found else None) == tensorrt


def test_jetpacks_name_boards_that_exist() -> None:
    for jetpack in catalog.jetpacks():
        assert set(jetpack.boards) <= set(ENGINES)
    prefixes = [prefix for jetpack in catalog.jetpacks() for prefix in jetpack.l4t]
    assert len(set(prefixes)) == len(prefixes)


def test_one_engine_is_for_every_rtx_gpu() -> None:
    rtx = BOARDS["rtx"]
    assert rtx.engine is not None
    assert rtx.engine.compute_capability == "7.5"
    assert rtx.engine.further_capabilities == ("8.0", "8.6", "8.9", "12.0", "12.1")
    assert rtx.precisions == ("fp16", "fp32", "int8")
    assert (rtx.machine, rtx.jetson, rtx.power) == ("x86_64", None, None)
