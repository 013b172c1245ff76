"""What went wrong, in each generation's own words, and what is tried next."""

from __future__ import annotations

from typing import Any

import pytest

from targets.tensorrt.device import ladder, messages
from targets.tensorrt.device.errors import BoardError

NO_KERNEL = {
    "7.1": "[E] [TRT] ../builder/tacticOptimizer.cpp (1715) - TRTInternal Error in computeCosts: 0 "
    "(Could not find any implementation for node conv1.)",
    "8.2": "[E] Error[10]: [optimizer.cpp::computeCosts::2011] Error Code 10: Internal Error "
    "(Could not find any implementation for node conv1 + act1.)",
    "8.6": "[E] Error[10]: Could not find any implementation for node /m.22/Conv + PWN(/m.22/Mul).",
}


@pytest.mark.parametrize(
    ("version", "node"),
    [("7.1", "conv1"), ("8.2", "conv1 + act1"), ("8.6", "/m.22/Conv + PWN(/m.22/Mul)")],
)
def test_the_node_without_an_implementation_is_named(version: str, node: str) -> None:
    assert messages.cause(NO_KERNEL[version] + "\n", 1) == ("implementation", node, None)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("[E] Error[2]: [utils.cpp::checkMemLimit::380] Error Code 2: Internal Error (Assertion "
         "upperBound != 0 failed. Unknown embedded device detected.)", "board"),
        ("[E] Unknown option: --memPoolSize workspace:1", "option"),
        ("[E] Error[6]: The engine plan file is not compatible with this version of TensorRT, "
         "expecting library version 8.5.2 got 8.2.1, please rebuild.", "version"),
        ("[E] Error[1]: [stdArchiveReader.cpp::StdArchiveReader::40] Error Code 1: Serialization "
         "(Serialization assertion stdVersionRead == serializationVersion failed.Version tag does "
         "not match. Note: Current Version: 213, Serialized Engine Version: 205)", "version"),
        ("[E] Error[6]: The engine plan file is generated on an incompatible device, expecting "
         "compute 7.2 got compute 5.3, please rebuild.", "device"),
        ("[E] Saving engine to file failed.", "disk"),
        ("[E] Error[2]: [virtualMemoryBuffer.cpp::resizePhysical::140] Error Code 2: OutOfMemory "
         "(no further information)", "memory"),
        ("[E] [TRT] ../rtSafe/safeRuntime.cpp (25) - Cuda Error in allocate: 2 (out of memory)",
         "memory"),
        ("what():  std::bad_alloc", "memory"),
        ("[E] Failed to parse onnx file", "parser"),
        ("  what():  Attribute not found: axes", "parser"),
        ("[E] something new", "unknown"),
    ],
)  # fmt: skip
def test_causes(line: str, kind: str) -> None:
    assert messages.cause(line + "\n", 1)[0] == kind


def test_an_operator_is_named_with_its_node() -> None:
    text = (
        "[I] [TRT] No importer registered for op: Mish. Attempting to import as plugin.\n"
        '[E] [TRT] ModelImporter.cpp:726: While parsing node number 3 [Mish -> "y"]:\n'
        "[E] Failed to parse onnx file\n"
    )
    assert messages.cause(text, 1) == ("operator", "Mish", "Mish y")


@pytest.mark.parametrize(
    ("code", "cause"),
    [(-9, "killed"), (137, "killed"), (-11, "crash"), (134, "crash"), (1, "unknown")],
)
def test_signals(code: int, cause: str) -> None:
    assert messages.cause("", code)[0] == cause


def test_sizes_of_trtexecs_own_choice_are_a_failure_though_it_ends_well() -> None:
    line = (
        "[W] Dynamic dimensions required for input: x, but no shapes were provided. "
        "Automatically overriding shape to: 1x3x1x1\n"
    )
    assert messages.cause(line, 0) == ("shapes", "1x3x1x1", None)
    assert messages.cause("[I] fine\n", 0) is None


