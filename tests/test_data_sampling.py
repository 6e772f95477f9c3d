"""Negatives: never a positive, in the proportions promised, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chisquare

from nnrec.data.interactions import Interactions
from nnrec.data.sampling import InBatch, Negatives, Pairwise, Pointwise

EVENTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=1, max_size=41)


def log_of(events: list[tuple[int, int]]) -> Interactions:
    return Interactions.from_columns(*zip(*events))


def random_log(users: int = 29, items: int = 53, events: int = 499) -> Interactions:
    rng = np.random.default_rng(7)
    popular = np.minimum(rng.geometric(0.05, events), items) - 1
    log = Interactions.from_columns(rng.integers(users, size=events), popular)
    return log.including(items=range(items))


@given(EVENTS, st.sampled_from([0.0, 0.75, 1.0]), st.integers(0, 7))
def test_no_positive_is_drawn_and_every_negative_can_be(events, exponent: float, seed: int) -> None:
    log = log_of(events)
    dense = log.csr().toarray()
    free = np.flatnonzero((dense == 0).any(axis=1))
    assume(len(free))
    drawn = Negatives(log, exponent)(free, 2003, rng=seed)
    assert drawn.shape == (len(free), 2003) and drawn.dtype == np.int64
    assert not dense[free[:, None], drawn].any()
    for row, user in zip(drawn, free):  # each item has 1/35 of the mass at least
        assert set(row) == set(np.flatnonzero(dense[user] == 0))


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_draws_have_the_promised_distribution(exponent: float) -> None:
    log = random_log()
    known = log.csr()
    weight = np.bincount(known.indices, minlength=log.n_items) ** exponent
    for user in (0, 11):
        expected = weight * (known.toarray()[user] == 0)
        drawn = Negatives(log, exponent)(np.full(997, user), 31, rng=3)
        counts = np.bincount(drawn.ravel(), minlength=log.n_items)
        assert not counts[expected == 0].any()
        found = counts[expected > 0]
        share = expected[expected > 0] / expected.sum()
        assert chisquare(found, share * found.sum()).pvalue > 1e-4


def test_a_user_of_every_item_has_no_negative() -> None:
    log = Interactions.from_columns(["a", "a", "eve", "eve", "eve"], [1, 2, 1, 2, 3])
    assert Negatives(log)([0, 0], 5).tolist() == [[2] * 5] * 2
    with pytest.raises(ValueError, match="user 'eve' has every item"):
        Negatives(log)([0, 1])
    with pytest.raises(ValueError, match="user 'a' has every item"):  # 4 has no popularity
        Negatives(log.take([0, 1]).including(items=[4]), exponent=1)([0])
    with pytest.raises(ValueError, match="exponent=-1"):
        Negatives(log, -1)


def test_users_without_events_and_many_items_already_had() -> None:
    n = 1009
    log = Interactions.from_columns([1] * (n - 1), range(n - 1)).including(users=[2], items=[n])
    drawn = Negatives(log)([0, 1], 4001, rng=0)
    assert set(drawn[0]) == {n - 1} and len(set(drawn[1])) > 0.97 * n


@pytest.mark.parametrize("source", [Pointwise, Pairwise, InBatch])
def test_an_epoch_has_every_pair_once_and_is_the_same_for_the_same_seed(source) -> None:
    log = random_log()
    make = source(log, batch_size=101)
    batches = list(make(np.random.default_rng(5)))
    pairs = []
    for (users, items, *_), y in batches:
        keep = slice(None) if source is not Pointwise else y == 1
        pairs.append(users[keep] * log.n_items + items[keep])
    assert [len(p) for p in pairs[:-1]] == [101] * (len(pairs) - 1)
    assert np.array_equal(np.sort(np.concatenate(pairs)), np.unique(log.pairs()))
    for (x, y), (x2, y2) in zip(batches, source(log, batch_size=101)(5), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip([*x, y], [*x2, y2]))
    other = next(iter(make(6)))
    assert not np.array_equal(other[0][0], batches[0][0][0])


def test_labels_and_shapes_of_pointwise_and_pairwise() -> None:
    log = random_log()
    dense = log.csr().toarray()
    for (users, items), labels in Pointwise(log, negatives=3, batch_size=97)(rng=1):
        assert labels.dtype == np.float32 and len(labels) == 4 * labels.sum()
        assert np.array_equal(dense[users, items], labels)
        own = users[labels == 1]
        assert np.array_equal(users[labels == 0], np.repeat(own, 3))
    for (users, _, others), y in Pairwise(log, negatives=2, batch_size=97)(rng=1):
        assert y is None and others.shape == (len(users), 2)
        assert not dense[users[:, None], others].any()
    assert next(iter(Pairwise(log)(1)))[0][2].ndim == 1


def test_in_batch_masks_other_positives_and_corrects_popularity() -> None:
    log = random_log()
    dense = log.csr().toarray()
    share = dense.sum(axis=0) / dense.sum()
    masked = 0
    for (users, items, shift), target in InBatch(log, batch_size=61)(rng=1):
        assert shift.dtype == np.float32 and target.tolist() == list(range(len(users)))
        for row in range(len(users)):
            for column in range(len(users)):
                positive = row != column and dense[users[row], items[column]]
                expected = -1e9 if positive else -np.log(share[items[column]])
                assert shift[row, column] == pytest.approx(expected, rel=1e-6)
                masked += bool(positive)
    assert masked > 100


def test_sizes_and_empty_logs_are_checked() -> None:
    log = random_log()
    for make in (lambda: Pointwise(log, negatives=0), lambda: Pairwise(log, batch_size=0)):
        with pytest.raises(ValueError, match="0: expected a whole number ≥ 1"):
            make()
    with pytest.raises(ValueError, match="1: expected a whole number ≥ 2"):
        InBatch(log, batch_size=1)
    for source in (Pointwise, Pairwise, InBatch):
        with pytest.raises(ValueError, match="no event"):
            source(Interactions.from_columns([], []))
