"""Every board that TVM builds for: LLVM knows its core, it is described, code comes out."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from tvm_networks import classifier

from edgecc import catalog
from edgecc.target import Target
from targets.tvm.compile import write_library
from targets.tvm.core import core_of
from targets.tvm.frontend import to_relax
from targets.tvm.session import ELF_HEADER, ELF_MACHINES
from targets.tvm.toolchain import glibc_for, llvm_target

BOARDS = [board for board in catalog.targets().values() if "tvm" in board.backends]
ARM = [board for board in BOARDS if board.arch == "aarch64"]
CORES = {
    "rpi3": "cortex-a53",
    "nano-cpu": "cortex-a57",
    "tx2-cpu": "cortex-a57",
    "rpi4": "cortex-a72",
    "rpi5": "cortex-a76",
    "orin-cpu": "cortex-a78ae",
    "xavier-cpu": "carmel",
    "graviton2": "neoverse-n1",
    "graviton3": "neoverse-v1",
}


def test_the_boards_there_are() -> None:
    assert {board.name: board.cpu for board in ARM} == CORES


@pytest.mark.parametrize("board", ARM, ids=lambda board: board.name)
def test_an_arm_board_describes_its_core(board: Target) -> None:
    core = core_of(board)
    assert core is board.core
    assert (core.lanes, core.registers) == (4, 32)
    assert board.granule == core.lanes
    assert core.l1_kb < core.l2_kb
    assert board.peaks is not None
    cores = 1 if board.peaks.per_core else board.cores or 1
    ghz = board.peaks.gmacs_per_s / cores / core.lanes / core.fma_per_cycle
    assert 1 < ghz < 3  # the peak is made of the core that is described


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_a_network_builds_for_it(board: Target, tmp_path: Path) -> None:
    assert llvm_target(board)["mcpu"] == (board.cpu or llvm_target(board)["mcpu"])
    assert glibc_for(board) == board.glibc
    write_library(to_relax(classifier()), board, tmp_path / "model.so", tmp_path)
    header = (tmp_path / "model.so").read_bytes()[: struct.calcsize(ELF_HEADER.format)]
    assert ELF_MACHINES[ELF_HEADER.unpack(header)[4]] == board.machine
