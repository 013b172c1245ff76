"""The parser of TensorRT for RTX as a second opinion, and what edgecc emits for Jetsons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import parse as model_of
from test_assets import MODELS, SHAPES

from edgecc import catalog, job
from targets.tensorrt import parser
from targets.tensorrt.check import Finding, check, refuse
from targets.tensorrt.versions import release

pytest.importorskip("tensorrt_rtx", reason="needs pip install 'edgecc[rtx]'", exc_type=ImportError)
Save = Callable[..., Path]
MAP = "float[1,3,9,9] x"
QUICK = {"cifar10/cmsisnn_m7_5x5", "misc/mlperf_vww96", "mnist/mnist_cntk", "restore/dncnn25"}
"""Models that are built in less than a second."""


def test_it_is_installed() -> None:
    assert parser.installed()


def test_a_model_that_it_takes(save: Save) -> None:
    model = model_of(f"g ({MAP}) => (float[A,B,C,D] y) {{ y = Relu(x) }}")
    assert parser.parse(save(model)) == []


@pytest.mark.parametrize(
    ("body", "operator", "reason"),
    [
        ("r = Relu(x) y = Det(r)", "Det", "has no Det"),
        (
            "y = MaxPool <kernel_shape=[3,3], dilations=[2,2]> (x)",
            "MaxPool",
            "cannot parse it: This version of TensorRT does not support dilations other than 1",
        ),
        (
            'y = ScatterND <reduction="add"> (x, i, u)',
            "ScatterND",
            "cannot parse it: ScatterND with reduction is not supported",
        ),
    ],
)
def test_what_it_refuses_has_the_node_and_the_reason(
    save: Save, body: str, operator: str, reason: str
) -> None:
    weights = {"i": np.array([[0]]), "u": np.ones((1, 3, 9, 9), np.float32)}
    model = model_of(
        f"g ({MAP}) => (float[A,B,C,D] y) {{ {body} }}", weights if "Scatter" in body else None
    )
    model.graph.node[-1].name = "culprit"
    assert parser.parse(save(model)) == [Finding("culprit", operator, reason)]


def test_a_foreign_operator_has_no_importer(save: Save) -> None:
    model = model_of(f"g ({MAP}) => (float[A,B,C,D] y) {{ y = Relu(x) }}")
    model.opset_import.add(domain="com.example", version=1)
    model.graph.node[0].domain, model.graph.node[0].op_type = "com.example", "Foo"
    found = parser.parse(save(model))
    assert [(f.operator, f.reason) for f in found] == [("Foo", "has no Foo")]


def test_a_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\xff" * 64)
    found = parser.parse(path)
    assert [(f.operator, f.fatal) for f in found] == [("file", True)]


def test_asking_often_takes_no_memory(save: Save) -> None:
    import resource

    path = save(model_of(f"g ({MAP}) => (float[A,B,C,D] y) {{ y = Relu(x) }}"))
    parser.parse(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(20):
        parser.parse(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB


NEWER = Finding("a", "ScatterND", "cannot parse it: no")
NEW_TO_ALL = Finding("b", "Foo", "has no Foo")
BROKEN = Finding("", "file", "cannot parse the model: no")


def test_the_table_of_the_board_decides() -> None:
    board = release("8.5")
    weighed = parser.weigh([], [NEWER, NEW_TO_ALL, BROKEN], board)
    assert [f.fatal for f in weighed] == [False, True, True]
    assert weighed[0].reason == NEWER.reason
    assert "the parser here is newer" in (weighed[0].hint or "")


def test_what_the_table_explains_is_said_once() -> None:
    table = [Finding("a", "ScatterND", "knows no reduction=add of ScatterND", "gather")]
    assert parser.weigh(table, [NEWER], release("8.5")) == table


def test_for_rtx_the_parser_is_the_judge() -> None:
    assert parser.weigh([], [NEWER, BROKEN], release("rtx 1.7")) == [NEWER, BROKEN]


def test_both_are_asked(save: Save) -> None:
    body = 'y = ScatterND <reduction="add"> (x, i, u)'
    weights = {"i": np.array([[0]]), "u": np.ones((1, 3, 9, 9), np.float32)}
    path = save(model_of(f"g ({MAP}) => (float[A,B,C,D] y) {{ {body} }}", weights))
    found = parser.consult(path, release("8.5"))
    assert [(f.reason, f.fatal) for f in found] == [("knows no reduction=add of ScatterND", True)]


@pytest.mark.parametrize(
    ("target", "name"),
    [
        pytest.param(target, name, marks=[] if name in QUICK else [pytest.mark.slow])
        for target in ("xavier", "orin")
        for name in MODELS
    ],
)
def test_what_edgecc_emits_is_parsed(assets: Path, tmp_path: Path, target: str, name: str) -> None:
    model = assets / "models" / f"{name}.onnx"
    built = job.build(model, target=target, passes="", shape=SHAPES.get(name), out=tmp_path / "out")
    check_taken(built.folder / "model.onnx", target)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["xavier", "orin"])
@pytest.mark.parametrize("name", MODELS)
def test_what_edgecc_rewrites_is_parsed(
    assets: Path, tmp_path: Path, target: str, name: str
) -> None:
    model = assets / "models" / f"{name}.onnx"
    built = job.build(model, target=target, shape=SHAPES.get(name), out=tmp_path / "out")
    check_taken(built.folder / "model.onnx", target)


def check_taken(path: Path, target: str) -> None:
    """Neither the parser nor the table of the target's newest release refuses it."""
    engine = catalog.targets()[target].engine
    board = release(engine.versions[0] if engine else "8.5")
    assert parser.parse(path) == []
    refuse(check(path, board), target)


def test_what_it_computes_on_a_gpu_is_no_fault_of_the_model(save: Save) -> None:
    model = model_of(
        "g (float[1,3,9,9] x) => (float[A,B,C,D] y) { b = DequantizeLinear (i, s) y = Add(x, b) }",
        {"i": np.ones((1, 3, 1, 1), np.int32), "s": np.array(0.1, np.float32)},
    )
    assert parser.parse(save(model)) == []
