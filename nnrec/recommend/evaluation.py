"""Evaluation: a model on interactions that were withheld, under a protocol that is printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnrec.data.interactions import Interactions
from nnrec.metrics.ranking import RankingResult, evaluate_ranking
from nnrec.recommend.scoring import ScoringModel


def evaluate(
    model: ScoringModel,
    train: Interactions,
    test: Interactions,
    *,
    n: int | Sequence[int] = (10, 20),
    fold_in: Interactions | None = None,
    exclude_seen: bool = True,
    **protocol: Any,
) -> RankingResult:
    """Rank the catalogue for each user of `test` and see where the withheld items stand.

    model       fitted to `train`, whose id maps `test` and `fold_in` must share (see `align`)
    fold_in     histories of users that train does not know: they are scored by these
    exclude_seen    pairs of train (or fold_in) leave the ranking; one that is in test too is an
                error, as it could not be found
    protocol    candidates, ties, denominator, auc, … of `nnrec.metrics.ranking.evaluate_ranking`;
                novelty is measured by the users of train

    >>> from nnrec.recommend.popularity import Popularity
    >>> log = Interactions.from_columns([1, 1, 2, 2, 3], ["mug", "tea", "mug", "tea", "mug"])
    >>> train, test = log.take([0, 1, 2, 4]), log.take([3])
    >>> evaluate(Popularity().fit(train), train, test, n=1)["hit_rate@1"]
    1.0
    """
    for name, part in (("test", test), ("fold_in", fold_in)):
        for side in ("users", "items"):
            if part is not None and getattr(part, side) != getattr(train, side):
                raise ValueError(f"{name} and train have different {side}: give them one id map")
    if fold_in is not None and exclude_seen and np.isin(test.pairs(), train.pairs()).any():
        raise ValueError("fold_in: train has learned from pairs of test, whose users it knows")
    known = train.csr()
    given = known if fold_in is None else fold_in.csr()

    def scores(users: Any) -> Any:
        return model.score_all(users) if fold_in is None else model.score_histories(given[users])

    popularity = np.bincount(known.indices, minlength=known.shape[1])
    seen = given if exclude_seen else None
    return evaluate_ranking(scores, test.csr(), seen=seen, n=n, popularity=popularity, **protocol)
