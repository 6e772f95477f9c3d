"""What every scoring model must do, as a mixin: derive a class of three lines to test a model.

    class TestMine(ModelContract):
        model = staticmethod(lambda: Mine(dim=8, epochs=30, rng=0))

`recovers` is false for a model that can't tell users apart; `closed` is true for one whose answer
does not depend on the order of events; `folds_in` for one that scores histories; `exact_fold_in`
if a history of train then gets the same scores; `classes` names what else stands in its file.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from nnrec import storage
from nnrec.data.interactions import Interactions
from nnrec.recommend import EASE, EDLAE, IALS, ItemKNN, Popularity, evaluate

USERS, ITEMS = (29, 17, 11), (7, 5, 13)  # of the blocks of the planted world


def planted_world() -> tuple[Interactions, Interactions]:
    """Three blocks of users who take up all items of theirs but one, which is withheld."""
    pairs, withheld = [], []
    first_user = first_item = 0
    for users, items in zip(USERS, ITEMS):
        for user in range(users):
            for item in range(items):
                pairs.append((first_user + user, first_item + item))
                withheld.append(item == user % items)
        first_user, first_item = first_user + users, first_item + items
    order = np.random.default_rng(0).permutation(len(pairs))
    log = Interactions.from_columns(*np.array(pairs)[order].T)
    hidden = np.array(withheld)[order]
    return log.take(~hidden), log.take(hidden)


def random_log(seed: int = 0) -> Interactions:
    rng = np.random.default_rng(seed)
    users, items = rng.integers(31, size=401), np.minimum(rng.geometric(0.1, 401), 23)
    return Interactions.from_columns(users, items, times=np.arange(401))


class ModelContract:
    model: Any
    recovers: ClassVar[bool] = True
    closed: ClassVar[bool] = False
    folds_in: ClassVar[bool] = True
    exact_fold_in: ClassVar[bool] = True
    classes: ClassVar[dict[str, type]] = {}

    def scores(self, log: Interactions) -> np.ndarray:
        return self.model().fit(log).score_all(np.arange(log.n_users))

    def test_scores_are_an_own_finite_array(self) -> None:
        log = random_log()
        model = self.model()
        assert model.fit(log) is model
        found = model.score_all(np.arange(log.n_users))
        assert found.shape == (log.n_users, log.n_items)
        assert found.dtype in (np.float32, np.float64) and np.isfinite(found).all()
        kept = found.copy()
        found[:] = -1
        assert np.array_equal(model.score_all(np.arange(log.n_users)), kept)
        users = np.array([7, 2, 7, 30])
        assert np.allclose(model.score_all(users), kept[users], rtol=1e-4, atol=1e-5)
        assert model.score_all(np.array([], np.int64)).shape == (0, log.n_items)

    def test_planted_world_is_recovered(self) -> None:
        train, test = planted_world()
        result = evaluate(self.model().fit(train), train, test, n=1)
        assert result.protocol.users == sum(USERS)
        if self.recovers:
            assert result["precision@1"] == 1
        else:
            assert result["precision@1"] < 0.9

    def test_renaming_ids_renames_the_answer_bit_for_bit(self) -> None:
        log = random_log()
        renamed = Interactions.from_columns(
            [("user", -u) for u in log.user_index.tolist()],
            [f"Ware {i * 7 % 23}" for i in log.item_index.tolist()],
            times=log.times,
        )
        assert np.array_equal(self.scores(log), self.scores(renamed))

    def test_same_seed_same_bits_also_on_the_second_fit(self) -> None:
        log = random_log()
        once = self.scores(log)
        assert np.array_equal(once, self.scores(log))
        model = self.model().fit(random_log(1))
        assert np.array_equal(model.fit(log).score_all(np.arange(log.n_users)), once)

    def test_reordering_events_changes_nothing_beyond_rounding(self) -> None:
        if not self.closed:
            return
        log = random_log()
        order = np.random.default_rng(5).permutation(len(log))
        users, items = log.users[log.user_index[order]], log.items[log.item_index[order]]
        mixed = Interactions.from_columns(users, items)
        assert mixed.users.ids != log.users.ids and mixed.items.ids != log.items.ids
        found = self.scores(mixed)[mixed.users.index(log.users)][:, mixed.items.index(log.items)]
        assert np.allclose(found, self.scores(log), rtol=1e-5, atol=1e-6)

    def test_repeated_events_are_one(self) -> None:
        log = random_log().merged("first")
        twice = log.take(np.repeat(np.arange(len(log)), 2))
        assert np.array_equal(self.scores(log), self.scores(twice))

    def test_interactions_are_left_alone(self) -> None:
        log, same = random_log(), random_log()
        self.model().fit(log).score_all([0])
        for name in ("user_index", "item_index", "times"):
            assert np.array_equal(getattr(log, name), getattr(same, name))
        assert log.users == same.users and log.items == same.items

    def test_ids_without_events_are_scored(self) -> None:
        log = random_log().including(users=["new"], items=["unsold", "unseen"])
        found = self.scores(log)
        assert found.shape == (log.n_users, log.n_items) and np.isfinite(found).all()

    @pytest.mark.parametrize("users", [1, 3])
    @pytest.mark.parametrize("items", [1, 2])
    def test_smallest_logs(self, users: int, items: int) -> None:
        log = Interactions.from_columns(np.arange(users), np.arange(users) % items)
        found = self.scores(log)
        assert found.shape == (users, min(users, items)) and np.isfinite(found).all()

    def test_histories_are_scored(self) -> None:
        log = random_log()
        model, histories = self.model().fit(log), log.csr()
        if not self.folds_in:
            with pytest.raises(NotImplementedError, match=type(model).__name__):
                model.score_histories(histories)
            return
        found = model.score_histories(histories)
        assert (histories.data == 1).all(), "the caller's histories are left alone"
        assert found.shape == (log.n_users, log.n_items) and np.isfinite(found).all()
        if self.exact_fold_in:
            expected = model.score_all(np.arange(log.n_users))
            assert np.allclose(found, expected, rtol=1e-4, atol=1e-5)
        for dtype in (bool, np.int64, np.float64):
            assert np.allclose(model.score_histories(histories.astype(dtype)), found, atol=1e-5)
        nobody = model.score_histories(histories[:2] * 0)
        assert nobody.shape == (2, log.n_items) and np.isfinite(nobody).all()

    def test_unseen_users_of_the_planted_world_are_recovered(self) -> None:
        if not (self.recovers and self.folds_in):
            return
        train, test = planted_world()
        others = np.isin(train.user_index, [3, 41, 50])
        model = self.model().fit(train.take(~others))
        chosen = test.take(np.isin(test.user_index, [3, 41, 50]))
        result = evaluate(model, train.take(~others), chosen, fold_in=train.take(others), n=1)
        assert result.protocol.users == 3 and result["precision@1"] == 1

    def test_files_keep_every_bit(self) -> None:
        log = random_log()
        model = self.model().fit(log)
        classes = {type(model).__name__: type(model)} | self.classes
        back = storage.unpack(*storage.pack(model, classes), classes)
        assert repr(back) == repr(model)
        users = np.arange(log.n_users)
        assert np.array_equal(back.score_all(users), model.score_all(users))

    def test_errors_are_clear(self) -> None:
        model = self.model()
        with pytest.raises(RuntimeError, match=f"{type(model).__name__} has learned nothing yet"):
            model.score_all([0])
        with pytest.raises(ValueError, match=r"fit: no event to learn from"):
            model.fit(Interactions.from_columns([], []).including(users=[1], items=[2]))
        with pytest.raises(TypeError, match="fit: found ndarray, expected Interactions"):
            model.fit(np.ones((2, 3)))


class TestPopularity(ModelContract):
    model = staticmethod(Popularity)
    recovers, closed = False, True


class TestEASE(ModelContract):
    model = staticmethod(lambda: EASE(l2=3.0))
    closed = True


class TestEDLAE(ModelContract):
    model = staticmethod(lambda: EDLAE(l2=3.0, kappa=0.2, beta=0.5))
    closed = True


class TestCosineKNN(ModelContract):
    model = staticmethod(lambda: ItemKNN(neighbours=13))
    closed = True


class TestTfIdfKNN(ModelContract):
    model = staticmethod(lambda: ItemKNN(neighbours=13, similarity="tfidf", shrink=1.0))
    closed = True


class TestBM25KNN(ModelContract):
    model = staticmethod(lambda: ItemKNN(neighbours=13, similarity="bm25"))
    closed = True


class TestIALS(ModelContract):
    model = staticmethod(lambda: IALS(dim=5, l2=0.01, epochs=15))
