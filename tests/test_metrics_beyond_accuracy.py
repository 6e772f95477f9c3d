"""Measures of the lists themselves, against loops: coverage, Gini, novelty, diversity."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrec.metrics.beyond_accuracy import coverage, gini, intra_list_diversity, novelty
from nnrec.metrics.ranking import evaluate_ranking
from tests.worlds import worlds


@given(worlds(), st.integers(1, 7))
def test_measures_of_lists_agree_with_loops(world, n: int) -> None:
    scores, truth, seen = world
    n_users, n_items = scores.shape
    rng = np.random.default_rng(3)
    popularity, vectors = rng.integers(0, 4, n_items), rng.integers(0, 3, (n_items, 2))
    result = evaluate_ranking(
        scores, truth, seen=seen, n=[n, n + 1], popularity=popularity, item_vectors=vectors
    )
    lists = [[i for i in row if i >= 0] for row in result.lists[:, :n].tolist()]
    flat = [i for row in lists for i in row]
    assert result[f"coverage@{n}"] == len(set(flat)) / n_items
    counts = [flat.count(i) for i in range(n_items)]
    distances = sum(abs(a - b) for a in counts for b in counts)
    assert result[f"gini@{n}"] == pytest.approx(distances / (2 * n_items * sum(counts)))
    bits = [-log2(max(popularity[i], 1) / n_users) for i in flat]
    assert result[f"novelty@{n}"] == pytest.approx(np.mean(bits))

    def distance(a, b) -> float:
        length = np.linalg.norm(vectors[a]) * np.linalg.norm(vectors[b])
        return 1 - (vectors[a] @ vectors[b] / length if length else 0)

    own = [
        np.mean([distance(a, b) for a in row for b in row if a != b])
        for row in lists
        if len(row) > 1
    ]
    if own:
        assert result[f"diversity@{n}"] == pytest.approx(np.mean(own), abs=1e-12)
    else:
        assert np.isnan(result[f"diversity@{n}"])


def test_measures_of_lists_at_their_ends() -> None:
    same = np.full((13, 1), 3)
    assert gini(same, 17) == pytest.approx(1 - 1 / 17) and coverage(same, 17) == 1 / 17
    assert gini(np.arange(17)[:, None], 17) == 0 and coverage(np.arange(17)[:, None], 17) == 1
    assert novelty(same, np.full(17, 8), 8) == 0
    assert intra_list_diversity([[0, 1]], [[1, 0], [1, 0]]) == pytest.approx(0)
    assert intra_list_diversity([[0, 1]], [[0.5, 0], [0.25, 0]]) == pytest.approx(0)


def test_measures_of_lists_count_in_float64() -> None:
    popularity, vectors = np.array([3, 1], "f4"), np.array([[0.1, 0.7], [0.3, 0.2]], "f4")
    assert novelty([[0, 1]], popularity, 7) == pytest.approx((log2(7 / 3) + log2(7)) / 2, rel=1e-14)
    found = intra_list_diversity([[0, 1]], vectors)
    assert found == pytest.approx(intra_list_diversity([[0, 1]], vectors.astype("f8")), rel=1e-14)
