"""Popularity: the same list for everybody.  What every model must beat."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from nnrec.data.interactions import Interactions
from nnrec.recommend.scoring import Array, ScoringModel, check_events, check_fitted


class Popularity(ScoringModel):
    """An item's score is the number of different users who took it up.

    >>> log = Interactions.from_columns(["eve", "bob", "eve"], ["mug", "mug", "pen"])
    >>> Popularity().fit(log).score_all([0])
    array([[2., 1.]], dtype=float32)
    """

    learned = ("counts",)
    counts: Array

    def fit(self, interactions: Interactions) -> Self:
        check_events(self, interactions)
        known = interactions.csr()
        self.counts = np.bincount(known.indices, minlength=known.shape[1]).astype(np.float32)
        return self

    def score_all(self, users: Any) -> Array:
        check_fitted(self, "counts")
        return np.tile(self.counts, (len(users), 1))

    def score_histories(self, histories: Any) -> Array:
        return self.score_all(range(histories.shape[0]))
