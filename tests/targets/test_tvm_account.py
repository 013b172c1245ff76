"""What a build says about schedules, and while it lowers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from tvm_networks import by_onnxruntime, error, given, network, normal

from edgecc import catalog, job
from edgecc.errors import UsageError
from edgecc.target import Artifact, Backend

pytest.importorskip("tvm", reason="TVM is not installed: pip install 'edgecc[arm]'")
pytest.importorskip("ziglang", reason="Zig is not installed: pip install 'edgecc[arm]'")

from targets.tvm import TvmBackend
from targets.tvm.account import Account, readable

HOST = catalog.target("host").model_copy(update={"core": catalog.target("graviton3").core})
"""This machine, with tiles for a core that is the same wherever the tests run."""


def build(
    nodes: list[onnx.NodeProto],
    folder: Path,
    *,
    backend: Backend | None = None,
    told: list[str] | None = None,
) -> Artifact:
    """Build a network of 64 channels at 16x16 that starts with a 3x3 convolution."""
    weights = {"w": normal(64, 64, 3, 3) / 24, "v": normal(64, 64, 3, 3) / 24}
    conv = helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1])
    folder.mkdir(exist_ok=True)
    model = network(17, [conv, *nodes], weights, (1, 64, 16, 16))
    onnx.save(model, folder / "model.onnx")
    tell = (lambda text: None) if told is None else told.append
    lowering = backend or TvmBackend()
    artifact = lowering.build(folder / "model.onnx", HOST, folder, tell)
    with lowering.open(folder, artifact) as session:
        (wanted,), (made,) = by_onnxruntime(model, given(model)), session.run(given(model)).values()
    assert error(wanted, np.asarray(made)) < 2e-5
    return artifact


def test_it_counts_schedules_and_winograd_and_tells_where_it_is(tmp_path: Path) -> None:
    told: list[str] = []
    more = [
        helper.make_node("Conv", [x, "v"], [y], pads=[1, 1, 1, 1])
        for x, y in zip("abc", "bcd", strict=True)
    ]
    artifact = build(more, tmp_path, told=told)
    (form,) = artifact.details["winograd"].items()
    assert form in (("F(4x4, 3x3)", 3), ("F(2x2, 3x3)", 3))  # not the first: it reads NCHW
    assert artifact.details["left_to_tvm"] == []
    assert artifact.details["functions"] >= 2
    assert "notes" not in artifact.details
    steps = [*("importing", "runtime and runner", "laying out channels in blocks")]
    steps += [*("fusing operators", "compiling", "linking")]
    assert [text for text in told if "scheduled" not in text] == steps
    total = artifact.details["functions"]
    counts = [text for text in told if "scheduled" in text]
    assert counts == [f"{number} of {total} functions scheduled" for number in range(total)]


def test_a_build_passes_on_what_is_asked_and_told(tmp_path: Path) -> None:
    told: list[str] = []
    model = network(17, [helper.make_node("Relu", ["x"], ["y"])], {}, (1, 64, 16, 16))
    onnx.save(model, tmp_path / "net.onnx")
    built = job.build(
        tmp_path / "net.onnx",
        backend="tvm",
        passes="",
        winograd=False,
        out=tmp_path / "out",
        progress=told.append,
    )
    assert built.report["artifact"]["details"]["winograd"] == "off"
    assert told.index("lower") < told.index("lower: compiling") < told.index("bundle")


def test_winograd_can_be_switched_off(tmp_path: Path) -> None:
    artifact = build([], tmp_path, backend=TvmBackend().without_winograd())
    assert artifact.details["winograd"] == "off"
    both = TvmBackend().with_fallback().without_winograd()
    assert both == TvmBackend(fallback=True, winograd=False)
    with pytest.raises(UsageError, match="onnxruntime has no Winograd") as caught:
        catalog.backend("onnxruntime").without_winograd()
    assert caught.value.hint == "leave --no-winograd away"


def test_what_tvm_keeps_is_named_and_only_told_where_it_is_much(tmp_path: Path) -> None:
    axis = helper.make_tensor("value", onnx.TensorProto.INT64, [], [2])
    heavy = [
        helper.make_node("Constant", [], ["axis"], value=axis),
        helper.make_node("CumSum", ["a", "axis"], ["y"]),
    ]
    light = [
        helper.make_node("GlobalAveragePool", ["a"], ["m"]),
        helper.make_node("Softmax", ["m"], ["y"], axis=1),
    ]
    assert build(light, tmp_path / "light").details["left_to_tvm"] == ["softmax"]
    found = build(heavy, tmp_path / "heavy").details
    assert found["left_to_tvm"] == ["cumsum"]


def test_a_note_stands_for_a_share_of_the_operations() -> None:
    slow, trifle = Account(3, {"topk": 50_000, "softmax": 900}, 1_000_000), Account(2, {}, 9_000)
    assert slow.notes() == ["without a schedule of edgecc's, so perhaps slow: topk"]
    assert (slow + slow).notes() == slow.notes()
    assert Account(1, {"topk": 50_000}, 90_000_000).notes() == trifle.notes() == []
    together = slow + Account(1, {"softmax": 5}, 10, {"F(4x4, 3x3)": 2})
    assert together.to_json() == {
        "functions": 4,
        "left_to_tvm": ["softmax", "topk"],
        "winograd": {"F(4x4, 3x3)": 2},
    }


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("softmax", "softmax"),
        ("fused_add3_tir_sqrt12", "add_sqrt"),
        ("conv2d7", "conv2d"),
        ("7", "7"),
    ],
)
def test_names_of_functions(name: str, told: str) -> None:
    assert readable(name) == told


def test_segments_are_counted_together(tmp_path: Path) -> None:
    told: list[str] = []
    nodes = [
        helper.make_node("LpNormalization", ["a"], ["n"], axis=1),
        helper.make_node("Conv", ["n", "v"], ["b"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["b", "w"], ["y"], pads=[1, 1, 1, 1]),
    ]
    artifact = build(nodes, tmp_path, backend=TvmBackend().with_fallback(), told=told)
    assert sum(artifact.details["winograd"].values()) == 1
    assert artifact.details["functions"] >= 3
    assert "segment 3 of 3: compiling" in told
    assert artifact.details["refused"]
