"""Batch sources of histories: what came before, and what noise leaves."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from nnrec.data.histories import NextItems, Noisy, unit_rows, without
from nnrec.data.interactions import Interactions


def test_a_history_is_what_came_before() -> None:
    log = Interactions.from_columns([1, 2, 1, 1], ["a", "b", "c", "d"], times=[3, 0, 1, 2])
    source = NextItems(log, None, window=2, recency=0.5, batch_size=5, in_batch=False)
    ((x,), labels), *rest = source(np.random.default_rng(0))
    assert not rest
    found = {label: row.round(3).tolist() for label, row in zip(labels.tolist(), x.toarray())}
    a, b, c, d = range(4)
    assert not any(found[b]) and not any(found[c])
    assert found[d] == [0, 0, 1, 0]
    assert np.allclose(found[a], [0, 0, 1 / 3, 2 / 3], atol=1e-3)
    whole = source.histories(np.array([0]), source.starts[1:2]).toarray()[0]
    assert np.allclose(whole, [2 / 3, 0, 0, 1 / 3])


def test_without_times_a_history_is_all_but_the_label() -> None:
    log = Interactions.from_columns([1, 1, 1, 2], ["a", "b", "c", "a"])
    source = NextItems(log, None, window=5, recency=0.5, batch_size=5, in_batch=False)
    ((x,), labels), *_ = source(np.random.default_rng(0))
    for row, label in zip(x.toarray(), labels):
        assert row[label] == 0 and row.sum() in (0, 1)
    assert without(x, labels).toarray().tolist() == x.toarray().tolist()


def test_noise_drops_items_and_keeps_the_target() -> None:
    x = csr_array(np.eye(103, 101, -1, np.float32) @ np.ones((101, 53), np.float32))
    (thin, whole), *rest = Noisy(x, 0.25, 128)(np.random.default_rng(0))
    assert not rest and np.array_equal(whole.toarray(), np.ones((101, 53))), "nobody without any"
    assert abs((thin.toarray() > 0).mean() - 0.75) < 0.02
    assert np.allclose(np.linalg.norm(thin.toarray(), axis=1), 1, atol=1e-6)
    assert thin.nnz == np.count_nonzero(thin.toarray()) < x.nnz
    ((kept, _),) = Noisy(x, 0.25, 128, in_batch=True)(np.random.default_rng(0))
    assert kept.nnz == x.nnz and (kept != thin).nnz == 0
    assert not unit_rows(csr_array((2, 3), dtype=np.float32)).toarray().any()
    for dtype in (bool, np.int8, np.int64, np.float32):
        found = unit_rows(csr_array(np.array([[1, 1, 0, 1, 1], [0, 0, 0, 1, 0]], dtype)))
        assert found.toarray().tolist() == [[0.5, 0.5, 0, 0.5, 0.5], [0, 0, 0, 1, 0]]
        assert found.dtype in (np.float32, np.float64)
