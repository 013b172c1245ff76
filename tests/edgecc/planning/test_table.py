from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from correlated import lost
from helpers import normal, parse
from sampled import batches, copy_of, samples

from edgecc import catalog
from edgecc.calibration.cache import StatisticsCache
from edgecc.calibration.collect import Layer, collect
from edgecc.cost import count, input_sizes
from edgecc.planning import table
from edgecc.planning.table import Row, tabulate
from edgecc.rewrite import ConvRewrite

NETWORK = parse(
    """g (float[N,4,10,10] x) => (float[A,B] y) {
        a = Conv <pads=[1,1,1,1], strides=[2,2]> (x, w0, b0)  b = Relu(a)
        c = Conv <pads=[1,1,1,1]> (b, w1, b0)  d = Relu(c)
        e = Conv <group=16> (d, w2, b0)  f = Conv(e, w3, b0)  g = Flatten(f)  y = Gemm(g, wg)
    }""",
    {
        "w0": normal(16, 4, 3, 3) / 6,
        "w1": normal(16, 16, 3, 3, seed=4) / 12,
        "w2": normal(16, 1, 3, 3, seed=5) / 3,
        "w3": normal(16, 16, 1, 1, seed=6) / 4,
        "wg": normal(144, 5) / 12,
        "b0": normal(16) / 3,
    },
)
X = samples(8)
SIZES = {"x": (1, 4, 10, 10)}


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> list[Layer]:
    scratch = tmp_path_factory.mktemp("layers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(scratch / "cache"))
        return list(collect(copy_of(NETWORK), batches(X, 4), scratch, StatisticsCache("layers")))


def sizes_of() -> dict[str, tuple[int, ...]]:
    return input_sizes(copy_of(NETWORK), SIZES, catalog.infer_shapes)


def rows_of(
    layers: list[Layer],
    families: str | None = "basis, spatial_svd",
    granule: int = 1,
    *,
    sizes: Mapping[str, tuple[int, ...]] | None = None,
    patient: bool = False,
) -> dict[str, Row]:
    known = sizes_of() if sizes is None else sizes
    rows = tabulate(layers, catalog.families(families), known, granule, patient=patient)
    return {row.name: row for row in rows}


def test_a_row_for_each_convolution_and_first_the_convolution_itself(layers: list[Layer]) -> None:
    rows = rows_of(layers)
    assert list(rows) == ["Conv_a", "Conv_c", "Conv_e", "Conv_f"]
    counted = count(copy_of(NETWORK), SIZES, catalog.infer_shapes).by_node
    for name, row in rows.items():
        first = row.candidates[0]
        assert (first.rewrite, first.family, first.options, first.error) == (None, None, {}, 0.0)
        assert str(first) == "the convolution as it is"
        assert first.macs == counted[name].macs
        assert first.params == counted[name].params - 16  # its bias
        assert all(each.macs < first.macs for each in row.candidates[1:])
    assert list(rows_of(layers, sizes={"Conv_c": (5, 5)})) == ["Conv_c"]


def test_a_candidate_costs_and_loses_what_the_rewrite_does(layers: list[Layer]) -> None:
    rows = rows_of(layers, "basis, spatial_svd, dac, tucker2, hetconv")
    by_name = {layer.node.name: layer for layer in layers}
    for name in ("Conv_a", "Conv_c"):
        assert {c.family for c in rows[name].candidates[1:]} >= {"basis", "spatial_svd", "hetconv"}
        seen: set[str] = set()
        for candidate in rows[name].candidates[1:]:
            rule = candidate.rewrite
            assert rule is not None
            if rule.name in seen:
                continue
            seen.add(rule.name)
            copy = copy_of(NETWORK)
            (node,) = (n for n in copy.graph if n.name == name)
            conv, known = by_name[name].conv, by_name[name].statistics
            decision, made = rule.apply(node, conv, known)
            counted = count(copy, SIZES, catalog.infer_shapes).by_node
            costs = [counted[n.name] for n in made if n.name in counted]
            assert candidate.macs == sum(cost.macs for cost in costs)
            assert candidate.params + 16 == sum(cost.params for cost in costs)
            assert candidate.options == decision.options
            error = lost(conv, known, rule.project(conv, known).weight)
            assert candidate.error == pytest.approx(error, rel=0.15, abs=1e-9)


def test_ranks_are_multiples_of_the_granule_where_channels_are_many(layers: list[Layer]) -> None:
    for granule, step in ((1, 1), (2, 2), (16, 2)):  # 8 steps at least fit into 16 channels
        ranks = [
            c.options["rank"]
            for c in rows_of(layers, "basis", granule)["Conv_c"].candidates
            if c.rewrite
        ]
        assert ranks[0] == step
        assert all(rank % step == 0 for rank in ranks)
        assert ranks == sorted(ranks)
    narrow = rows_of(layers, "basis", 16)["Conv_a"]
    assert narrow.candidates[1].options == {"rank": 1}  # it reads 4 channels


def test_why_a_family_has_no_candidate(layers: list[Layer]) -> None:
    rows = rows_of(layers, None)
    assert rows["Conv_e"].candidates[0].rewrite is None
    depthwise = rows["Conv_e"].refusals
    assert depthwise["basis"] == "it is depthwise: its filters have no basis in common"
    assert len(rows["Conv_e"].candidates) == 1
    assert rows["Conv_f"].refusals["depthwise"]
    for row in rows.values():
        tried = {candidate.family for candidate in row.candidates if candidate.rewrite}
        assert tried.isdisjoint(row.refusals)
        assert tried | set(row.refusals) == {family.name for family in catalog.families()}
        assert "dac" not in row.refusals


def test_nothing_to_save_is_a_reason(layers: list[Layer]) -> None:
    (wide,) = (layer for layer in layers if layer.node.name == "Conv_f")
    found = rows_of([wide], "basis", sizes={"Conv_f": (3, 3)})["Conv_f"]
    assert {c.options["rank"] for c in found.candidates[1:]} <= set(range(1, 8))
    few = rows_of([wide], "tucker2(rank=16)", sizes={"Conv_f": (3, 3)})["Conv_f"]
    assert few.refusals


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("basis(rank=5)", [{"rank": 5}]),
        ("tucker2(rank=6, rank_in=6)", [{"rank": 6, "rank_in": 6}]),
        ("hetconv(parts=4)", [{"parts": 4}]),
        ("channel_prune(keep=7)", [{"keep": 7}]),
        ("spatial_svd(rank=7, first=vertical)", [{"rank": 7, "first": "vertical"}]),
        ("basis(rank=15)", []),
    ],
)
def test_options_that_the_user_gives_are_followed(
    layers: list[Layer], family: str, options: list[object]
) -> None:
    row = rows_of(layers, family, patient=True)["Conv_c"]
    assert [c.options for c in row.candidates[1:]] == options
    if not options:
        assert list(row.refusals.values()) == ["none of its choices saves multiply-adds"]


