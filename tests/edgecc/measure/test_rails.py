"""Which rails make a board's total."""

from __future__ import annotations

import numpy as np
import pytest
from rails_of_boards import BOARDS

from edgecc.errors import UsageError
from edgecc.measure.rails import meter

NX = ("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC")
XAVIER = ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V")


def test_an_agx_xavier_is_the_sum_of_six() -> None:
    found = meter(XAVIER, BOARDS)
    assert found.board == "xavier"
    assert found.total == XAVIER
    assert found.columns == (*XAVIER, "total")
    power = np.array([[465.0, 465, 930, 0, 155, 2126]])
    assert found.with_total(power)[0, -1] == 4141
    assert found.steps_mw[-1] == pytest.approx(np.sqrt(5 * 152**2 + 40**2))


def test_boards_that_agree_have_a_total_and_no_name() -> None:
    found = meter(NX, BOARDS)
    assert found.boards == ("xavier-nx", "orin-nx")
    assert found.board is None
    assert found.total == ("VDD_IN",)
    assert meter(NX, BOARDS, "orin-nx").board == "orin-nx"


def test_boards_that_do_not_agree_have_none() -> None:
    other = {"odd": BOARDS["orin-nx"].model_copy(update={"rails": tuple(
        rail.model_copy(update={"in_total": True}) for rail in BOARDS["orin-nx"].rails
    )})}  # fmt: skip
    found = meter(NX, BOARDS | other)
    assert found.total == ()
    assert found.refused == (
        "these rails are found on xavier-nx, orin-nx and odd, which have other totals"
    )
    assert meter(NX, BOARDS | other, "odd").total == NX


def test_older_names_are_the_same_rails() -> None:
    for names in (("VDD_SYS_GPU", "VDD_IN"), ("VDD_GPU", "VDD_IN")):
        found = meter(names, BOARDS)
        assert (found.board, found.total) == ("tx2", ("VDD_IN",))


def test_a_rail_fed_by_another_is_not_added() -> None:
    found = meter(("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"), BOARDS)
    assert found.board == "orin"
    assert found.total == ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")


def test_the_cpu_alone_of_a_board_is_that_board() -> None:
    found = meter(XAVIER, BOARDS | {"xavier-cpu": BOARDS["xavier"]})
    assert found.board == "xavier"


def test_missing_rails_refuse_the_total() -> None:
    found = meter(XAVIER[:-1], BOARDS)
    assert found.total == ()
    assert found.refused == "the total needs SYS5V, which is not there"
    assert found.columns == XAVIER[:-1]


def test_rails_that_nobody_knows() -> None:
    found = meter(("VIN",), BOARDS)
    assert (found.boards, found.total) == ((), ())
    assert found.refused == "no board that edgecc knows has the rails VIN"


def test_a_target_that_has_other_rails() -> None:
    with pytest.raises(UsageError, match=r"xavier has the rails GPU, CPU.*these are VDD_IN"):
        meter(NX, BOARDS, "xavier")
    with pytest.raises(UsageError, match="nothing is known of the power sensors of rpi4"):
        meter(NX, BOARDS, "rpi4")


def test_parts_that_are_more_than_the_whole() -> None:
    found = meter(("POM_5V_GPU", "POM_5V_IN", "POM_5V_CPU"), BOARDS)
    power = np.array([[8791.0, 3075, 3109], [500, 3075, 1000], [1500, 3075, 1650]])
    assert found.exceeded(power) == 1
    assert meter(XAVIER, BOARDS).exceeded(np.ones((1, 6))) == 0
