"""Splits of interactions: what is withheld to see whether a recommender finds it.

The document's §5 splits rows at random; here all events of a pair (user, item) go together, so no
test pair is ever in train, and both parts keep the id maps of the whole.  Deterministic by `rng`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from nnrec.data.columns import Array
from nnrec.data.interactions import Interactions, distinct
from nnrec.data.splits import Seed


class Holdout(NamedTuple):
    """What trains and what tests; all parts have the same id maps.

    fold_in     of `held_out_users`: what a model may know of a test user when it is asked
    left_out    events that are in no part: later repeats of what train knows already
    """

    train: Interactions
    test: Interactions
    fold_in: Interactions | None = None
    left_out: int = 0


def leave_one_out(log: Interactions, *, by: str = "time", rng: Seed = 0) -> Holdout:
    """Test on one pair of each user: the one that began last, or any ("random").

    By time, a pair begins with its first event; equal times go by the order of the log, as do
    events without times.  A user with a single pair stays in train.

    >>> log = Interactions.from_columns(list("aaab"), [5, 7, 6, 5], times=[1, 3, 2, 0])
    >>> train, test, *_ = leave_one_out(log)
    >>> train.items[train.item_index], test.items[test.item_index]
    ([5, 6, 5], [7])
    """
    return _per_user(log, lambda pairs: np.ones_like(pairs), by, rng)


def fraction_per_user(
    log: Interactions, share: float = 0.2, *, by: str = "random", rng: Seed = 0
) -> Holdout:
    """Test on this share of each user's pairs, rounded; at least one pair of a user trains."""
    _check_share(share)
    return _per_user(log, lambda pairs: np.rint(share * pairs).astype(np.int64), by, rng)


def global_time(log: Interactions, share: float = 0.2, *, at: Any = None) -> Holdout:
    """Test on what happens from one moment on: from `at`, or where the last `share` of events are.

    Events of one moment stay together.  The only split in which nothing of train lies in the
    future of a test event.  Repeats in the test time of pairs that train has are `left_out`.

    >>> log = Interactions.from_columns(list("abab"), [5, 5, 5, 6], times=[1, 2, 3, 4])
    >>> train, test, _, left_out = global_time(log, 0.5)
    >>> len(train), len(test), left_out
    (2, 1, 1)
    """
    if log.times is None:
        raise ValueError("global_time: these interactions have no times")
    if at is None:
        _check_share(share)
        if len(log) < 2:
            raise ValueError(f"global_time: {len(log)} events are too few to split")
        at = np.sort(log.times)[min(len(log) - 1, round(len(log) * (1 - share)))]
    later = log.times >= at
    repeated = later & np.isin(log.pairs(), log.pairs()[~later])
    return _holdout(log, ~later, later & ~repeated, left_out=int(repeated.sum()))


def held_out_users(
    log: Interactions,
    share: float = 0.1,
    *,
    test_share: float = 0.2,
    by: str = "random",
    rng: Seed = 0,
) -> Holdout:
    """Strong generalisation: this share of the users trains nothing (Liang et al. 2018).

    Of each held-out user `test_share` of the pairs are test, rounded, and the rest is `fold_in`,
    a history for `score_histories`.  Users with a single pair always train.

    >>> log = Interactions.from_columns([1, 1, 2, 2, 3, 3], [5, 6, 5, 6, 5, 6])
    >>> parts = held_out_users(log, 1 / 3, test_share=0.5)[:3]
    >>> [part.users[part.user_index] for part in parts]
    [[1, 1, 2, 2], [3], [3]]
    """
    _check_share(share)
    _check_share(test_share)
    rng = np.random.default_rng(rng)
    pairs = distinct(log.pairs()) // max(log.n_items, 1)
    able = np.flatnonzero(np.bincount(pairs, minlength=log.n_users) > 1)
    chosen = rng.permutation(able)[: round(share * log.n_users)]
    held = np.isin(log.user_index, chosen)
    train, rest = log.take(~held), log.take(held)
    fold_in, test, *_ = fraction_per_user(rest, test_share, by=by, rng=rng)
    return Holdout(train, test, fold_in)


def _per_user(log: Interactions, size: Any, by: str, rng: Seed) -> Holdout:
    """Of each user's k pairs the last min(size(k), k − 1) are test, by time or after a shuffle."""
    if by not in ("time", "random"):
        raise ValueError(f"by={by!r}: expected 'time' or 'random'")
    rng = np.random.default_rng(rng)
    order = log.by_time() if by == "time" else rng.permutation(len(log))
    pairs, begins, which = np.unique(log.pairs()[order], return_index=True, return_inverse=True)
    user = pairs // max(log.n_items, 1)
    by_user = np.lexsort((begins, user))  # pairs of a user as they begin in `order`
    counts = np.bincount(user, minlength=log.n_users)
    ends = np.cumsum(counts)
    place = np.empty_like(by_user)
    place[by_user] = ends[user[by_user]] - np.arange(len(pairs))  # 1 for a user's last pair
    tested = place <= np.minimum(size(counts), counts - 1)[user]
    in_test = np.empty(len(log), bool)
    in_test[order] = tested[which]
    return _holdout(log, ~in_test, in_test)


def _holdout(log: Interactions, train: Array, test: Array, left_out: int = 0) -> Holdout:
    pairs = log.pairs()
    assert not np.isin(pairs[test], pairs[train]).any(), "a test pair in train"
    return Holdout(log.take(train), log.take(test), left_out=left_out)


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise ValueError(f"a share of {share}: expected one between 0 and 1")
