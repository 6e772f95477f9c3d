"""Splits: every row once, groups whole, classes in proportion, time in order, always the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold, TimeSeriesSplit

from nnrec.data.splits import _cheapest, equal_rows, folds, split
from nnrec.data.tables import Table

SHARES = st.lists(st.integers(1, 7), min_size=1, max_size=4).map(
    lambda weights: {f"part {i}": w / sum(weights) for i, w in enumerate(weights)}
)


def is_partition(parts: list[np.ndarray], n: int) -> bool:
    return np.array_equal(np.sort(np.concatenate(parts)), np.arange(n)) and all(
        len(part) and (np.diff(part) > 0).all() for part in parts
    )


@given(st.integers(29, 211), SHARES, st.integers(0, 97))
def test_split_is_a_partition_in_proportion(n: int, parts: dict[str, float], seed: int) -> None:
    found = split(n, parts, rng=seed)
    assert list(found) == list(parts)
    assert is_partition(list(found.values()), n)
    for name, share in parts.items():
        assert abs(len(found[name]) - share * n) < 1 + 1e-9


@given(st.lists(st.integers(8, 47), min_size=1, max_size=5), st.integers(2, 7), st.integers(0, 97))
def test_stratified_folds_keep_classes_and_sizes(sizes: list[int], k: int, seed: int) -> None:
    y = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    found = folds(len(y), k, stratify=y, rng=seed)
    assert is_partition([test for _, test in found], len(y))
    for train, test in found:
        assert is_partition([train, test], len(y))
        of_class = np.bincount(y[test], minlength=len(sizes))
        assert (np.abs(of_class - np.array(sizes) / k) < 1 + 1e-9).all()
    lengths = [len(test) for _, test in found]
    assert max(lengths) - min(lengths) <= 2


@given(st.data())
def test_groups_stay_whole(data: st.DataObject) -> None:
    n = data.draw(st.integers(20, 120))
    groups = np.array(data.draw(st.lists(st.integers(0, 30), min_size=n, max_size=n)))
    y = np.array(data.draw(st.lists(st.sampled_from("ab"), min_size=n, max_size=n)))
    k = data.draw(st.integers(2, 4))
    stratify = data.draw(st.sampled_from([None, y]))
    try:
        found = folds(n, k, stratify=stratify, groups=groups)
    except ValueError as error:
        assume("too few" not in str(error) and "gets no row" not in str(error))
        raise
    assert is_partition([test for _, test in found], n)
    for train, test in found:
        assert not set(groups[train]) & set(groups[test])


def imbalance(y: np.ndarray, tests: list[np.ndarray]) -> float:
    """The sum over folds and classes of (rows − expected)² / expected."""
    expected = np.bincount(y) / len(tests)
    return sum(
        (((np.bincount(y[t], minlength=len(expected)) - expected) ** 2) / expected).sum()
        for t in tests
    )


def test_grouped_folds_are_better_balanced_than_scikit_learns() -> None:
    n, k = 499, 5
    ours, theirs = [], []
    for seed in range(31):
        rng = np.random.default_rng(seed)
        groups = (101 * rng.random(n) ** 2.5).astype(int)  # a few big groups, many small ones
        y = (rng.random(n) < rng.random(101)[groups] ** 2).astype(int)
        peer = StratifiedGroupKFold(k, shuffle=True, random_state=seed).split(y, y, groups)
        ours.append(imbalance(y, [t for _, t in folds(n, k, stratify=y, groups=groups, rng=seed)]))
        theirs.append(imbalance(y, [t for _, t in peer]))
    assert np.mean(ours) < 0.8 * np.mean(theirs)


def test_one_big_group_is_made_up_for_by_the_others() -> None:
    groups = np.r_[np.zeros(200, int), np.arange(1, 801)]
    assert [len(test) for _, test in folds(1000, 5, groups=groups)] == [200] * 5


@given(
    st.lists(st.tuples(st.integers(-20, 20), st.integers(1, 8)), min_size=1, max_size=5),
    st.integers(1, 40),
)
@example([(-3, 4), (5, 4), (0, 1)], 40)
def test_dealing_in_bulk_equals_one_at_a_time(parts: list[tuple[int, int]], m: int) -> None:
    first, slope = np.array(parts, float).T
    taken = np.zeros(len(parts))
    spent = 0.0
    for _ in range(m):
        prices = first + slope * taken
        spent += prices.min()
        taken[np.argmin(prices)] += 1
    bulk = _cheapest(first, slope, m)
    assert bulk.sum() == m
    assert (first * bulk + slope * bulk * (bulk - 1) / 2).sum() == pytest.approx(spent, abs=1e-9)


@given(st.lists(st.integers(0, 40), min_size=13, max_size=89), SHARES)
def test_time_runs_forward_and_moments_stay_whole(moments: list[int], parts: dict) -> None:
    time = np.array(moments, "M8[D]")
    try:
        found = split(len(time), parts, time=time)
    except ValueError as error:
        assume("too few different times" not in str(error))
        raise
    assert is_partition(list(found.values()), len(time))
    rows = list(found.values())
    for before, after in zip(rows, rows[1:]):
        assert time[before].max() < time[after].min()


@given(st.integers(2, 7), st.integers(2, 11))
def test_folds_by_time_are_scikit_learns(k: int, size: int) -> None:
    n = (k + 1) * size
    time = np.random.default_rng(k).permutation(n)
    for (train, test), (train_, test_) in zip(
        folds(n, k, time=time), TimeSeriesSplit(k).split(time), strict=True
    ):
        assert np.array_equal(np.sort(time[train]), train_)
        assert np.array_equal(np.sort(time[test]), test_)


def test_the_seed_decides() -> None:
    y = np.arange(97) % 3
    same, again = (split(97, stratify=y, rng=5)["test"] for _ in range(2))
    assert np.array_equal(same, again)
    assert not np.array_equal(same, split(97, stratify=y, rng=6)["test"])
    rng = np.random.default_rng(5)
    assert np.array_equal(split(97, stratify=y, rng=rng)["test"], same)
    assert not np.array_equal(split(97, stratify=y, rng=rng)["test"], same)


def test_equal_rows_are_equal_also_where_values_are_missing() -> None:
    table = Table(
        {
            "a": [1.0, np.nan, 1.0, np.nan, np.nan],
            "b": ["x", None, "x", None, "x"],
            "c": np.array(["2020-01-01", "NaT", "2020-01-01", "NaT", "NaT"], "M8[us]"),
        }
    )
    ids = equal_rows(table)
    assert np.array_equal(ids[:, None] == ids, np.equal.outer([0, 1, 0, 1, 2], [0, 1, 0, 1, 2]))


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("xyz"), st.booleans()), max_size=40))
def test_equal_rows_equal_tuples(rows: list[tuple]) -> None:
    columns = list(zip(*rows)) or [(), (), ()]
    ids = equal_rows(Table({"a": list(columns[0]), "b": list(columns[1]), "c": list(columns[2])}))
    assert np.array_equal(
        ids[:, None] == ids, [[r == s for s in rows] for r in rows] or ids[:, None] == ids
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: split(10, {"a": 0.5, "b": 0.6}), "expected shares above 0 that sum to 1"),
        (lambda: split(10, {"a": 1.5, "b": -0.5}), "expected shares above 0 that sum to 1"),
        (lambda: split(10, {"a": np.nan}), "expected shares above 0 that sum to 1"),
        (lambda: split(10, {}), "expected shares above 0 that sum to 1"),
        (lambda: split(2), "2 rows are too few for 3 parts"),
        (lambda: split(0), "0 rows are too few for 3 parts"),
        (lambda: split(5), "'test' gets no row of 5: its share is too small"),
        (lambda: folds(10, 1), "k=1: expected at least 2 folds"),
        (lambda: folds(3, 5), "3 rows are too few for 5 parts"),
        (lambda: folds(6, 4, groups=[1, 1, 2, 2, 3, 3]), "3 groups are too few for 4 parts"),
        (
            lambda: folds(7, 3, stratify=list("aaaaabb")),
            "gets no row of class 'b': its 2 rows in 2 groups are too few for 3 parts",
        ),
        (lambda: split(3, stratify=["a", "b"]), r"stratify has shape \(2,\); expected \(3,\)"),
        (lambda: split(3, groups=["a", None, "b"]), "groups is missing in row 1: found None"),
        (lambda: split(3, stratify=[0, 1, np.nan]), "stratify is missing in row 2: found nan"),
        (lambda: split(3, time=[0, np.nan, 1]), "time is missing in row 1: found nan"),
        (lambda: split(3, time=["a", "b", "c"]), "expected 3 numbers or datetime64"),
        (lambda: split(3, time=[1, 2, 3], groups=[1, 2, 3]), "neither stratify nor groups"),
        (lambda: split(9, time=[5] * 9), "gets no row: too few different times among 9 rows"),
        (lambda: split(2, time=[5, 6]), "2 rows are too few for 3 parts"),
        (lambda: folds(5, 0, time=range(5)), "k=0: expected at least 1 folds"),
        (lambda: split(2.5), "float"),
    ],
)
def test_bad_input_is_one_clear_error(call, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        call()


@pytest.mark.data
def test_equal_rows_of_online_shoppers_stay_together(nnrec_data) -> None:
    table = Table.read(nnrec_data / "online_shoppers" / "online_shoppers_intention.csv")
    y, groups = table["Revenue"], equal_rows(table)
    assert len(y) - len(np.unique(groups)) == 125
    for train, test in folds(table, 10, stratify=y, groups=groups):
        assert not set(groups[train]) & set(groups[test])
        assert len(test) == 1233
        assert y[test].sum() in (190, 191)
