"""Histories as batch sources: what a user took up, thinned, or up to a moment, and what came next.

As in `nnrec.data.sampling`, a source is a callable `rng -> iterable of (x, y)`, one epoch a call;
a history is a row of a CSR matrix (n, n_items) float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nnrec.data.columns import Array
from nnrec.data.interactions import Interactions


class Noisy:
    """Users' histories thinned, each row scaled to length 1, with the whole histories as targets.

    Each item is dropped with probability `dropout`; users without any item are left out.
    in_batch: targets are of the batch's items alone, in rising order; x has the dropped as zeros.

    >>> log = Interactions.from_columns([1, 1, 2], ["a", "b", "b"])
    >>> x, y = next(Noisy(log.csr(), dropout=0.5, batch_size=2)(rng=6))
    >>> x.toarray().tolist(), y.toarray().tolist()
    ([[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 1.0]])
    """

    def __init__(self, histories: Any, dropout: float, batch_size: int, in_batch: bool = False):
        self.histories, self.dropout = histories, dropout
        self.batch_size, self.in_batch = batch_size, in_batch

    def __call__(self, rng: Any = 0) -> Iterator[tuple[Any, Any]]:
        rng = np.random.default_rng(rng)
        order = rng.permutation(np.flatnonzero(np.diff(self.histories.indptr)))
        for start in range(0, len(order), self.batch_size):
            target = self.histories[order[start : start + self.batch_size]]
            x = target.copy()
            x.data *= rng.random(len(x.data), np.float32) >= self.dropout
            if not self.in_batch:
                x.eliminate_zeros()
            whole = target[:, np.unique(target.indices)] if self.in_batch else target
            yield unit_rows(x), whole


class NextItems:
    """For each event the history it came out of, and its item as the label: (x, labels).

    With times x is what the user had taken up before, the last `window` events, each weighing
    `recency` times the one after it; without times, all his other items alike.  A row sums to 1,
    or is empty.  features: CSR (n_users, f), whose rows stand before the histories: [rows | x].
    in_batch: the labels' items are an input too, and a label is the place of its item among the
    batch's different items.

    >>> log = Interactions.from_columns([1, 1, 1], ["a", "b", "c"], times=[0, 1, 2])
    >>> source = NextItems(log, window=2, recency=0.5, batch_size=3)
    >>> ((x,), labels), = source(rng=0)
    >>> labels, x.toarray().round(2)
    (array([2, 0, 1]), array([[0.33, 0.67, 0.  ],
           [0.  , 0.  , 0.  ],
           [1.  , 0.  , 0.  ]], dtype=float32))
    """

    def __init__(
        self,
        log: Interactions,
        features: Any = None,
        window: int = 50,
        recency: float = 1.0,
        batch_size: int = 256,
        in_batch: bool = False,
    ) -> None:
        self.features, self.batch_size, self.in_batch = features, batch_size, in_batch
        self.window, self.recency, self.ordered = window, recency, log.times is not None
        self.starts, events = log.by_user()
        self.users, self.items = log.user_index[events], log.item_index[events]
        self.n_items = log.n_items

    def histories(self, users: Array, before: Array) -> Any:
        """CSR (n, n_items): of each user the last `window` events that stand before `before`."""
        from scipy.sparse import csr_array

        first = np.maximum(self.starts[users], before - self.window)
        length = before - first
        row = np.repeat(np.arange(len(users)), length)
        place = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
        age = np.repeat(length, length) - 1 - place
        weight = self.recency ** (age if self.ordered else np.zeros(len(age)))
        weight /= np.bincount(row, weight, len(users))[row]
        at = self.items[np.repeat(first, length) + place]
        return csr_array((weight.astype(np.float32), (row, at)), shape=(len(users), self.n_items))

    def __call__(self, rng: Any = 0) -> Iterator[tuple[Any, Array]]:
        from scipy.sparse import hstack

        order = np.random.default_rng(rng).permutation(len(self.items))
        for start in range(0, len(order), self.batch_size):
            events = order[start : start + self.batch_size]
            users, labels = self.users[events], self.items[events]
            if self.ordered:
                x = self.histories(users, events)
            else:
                x = without(self.histories(users, self.starts[users + 1]), labels)
            if self.features is not None:
                x = hstack([self.features[users], x], format="csr")
            if self.in_batch:
                yield (x, labels), np.unique(labels, return_inverse=True)[1]
            else:
                yield (x,), labels


def without(x: Any, labels: Array) -> Any:
    """CSR rows without the cells (i, labels[i]), each again of sum 1; rows left empty are zero."""
    x = x.copy()
    x.data[x.indices == np.repeat(labels, np.diff(x.indptr))] = 0
    return scaled_rows(x, np.asarray(x.sum(axis=1)))


def unit_rows(x: Any) -> Any:
    """A CSR matrix with each row scaled to length 1; rows of zeros stay."""
    row = np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))
    x = x.astype(np.result_type(x.dtype, np.float32))  # a copy
    return scaled_rows(x, np.sqrt(np.bincount(row, x.data**2, x.shape[0])))


def scaled_rows(x: Any, by: Array) -> Any:
    """A CSR matrix whose rows are divided by these numbers, in place; rows of 0 stay."""
    x.data /= np.repeat(np.where(by > 0, by, 1), np.diff(x.indptr)).astype(x.dtype)
    return x
