"""The recommender on ids: who is asked for, what comes back, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

import nnrec
from nnrec.data.holdouts import fraction_per_user, held_out_users, leave_one_out
from nnrec.data.interactions import Interactions, concatenate
from nnrec.metrics.comparison import Comparison
from nnrec.metrics.ranking import evaluate_ranking
from nnrec.recommend import (
    EASE,
    IALS,
    AutoEncoder,
    Blend,
    ItemKNN,
    MatrixFactorization,
    NeuMF,
    Popularity,
    Recommender,
    TwoTower,
    evaluate,
)
from tests.test_recommend_contract import planted_world, random_log

SMALL = {
    "popularity": Popularity,
    "knn": lambda: ItemKNN(neighbours=7),
    "ease": lambda: EASE(l2=3.0),
    "ials": lambda: IALS(dim=3, epochs=3),
    "factors": lambda: MatrixFactorization(dim=3, epochs=3),
    "pairs": lambda: MatrixFactorization(dim=3, epochs=3, loss="bpr"),
    "neumf": lambda: NeuMF(dim=3, epochs=2),
    "autoencoder": lambda: AutoEncoder(hidden=5, dim=3, variational=True, epochs=3),
    "towers": lambda: TwoTower(dim=3, hidden=5, epochs=2, user_features=np.eye(31)[:, :3]),
    "blend": lambda: Blend([EASE(l2=3.0), Popularity()], weights=[1, 0.5]),
}
FOLDS_IN = [name for name in SMALL if name not in ("pairs", "neumf")]


def shop(model=None, log=None) -> Recommender:
    return Recommender(model or EASE(l2=3.0)).fit(random_log() if log is None else log)


@pytest.mark.lesson_7
def test_recommends_the_best_unseen_items() -> None:
    log = random_log()
    model = EASE(l2=3.0).fit(log)
    recommender = shop(log=log)
    for user in (0, 7, 30):
        items, scores = recommender.recommend(user, n=5)
        row = log.users.index([user])
        expected = model.score_all(row)[0]
        expected[log.csr()[row].indices] = -np.inf
        best = np.argsort(-expected, kind="stable")[:5]
        assert items == log.items[best]
        assert np.array_equal(scores, expected[best])


@pytest.mark.parametrize("name", SMALL)
def test_every_model_answers_through_a_file(name: str, tmp_path: Path) -> None:
    recommender = shop(SMALL[name]())
    nnrec.save(recommender, tmp_path / "shop.safetensors")
    back = nnrec.load(tmp_path / "shop.safetensors")
    assert repr(back) == repr(recommender)
    for given in ({"users": 3}, {"users": [0, 30, 3], "n": 4}):
        ours, theirs = recommender.recommend(**given), back.recommend(**given)
        assert ours[0] == theirs[0]
        assert all(np.array_equal(a, b) for a, b in zip(ours[1], theirs[1]))
    assert recommender.similar_items(5, n=3)[0] == back.similar_items(5, n=3)[0]


def test_several_users_and_many_blocks() -> None:
    log = Interactions.from_columns(np.arange(1103), np.arange(1103) % 7)
    recommender = shop(Popularity(), log)
    items, scores = recommender.recommend(log.users.ids, n=2)
    assert len(items) == len(scores) == 1103
    assert items[700] == recommender.recommend(700, n=2)[0]
    assert recommender.recommend([]) == ([], [])
    lists, _ = recommender.recommend(history=[[0], [1, 2], []], n=7)
    assert [len(items) for items in lists] == [6, 5, 7]


def test_an_id_may_be_anything_that_hashes() -> None:
    users = ["7", 7, ("7", 7), "7", 7, b"7"]
    log = Interactions.from_columns(users, ["a", "b", "a", ("b", 1), 0, "a"])
    recommender = shop(Popularity(), log)
    assert recommender.recommend("7")[0] == ["b", 0]
    assert recommender.recommend(7)[0] == ["a", ("b", 1)]
    assert recommender.recommend(("7", 7))[0] == ["b", ("b", 1), 0]
    assert recommender.recommend(history=[("b", 1)], n=1)[0] == ["a"]
    assert recommender.recommend(np.array([7]), n=1)[0] == [["a"]]
    assert np.isnan(recommender.score(7.5, "a"))
    assert recommender.similar_items(("b", 1), n=1)[0] == ["a"]


def test_equal_scores_rank_by_first_appearance() -> None:
    log = Interactions.from_columns([1, 2, 3, 4], ["d", "b", "c", "b"])
    assert shop(Popularity(), log).recommend(history=[])[0] == ["b", "d", "c"]


def test_few_items_are_left() -> None:
    log = Interactions.from_columns([1, 1, 1, 2], ["a", "b", "c", "b"])
    recommender = shop(log=log)
    items, scores = recommender.recommend(1)  # has seen all
    assert items == [] and scores.shape == (0,)
    assert sorted(recommender.recommend(1, exclude_seen=False, n=10**30)[0]) == ["a", "b", "c"]
    assert len(recommender.similar_items("a", n=10**30)[0]) == 2
    assert sorted(recommender.recommend(2, n=10)[0]) == ["a", "c"]
    assert recommender.recommend(2, among=["c", "b", "not known"])[0] == ["c"]
    assert recommender.recommend(2, without=["c"])[0] == ["a"]
    assert recommender.recommend(2, without=["c", "a"])[0] == []
    assert recommender.recommend(2, among=[])[0] == []


def test_one_user_and_one_item() -> None:
    recommender = shop(log=Interactions.from_columns([1], ["a"]))
    assert recommender.recommend(1)[0] == []
    assert recommender.recommend(history=[])[0] == ["a"]
    assert recommender.similar_items("a")[0] == []
    assert recommender.explain(1, "a")[0] == ["a"]


@pytest.mark.parametrize("name", FOLDS_IN)
def test_newcomers(name: str) -> None:
    recommender = shop(SMALL[name]())
    items, scores = recommender.recommend(history=[5, 3, 5], n=20)
    assert not {3, 5} & set(items) and np.isfinite(scores).all()
    assert len(items) == 20 and (np.diff(scores) <= 0).all()
    assert len(recommender.recommend(history=[], n=4)[0]) == 4
    together, _ = recommender.recommend(history=[[5, 3, 5], [1]], n=20)
    assert together[0] == items


@pytest.mark.parametrize("model", [EASE(l2=3.0), ItemKNN(), IALS(dim=3, epochs=2)])
def test_who_is_not_known_at_all_gets_what_is_popular(model) -> None:
    log = random_log().including(users=["quiet"], items=["unsold"])
    recommender = shop(model, log)
    counts = np.bincount(log.csr().indices, minlength=log.n_items)
    best = np.argsort(-counts, kind="stable")[:5]
    for given in ({"history": []}, {"users": "quiet"}):
        items, scores = recommender.recommend(**given, n=5)
        assert items == log.items[best] and scores.tolist() == counts[best].tolist()


def test_a_history_is_in_order_for_models_that_ask() -> None:
    log = random_log()
    model = TwoTower(dim=3, hidden=5, epochs=3, window=2, recency=0.25, rng=1)
    recommender = shop(model, log)
    weights = np.zeros((1, log.n_items), np.float32)
    weights[0, log.items.index([3, 5])] = 0.2, 0.8
    expected = model.score_histories(weights)[0]
    items, scores = recommender.recommend(history=[9, 5, 3, 5], n=1)  # 5 again: it is the newest
    assert np.isclose(scores[0], expected[log.items.index(items)[0]], rtol=1e-5)
    other, _ = recommender.recommend(history=[9, 3, 5, 3], n=20)
    assert other != recommender.recommend(history=[9, 5, 3, 5], n=20)[0]


def test_scores_of_pairs() -> None:
    log = random_log()
    recommender = shop(log=log)
    table = EASE(l2=3.0).fit(log).score_all(np.arange(31))
    assert recommender.score(7, 5) == table[log.users.index([7])[0], log.items.index([5])[0]]
    users, items = [7, 3, "nobody"], [5, "nothing", 5]
    found = recommender.score(users, items)
    assert np.isnan(found).tolist() == [False, True, True] and found[0] == recommender.score(7, 5)
    row = table[log.users.index([7])[0]]
    assert np.array_equal(recommender.score(7, log.items.ids), row)
    assert np.array_equal(recommender.score(log.users.ids, 5), table[:, log.items.index([5])[0]])
    assert recommender.score([], []).shape == (0,)
    many = Interactions.from_columns(np.arange(1103), np.arange(1103) % 7)
    found = shop(Popularity(), many).score(many.users.ids[::-1], 3)
    assert found.shape == (1103,) and (found == 158).all()


def test_similar_items_of_the_planted_world_are_in_its_block() -> None:
    train, _ = planted_world()
    block = np.searchsorted([7, 12], range(25), side="right")
    factors = MatrixFactorization(dim=8, l2=0.001, epochs=60, batch_size=16)
    for model in (EASE(l2=3.0), ItemKNN(neighbours=5), IALS(dim=5, l2=0.01), factors):
        recommender = shop(model, train)
        for item in (2, 9, 20):
            found, scores = recommender.similar_items(item, n=4)
            assert item not in found and (block[found] == block[item]).all()
            assert (np.diff(scores) <= 0).all()
    found, scores = recommender.similar_items(2, n=100)
    assert len(found) == 24 and scores.max() <= 1 + 1e-6 and scores.min() >= -1 - 1e-6


def test_similar_by_factors_is_the_cosine() -> None:
    recommender = shop(IALS(dim=3, epochs=2))
    found, scores = recommender.similar_items(5, n=23)
    expected = cosine_similarity(recommender.model.item_factors)[recommender.items.index([5])[0]]
    assert len(found) == 22
    assert np.allclose(scores, expected[recommender.items.index(found)], atol=1e-6)


@pytest.mark.parametrize("model", [EASE(l2=3.0), ItemKNN(neighbours=7)])
def test_contributions_of_additive_models_add_up(model) -> None:
    recommender = shop(model)
    items, parts = recommender.explain(7, 5)
    seen = recommender.histories[recommender.users.index([7])].indices
    assert sorted(items) == sorted(recommender.items[seen])
    assert np.isclose(parts.sum(), recommender.score(7, 5), rtol=1e-5)
    assert (np.diff(parts) <= 0).all()
    items, parts = recommender.explain(None, 5, history=[3, 9])
    scores = dict(zip(*recommender.recommend(history=[3, 9], n=23)))
    assert sorted(items) == [3, 9] and np.isclose(parts.sum(), scores[5], rtol=1e-5)


def test_other_explanations_are_what_a_score_would_lose() -> None:
    recommender = shop(AutoEncoder(hidden=5, epochs=5))
    items, parts = recommender.explain(7, 5)
    rest = [item for item in items if item != items[0]]
    full, less = (
        dict(zip(*recommender.recommend(history=h, n=23, exclude_seen=False)))[5]
        for h in (items, rest)
    )
    assert np.isclose(parts[0], full - less, rtol=1e-3, atol=1e-5)
    assert recommender.explain(None, 5, history=[])[0] == []
    with pytest.raises(NotImplementedError, match="NeuMF"):
        shop(NeuMF(dim=2, epochs=1)).explain(7, 5)
    train, _ = planted_world()
    factors = MatrixFactorization(dim=8, l2=0.001, epochs=60, batch_size=16)
    items, parts = shop(factors, train).explain(None, 3, history=[1, 8, 2])
    assert items[2] == 8 and parts[1] > 0


def test_evaluation_stands_beside_popularity_and_ease() -> None:
    log = random_log()
    train, test, *_ = leave_one_out(log, by="random")
    result = shop(ItemKNN(neighbours=7), train).evaluate(test, n=5)
    assert list(result.results) == ["ItemKNN", "Popularity", "EASE"]
    for model in (ItemKNN(neighbours=7), Popularity(), EASE()):
        own = evaluate(model.fit(train), train, test, n=5)
        assert own.metrics == result.results[type(model).__name__].metrics
    assert result["ndcg@5"] == result.results["ItemKNN"]["ndcg@5"]
    text = str(result)
    assert "ItemKNN" in text and "Popularity" in text and "EASE" in text
    assert "ties pessimistic" in text and "left out of test: nothing" in text
    assert list(shop(EASE(l2=3.0), train).evaluate(test).results) == ["EASE", "Popularity"]


def test_evaluation_goes_by_ids_and_counts_what_it_leaves_out() -> None:
    log = random_log()
    train, test, *_ = leave_one_out(log, by="random")
    users, items = test.users[test.user_index], test.items[test.item_index]
    more_users, more_items = ["new", 7, "other"], [5, "new", "new"]
    seen_users, seen_items = train.users[train.user_index[:3]], train.items[train.item_index[:3]]
    other = Interactions.from_columns(
        [*more_users, *seen_users, *reversed(users)], [*more_items, *seen_items, *reversed(items)]
    )
    recommender = shop(log=train)
    plain, found = recommender.evaluate(test), recommender.evaluate(other)
    assert found.left_out == {"unknown user": 2, "unknown item": 1, "seen": 3}
    assert "left out of test: 3 seen, 2 unknown user, 1 unknown item" in str(found)
    for metric in ("ndcg@10", "recall@20", "hit_rate@10"):
        assert np.isclose(found[metric], plain[metric], rtol=1e-12)


def test_evaluation_of_users_held_out() -> None:
    log = random_log()
    train, test, fold_in, _ = held_out_users(log, 0.3, test_share=0.3)
    train = Interactions.from_columns(train.users[train.user_index], train.items[train.item_index])
    result = shop(log=train).evaluate(test, fold_in=fold_in, n=10)
    both = concatenate(test, fold_in.take(slice(0, 3)))
    again = shop(log=train).evaluate(both, fold_in=fold_in, n=10)
    assert again.left_out["seen"] == 3 and again["ndcg@10"] == result["ndcg@10"]
    maps = train.including(users=log.users, items=log.items)
    assert result.results["EASE"].protocol.users == len(np.unique(test.user_index))
    assert maps.n_items == train.n_items and result.left_out["unknown item"] == 0
    model = EASE(l2=3.0).fit(train)
    user = int(test.user_index[0])
    history = fold_in.items[fold_in.item_index[fold_in.user_index == user]]
    listed, _ = Recommender(model).fit(train).recommend(history=history)
    at = log.users[user]
    row = maps.users.index([at])[0]
    judged = result.results["EASE"].users.tolist()
    assert train.items[result.results["EASE"].lists[judged.index(row)]] == listed


@pytest.mark.parametrize("name", SMALL)
def test_new_events_are_learned_with_new_ids_behind(name: str) -> None:
    old = random_log()
    model = SMALL[name]()
    recommender = shop(model, old)
    new = Interactions.from_columns(["new", "new", 7], [5, 3, "fresh"], times=[500, 501, 502])
    recommender.recommend(7)
    if name == "towers":
        with pytest.raises(ValueError, match=r"user_features has shape \(31, 3\), expected \(32"):
            recommender.partial_fit(new)
        model.user_features = np.eye(32)[:, :3]
    recommender.partial_fit(new)
    assert recommender.users.ids == [*old.users, "new"]
    assert recommender.items.ids == [*old.items, "fresh"]
    assert 5 not in recommender.recommend("new", n=24)[0]
    assert "fresh" not in recommender.recommend(7, n=24)[0]
    if name in ("popularity", "knn", "ease", "ials", "blend"):
        again = shop(SMALL[name](), concatenate(old, new))
        assert np.array_equal(
            again.score("new", range(1, 24)), recommender.score("new", range(1, 24))
        )


def test_networks_go_on_from_what_they_have_learned() -> None:
    train, test = planted_world()
    recommender = shop(MatrixFactorization(dim=8, l2=0.001, epochs=60, batch_size=16), train)
    new = Interactions.from_columns(["new", "new"], [0, 1])
    before = recommender.score(0, range(25))
    recommender.model.learning_rate = 0.0
    recommender.partial_fit(new)
    assert recommender.model.network.epochs == 15
    assert np.allclose(recommender.score(0, range(25)), before, atol=1e-6)
    recommender.model.learning_rate = 0.003
    recommender.partial_fit(new, epochs=30)
    assert set(recommender.recommend("new", n=5)[0]) == {2, 3, 4, 5, 6}
    assert recommender.model.epochs == 60
    with pytest.raises(ValueError, match="epochs=0, expected a whole number"):
        recommender.partial_fit(new, epochs=0)


def test_epochs_are_chosen_on_a_part_of_train() -> None:
    log = random_log()
    model = MatrixFactorization(dim=8, epochs=40, learning_rate=0.02, batch_size=16)
    recommender = Recommender(model).fit(log, validation=0.2, patience=3)
    chosen = model.epochs
    assert 1 <= chosen < 40
    train, held, *_ = fraction_per_user(log, 0.2)
    ndcgs = []

    def judge(run) -> None:
        ndcgs.append(evaluate(other, train, held, n=10)["ndcg@10"])

    other = MatrixFactorization(dim=8, epochs=40, learning_rate=0.02, batch_size=16)
    other.fit(train, callbacks=[judge])
    assert ndcgs[chosen - 1] == max(ndcgs[: chosen + 3])
    alone = MatrixFactorization(dim=8, epochs=chosen, learning_rate=0.02, batch_size=16).fit(log)
    assert np.array_equal(alone.score_all(range(31)), model.score_all(range(31)))
    assert recommender.interactions is log
    with pytest.raises(ValueError, match="has none"):
        Recommender(EASE()).fit(log, validation=0.2)


def test_progress_is_shown_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    shop(MatrixFactorization(dim=2, epochs=2))
    assert capsys.readouterr().err == ""
    shop(MatrixFactorization(dim=2, epochs=2, verbose=1))
    assert "epoch 2/2" in capsys.readouterr().err


def test_repeated_events_are_one_and_are_seen_once() -> None:
    log = random_log().merged("first")
    twice = log.take(np.repeat(np.arange(len(log)), 2))
    assert shop(log=twice).recommend(7)[0] == shop(log=log).recommend(7)[0]


def test_errors_are_clear() -> None:
    recommender = shop()
    for call in (
        lambda r: r.recommend(7),
        lambda r: r.recommend(history=[]),
        lambda r: r.score(7, 5),
        lambda r: r.similar_items(5),
        lambda r: r.explain(7, 5),
        lambda r: r.evaluate(random_log()),
        lambda r: r.partial_fit(random_log()),
    ):
        with pytest.raises(RuntimeError, match="Recommender has learned nothing yet: call fit"):
            call(Recommender(EASE()))
    for message, call in {
        r"unknown user '7'; known are Ids\(31: .*; for a newcomer give history=": lambda: (
            recommender.recommend("7")
        ),
        "unknown user 'x' and 1 more": lambda: recommender.recommend([7, "x", "y"]),
        r"unknown item '5'; known are Ids\(23: ": lambda: recommender.recommend(history=["5"]),
        "unknown item 99": lambda: recommender.similar_items(99),
        "unknown item 98": lambda: recommender.explain(7, 98),
        "unknown user None": lambda: recommender.explain(None, 5),
        "among: none of 2 ids is known": lambda: recommender.recommend(7, among=["5", "3"]),
        "without: none of 1 ids is known": lambda: recommender.recommend(7, without=["5"]),
        "give users or history": lambda: recommender.recommend(),
        "give users or history, one": lambda: recommender.recommend(7, history=[5]),
        "n=0, expected a whole number": lambda: recommender.recommend(7, n=0),
        "n=2.5, expected": lambda: recommender.similar_items(5, n=2.5),
        "2 users and 3 items": lambda: recommender.score([7, 3], [1, 2, 3]),
        "no event to learn from": lambda: shop(log=Interactions.from_columns([], [])),
    }.items():
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="expected a column of ids"):
        recommender.recommend(history="mug")
    with pytest.raises(TypeError, match="expected a model such as"):
        Recommender("EASE")
    with pytest.raises(TypeError, match="expected Interactions"):
        Recommender(EASE()).fit([[1, 2]])
    with pytest.raises(TypeError, match="expected Interactions"):
        Recommender(NeuMF()).fit([[1, 2]], validation=0.1)


def test_results_under_two_protocols_are_not_compared() -> None:
    scores, test = np.array([[0.0, 1.0]]), np.array([[0, 1]])
    results = {
        ties: evaluate_ranking(scores, test, ties=ties) for ties in ("pessimistic", "expected")
    }
    with pytest.raises(ValueError, match="expected results under one protocol"):
        Comparison(results)


@pytest.mark.parametrize("name", SMALL)
def test_any_ids_answer_alike_also_from_a_file(name: str, tmp_path: Path) -> None:
    log = random_log()
    kinds = ["客户 №{}", "a\u0301\u200d🛒{}", "x" * 10_007 + "{}", 2**70, -(2**63), "a,b\n\t'\"{}"]

    def odd(index: int) -> object:
        kind = kinds[index % len(kinds)]
        return kind.format(index) if isinstance(kind, str) else kind + index

    users, items = map(odd, log.user_index.tolist()), map(odd, log.item_index.tolist())
    strange = Interactions.from_columns(list(users), list(items), times=log.times)
    plain = shop(SMALL[name](), log)
    nnrec.save(shop(SMALL[name](), strange), tmp_path / "shop.safetensors")
    back = nnrec.load(tmp_path / "shop.safetensors")
    assert back.users == strange.users and back.items == strange.items
    ours, theirs = plain.recommend(log.users.ids), back.recommend(strange.users.ids)
    assert [log.items.index(found).tolist() for found in ours[0]] == [
        strange.items.index(found).tolist() for found in theirs[0]
    ]
    assert all(np.array_equal(a, b) for a, b in zip(ours[1], theirs[1]))


@pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan"), np.datetime64("NaT")])
def test_a_missing_id_is_refused_by_its_row(missing: object) -> None:
    for users, items in (([1, 2, missing], "abc"), ([1, 2, 3], ["a", "b", missing])):
        column = "users" if users[2] is missing else "items"
        with pytest.raises(ValueError, match=f"{column}: a missing id in row 2"):
            shop(log=Interactions.from_columns(users, list(items)))
    unknown = shop()
    with pytest.raises(ValueError, match="unknown user|give users"):
        unknown.recommend(missing)
    assert np.isnan(unknown.score([missing], 5)).all()


@pytest.mark.parametrize("name", SMALL)
def test_every_model_serves_users_of_everything_and_of_nothing(name: str) -> None:
    whole = [(1, item) for item in range(5)]
    users, items = zip(*whole, (2, 0), (2, 3), (3, 1), (3, 1))
    log = Interactions.from_columns(users, items).including(users=["idle"])
    model = SMALL[name]()
    if name == "towers":
        model.user_features = np.eye(4)[:, :3]
    recommender = shop(model, log)
    assert recommender.recommend(1)[0] == []
    assert len(recommender.recommend("idle", n=10**9)[0]) == 5
    assert sorted(recommender.recommend(3, n=99)[0]) == [0, 2, 3, 4]
    assert len(recommender.recommend(1, n=99, exclude_seen=False)[0]) == 5
