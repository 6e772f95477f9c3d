"""Measures of recommendation lists as a whole: coverage, Gini, novelty, diversity.

`lists` are (users, n) item indices, the best first, −1 where a list is shorter.  Lists can be
accurate and all alike, or all bestsellers: these measures say so.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnrec.metrics.arguments import Array


def coverage(lists: Any, n_items: int) -> float:
    """The share of the catalogue that stands in at least one list.

    >>> coverage([[0, 1], [1, -1]], 4)
    0.5
    """
    return float((_counts(lists, n_items) > 0).mean())


def gini(lists: Any, n_items: int) -> float:
    """The Gini coefficient of how often each item of the catalogue is listed: 0 equally often.

    Σ_k (2k − I − 1) c_(k) / (I Σ c), c ascending; 1 − 1/I if all lists hold one and the same item.

    >>> gini([[0], [1]], 2), gini([[0], [0]], 4)
    (0.0, 0.75)
    """
    counts = np.sort(_counts(lists, n_items))
    weights = 2 * np.arange(1, n_items + 1) - n_items - 1
    return float(weights @ counts / max(n_items * counts.sum(), 1))


def novelty(lists: Any, popularity: Any, n_users: int) -> float:
    """The mean self-information −log₂(share of the users who know the item), in bits.

    popularity: (n_items,) how many users of train have each item.  An item that nobody has counts
    as known to one user, so that the measure stays finite (Vargas & Castells, RecSys 2011).

    >>> novelty([[0, 1]], [4, 1], 4)
    1.0
    """
    shown = np.asarray(lists)
    known = np.maximum(np.asarray(popularity, dtype=np.float64), 1)
    return float(-np.log2(known[shown[shown >= 0]] / n_users).mean())


def intra_list_diversity(lists: Any, item_vectors: Any) -> float:
    """1 − the mean cosine of two different items of a list; then the mean over users.

    item_vectors: (n_items, d), dense; an item without features (zeros) is unlike all others.
    Lists with fewer than two items are left out; NaN if no other is there.

    >>> intra_list_diversity([[0, 1, 2]], [[1, 0], [2, 0], [0, 3]]).__round__(9)
    0.666666667
    """
    shown, vectors = np.asarray(lists), np.asarray(item_vectors, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.vstack([vectors / np.where(norms > 0, norms, 1), np.zeros(vectors.shape[1])])
    square = np.append(norms[:, 0] > 0, False).astype(np.float64)
    total = np.zeros((len(shown), unit.shape[1]))
    for column in shown.T:  # −1 is the row of zeros; a list is short, the users may be many
        total += unit[column]
    length = (shown >= 0).sum(axis=1)
    several = length > 1
    cosines = (total**2).sum(axis=1) - square[shown].sum(axis=1)
    distances = 1 - cosines[several] / (length * (length - 1))[several]
    return float(distances.mean()) if len(distances) else float("nan")


def _counts(lists: Any, n_items: int) -> Array:
    shown = np.asarray(lists)
    return np.bincount(shown[shown >= 0], minlength=n_items)
