from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import onnx_ir as ir
import pytest
from helpers import normal, parse

from edgecc.errors import UsageError
from edgecc.measure import prices
from edgecc.measure.layers import Graph
from edgecc.measure.prices import Place
from edgecc.measure.profile import rows, times_by_node
from edgecc.measure.record import Record
from edgecc.planning.measured import PriceTable
from edgecc.planning.prices import signature

TEXT = """
g (float[2, 4, 8, 8] x) => (float[2, 6, 8, 8] y) {
  c1 = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, w1)
  r1 = Relu(c1)
  c2 = Conv<kernel_shape = [1, 1]>(r1, w2)
  c3 = Conv<kernel_shape = [1, 1]>(r1, w3)
  s = Add(c2, c3)
  y = Relu(s)
}
"""
WEIGHTS = {"w1": normal(8, 4, 3, 3), "w2": normal(6, 8, 1, 1), "w3": normal(6, 8, 1, 1)}


@pytest.fixture
def graph() -> Graph:
    model = ir.from_proto(parse(TEXT, WEIGHTS))
    for node, name in zip(
        model.graph, ("conv1", "relu1", "conv2", "conv3", "add", "out"), strict=True
    ):
        node.name = name
    return Graph.of(model, {"x": (2, 4, 8, 8)})


def matched(graph: Graph, name: str) -> tuple[str, list[str]]:
    (row,) = rows([{"name": name, "median_ms": 1.0}], graph)
    return row.kind, list(row.nodes)


@pytest.mark.parametrize(
    ("name", "kind", "nodes"),
    [
        ("conv1", "operators", ["conv1"]),
        ("conv1 + relu1", "operators", ["conv1", "relu1"]),
        ("conv2 || conv3", "operators", ["conv2", "conv3"]),
        ("conv3 + add + out", "operators", ["conv3", "add", "out"]),
        ("PWN(add, out)", "operators", ["add", "out"]),
        ("PWN(PWN(relu1), out)", "operators", ["relu1", "out"]),
        ("Reformatting CopyNode for Input Tensor 0 to conv1 + relu1", "copy", ["conv1", "relu1"]),
        ("Reformatting CopyNode for Output Tensor 0 to conv3", "copy", ["conv3"]),
        ("{ForeignNode[conv2...out]}", "foreign", []),
        ("(Unnamed Layer* 4) [Shuffle]", "unknown", []),
        ("c1_nchwc", "operators", ["conv1"]),
        ("r1_nchwc", "operators", ["conv1"]),
        ("y_nchwc", "operators", ["conv3"]),
        ("conv2_token_7", "operators", ["conv2"]),
        ("ReorderOutput_token_25", "copy", []),
        ("ReorderInput", "copy", []),
    ],
)
def test_what_a_row_timed(graph: Graph, name: str, kind: str, nodes: list[str]) -> None:
    assert matched(graph, name) == (kind, nodes)


def test_rows_without_name_or_time_are_left_out(graph: Graph) -> None:
    assert rows([{"count": 100}, {"name": "conv1"}, {"name": "conv1", "median_ms": 0}], graph) == []


def test_merged_convolutions_share_by_multiply_adds_and_a_copy_is_its_owners(
    graph: Graph,
) -> None:
    profile = [
        {"name": "Reformatting CopyNode for Input Tensor 0 to conv1", "average_ms": 0.5},
        {"name": "conv1 + relu1", "median_ms": 2.0, "average_ms": 9.0},
        {"name": "conv2 || conv3", "median_ms": 1.0},
        {"name": "add", "median_ms": 0.25},
        {"name": "{ForeignNode[out]}", "median_ms": 7.0},
    ]
    assert times_by_node(rows(profile, graph), graph) == {
        "conv1": 2.5,
        "conv2": 0.5,
        "conv3": 0.5,
        "add": 0.25,
    }


def test_prices_are_of_one_sample_and_of_the_middle_of_those_alike(graph: Graph) -> None:
    profile = [{"name": name, "median_ms": ms} for name, ms in (("conv2", 1.0), ("conv3", 3.0))]
    (entry,) = prices.measured_entries(profile, graph)
    assert entry.latency_ms == 1.0
    assert signature(entry.layer) == signature(graph.layers["conv2"])


