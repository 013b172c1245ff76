"""What each generation of trtexec prints and exports, as collected from real boards and sources."""

from __future__ import annotations

import pytest

from targets.tensorrt.device import profile, summary, times
from targets.tensorrt.device.errors import BoardError

T = "[05/27/2024-16:38:42] [I] "
BLOCKS = """\
Host Latency
min: 6.1 ms (end to end 6.2 ms)
max: 9.5 ms (end to end 9.9 ms)
mean: 6.5 ms (end to end 6.6 ms)
median: 6.4 ms (end to end 6.5 ms)
percentile: 8.9 ms at 99% (end to end 9.1 ms at 99%)
throughput: 145.5 qps
walltime: 3.02 s
Enqueue Time
min: 0.4 ms
max: 1.1 ms
median: 0.5 ms
GPU Compute
min: 5.9 ms
max: 9.2 ms
mean: 6.3 ms
median: 6.2 ms
percentile: 8.7 ms at 99%
total compute time: 2.77 s
"""
LINES_8_0 = """\
=== Performance summary ===
Throughput: 145.5 qps
Latency: min = 6.1 ms, max = 9.5 ms, mean = 6.5 ms, median = 6.4 ms, percentile(99%) = 8.9 ms
End-to-End Host Latency: min = 6.2 ms, max = 9.9 ms, mean = 6.6 ms, median = 6.5 ms, \
percentile(99%) = 9.1 ms
Enqueue Time: min = 0.4 ms, max = 1.1 ms, mean = 0.5 ms, median = 0.5 ms, percentile(99%) = 1 ms
GPU Compute Time: min = 5.9 ms, max = 9.2 ms, mean = 6.3 ms, median = 6.2 ms, \
percentile(99%) = 8.7 ms
Total Host Walltime: 3.02 s
Total GPU Compute Time: 2.77 s
"""
LINES_8_5 = """\
=== Performance summary ===
Throughput: 32.7261 qps
Latency: min = 30.1348 ms, max = 30.887 ms, mean = 30.7571 ms, median = 30.7585 ms, \
percentile(90%) = 30.8303 ms, percentile(95%) = 30.8396 ms, percentile(99%) = 30.8523 ms
H2D Latency: min = 0.243774 ms, max = 0.261108 ms, mean = 0.247712 ms, median = 0.247559 ms
GPU Compute Time: min = 29.8193 ms, max = 30.4572 ms, mean = 30.3322 ms, median = 30.333 ms
Total Host Walltime: 3.08622 s
Total GPU Compute Time: 3.0635 s
"""


def log(text: str) -> str:
    return "".join(T + line + "\n" for line in text.splitlines())


@pytest.mark.parametrize("text", [BLOCKS, LINES_8_0])
def test_blocks_of_7_and_lines_of_8_0_say_the_same(text: str) -> None:
    found = summary.performance(log(text))
    assert found["latency_ms"] == {
        "min": 6.1,
        "max": 9.5,
        "mean": 6.5,
        "median": 6.4,
        "percentiles": {"99": 8.9},
    }
    assert found["end_to_end_ms"]["percentiles"] == {"99": 9.1}
    assert found["enqueue_ms"]["median"] == 0.5
    assert found["compute_ms"]["mean"] == 6.3
    assert found["compute_ms"]["percentiles"] == {"99": 8.7}
    assert (found["throughput_qps"], found["walltime_s"]) == (145.5, 3.02)
    assert found["compute_total_s"] == 2.77


def test_lines_of_8_5_have_more_percentiles_and_no_end_to_end() -> None:
    found = summary.performance(log(LINES_8_5))
    assert found["latency_ms"]["percentiles"] == {"90": 30.8303, "95": 30.8396, "99": 30.8523}
    assert found["h2d_ms"]["median"] == 0.247559
    assert found["compute_ms"]["max"] == 30.4572
    assert "end_to_end_ms" not in found
    assert summary.performance("nothing of the sort\n") == {}


def test_the_inputs_as_they_were_bound_in_both_wordings() -> None:
    text = log(
        "Created input binding for x with dimensions 1x3x224x224\n"
        "Created output binding for y with dimensions 1x1000\n"
        "Input binding for im shape with dimensions 1x2 is created.\n"
        "Output binding for z with dimensions  is created."
    )
    assert summary.bound_shapes(text) == {"x": [1, 3, 224, 224], "im shape": [1, 2]}


def test_the_device_block() -> None:
    text = log(
        "Selected Device: Xavier\nCompute Capability: 7.2\nSMs: 6\n"
        "Compute Clock Rate: 1.109 GHz\nDevice Global Memory: 14885 MiB\nTensorRT version: 8.5.2"
    )
    assert summary.device(text) == {
        "name": "Xavier",
        "compute_capability": "7.2",
        "sms": 6,
        "clock_ghz": 1.109,
        "memory_mib": 14885,
        "tensorrt": "8.5.2",
    }
    assert summary.device("") == {}


