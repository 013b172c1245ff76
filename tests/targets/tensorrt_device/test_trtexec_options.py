"""The command lines of each release, and that the stand-in's own table takes every one of them."""

from __future__ import annotations

from typing import Any

import pytest
from tensorrt_board import VERSIONS, Board
from trtexec_call import Call, GaveUpError

from targets.tensorrt.device import options

RECIPE: dict[str, Any] = {
    "onnx": "m.onnx",
    "precision": "int8",
    "workspace_mb": 1024,
    "dla": 1,
    "dynamic": {"x": [1, 3, 8, 8]},
    "profile": None,
    "calibration": "c.cache",
    "layers_fp32": ["conv1", "conv2"],
    "timing_cache": "t.cache",
}
COMMON = ["--onnx=m.onnx", "--saveEngine=e", "--int8", "--fp16", "--calib=c.cache"]
COMMON += ["--useDLACore=1", "--allowGPUFallback", "--shapes=x:1x3x8x8"]
KEPT = ["--precisionConstraints=obey", "--layerPrecisions=conv1:fp32,conv2:fp32"]
POOL, TIMING = "--memPoolSize=workspace:1024", "--timingCacheFile=t.cache"
DETAILED = "--profilingVerbosity=detailed"
BUILDS = {
    "7.1.3": ["--explicitBatch", "--workspace=1024", "--buildOnly"],
    "8.0.1": ["--explicitBatch", "--workspace=1024", TIMING, "--buildOnly"],
    "8.2.1": ["--workspace=1024", TIMING, DETAILED, "--buildOnly"],
    "8.4.2": [POOL, *KEPT, TIMING, DETAILED, "--buildOnly"],
    "8.5.2": [POOL, *KEPT, TIMING, DETAILED, "--buildOnly"],
    "8.6.1": [POOL, *KEPT, TIMING, DETAILED, "--skipInference"],
    "10.3.0": [POOL, *KEPT, TIMING, DETAILED, "--skipInference"],
}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_build_is_asked_for_in_the_words_of_its_release(version: str) -> None:
    argv = options.build(version, "trtexec", RECIPE, "e")
    assert argv[0] == "trtexec"
    assert sorted(argv[1:]) == sorted(COMMON + BUILDS[version])


@pytest.mark.parametrize(
    ("precision", "flags"),
    [("fp32", set()), ("fp16", {"--fp16"}), ("int8", {"--int8", "--fp16"}), ("best", {"--best"})],
)
def test_precisions(precision: str, flags: set[str]) -> None:
    recipe = {**RECIPE, "precision": precision, "layers_fp32": []}
    argv = options.build("8.5.2", "trtexec", recipe, "e")
    assert {"--fp16", "--int8", "--best"} & set(argv) == flags
    assert ("--calib=c.cache" in argv) == (precision in ("int8", "best"))


def test_a_profile_has_three_shapes_and_a_static_model_none() -> None:
    ends = {"min": [1, 3, 8, 8], "opt": [2, 3, 8, 8], "max": [4, 3, 8, 8]}
    argv = options.build("8.5.2", "trtexec", {**RECIPE, "profile": {"x": ends}}, "e")
    shapes = [word for word in argv if "hapes=" in word]
    assert shapes == ["--minShapes=x:1x3x8x8", "--optShapes=x:2x3x8x8", "--maxShapes=x:4x3x8x8"]
    argv = options.build("8.5.2", "trtexec", {**RECIPE, "dynamic": {}}, "e")
    assert not [word for word in argv if "hapes" in word]


@pytest.mark.parametrize("version", VERSIONS)
def test_latency_and_profile_are_two_runs(version: str) -> None:
    recipe = {"dla": None, "dynamic": {}}
    timed = options.latency(version, "trtexec", "e", recipe, "t.json", 9.5, 2.0)
    window = ["--warmUp=2000", "--duration=10", "--iterations=10", "--avgRuns=100"]
    head = ["trtexec", "--loadEngine=e"]
    still = [] if version == "7.1.3" else ["--noDataTransfers"]
    assert timed == [*head, *still, "--useSpinWait", *window, "--exportTimes=t.json"]
    argv = options.profile(version, "trtexec", "e", recipe, "p.json", "i.json", 1, 0)
    assert {"--dumpProfile", "--exportProfile=p.json"} <= set(argv)
    assert ("--separateProfileRun" in argv) == (version != "7.1.3")
    told = version not in ("7.1.3", "8.0.1")
    assert ("--exportLayerInfo=i.json" in argv) == told


@pytest.mark.parametrize("version", VERSIONS)
def test_trtexec_knows_every_option_that_it_is_given(
    board: Board, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    board.put(version)
    recipe = {**RECIPE, "profile": {"x": {end: [1] for end in ("min", "opt", "max")}}}
    lines = [
        options.build(version, "trtexec", RECIPE, "e"),
        options.build(version, "trtexec", recipe, "e"),
        options.check(version, "trtexec", "e", RECIPE, "i"),
        options.latency(version, "trtexec", "e", RECIPE, "t", 1, 1, extra=options.GRAPH),
        options.profile(version, "trtexec", "e", RECIPE, "p", "i", 1, 1),
    ]
    for line in lines:
        Call(board.trtexec.rpartition("/")[0], line).parse(line[1:])
    assert "[W]" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("version", "word"),
    [
        ("7.1.3", "--memPoolSize=workspace:1"),
        ("8.0.1", "--exportLayerInfo=i"),
        ("10.3.0", "--buildOnly"),
    ],
)
def test_the_stand_in_refuses_options_of_another_generation(
    board: Board, version: str, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    board.put(version)
    with pytest.raises(GaveUpError):
        Call(board.trtexec.rpartition("/")[0], ["trtexec", word]).parse([word])
    assert f"[E] Unknown option: {word.partition('=')[0]}" in capsys.readouterr().out
