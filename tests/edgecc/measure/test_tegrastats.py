"""Every form of a line of tegrastats, field by field."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest

from edgecc.measure.tegrastats import parse
from edgecc.measure.tegrastats_line import Line, Load, Malformed, Memory, Reading, Swap

HEAD = "RAM 10/20MB (lfb 4x2MB) "
OFF = Load(off=True)


def read(text: str) -> Line:
    line = parse(text)
    assert isinstance(line, Line), line
    return line


def rails(line: Line) -> dict[str, int]:
    return {name: reading.power_mw for name, reading in line.rails.items()}


def celsius(line: Line) -> dict[str, float | None]:
    return {name: zone.celsius for name, zone in line.temperatures.items()}


def test_jetpack_4_as_root() -> None:
    line = read(
        "RAM 10/20MB (lfb 4x2MB) SWAP 1/8MB (cached 3MB) CPU [17%@1190,off,0%@1340] "
        "EMC_FREQ 55%@2133 GR3D_FREQ 95%@1377 APE 150 MTS fg 1% bg 10% AO@48C GPU@54.5C "
        "PMIC@100C GPU 18401/18525 CPU 0/12 SYS5V 4632/4620\n"
    )
    assert line == Line(
        ram=Memory(10, 20, (4, 2048)),
        swap=Swap(1, 8, 3),
        cpus=(Load(17, (1190,)), OFF, Load(0, (1340,))),
        emc=Load(55, (2133,)),
        gr3d=Load(95, (1377,)),
        engines={"APE": Load(mhz=(150,))},
        mts=(1, 10),
        temperatures=line.temperatures,
        rails={
            "GPU": Reading(18401, 18525),
            "CPU": Reading(0, 12),
            "SYS5V": Reading(4632, 4620),
        },
    )
    assert celsius(line) == {"AO": 48, "GPU": 54.5, "PMIC": 100}
    assert line.hottest_c == 54.5  # PMIC is a constant


def test_jetpack_5_dates_and_units() -> None:
    line = read(
        f"07-09-2024 13:31:31 {HEAD}CPU [23%@1397] GR3D_FREQ 0%@[114] VIC_FREQ 115 "
        "VDD_IN 2763mW/2846mW VDD_SOC 650mW/711mW"
    )
    assert line.time == datetime(2024, 7, 9, 13, 31, 31)
    assert line.gr3d == Load(0, (114,))
    assert line.engines == {"VIC": Load(mhz=(115,))}
    assert line.rails == {"VDD_IN": Reading(2763, 2846), "VDD_SOC": Reading(650, 711)}
    assert line.in_milliwatts


def test_jetpack_7_peaks_and_highest_temperatures() -> None:
    line = read("RAM 9/99MB CPU [0%@729,off] cpu@43.093C/44.5C VDD_CPU_CV 1mW/2mW/3mW")
    assert line.ram == Memory(9, 99)
    assert line.temperatures["cpu"].highest_c == 44.5
    assert line.rails["VDD_CPU_CV"] == Reading(1, 2, 3)


def test_orin_two_gpu_fields_sensors_that_are_off_and_rails_that_are_not_connected() -> None:
    line = read(f"{HEAD}GR3D_FREQ 0%@0 GR3D2_FREQ 3%@9 GPU@-256C tj@41.5C NC 0mW/0mW NC 0mW/0mW")
    assert (line.gr3d, line.gr3d2) == (Load(0, (0,)), Load(3, (9,)))
    assert celsius(line) == {"GPU": None, "tj": 41.5}
    assert line.rails == {}


def test_runs_of_blanks_and_units_that_are_off() -> None:
    line = read(f"{HEAD}   NVENC      off  NVDLA0   off PVA0_FREQ off   APE  174   cpu@53C ")
    assert line.engines == {"NVENC": OFF, "NVDLA0": OFF, "PVA0": OFF, "APE": Load(mhz=(174,))}


def test_drive_os_loads_and_a_memory_clock_without_load() -> None:
    line = read(f"{HEAD}EMC_FREQ @3199 NVENC_LOAD 7% GR3D_FREQ @[1000,999]")
    assert line.emc == Load(None, (3199,))
    assert line.engines == {"NVENC": Load(7)}
    assert line.gr3d == Load(None, (1000, 999))


def test_fields_after_rails_negative_numbers_and_memory_of_units() -> None:
    line = read(
        "RAM 1/2MB (lfb 1x512kB) IRAM 0/252kB(lfb 252kB) CPU [off] SWAP 1/2MB (cached 0MB) "
        "MCPU@-45C VDD_WIFI -392/19 NVDEC 716 VDD_DDR 2702/2702"
    )
    assert line.ram == Memory(1, 2, (1, 512))
    assert line.iram_kb == (0, 252)
    assert line.swap == Swap(1, 2, 0)
    assert celsius(line) == {"MCPU": -45}
    assert rails(line) == {"VDD_WIFI": -392, "VDD_DDR": 2702}


def test_a_line_that_lost_its_head_before_a_whole_list() -> None:
    line = read("[0%@1190,off] EMC_FREQ 0% GPU 467mW/467mW")
    assert line.cpus == (Load(0, (1190,)), OFF)
    assert rails(line) == {"GPU": 467}


def test_what_is_not_known_is_kept() -> None:
    line = read(f"{HEAD}FAN 30 rpm@12 CPU 3/4 iwlwifi@30C SYS5V 30 ~~ VDD_NEW 5/6")
    assert line.unknown == ("FAN 30", "rpm@12", "SYS5V 30 ~~")
    assert rails(line) == {"CPU": 3, "VDD_NEW": 5}
    assert celsius(line) == {"iwlwifi": 30}


@pytest.mark.parametrize(
    ("text", "reason", "torn"),
    [
        ("hello world", "begins with no date, RAM or CPU", False),
        ("sh: tegrastats: not found", "begins with no date", False),
        ("1%@5,off] GPU 3/4", "begins with no date", True),
        ("RAM 10/20MB CPU [1%@2,3%@4", "CPU is '[1%@2,3%@4'", True),
        ("RAM 10/20MB GPU 18x01/3", "GPU is '18x01/3'", True),
        ("RAM 10/20MB SYS5V 30/", "SYS5V is '30/'", True),
        ("RAM 10/20MB GPU 3mW/4", "GPU is '3mW/4'", True),
        ("RAM 10/20MB GPU 1/2 RAM 10/20MB GPU 1/2", "RAM is there twice", True),
        ("RAM 10/20MB GPU 1/2 GPU 3/4", "rail GPU is there twice", True),
        ("RAM 10/20MB GPU@1C GPU@2C", "zone GPU is there twice", True),
        ("RAM 10/20MB EMC_FREQ GPU 1/2", "EMC_FREQ is 'GPU 1/2'", True),
        ("RAM 10/20MB GPU 99999999/1", "99999999 mW, which no board draws", True),
        ("RAM 10/20MB GPU\x001/2", "no text", True),
        ("13-45-2024 00:00:00 RAM 1/2MB", "is no date", True),
    ],
)
def test_what_is_damaged_is_never_guessed(text: str, reason: str, torn: bool) -> None:
    found = parse(text)
    assert isinstance(found, Malformed)
    assert reason in found.reason
    assert found.torn == torn
    assert found.text == text


def test_a_line_cut_anywhere_is_malformed_or_tells_nothing_wrong() -> None:
    text = f"{HEAD}CPU [1%@2] GR3D_FREQ 9%@306 GPU@39C GPU 465/461 SOC 930/931 SYS5V 2126/2121"
    whole = rails(read(text))
    for at in range(len(text)):
        line = parse(text[:at])
        if isinstance(line, Line):
            assert rails(line).items() <= whole.items()


def lines(assets: Path) -> dict[str, Line]:
    """The collected lines by their numbers."""
    text = (assets / "tegrastats" / "lines.txt").read_text()
    records = re.findall(r"^# \[(\d+)\](?:.*\n#)*.*\n([^#\n].*)$", text, flags=re.MULTILINE)
    return {number: read(line) for number, line in records}


def test_the_collected_lines(assets: Path) -> None:
    found = lines(assets)
    assert len(found) == 26
    assert all(line.unknown == () for line in found.values())
    assert {number: rails(line) for number, line in found.items()} == {
        number: dict(zip(names, values, strict=True)) for number, (names, values) in RAILS.items()
    }
    assert {number: line.gr3d for number, line in found.items()} == GPU_LOADS
    assert {number: line.emc for number, line in found.items() if line.emc} == {
        number: Load(percent, (mhz,) if mhz is not None else ())
        for number, (percent, mhz) in MEMORY_LOADS.items()
    }
    assert {number: len(line.cpus) for number, line in found.items()} == CPUS
    assert {number for number, line in found.items() if line.time} == {
        "11",
        "26",
        "31",
        "34",
        "35",
        "37",
    }
    assert {number for number, line in found.items() if line.in_milliwatts} == {
        "08",
        "11",
        "26",
        "28",
        "29",
        "32",
        "34",
        "35",
        "37",
    }
    assert {number for number, line in found.items() if line.swap is None} == {
        "05",
        "08",
        "20",
        "31",
        "37",
        "38",
    }


def test_fields_of_the_collected_lines(assets: Path) -> None:
    found = lines(assets)
    assert found["01"].ram == Memory(10881, 31919, (4230, 4096))
    assert found["01"].swap == Swap(0, 15959, 0)
    assert found["01"].mts == (0, 10)
    assert found["01"].rails["GPU"] == Reading(18401, 18525)
    assert found["02"].cpus[3:5] == (Load(0, (1190,)), OFF)
    assert celsius(found["07"])["iwlwifi"] == 30
    assert found["13"].iram_kb == (0, 252)
    assert found["17"].engines == {
        "NVENC": Load(mhz=(716,)), "NVDEC": Load(mhz=(716,)), "APE": Load(mhz=(25,)),
    }  # fmt: skip
    assert found["20"].cpus[1:3] == (OFF, OFF)
    assert found["25"].ram == Memory(4722, 7844, (1, 512))
    assert celsius(found["25"])["GPU"] == -51
    assert [name for name, zone in celsius(found["26"]).items() if zone is None] == [
        "CV0", "CV1", "GPU", "CV2",
    ]  # fmt: skip
    assert found["26"].gr3d2 == Load(0, (0,))
    assert sum(load.off for load in found["28"].engines.values()) == 9
    assert found["31"].engines["NVENC"] == Load(7)
    assert found["34"].time == datetime(2026, 4, 27, 14, 59, 43)
    assert found["37"].rails["VIN_SYS_5V0"] == Reading(3918, 3952, 4019)
    assert found["37"].temperatures["soc2"].highest_c == 39.687
    assert found["38"].gr3d == Load(None, (1000, 1000, 1000))


def test_the_whole_log_of_an_agx_xavier(assets: Path) -> None:
    text = (assets / "tegrastats" / "agx_xavier_basis_vgg16.log").read_text()
    read_lines = [read(line) for line in text.splitlines()]
    assert len(read_lines) == 414
    assert all(len(line.rails) == 6 and not line.unknown for line in read_lines)


XAVIER = ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V")
NX = ("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC")
NANO = ("POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU")
TX2 = ("VDD_SYS_GPU", "VDD_SYS_SOC", "VDD_4V0_WIFI", "VDD_IN", "VDD_SYS_CPU", "VDD_SYS_DDR")
OLD_TX2 = ("VDD_IN", "VDD_CPU", "VDD_GPU", "VDD_SOC", "VDD_WIFI", "VDD_DDR")
ORIN = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")
RAILS: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "01": (XAVIER, (18401, 2301, 4602, 0, 2914, 4632)),
    "02": (XAVIER, (0, 311, 932, 0, 621, 1482)),
    "04": (XAVIER, (463, 618, 2936, 0, 309, 3306)),
    "05": (XAVIER, (0, 216, 864, 0, 144, 1889)),
    "07": (XAVIER, (1155, 385, 2502, 0, 192, 2692)),
    "08": (XAVIER, (467, 467, 1245, 0, 311, 2768)),
    "10": (NX, (6140, 2706, 1074)),
    "11": (NX, (2763, 650, 650)),
    "13": (NANO, (1022, 0, 204)),
    "14": (("POM_5V_GPU", "POM_5V_IN", "POM_5V_CPU"), (8791, 3075, 3109)),
    "16": (NANO, (2003, 0, 320)),
    "17": (NANO, (4520, 0, 1078)),
    "19": (TX2, (153, 383, 0, 1840, 306, 269)),
    "20": (TX2, (194, 389, 0, 2144, 194, 288)),
    "22": (OLD_TX2, (2003, 320, 400, 400, 0, 240)),
    "23": ((), ()),
    "25": (OLD_TX2, (14025, 2209, 6854, 1371, 19, 2702)),
    "26": ((*ORIN, "VDDQ_VDD2_1V8AO"), (2390, 796, 3522, 301)),
    "28": (ORIN, (3205, 4405, 4767)),
    "29": (ORIN, (4940, 988, 4442)),
    "31": ((), ()),
    "32": (NX, (5299, 773, 1424)),
    "34": (NX, (4761, 515, 1428)),
    "35": (NX, (6626, 1228, 2380)),
    "37": (ORIN, (2792, 0, 3918)),
    "38": ((), ()),
}
GPU_LOADS = {
    "01": Load(95, (1377,)), "02": Load(0, (318,)), "04": Load(0), "05": Load(0),
    "07": Load(0, (1377,)), "08": Load(0, (114,)), "10": Load(0, (1109,)), "11": Load(0, (114,)),
    "13": Load(0, (76,)), "14": Load(83), "16": Load(0, (76,)), "17": Load(0, (76,)),
    "19": Load(0), "20": Load(0), "22": Load(0, (114,)), "23": Load(0), "25": Load(0, (1300,)),
    "26": Load(0, (0,)), "28": Load(0, (305, 305)), "29": Load(0), "31": Load(99, (1274,)),
    "32": Load(0, (611,)), "34": Load(0), "35": Load(0), "37": Load(0),
    "38": Load(None, (1000, 1000, 1000)),
}  # fmt: skip
MEMORY_LOADS: dict[str, tuple[int | None, int | None]] = {
    "01": (55, 2133), "02": (0, 665), "04": (0, None), "05": (0, None), "07": (0, 2133),
    "08": (0, 1331), "10": (2, 1600), "11": (2, 204), "13": (0, 204), "14": (0, None),
    "16": (0, 1600), "17": (10, 1600), "19": (0, None), "20": (0, None), "22": (13, 40),
    "23": (0, None), "25": (2, 1866), "26": (0, 204), "28": (1, 2133), "31": (None, 3199),
    "32": (0, 2133), "38": (2, 1866),
}  # fmt: skip
CPUS = {
    "01": 8, "02": 8, "04": 8, "05": 8, "07": 8, "08": 8, "10": 6, "11": 6, "13": 4, "14": 4,
    "16": 4, "17": 4, "19": 6, "20": 6, "22": 6, "23": 6, "25": 6, "26": 12, "28": 12, "29": 12,
    "31": 12, "32": 8, "34": 6, "35": 6, "37": 2, "38": 0,
}  # fmt: skip
