"""Blend: the weighted sum of several models' scores, which err in different places.

s = Σ_k w_k s_k / c_k,    c_k: the mean over users of the deviation of s_k over the items
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from nnrec.data.holdouts import fraction_per_user
from nnrec.data.interactions import Interactions
from nnrec.metrics.ranking import evaluate_ranking
from nnrec.nn.arguments import real_number
from nnrec.recommend.scoring import Array, ScoringModel, check_events, check_fitted

GRID = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
CELLS = 10_000_000  # scores of each model in memory while weights are chosen


class Blend(ScoringModel):
    """Models, fitted in place, and their `mixture`: w_k / c_k, a number for each.

    weights: None chooses them from `GRID`, the first model's being 1, one after the other, twice
    over, for NDCG@n on a `share` of each user's pairs, without which the models are fitted first.
    standardize=False adds the raw scores, c_k = 1: for logits beside a linear model's scores.

    >>> from nnrec.recommend import EASE, Popularity
    >>> log = Interactions.from_columns([1, 1, 2, 2, 3], ["mug", "tea", "mug", "pen", "mug"])
    >>> Blend([EASE(l2=1.0), Popularity()], weights=[1, 0.5]).fit(log).score_all([2]).round(1)
    array([[1.6, 2.5, 2.5]], dtype=float32)
    """

    learned = ("mixture",)
    mixture: list[float]

    def __init__(
        self,
        models: Sequence[ScoringModel],
        weights: Sequence[float] | None = None,
        standardize: bool = True,
        n: int = 10,
        share: float = 0.1,
        rng: Any = 0,
    ) -> None:
        if not models or not all(isinstance(model, ScoringModel) for model in models):
            raise TypeError(f"Blend: models={models!r}, expected a list of models")
        if weights is not None and len(weights) != len(models):
            raise ValueError(f"Blend: {len(weights)} weights for {len(models)} models")
        self.models, self.standardize, self.rng = list(models), standardize, rng
        self.weights = weights and [real_number("Blend", "weights", w) for w in weights]
        self.n, self.share = n, share
        self.check_arguments()

    def fit(self, interactions: Interactions) -> Self:
        check_events(self, interactions)
        weights = self.weights or self._chosen(interactions)
        self.mixture = [w / c for w, c in zip(weights, self._fitted(interactions))]
        return self

    def _fitted(self, interactions: Interactions) -> list[float]:
        """c of each model, once all are fitted; by 256 users."""
        n = interactions.n_users
        users = np.linspace(0, n - 1, min(n, 256)).astype(int)
        scores = (model.fit(interactions).score_all(users) for model in self.models)
        return [float(s.std(axis=1).mean()) * self.standardize or 1.0 for s in scores]

    def _chosen(self, interactions: Interactions) -> list[float]:
        train, held, *_ = fraction_per_user(interactions, self.share, rng=self.rng)
        if not len(held):
            raise ValueError(f"{self!r}.fit: no pair to choose weights on; give weights")
        scales = self._fitted(train)
        able = np.random.default_rng(self.rng).permutation(np.unique(held.user_index))
        users = np.sort(able[: max(1, CELLS // train.n_items)])
        scores = [model.score_all(users) / c for model, c in zip(self.models, scales)]
        test, seen = held.csr()[users], train.csr()[users]

        def ndcg(weights: Sequence[float]) -> float:
            blended = sum(w * s for w, s in zip(weights, scores))
            return evaluate_ranking(blended, test, seen=seen, n=self.n)[f"ndcg@{self.n}"]

        weights = [1.0] * len(scores)
        for k in 2 * [*range(1, len(scores))]:
            tried = [[*weights[:k], w, *weights[k + 1 :]] for w in GRID]
            weights = max([weights, *tried], key=ndcg)
        return weights

    def score_all(self, users: Any) -> Array:
        return self._blended("score_all", users)

    def score_histories(self, histories: Any) -> Array:
        return self._blended("score_histories", histories)

    def _blended(self, method: str, given: Any) -> Array:
        check_fitted(self, "mixture")
        scores = (getattr(model, method)(given) for model in self.models)
        return np.asarray(sum(w * s for w, s in zip(self.mixture, scores)))
