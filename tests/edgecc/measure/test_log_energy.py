"""What `edgecc power` tells of a log, and what it refuses to tell."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from command_line import edgecc, words
from drawn_power import IDLE_MW, RAILS, Drawn

LOADS = [(20.0, 30.0, 8.0), (75.0, 40.0, 5.0)]
TWO = Drawn(LOADS, 140)
BEGIN = datetime(2026, 3, 1, 23, 59, 0)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "power.log"
    path.write_text(TWO.text())
    return path


def told(log: Path, *options: object) -> dict[str, Any]:
    result = edgecc("power", log, "--json", *options)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def failure(log: Path, *options: object) -> tuple[int, str]:
    result = edgecc("power", log, *options)
    assert result.exit_code != 0
    return result.exit_code, words(result.stderr)


def test_the_five_networks_of_a_real_log(assets: Path) -> None:
    log = assets / "tegrastats" / "agx_xavier_basis_vgg16.log"
    found = told(log, "--runs", 1000)
    assert (found["board"], found["malformed_count"]) == ("xavier", 0)
    table = [
        (37.6, 5.98, 225, 548),
        (28.7, 5.45, 157, 397),
        (24.8, 5.10, 126, 334),
        (22.8, 5.01, 114, 306),
        (21.8, 4.88, 106, 290),
    ]
    assert len(found["phases"]) == 5
    for phase, (ms, watts, gpu_mj, all_mj) in zip(found["phases"], table, strict=True):
        assert phase["ms_per_run"] == pytest.approx(ms, abs=0.02 * ms)
        assert phase["power_mw"]["GPU"] / 1000 == pytest.approx(watts, abs=0.02 * watts)
        per_run = phase["energy_mj_per_run_by_rail"]
        assert per_run["GPU"] == pytest.approx(gpu_mj, abs=0.02 * gpu_mj)
        assert phase["energy_mj_per_run"] == pytest.approx(all_mj, abs=0.02 * all_mj)
        assert phase["energy_mj"]["GPU"] == pytest.approx(1000 * per_run["GPU"], abs=1)


def test_every_number_of_the_record(log: Path) -> None:
    found = told(log, "--runs", 100)
    assert found["total_rails"] == list(RAILS)
    assert (found["interval_s"], found["interval_from"]) == (1.0, "assumed")
    assert found["found_by"] == "GPU"
    for phase, (start, seconds, watts) in zip(found["phases"], LOADS, strict=True):
        assert abs(phase["start_s"] - start) <= 1
        assert abs(phase["duration_s"] - seconds) <= phase["duration_uncertainty_s"]
        assert phase["ms_per_run"] == pytest.approx(10 * phase["duration_s"], abs=1e-6)
        total = IDLE_MW.sum() + 1000 * watts
        power, energy = phase["power_mw"], phase["energy_mj"]
        assert set(power) == set(energy) == {*RAILS, "total"}
        assert abs(power["total"] - total) <= phase["power_uncertainty_mw"]["total"]
        assert abs(energy["total"] - total * seconds) <= phase["energy_uncertainty_mj"]["total"]
        assert power["total"] == pytest.approx(sum(power[name] for name in RAILS), abs=0.01)
        assert energy["GPU"] == pytest.approx(power["GPU"] * phase["duration_s"], abs=1)
        assert phase["energy_mj_per_run"] == pytest.approx(energy["total"] / 100, abs=1e-3)
        above = 1000 * watts * seconds
        wrong = phase["marginal_energy_uncertainty_mj"]["total"]
        assert abs(phase["marginal_energy_mj"]["total"] - above) <= wrong
        assert phase["gpu_percent"] > 85
    idle = found["idle"]
    wrong = idle["power_uncertainty_mw"]["total"]
    assert abs(idle["power_mw"]["total"] - IDLE_MW.sum()) <= wrong


def test_without_runs_nothing_is_told_of_a_run(log: Path) -> None:
    found = told(log)
    assert "ms_per_run" not in found["phases"][0]
    assert "a run of" not in edgecc("power", log).stdout


def test_the_interval_can_be_given(log: Path) -> None:
    found = told(log, "--interval", 0.5)
    assert abs(found["phases"][0]["duration_s"] - 15) <= 0.5
    assert found["interval_from"] == "given"


def test_dates_tell_the_interval(tmp_path: Path) -> None:
    log = tmp_path / "power.log"
    drawn = Drawn(LOADS, 140, interval_s=0.5, window_s=0.43)
    log.write_text(drawn.text(begin=BEGIN))
    found = told(log)
    assert found["interval_from"] == "dates"
    assert found["interval_s"] == pytest.approx(0.5, abs=0.01)
    durations = [phase["duration_s"] for phase in found["phases"]]
    assert durations == pytest.approx([30, 40], abs=1)


def test_a_clock_that_jumps_in_a_load(tmp_path: Path) -> None:
    log = tmp_path / "power.log"
    lines = TWO.text(begin=BEGIN).splitlines(keepends=True)
    late = Drawn(LOADS, 140).text(begin=datetime(2026, 3, 2, 12)).splitlines(keepends=True)
    log.write_text("".join([*lines[:30], *late[30:]]))
    code, message = failure(log)
    assert code == 7
    assert "the clock goes on by +43261 s between lines 30 and 31" in message
    assert "--interval 1" in message
    assert len(told(log, "--interval", 1)["phases"]) == 2


@pytest.mark.parametrize("hour", [12, 22])
def test_a_clock_that_jumps_in_idle(hour: int, tmp_path: Path) -> None:
    log = tmp_path / "power.log"
    begin = datetime(2026, 3, 1, 18)
    lines = TWO.text(begin=begin).splitlines(keepends=True)
    other = TWO.text(begin=begin.replace(hour=hour)).splitlines(keepends=True)
    log.write_text("".join([*lines[:60], *other[60:]]))
    found = told(log)
    assert len(found["phases"]) == 2
    assert any("between lines 60 and 61" in note for note in found["notes"])


def test_malformed_lines_are_counted_and_shown(log: Path) -> None:
    lines = log.read_text().splitlines(keepends=True)
    lines[30] = "tegrastats: oops\n"
    lines[40] = lines[40][:120] + "\n"
    lines[41] = lines[41].replace("GPU 4", "GPU x4")
    log.write_text("".join(lines))
    found = told(log)
    assert [each["line"] for each in found["malformed"]] == [31, 41, 42]
    assert "begins with no date" in found["malformed"][0]["reason"]
    assert "lacks" in found["malformed"][1]["reason"]
    assert found["malformed_count"] == 3
    first = found["phases"][0]
    assert first["lost_samples"] == 2  # what tegrastats did not print took no time of its
    assert first["duration_s"] == told_seconds(lines)
    shown = words(edgecc("power", log).stderr)
    assert "3 malformed lines, left out: line 31: it begins with no date" in shown


def told_seconds(lines: list[str]) -> float:
    """The first load without the line that is no sample."""
    return LOADS[0][1] - 1.0 * sum("oops" in line for line in lines)


def test_a_rail_that_is_missing(tmp_path: Path) -> None:
    log = tmp_path / "power.log"
    log.write_text(TWO.text(RAILS[:-1]))
    found = told(log, "--runs", 100)
    assert found["total_rails"] == []
    assert found["total_refused"] == "the total needs SYS5V, which is not there"
    phase = found["phases"][0]
    assert phase["power_mw"]["total"] is None
    assert phase["energy_mj_per_run"] is None
    assert phase["energy_mj_per_run_by_rail"]["GPU"] > 0
    result = edgecc("power", log)
    assert "total: refused" in result.stdout
    assert "no total: the total needs SYS5V" in words(result.stderr)


def test_parts_that_are_more_than_the_total_are_told(tmp_path: Path) -> None:
    log = tmp_path / "power.log"
    line = "RAM 1/2MB GR3D_FREQ 0% POM_5V_GPU 8791/8742 POM_5V_IN 3075/3086 POM_5V_CPU 31/31\n"
    log.write_text(10 * line)
    notes = told(log)["notes"]
    assert any("in 10 of 10 samples the other rails are more than POM_5V_IN" in n for n in notes)


def test_boards_with_the_same_rails(tmp_path: Path) -> None:
    log = tmp_path / "power.log"
    log.write_text(10 * "RAM 1/2MB VDD_IN 4761mW/1mW VDD_CPU_GPU_CV 515mW/1mW VDD_SOC 14mW/1mW\n")
    found = told(log)
    assert found["board"] is None
    assert found["boards"] == ["orin-nano", "orin-nx", "xavier-nx"]
    assert found["total_rails"] == ["VDD_IN"]
    assert any("--target" in note for note in found["notes"])
    assert told(log, "--target", "orin-nx")["board"] == "orin-nx"


def test_a_board_with_one_rail_for_all(tmp_path: Path) -> None:
    log = tmp_path / "power.log"
    drawn = Drawn(LOADS, 140, window_s=0.43)
    lines = [
        f"03-01-2026 {10 + at // 3600:02}:{at // 60 % 60:02}:{at % 60:02} RAM 1/2MB "
        f"GR3D_FREQ {gpu}%@[305] VDD_IN {mw.sum():.0f}mW/1mW VDD_CPU_GPU_CV "
        f"{mw[0] + mw[1]:.0f}mW/1mW VDD_SOC {mw[2]:.0f}mW/1mW\n"
        for at, (_, mw, gpu) in enumerate(zip(*drawn.readings(), strict=True))
    ]
    log.write_text("".join(lines))
    found = told(log, "--target", "xavier-nx", "--runs", 100)
    assert (found["found_by"], found["interval_from"]) == ("VDD_CPU_GPU_CV", "dates")
    for phase, (_, seconds, watts) in zip(found["phases"], LOADS, strict=True):
        assert phase["power_mw"]["total"] == phase["power_mw"]["VDD_IN"]
        energy = (IDLE_MW.sum() + 1000 * watts) * seconds
        assert abs(phase["energy_mj"]["total"] - energy) <= phase["energy_uncertainty_mj"]["total"]
        assert phase["energy_mj_per_run"] == pytest.approx(energy / 100, rel=0.05)


def test_a_load_that_the_log_cuts_off(tmp_path: Path) -> None:
    log = tmp_path / "power.log"
    log.write_text(Drawn([(-5, 30, 8), (60, 20, 8)], 120).text())
    found = told(log, "--runs", 10)
    first, second = found["phases"]
    assert (first["complete"], first["ms_per_run"], first["energy_mj_per_run"]) == (
        False,
        None,
        None,
    )
    assert second["ms_per_run"] == pytest.approx(2000, abs=100)
    assert any("phase 1 goes beyond the log" in note for note in found["notes"])


def test_two_loads_without_idle_between_them(tmp_path: Path) -> None:
    log = tmp_path / "power.log"
    log.write_text(Drawn([(20, 30, 10), (50, 30, 5)], 120).text())
    assert any("phase 1 has two levels" in note for note in told(log)["notes"])


def test_no_load(tmp_path: Path) -> None:
    log = tmp_path / "power.log"
    log.write_text(Drawn([], 60).text())
    found = told(log)
    assert (found["phases"], found["idle"]) == ([], None)
    wrong = found["whole"]["power_uncertainty_mw"]["total"]
    assert abs(found["whole"]["power_mw"]["total"] - IDLE_MW.sum()) <= wrong
    assert "no load stands out from idle" in found["notes"]
    code, message = failure(log, "--runs", 10)
    assert code == 7
    assert "no load stands out from idle" in message


def test_power_that_is_hidden(tmp_path: Path) -> None:
    log = tmp_path / "power.log"
    log.write_text(20 * "RAM 1/2MB (lfb 1x2MB) CPU [1%@2] GR3D_FREQ 0% cpu@42C\n")
    code, message = failure(log)
    assert code == 7
    assert "no power in its 20 lines" in message
    assert "sudo chmod a+r /sys/bus/i2c/drivers/ina3221" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"hello\nworld\n", "none of its 2 lines is one of tegrastats"),
        (b"\x7fELF\x00\x00", "is no text"),
        (b"RAM " * 30000, "is no text"),
        ("RAM 1/2MB GPU 1/2\n".encode("utf-16"), "is no text"),
    ],
)
def test_what_is_no_log(content: bytes, message: str, tmp_path: Path) -> None:
    log = tmp_path / "power.log"
    log.write_bytes(content)
    code, told = failure(log)
    assert code == 2
    assert message in told


def test_one_line_is_no_time(tmp_path: Path) -> None:
    log = tmp_path / "power.log"
    log.write_text("RAM 1/2MB GPU 1/2\n")
    code, message = failure(log)
    assert code == 7
    assert "1 sample" in message


def test_what_cannot_be_asked(log: Path) -> None:
    assert failure(log.parent / "none.log") == (
        2,
        f"edgecc: there is no file {log.parent}/none.log",
    )
    assert failure(log, "--runs", 0)[0] == 2
    assert failure(log, "--interval", 0)[0] == 2
    code, message = failure(log, "--target", "orin")
    assert code == 2
    assert "--target xavier has them" in message
    assert "there is no target named 'jetson'" in failure(log, "--target", "jetson")[1]
    assert "nothing is known of the power sensors of rpi4" in failure(log, "--target", "rpi4")[1]


def test_the_tables(log: Path) -> None:
    shown = edgecc("power", log, "--runs", 100).stdout
    assert "140 samples of xavier, 1 s apart (assumed)" in words(shown)
    assert "total: GPU + CPU + SOC + CV + VDDRQ + SYS5V" in words(shown)
    rows = [line.split() for line in shown.splitlines() if line.startswith((" phase", "phase"))]
    assert len(rows) == 4
    assert rows[0][:2] == ["phase", "1"]
    assert abs(float(rows[0][3]) - 30) <= 1
