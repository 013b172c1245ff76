"""What losing channels costs, and in which order they go."""

from __future__ import annotations

import numpy as np
import pytest
from correlated import conv_of, correlated, oracle, refitted
from helpers import conv_model

from passes.decompose import descent, obs
from passes.decompose.descent import columns


def test_what_losing_a_channel_costs_is_what_the_refit_loses() -> None:
    conv = conv_of(conv_model(4, 6, (3, 3)))
    statistics = correlated(conv)
    (block,) = statistics.blocks(conv)
    scores = obs.losses(block.weight.reshape(4, 6, 9), obs.inverse(block))
    for channel in range(6):
        support = np.ones((1, 4, 54), bool)
        support[:, :, channel * 9 : channel * 9 + 9] = False
        off = block.weight - refitted(conv, statistics, support)[0]
        exact = np.einsum("nd,de,ne->n", off, block.dense_covariance, off)
        np.testing.assert_allclose(scores[:, channel], exact, rtol=1e-8, atol=1e-14)


def test_what_losing_the_outer_taps_costs_is_what_the_refit_loses() -> None:
    conv = conv_of(conv_model(4, 6, (3, 3)))
    statistics = correlated(conv)
    (block,) = statistics.blocks(conv)
    outer = np.delete(np.arange(9), 4)
    weight = block.weight.reshape(4, 6, 9)
    scores = obs.losses(weight, obs.inverse(block), outer)  # (4, 6)
    for channel in range(6):
        support = np.ones((1, 4, 54), bool)
        support[:, :, channel * 9 + outer] = False
        off = block.weight - refitted(conv, statistics, support)[0]
        exact = np.einsum("nd,de,ne->n", off, block.dense_covariance, off)
        np.testing.assert_allclose(scores[:, channel], exact, rtol=1e-8, atol=1e-14)


def test_the_costs_are_those_of_the_reference() -> None:
    wls = oracle()
    conv = conv_of(conv_model(4, 6, (3, 3)))
    (block,) = correlated(conv).blocks(conv)
    for taps in (np.arange(9), np.delete(np.arange(9), 4)):
        scores = obs.losses(block.weight.reshape(4, 6, 9), obs.inverse(block), taps)
        reference = wls.obs_scores(block.weight, block.dense_covariance, 6, taps)
        np.testing.assert_allclose(scores, reference, rtol=0.05, atol=1e-14)  # its ridge: 1e-6


def test_what_is_lost_on_the_way_is_what_the_refit_loses() -> None:
    conv = conv_of(conv_model(6, 10, (3, 3)))
    statistics = correlated(conv)
    (block,) = statistics.blocks(conv)
    for ranking in obs.rankings(block.weight, block, obs.inverse(block), 2, 9):
        assert sorted(ranking.channels) == list(range(10))
        for keep in (2, 5, 9):
            kept = columns(ranking.first(keep), 9)
            support = np.zeros((1, 6, 90), bool)
            support[:, :, kept] = True
            wanted = refitted(conv, statistics, support)[0]
            exact = block.energy(block.weight - wanted)
            assert abs(ranking.lost[keep] - exact) < 1e-9 * block.energy(block.weight)
            np.testing.assert_allclose(
                obs.refit(block.weight, block, kept), wanted[:, kept], atol=1e-9
            )


@pytest.mark.parametrize("columns", [9, 18, 40, 1000])
def test_how_much_is_put_off_changes_nothing(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    conv = conv_of(conv_model(16, 48, (3, 3)))
    (block,) = correlated(conv).blocks(conv)
    way = obs.eliminate(block.weight, block, obs.inverse(block), 1)
    monkeypatch.setattr(descent, "PUT_OFF", columns)
    other = obs.eliminate(block.weight, block, obs.inverse(block), 1)
    assert np.array_equal(other.channels, way.channels)
    np.testing.assert_allclose(other.lost[1:], way.lost[1:], rtol=1e-9, atol=1e-12)


def test_several_at_once_lose_what_they_say_and_never_both_twins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    conv = conv_of(conv_model(16, 48, (3, 3)))
    (block,) = correlated(conv, twins=True).blocks(conv)
    monkeypatch.setattr(descent, "MANY", 6)
    ranking = obs.eliminate(block.weight, block, obs.inverse(block), 8)
    monkeypatch.setattr(descent, "MANY", 1000)
    slow = obs.eliminate(block.weight, block, obs.inverse(block), 8)
    for keep in (8, 24, 30, 47):
        kept = columns(ranking.first(keep), 9)
        weight = np.zeros_like(block.weight)
        weight[:, kept] = obs.refit(block.weight, block, kept)
        exact = block.energy(block.weight - weight)
        assert abs(ranking.lost[keep] - exact) < 1e-7 * block.energy(block.weight)
        assert ranking.lost[keep] < 1.03 * slow.lost[keep]
