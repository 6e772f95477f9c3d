"""Negatives: items that a user has not taken up, drawn beside the ones that he has.

Nobody tells a shop what he does not want, so models of events learn from positives and drawn
negatives.  Batch sources here are callables `rng -> iterable of (x, y)`, one epoch a call, as
`Network.fit` takes them; all ids in them are indices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnrec.data.columns import Array
from nnrec.data.interactions import Interactions, distinct

Rng = np.random.Generator
Batch = tuple[tuple[Array, ...], Array | None]


class Negatives:
    """Draws items for users, never one of the user's own, in proportion to popularity ** exponent.

    exponent 0 is uniform; 1 is popularity by pairs, .75 word2vec's compromise.  Popular negatives
    are harder; items without any event are never drawn unless the exponent is 0.

    Exact, without rejection: a user's mass without his own items is drawn from, and the number is
    moved up past those of them that lie before it.  A draw costs O(log events).

    >>> log = Interactions.from_columns([1, 1, 2, 2], ["a", "b", "b", "c"])
    >>> Negatives(log)(np.array([0, 1, 1]), 2, rng=0)
    array([[2, 2],
           [0, 0],
           [0, 0]])
    """

    def __init__(self, interactions: Interactions, exponent: float = 0.0) -> None:
        if not 0 <= exponent < np.inf:
            raise ValueError(f"Negatives: exponent={exponent!r}, expected a number ≥ 0")
        self.interactions, self.exponent = interactions, exponent
        pairs = distinct(interactions.pairs())
        n_users, n_items = interactions.n_users, interactions.n_items
        user, item = np.divmod(pairs, max(n_items, 1))
        weight = np.ones(n_items, np.int64)
        if exponent > 0:
            count = np.bincount(item, minlength=n_items)
            share = (count / max(count.max(initial=1), 1)) ** exponent
            # Whole numbers: sums are exact, so no rounding can move a draw onto a positive.
            weight = np.where(count > 0, np.maximum(np.rint(share * 2**20), 1), 0).astype(np.int64)
        self._ends = np.cumsum(weight)  # item i owns [ends[i] − weight[i], ends[i])
        self._mass = int(weight.sum())
        own = np.append(0, np.cumsum(weight[item]))
        self._first = np.searchsorted(user, np.arange(n_users + 1))
        start = own[self._first[:-1]]
        self._before = own[:-1] - start[user]  # mass of the user's own items before this one
        self._left = self._mass - np.diff(own[self._first])
        # Where each own item begins, counted in the mass of the others.
        begins = self._ends[item] - weight[item] - self._before
        self._keys = user * (self._mass + 1) + begins
        self._own = weight[item]

    def __call__(self, users: Any, n: int = 1, rng: Any = 0) -> Array:
        """(len(users), n) int64 items.  ValueError for a user to whom nothing is left."""
        users = np.asarray(users)
        left = self._left[users]
        if len(left) and left.min() <= 0:
            user = self.interactions.users[int(users[np.argmin(left)])]
            raise ValueError(f"user {user!r} has every item: there is no negative to draw")
        drawn = np.random.default_rng(rng).integers(0, left[:, None], (len(users), n))
        # How many own items begin at or before it: so much mass lies to its left besides.
        found = np.searchsorted(self._keys, users[:, None] * (self._mass + 1) + drawn, side="right")
        last = found - 1
        passed = found > self._first[users][:, None]
        drawn += np.where(passed, self._before[last] + self._own[last], 0) if len(self._own) else 0
        return drawn if self.exponent == 0 else np.searchsorted(self._ends, drawn, "right")


@dataclass(eq=False, repr=False)
class _Drawn:
    """Batches of positives in random order, each with `negatives` items drawn for its user."""

    interactions: Interactions
    negatives: int = 1
    batch_size: int = 1024
    exponent: float = 0.0

    def __post_init__(self) -> None:
        _at_least(1, self.negatives, self.batch_size)
        self._draw = Negatives(self.interactions, self.exponent)
        self._pairs = _positives(self.interactions)

    def _triples(self, rng: Any) -> Iterator[tuple[Array, Array, Array]]:
        rng = np.random.default_rng(rng)
        for user, item in _shuffled(self._pairs, self.interactions, self.batch_size, rng):
            yield user, item, self._draw(user, self.negatives, rng)


@dataclass(eq=False, repr=False)
class Pointwise(_Drawn):
    """Each positive pair with label 1 and `negatives` drawn ones with label 0, freshly every epoch.

    A batch is ((users, items), labels), `batch_size` positives first, then their negatives:
    batch_size · (1 + negatives) rows; labels float32.  Each different pair is a positive once.

    >>> log = Interactions.from_columns([1, 1, 2, 2], ["a", "b", "b", "c"])
    >>> for (users, items), labels in Pointwise(log, negatives=1, batch_size=4)(rng=0):
    ...     print(users, items, labels)
    [1 0 0 1 1 0 0 1] [1 0 1 2 0 2 2 0] [1. 1. 1. 1. 0. 0. 0. 0.]
    """

    negatives: int = 4

    def __call__(self, rng: Any = 0) -> Iterator[Batch]:
        for user, item, drawn in self._triples(rng):
            users = np.append(user, np.repeat(user, self.negatives))
            labels = np.zeros(len(users), np.float32)
            labels[: len(user)] = 1
            yield (users, np.append(item, drawn)), labels


@dataclass(eq=False, repr=False)
class Pairwise(_Drawn):
    """Triples (user, positive, negative) for losses of a difference, such as BPR's; no labels.

    A batch is ((users, items, others), None), others (b,) or, with negatives > 1, (b, negatives).

    >>> log = Interactions.from_columns([1, 1, 2, 2], ["a", "b", "b", "c"])
    >>> [x for x, y in Pairwise(log, batch_size=4)(rng=0)]
    [(array([1, 0, 0, 1]), array([1, 0, 1, 2]), array([0, 2, 2, 0]))]
    """

    def __call__(self, rng: Any = 0) -> Iterator[Batch]:
        for user, item, drawn in self._triples(rng):
            yield (user, item, drawn[:, 0] if self.negatives == 1 else drawn), None


class InBatch:
    """The other rows' items as negatives: a batch is ((users, items, shift), arange(b)).

    Logits (b, b) of each user with each item of the batch, plus `shift` (b, b) float32, go into a
    softmax whose right answers stand on the diagonal.  shift is −ln of the item's share of all
    pairs, as popular items are in a batch more often (Yi et al., RecSys 2019), and −1e9 where the
    item is another positive of the row's user.  The last batch may be smaller.

    >>> log = Interactions.from_columns([1, 2, 2], ["a", "a", "b"])
    >>> (users, items, shift), target = next(iter(InBatch(log, batch_size=3)(rng=0)))
    >>> users, items, target
    (array([1, 0, 1]), array([1, 0, 0]), array([0, 1, 2]))
    >>> shift[1].round(3)  # user 0 has had item 0, and so row 2 is no negative
    array([ 1.099e+00,  4.050e-01, -1.000e+09], dtype=float32)
    """

    def __init__(self, interactions: Interactions, batch_size: int = 256) -> None:
        _at_least(2, batch_size)
        self.interactions, self.batch_size = interactions, batch_size
        self._pairs, self._known = _positives(interactions), interactions.csr()
        self._column = np.zeros(interactions.n_items, np.int64)
        count = np.bincount(self._known.indices, minlength=interactions.n_items)
        self._shift = -np.log(np.maximum(count, 1) / max(len(self._pairs), 1)).astype(np.float32)

    def __call__(self, rng: Any = 0) -> Iterator[Batch]:
        rng = np.random.default_rng(rng)
        for user, item in _shuffled(self._pairs, self.interactions, self.batch_size, rng):
            shift = np.tile(self._shift[item], (len(user), 1))
            shift[self._taken(user, item)] = -1e9
            yield (user, item, shift), np.arange(len(user))

    def _taken(self, user: Array, item: Array) -> Array:
        """(b, b) bool: is the column's item a positive of the row's user, other than his own?"""
        items, column = np.unique(item, return_inverse=True)
        place = np.full(self.interactions.n_items, -1)
        place[items] = np.arange(len(items))
        histories = self._known[user]
        row = np.repeat(np.arange(len(user)), np.diff(histories.indptr))
        found = place[histories.indices]
        here = np.flatnonzero(found >= 0)
        known = np.zeros((len(user), len(items)), bool)
        known[row[here], found[here]] = True
        taken: Array = known[:, column]
        np.fill_diagonal(taken, False)
        return taken


def in_batch_shift(share: Array, draws: int) -> Array:
    """−ln of the probability that what comes with probability `share` is among the draws; float32.

    >>> in_batch_shift(np.array([0.5, 0.25]), draws=2).round(2)
    array([0.29, 0.83], dtype=float32)
    """
    absent = (1 - share) ** draws
    return np.asarray(-np.log(np.maximum(1 - absent, 1e-9)), np.float32)


def _at_least(least: int, *sizes: int) -> None:
    for size in sizes:
        if size < least:
            raise ValueError(f"{size}: expected a whole number ≥ {least}")


def _positives(interactions: Interactions) -> Array:
    if not len(interactions):
        raise ValueError("no event: there is no positive to learn from")
    return distinct(interactions.pairs())


def _shuffled(
    pairs: Array, interactions: Interactions, batch_size: int, rng: Rng
) -> Iterator[tuple[Array, Array]]:
    mixed = rng.permutation(pairs)
    for start in range(0, len(mixed), batch_size):
        user, item = np.divmod(mixed[start : start + batch_size], interactions.n_items)
        yield user, item