def test_warnings_and_errors() -> None:
    text = (
        "[W] * Throughput may be bound by Enqueue Time rather than GPU Compute and the GPU may be "
        "under-utilized.\n"
        "[W] * GPU compute time is unstable, with coefficient of variance = 5.5%.\n"
        "[I] [TRT] Some tactics do not have sufficient workspace memory to run.\n"
        "[05/27/2024-16:38:42] [E] [TRT] the reason\n"
        "[05/27/2024-16:38:42] [E] Engine set up failed\n"
    )
    assert messages.warnings(text) == {"enqueue": None, "unstable": "5.5", "workspace": None}
    assert messages.errors(text) == ["the reason"]


def first(precision: str, memory_mb: int, dla: int | None = None) -> dict[str, Any]:
    recipe = {"precision": precision, "layers_fp32": [], "dla": dla}
    return ladder.first(recipe, memory_mb)


def steps(attempt: dict[str, Any], version: str, node: str = "conv1 + act1") -> list[str]:
    """The ladder's reasons, until it ends."""
    found: list[str] = []
    while True:
        try:
            attempt = ladder.following(attempt, ("implementation", node, None), version, 8000)
        except BoardError as error:
            return [*found, error.message]
        kept = ",".join(attempt["layers_fp32"])
        found.append(f"{attempt['precision']} {attempt['workspace_mb']} {kept}".strip())


def test_the_ladder_from_int8() -> None:
    assert first("int8", 8000)["workspace_mb"] == 1024
    assert steps(first("int8", 8000), "8.5.2") == [
        "int8 4000",
        "int8 4000 conv1,act1",
        "fp16 4000 conv1,act1",
        "fp32 4000 conv1,act1",
        "TensorRT 8.5.2 has no implementation for conv1 + act1, in fp32 neither",
    ]


def test_before_8_4_no_layer_can_be_kept() -> None:
    assert steps(first("fp16", 8000), "8.2.1")[:-1] == ["fp16 4000", "fp32 4000"]
    nodes = "{ForeignNode[a...b]}"  # names no layer
    assert steps(first("fp16", 8000), "8.5.2", nodes)[:-1] == ["fp16 4000", "fp32 4000"]


def test_dla_computes_no_fp32() -> None:
    assert steps(first("fp16", 8000, dla=0), "8.2.1") == [
        "fp16 4000",
        "TensorRT 8.2.1 has no implementation for conv1 + act1, in fp16 neither",
    ]


def test_each_step_tells_its_reason() -> None:
    attempt = first("fp16", 8000)
    reasons = []
    for _ in range(3):
        attempt = ladder.following(attempt, ("implementation", "conv1", None), "8.5.2", 8000)
        reasons.append(attempt["why"])
    assert reasons == [
        "no implementation for conv1 within 1024 MiB of workspace: 4000 MiB",
        "no implementation for conv1 in fp16: kept in fp32",
        "no implementation for conv1 in fp16: the whole network in fp32",
    ]


def test_a_small_board_starts_smaller() -> None:
    assert first("fp16", 2000)["workspace_mb"] == 500


@pytest.mark.parametrize(
    ("kind", "code", "word"),
    [
        ("board", 4, "JetPack"),
        ("memory", 5, "swap"),
        ("killed", 5, "dmesg"),
        ("disk", 5, "--gc"),
        ("operator", 5, "edgecc build --tensorrt 8.2.1"),
        ("parser", 5, "edgecc build --tensorrt 8.2.1"),
        ("shapes", 5, "--shape"),
        ("crash", 5, "precision"),
        ("unknown", 5, "log"),
    ],
)
def test_what_no_step_can_mend_has_a_next_step_of_its_own(kind: str, code: int, word: str) -> None:
    with pytest.raises(BoardError) as caught:
        ladder.following(first("fp16", 8000), (kind, "X", None), "8.2.1", 8000)
    assert caught.value.code == code
    assert word in caught.value.message + (caught.value.hint or "")