def place(mode: str = "MAXN") -> Place:
    state = {"mode": {"id": 0, "name": mode}, "gpu": {"min_hz": 1e9, "max_hz": 1e9, "cur_hz": 1e9}}
    cpus = [{"implementer": "0x4e", "part": "0x004"}]
    identity = {"l4t": "35.4.1", "tensorrt": "8.5.2", "cpus": cpus}
    told = [
        {"event": "start", "schema_version": 1, "job": {"threads": None}},
        {"event": "identity", "identity": identity},
        {"event": "state", "when": "pinned", "state": state},
    ]
    record = Record.parse(map(json.dumps, told))
    return Place.of("xavier", "tensorrt", record, {"engine": {"precision": "fp16"}})


def test_a_table_grows_and_newer_prices_take_the_place_of_older(graph: Graph) -> None:
    def keep(**times: float) -> Path | None:
        profile = [{"name": name, "median_ms": ms} for name, ms in times.items()]
        return prices.keep(place(), prices.measured_entries(profile, graph))

    assert prices.found("xavier", "tensorrt") is None
    keep(conv1=4.0)
    path = keep(conv1=2.0, conv2=1.0)
    assert path is not None
    assert path == prices.found("xavier", "tensorrt")
    table = PriceTable.read(path)
    assert [entry.latency_ms for entry in table.entries] == [1.0, 0.5]
    assert table.versions == {"l4t": "35.4.1", "tensorrt": "8.5.2", "cpu": "0x4e:0x004"}
    assert table.clocks == {"mode": "MAXN", "precision": "fp16", "GPU MHz": 1000.0}
    assert prices.found("xavier", "tvm") is None
    assert prices.found("xavier-nx", "tensorrt") is None


def test_other_clocks_have_a_table_of_their_own_and_the_last_one_counts(graph: Graph) -> None:
    entries = prices.measured_entries([{"name": "conv1", "median_ms": 4.0}], graph)
    first, second = prices.keep(place(), entries), prices.keep(place("MODE_15W"), entries)
    assert first != second
    assert prices.found("xavier", "tensorrt") == second


@pytest.mark.parametrize(
    ("threads", "built_by", "counts"),
    [(None, version("onnxruntime"), True), (None, "1.0.0", False), (1, None, False)],
)
def test_prices_of_another_version_or_of_other_threads_do_not_count(
    graph: Graph, threads: int | None, built_by: str | None, counts: bool
) -> None:
    start = {"event": "start", "schema_version": 1, "job": {"threads": threads}}
    record = Record.parse([json.dumps(start)])
    described = {"versions": {"onnxruntime": built_by or version("onnxruntime")}}
    entries = prices.measured_entries([{"name": "conv1", "median_ms": 4.0}], graph)
    path = prices.keep(Place.of("host", "onnxruntime", record, described), entries)
    assert prices.found("host", "onnxruntime") == (path if counts else None)


def test_tvm_is_known_by_its_package_and_a_cpu_without_a_number_by_nothing() -> None:
    told = [
        {"event": "start", "schema_version": 1, "job": {}},
        {"event": "identity", "identity": {"cpus": [{"cpu": 0}]}},
    ]
    record = Record.parse(map(json.dumps, told))
    place = Place.of("rpi4", "tvm", record, {"versions": {"apache-tvm": "0.27"}})
    assert place.versions == {"tvm": "0.27"}


def test_a_damaged_table_is_passed_over_and_written_anew(graph: Graph) -> None:
    entries = prices.measured_entries([{"name": "conv1", "median_ms": 4.0}], graph)
    path = prices.keep(place(), entries)
    assert path is not None
    path.write_text("{")
    assert prices.found("xavier", "tensorrt") is None
    with pytest.raises(UsageError):
        PriceTable.read(path)
    assert prices.keep(place(), entries) == path
    assert PriceTable.read(path).entries[0].latency_ms == 2.0


def test_nothing_measured_is_nothing_kept() -> None:
    assert prices.keep(place(), []) is None
    assert not prices.folder().exists()