# In 7.x the copy of the inputs (0 to 0.5 ms) is under Enq, enqueueing (0.4 to 0.6) under In.
ROW_7 = (
    '{ "startEnqMs" : %(at)g, "endEnqMs" : 0.5, "startInMs" : 0.4, "endInMs" : 0.6, '
    '"startComputeMs" : %(compute)g, "endComputeMs" : 6.5, "startOutMs" : 6.5, "endOutMs" : 6.7, '
    '"inMs" : 0.5, "computeMs" : 6, "outMs" : 0.2, "latencyMs" : 6.7, "endToEndMs" : 6.7 }'
)
ROW_8 = (
    '{ "startEnqMs" : 0.4, "endEnqMs" : 0.6, "startH2dMs" : %(at)g, "endH2dMs" : 0.5, '
    '"startComputeMs" : %(compute)g, "endComputeMs" : 6.5, "startD2hMs" : 6.5, "endD2hMs" : 6.7, '
    '"h2dMs" : 0.5, "computeMs" : 6, "d2hMs" : 0.2, "latencyMs" : 6.7 }'
)


def exported(row: str) -> str:
    """A query of the warm-up, and one at 200 ms."""
    rows = [row % {"at": at, "compute": at + 0.5} for at in (0, 200)]
    return "[\n  {}\n, {}\n]\n".format(*rows)


@pytest.mark.parametrize(
    ("version", "row", "counted"),
    [
        ("7.1.3", ROW_7, 1),
        ("8.0.1", ROW_8, 1),
        ("8.4.2", ROW_8, 1),
        ("8.5.2", ROW_8, 2),  # there every row counts: warm-ups were left out by trtexec
        ("10.3.0", ROW_8, 2),
    ],
)
def test_times_without_the_warm_up(version: str, row: str, counted: int) -> None:
    rows = times.read(exported(row), version, 0.2)
    assert len(rows) == counted
    assert rows[-1] == {
        "latency_ms": 6.7,
        "compute_ms": 6.0,
        "h2d_ms": 0.5,
        "d2h_ms": 0.2,
        "start_ms": 200.0,
        "end_ms": 6.7,
    }


@pytest.mark.parametrize("text", ["", "[", "[{}]", "{}", '[{"latencyMs": "a"}]', "[1]", "[]"])
def test_times_that_cannot_be_read_are_an_error_with_a_next_step(text: str) -> None:
    with pytest.raises(BoardError) as caught:
        times.read(text, "8.5.2", 0.2)
    assert (caught.value.code, bool(caught.value.hint)) == (5, True)


def test_nothing_but_warm_up_is_an_error() -> None:
    with pytest.raises(BoardError, match="no query after the warm-up of 1 s"):
        times.read(exported(ROW_8), "8.4.2", 1)


ROW_8_2 = '{ "name" : "%s", "timeMs" : 0.6, "averageMs" : 0.06, "percentage" : 75 }'
ROW_8_4 = ROW_8_2.replace(', "percentage"', ', "medianMs" : 0.05, "percentage"')


@pytest.mark.parametrize(("row", "median"), [(ROW_8_4, 0.05), (ROW_8_2, None)])
@pytest.mark.parametrize("name", ["Conv_0 + Relu_1", 'a "quoted" one', "back\\slash", 'x", y'])
def test_a_profile_is_read_whatever_the_names(row: str, median: float | None, name: str) -> None:
    text = f'[\n  {{ "count" : 10 }}\n, {row % name}\n, {row % "next"}\n]\n'
    count, layers, repaired = profile.read(text)
    assert count == 10
    assert repaired == (name != "Conv_0 + Relu_1")
    assert [layer["name"] for layer in layers] == [name, "next"]
    assert layers[0]["median_ms"] == median
    assert (layers[0]["average_ms"], layers[0]["time_ms"], layers[0]["share"]) == (0.06, 0.6, 0.75)


def test_a_profile_cut_short_keeps_its_whole_rows_and_an_empty_one_is_an_error() -> None:
    text = '[\n  { "count" : 10 }\n, %s\n, { "name" : "ne' % (ROW_8_4 % "a")
    assert [layer["name"] for layer in profile.read(text)[1]] == ["a"]
    with pytest.raises(BoardError, match="no layer"):
        profile.read('[\n  { "count" : 10 }\n]\n')


def test_layers_are_dictionaries_or_names() -> None:
    detailed = '{"Layers": [{"Name": "conv1","LayerType": "CaskConvolution"}\n],"Bindings": ["x"]}'
    assert profile.layer_info(detailed) == [{"Name": "conv1", "LayerType": "CaskConvolution"}]
    assert profile.layer_info('{"Layers": ["conv1"\n],"Bindings": ["x"\n]}') == [{"Name": "conv1"}]
    broken = detailed.replace("conv1", 'a "b"')
    assert profile.layer_info(broken) == [{"Name": 'a "b"'}]
    assert profile.layer_info("") == []


@pytest.mark.parametrize(
    ("name", "nodes"),
    [
        ("Conv_0 + Relu_1", ["Conv_0", "Relu_1"]),
        ("left || right", ["left", "right"]),
        ("PWN(PWN(/act/Sigmoid), /act/Mul)", ["/act/Sigmoid", "/act/Mul"]),
        ("conv + PWN(PWN(sigmoid), mul)", ["conv", "sigmoid", "mul"]),
        ("{ForeignNode[Reshape_1...MatMul_9]}", ["Reshape_1", "MatMul_9"]),
        ("Reformatting CopyNode for Input Tensor 0 to conv1", ["conv1"]),
    ],
)
def test_a_layers_name_tells_its_nodes(name: str, nodes: list[str]) -> None:
    assert profile.parts(name) == nodes