def test_options_leave_open_what_they_do_not_name(layers: list[Layer]) -> None:
    (energy,) = rows_of(layers, "basis(energy=0.9)")["Conv_c"].candidates[1:]
    assert set(energy.options) == {"rank"}
    assert energy.error <= 0.1
    sides = rows_of(layers, "spatial_svd(first=vertical)")["Conv_c"].candidates[1:]
    assert len(sides) > 3
    assert {c.options["first"] for c in sides} == {"vertical"}


def test_families_that_take_long_are_left_out_unless_asked_for(
    layers: list[Layer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "MOST_EFFORT", 0)
    (conv,) = (layer.conv for layer in layers if layer.node.name == "Conv_c")
    slow = [f.name for f in catalog.families() if not f.refuse(conv) and f.effort(conv) > 0]
    assert "msgc" in slow
    why = "its search is long here; name it in --families to insist"
    refused = rows_of(layers, None)["Conv_c"].refusals
    assert [name for name, reason in refused.items() if reason == why] == slow
    assert "msgc" in {c.family for c in rows_of(layers, None, patient=True)["Conv_c"].candidates}


def test_threads_change_nothing(layers: list[Layer], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = rows_of(layers, "basis, tucker2, msgc")
    for at_once in (1, 4):
        monkeypatch.setattr(table, "AT_ONCE", at_once)
        assert rows_of(layers, "basis, tucker2, msgc") == expected


def test_a_failure_in_a_thread_is_not_lost(layers: list[Layer]) -> None:
    class Broken(ConvRewrite):
        name = "broken"

        def refuse(self, conv: object) -> None:
            raise np.linalg.LinAlgError("singular")

    Broken.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]
    with pytest.raises(np.linalg.LinAlgError, match="singular"):
        list(tabulate(layers, [Broken()], sizes_of(), 1))


def test_no_more_covariances_are_held_than_fit(
    layers: list[Layer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While no row is done, layers are taken until they are too large together, and no further."""
    sizes = np.cumsum([layer.statistics.size_bytes for layer in layers])
    monkeypatch.setattr(table, "HELD_BYTES", int(sizes[-2]) - 1)
    taken: list[str] = []
    going = threading.Event()
    threading.Timer(1.0, going.set).start()

    def counted() -> Iterator[Layer]:
        for layer in layers:
            taken.append(layer.node.name or "")
            yield layer

    def wait(layer: Layer) -> None:
        going.wait()

    next(tabulate(counted(), catalog.families("basis"), sizes_of(), 1, also=wait))
    assert len(taken) == len(layers) - 1


def test_an_interrupt_waits_for_no_row_that_has_not_begun(layers: list[Layer]) -> None:
    begun: list[str] = []

    def note(layer: Layer) -> None:
        begun.append(layer.node.name or "")
        time.sleep(0.2)

    def interrupted() -> Iterator[Layer]:
        yield from layers * 4
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(tabulate(interrupted(), catalog.families("basis"), sizes_of(), 1, also=note))
    assert len(begun) <= 2 * table.AT_ONCE
