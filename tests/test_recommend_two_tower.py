"""Two towers: features of items and users, the shift of a batch's logits, histories."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from nnrec.data.interactions import Interactions
from nnrec.recommend import TwoTower
from tests.test_recommend_contract import planted_world, random_log


def test_two_towers_know_cold_items_by_their_features() -> None:
    train, test = planted_world()
    kind = np.searchsorted([7, 12], np.array(train.items[range(25)]), side="right")
    first = [train.items.index([item])[0] for item in (0, 7, 12)]  # never seen, by block
    warm = train.take(~np.isin(train.item_index, first))
    settings = {"hidden": 17, "l2": 0.001, "batch_size": 64, "learning_rate": 0.02}
    model = TwoTower(8, epochs=40, item_features=np.eye(3)[kind], **settings).fit(warm)
    block = np.searchsorted([29, 46], np.array(warm.users[range(57)]), side="right")
    scores = model.score_all(np.arange(57))[:, first]
    assert np.array_equal(scores.argmax(axis=1), block)


def test_two_towers_use_what_is_known_of_users() -> None:
    rng = np.random.default_rng(0)
    group = rng.integers(2, size=97)
    item = np.where(rng.random(97) < 0.9, group, 1 - group)
    log = Interactions.from_columns(np.arange(97), [f"item {i}" for i in item])
    features = np.eye(2)[group]
    model = TwoTower(4, 5, user_features=features, epochs=30, batch_size=16, learning_rate=0.02)
    model.fit(log)
    nothing = csr_array((2, 2), dtype=np.float32)
    liked = model.score_histories(nothing, user_features=np.eye(2)).argmax(axis=1)
    names = [log.items[int(i)] for i in liked]
    assert names == ["item 0", "item 1"]
    unknown = model.score_histories(nothing)
    mean = np.repeat(features.mean(axis=0)[None], 2, axis=0)
    assert np.array_equal(unknown, model.score_histories(nothing, user_features=mean))


def test_features_are_checked() -> None:
    log = random_log()
    for name, rows in (("item_features", 23), ("user_features", 31)):
        for features in (np.ones(rows), np.ones((rows + 1, 2)), np.ones((rows, 0))):
            with pytest.raises(ValueError, match=f"{name} has shape"):
                TwoTower(**{name: features}).fit(log)
        with pytest.raises(ValueError, match=f"{name} holds a value that is not finite"):
            TwoTower(**{name: np.full((rows, 2), np.nan)}).fit(log)


def test_in_batch_logits_are_shifted_by_the_chance_of_being_there() -> None:
    log = random_log().merged("first")
    network, _, _ = TwoTower(dim=2, hidden=3, loss="in_batch", batch_size=5).assemble(log)
    share = np.bincount(log.item_index) / len(log)
    expected = -np.log(1 - (1 - share) ** 5)
    assert np.allclose(network.layer.shift, expected, rtol=1e-5)


def test_a_callback_sees_the_towers_of_its_epoch() -> None:
    log, seen = random_log(), []
    model = TwoTower(dim=2, hidden=3, epochs=3, learning_rate=0.1).fit(random_log(1))
    model.fit(log, callbacks=[lambda run: seen.append(model.score_all([0]))])
    assert len(seen) == 3 and np.allclose(seen[-1], model.score_all([0]), rtol=1e-5)
    assert not np.allclose(seen[0], seen[1], rtol=1e-2)


def test_the_last_event_of_a_pair_is_the_one_that_counts() -> None:
    log = Interactions.from_columns([1, 1, 1], ["a", "b", "a"], times=[0, 1, 2])
    model = TwoTower(dim=2, hidden=3, epochs=1, recency=0.5).fit(log)
    assert np.allclose(model.histories.toarray(), [[2 / 3, 1 / 3]])
