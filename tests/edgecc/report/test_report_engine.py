from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from edgecc.report.engine import precision_lines
from edgecc.report.tables import show_build


def accuracy(errors: dict[str, float | None], same: dict[str, float]) -> dict[str, Any]:
    return {"rms_error": errors, "top1_agreement": same, "metric": None}


def report(**found: Any) -> dict[str, Any]:
    told = {"computes_in": "int8", "kept": [], "layers": 3, "held_out": True, "accuracy": found}
    return {
        "precision": told,
        "calibration": {"name": "photos", "summary": "8 samples", "warnings": []},
        "verify": {"inputs": {"kind": "random"}},
    }


def test_each_precision_has_a_line() -> None:
    lines = precision_lines(
        report(
            int8=accuracy({"y": 0.051, "z": 0.02}, {"y": 0.9921}),
            float16=accuracy({"y": 0.0022, "z": 0.001}, {"y": 1.0}),
        )
    )
    assert lines == [
        "on held-out samples, the outputs move by (RMS, relative):",
        "  int8     0.051, the same class in 99.2%",
        "  float16  0.0022, the same class in 100.0%",
        "3 layers in INT8",
    ]


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ({}, "unknown: none of them is floating-point"),
        ({"y": None}, "not finite"),
        ({"y": None, "z": 0.1}, "not finite"),
    ],
)
def test_what_is_no_number_is_said_in_words(errors: dict[str, float | None], words: str) -> None:
    lines = precision_lines(report(int8=accuracy(errors, {}), float16=None))
    assert lines[1] == f"  int8     {words}"


def test_open_sizes_that_a_bundle_fixes_are_told_so() -> None:
    told = {
        **report(int8=None, float16=None),
        "precision": None,
        "model": {"name": "net.onnx"},
        "target": "xavier",
        "macs": {"before": 2, "after": 1},
        "params": {"before": 2, "after": 1},
        "decisions": [],
        "uncounted": [],
        "artifact": {"backend": "tensorrt", "run": "run", "details": {}},
        "shapes": {"assumed": {"x": "N is 1"}, "fixed": True},
        "verify": {
            "inputs": {"kind": "random"},
            "max_rel_error": 0.1,
            "max_abs_error": 0.1,
            "lowered": None,
        },
    }
    notes = Console(
        file=io.StringIO(), width=60, soft_wrap=True, force_terminal=True, highlight=False
    )
    show_build(Console(file=io.StringIO()), notes, "out", told)
    shown = notes.file.getvalue()  # type: ignore[attr-defined]
    assert "fixed in this bundle: N is 1" in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 60
