from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir
import pytest

from edgecc import catalog
from edgecc.errors import UsageError
from edgecc.pipeline import Pipeline
from edgecc.rewrite import Decision, Pass, Room


@dataclass(frozen=True)
class Sample(Pass):
    """A pass with an option of every type."""

    name: ClassVar[str] = "sample"
    room: ClassVar[Room] = "prepare"

    count: int = 1
    share: float | None = None
    deep: bool = False
    word: str = "x"

    def run(self, model: ir.Model) -> list[Decision]:
        return []


KNOWN: dict[str, type[Pass]] = {"sample": Sample}


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("", ()),
        ("sample", (Sample(),)),
        ("sample()", (Sample(),)),
        (" sample ( count = 3 ) ,sample", (Sample(count=3), Sample())),
        ("sample(share=0.5, deep=true)", (Sample(share=0.5, deep=True),)),
        ("sample(share=1)", (Sample(share=1),)),
        ("sample(word=a b),", (Sample(word="a b"),)),
    ],
)
def test_text_forms(text: str, passes: tuple[Pass, ...]) -> None:
    pipeline = Pipeline.parse(text, KNOWN)
    assert pipeline.passes == passes
    assert Pipeline.parse(str(pipeline), KNOWN) == pipeline


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("tucker", "there is no pass named 'tucker'", "there is only sample"),
        ("sampel", "there is no pass named 'sampel'", "did you mean sample?"),
        (
            "sample(counts=2)",
            "sample has no option 'counts'",
            "its options are count, share, deep, word",
        ),
        ("sample(count=2.5)", "sample(count='2.5') is not a whole number", None),
        ("sample(count=many)", "sample(count='many') is not a whole number", None),
        ("sample(deep=1)", "sample(deep='1') is not true or false", None),
        ("sample(share=big)", "sample(share='big') is not a number", None),
        ("sample(count)", "'count' in sample(count) has no value", "write sample(option=value)"),
        ("sample(count=1", "'sample(count=1' is not a pass", None),
        ("sample sample", "'sample sample' is not a pass", None),
        ("4", "'4' is not a pass", None),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str, hint: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        Pipeline.parse(text, KNOWN)
    assert caught.value.message == message
    if hint is not None:
        assert caught.value.hint == hint


def test_every_pass_has_the_name_of_its_file_and_a_whole_description() -> None:
    for name, kind in catalog.passes().items():
        module = __import__(kind.__module__, fromlist=["x"])
        assert kind.__module__.rpartition(".")[2] == name
        assert kind.__name__ == "".join(word.title() for word in name.split("_"))
        assert (module.__doc__ or "").startswith(f"{name}: ")
        assert kind.__module__.split(".")[1] == kind.room


def test_observers_see_the_model_after_each_pass() -> None:
    model = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1] x) => (float[1] y) { y = Relu(x) }'
    )
    seen: list[str] = []
    reports = catalog.pipeline("name_everything, remove_unused").run(
        model, [lambda report, model: seen.append(f"{report.by}: {model.graph[0].name}")]
    )
    assert seen == ["name_everything: Relu_y", "remove_unused: Relu_y"]
    assert [report.by for report in reports] == ["name_everything", "remove_unused"]
