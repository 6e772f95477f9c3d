"""Blends of models: what is added, how weights are chosen, and the contract of models."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from nnrec.data.holdouts import fraction_per_user
from nnrec.data.interactions import Interactions
from nnrec.metrics.ranking import evaluate_ranking
from nnrec.recommend import EASE, IALS, Blend, Popularity, ScoringModel, evaluate
from tests.test_recommend_contract import ModelContract, planted_world, random_log


class TestWeighted(ModelContract):
    model = staticmethod(lambda: Blend([EASE(l2=3.0), Popularity()], weights=[1, 0.1]))
    closed = True
    classes: ClassVar = {c.__name__: c for c in (EASE, Popularity)}


class TestRaw(ModelContract):
    model = staticmethod(
        lambda: Blend([IALS(dim=5, l2=0.01), EASE(l2=3.0)], weights=[1, 6], standardize=False)
    )
    exact_fold_in = True
    classes: ClassVar = {c.__name__: c for c in (EASE, IALS)}


class Known(ScoringModel):
    """Scores that are given."""

    learned = ("table",)

    def __init__(self, table):
        self.table = np.asarray(table, np.float64)

    def fit(self, interactions):
        return self

    def score_all(self, users):
        return self.table[np.asarray(users)]


def test_scores_are_standardized_and_weighted() -> None:
    log = random_log()
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 31, 23)) * np.array([[[3.0]], [[0.5]]]) + 7
    mean = [np.mean([row.std() for row in table]) for table in (a, b)]
    blend = Blend([Known(a), Known(b)], weights=[1, 2]).fit(log)
    assert np.allclose(blend.mixture, [1 / mean[0], 2 / mean[1]], rtol=1e-12)
    users = [30, 2]
    assert np.allclose(blend.score_all(users), a[users] / mean[0] + 2 * b[users] / mean[1])
    raw = Blend([Known(a), Known(b)], weights=[1, 2], standardize=False).fit(log)
    assert np.allclose(raw.score_all(users), a[users] + 2 * b[users], rtol=1e-12)
    flat = Blend([Known(a), Known(a * 0)], weights=[0, 3]).fit(log)
    assert (flat.score_all(users) == 0).all()


def test_weights_are_chosen_for_what_is_withheld() -> None:
    log = random_log()
    train, held, *_ = fraction_per_user(log, 0.3, rng=5)
    rng = np.random.default_rng(1)
    good = log.csr().toarray() + rng.normal(size=(31, 23)) * 0.9
    noise = [rng.normal(size=(31, 23)) for _ in range(2)]
    models = [Known(noise[0]), Known(good), Known(noise[1])]
    blend = Blend(models, share=0.3, rng=5, standardize=False, n=5).fit(log)
    assert blend.mixture[0] == 1 and blend.mixture[1] >= 2 and blend.mixture[2] <= 0.25

    def ndcg(weights) -> float:
        scores = sum(w * model.table for w, model in zip(weights, models))
        return evaluate_ranking(scores, held.csr(), seen=train.csr(), n=5)["ndcg@5"]

    assert ndcg(blend.mixture) >= max(ndcg([1, w, 1]) for w in (0, 0.25, 0.5, 1, 2, 4, 8))
    again = Blend(models, share=0.3, rng=5, standardize=False, n=5).fit(log)
    assert again.mixture == blend.mixture


def test_weights_are_chosen_on_users_of_whom_something_is_withheld(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nnrec.recommend.blend.CELLS", 1)  # one user
    single, several = np.arange(37), np.repeat([40, 41], 11)
    items = np.concatenate([single % 11, np.tile(np.arange(11), 2)])
    log = Interactions.from_columns(np.concatenate([single, several]), items)
    assert len(Blend([EASE(l2=3.0), Popularity()]).fit(log).mixture) == 2


def test_chosen_blend_recovers_the_planted_world() -> None:
    train, test = planted_world()
    blend = Blend([Popularity(), EASE(l2=3.0)]).fit(train)
    assert evaluate(blend, train, test, n=1)["precision@1"] == 1


def test_errors_are_clear() -> None:
    with pytest.raises(TypeError, match="expected a list of models"):
        Blend([])
    with pytest.raises(TypeError, match="expected a list of models"):
        Blend([EASE(), "EASE"])
    with pytest.raises(ValueError, match="1 weights for 2 models"):
        Blend([EASE(), Popularity()], weights=[1])
    for name, value in (("n", 0), ("share", 1.0), ("share", -0.1), ("standardize", 2)):
        with pytest.raises(ValueError, match=f"Blend: {name}={value}"):
            Blend([EASE()], **{name: value})
    with pytest.raises(ValueError, match="Blend: weights=-1"):
        Blend([EASE()], weights=[-1])
    with pytest.raises(ValueError, match="no pair to choose weights on; give weights"):
        Blend([EASE(), Popularity()]).fit(Interactions.from_columns([1, 2], ["a", "b"]))
