"""Ranking metrics: against loops, all orders of ties, scikit-learn, pytrec_eval and ranx."""

from __future__ import annotations

from itertools import permutations
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.metrics import ndcg_score, roc_auc_score

from nnrec.metrics.ranking import _leaders, evaluate_ranking, top_n
from tests.messages import exactly
from tests.worlds import worlds

TIES = ("pessimistic", "optimistic", "expected")


def of_list(listed: list[bool], n: int, total: int, attainable: bool = False) -> dict[str, float]:
    """The metrics of one list, by the book."""
    places = [r for r, relevant in enumerate(listed[:n], 1) if relevant]
    d = min(n, total) if attainable else total
    precision, recall = len(places) / n, len(places) / d
    ideal = sum(1 / log2(1 + r) for r in range(1, min(n, total) + 1))
    return {
        "hit_rate": float(bool(places)),
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if places else 0.0,
        "ndcg": sum(1 / log2(1 + r) for r in places) / ideal,
        "mrr": 1 / places[0] if places else 0.0,
        "map": sum((k + 1) / r for k, r in enumerate(places)) / d,
    }


def by_the_book(scores, truth, allowed, n: int, ties: str, attainable: bool) -> dict[str, float]:
    """One user's metrics: candidates are sorted; ties stand as the rule says, or in all orders."""
    items = [i for i in range(len(scores)) if allowed[i]]
    total = int(truth.sum())
    if ties != "expected":
        last = truth if ties == "pessimistic" else ~truth
        items.sort(key=lambda i: (-scores[i], last[i]))
        return of_list([truth[i] for i in items], n, total, attainable)
    found = []
    for order in permutations(items):
        ranked = sorted(order, key=lambda i: -scores[i])
        found.append(of_list([truth[i] for i in ranked], n, total, attainable))
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def check(world, ties: str, n: list[int], denominator: str, block: int) -> None:
    scores, truth, seen = world
    result = evaluate_ranking(
        scores, truth, seen=csr_array(seen), n=n, ties=ties, denominator=denominator, block=block
    )
    users = np.flatnonzero(truth.any(axis=1))
    assert result.users.tolist() == users.tolist()
    for cut in n:
        for row, user in enumerate(users):
            book = by_the_book(
                scores[user], truth[user], ~seen[user], cut, ties, denominator == "attainable"
            )
            for name, value in book.items():
                found = result.per_user[f"{name}@{cut}"][row]
                assert found == pytest.approx(value, abs=1e-12), (name, cut, user)
        for name in book:
            key = f"{name}@{cut}"
            assert result[key] == pytest.approx(result.per_user[key].mean(), abs=1e-12)


@pytest.mark.parametrize("ties", ["pessimistic", "optimistic"])
@given(worlds(), st.sampled_from([[1], [2, 5], [7, 3, 23]]), st.booleans(), st.sampled_from([1, 3]))
def test_metrics_agree_with_the_book(ties, world, n, attainable, block) -> None:
    check(world, ties, n, "attainable" if attainable else "relevant", block)


@settings(max_examples=40)
@given(worlds(st.integers(1, 6), values=3), st.sampled_from([[1], [2, 5], [3, 7]]), st.booleans())
def test_expected_is_the_mean_over_all_orders_of_ties(world, n, attainable) -> None:
    check(world, "expected", n, "attainable" if attainable else "relevant", 2)


@given(worlds())
def test_tie_rules_bracket_the_expectation_and_agree_without_ties(world) -> None:
    scores, truth, seen = world
    low, middle, high = (
        evaluate_ranking(scores, truth, seen=seen, n=[1, 3], ties=ties)
        for ties in ("pessimistic", "expected", "optimistic")
    )
    for name in low.per_user:
        assert (low.per_user[name] <= middle.per_user[name] + 1e-12).all()
        assert (middle.per_user[name] <= high.per_user[name] + 1e-12).all()
    strict = np.random.default_rng(0).permuted(
        np.tile(np.arange(scores.shape[1]), (len(scores), 1)), axis=1
    )
    found = [evaluate_ranking(strict, truth, seen=seen, n=3, ties=ties) for ties in TIES]
    for name in found[0].per_user:
        assert np.allclose(found[0].per_user[name], found[1].per_user[name], rtol=0, atol=1e-15)
        assert np.allclose(found[0].per_user[name], found[2].per_user[name], rtol=0, atol=1e-12)


def test_lists_longer_than_the_catalogue_cost_nothing() -> None:
    scores, truth = np.array([[3.0, 2.0, 1.0]]), np.array([[0, 1, 1]])
    long, whole = (evaluate_ranking(scores, truth, n=n) for n in (10**15, 3))
    assert long.lists.tolist() == whole.lists.tolist() == [[0, 1, 2]]
    for name in ("hit_rate", "recall", "ndcg", "mrr", "map"):
        assert long[f"{name}@{10**15}"] == whole[f"{name}@3"]
    assert long[f"precision@{10**15}"] == 2 / 10**15
    assert long[f"f1@{10**15}"] == pytest.approx(4 / 10**15)


def test_constant_scores_earn_nothing_unless_ties_are_won() -> None:
    scores, truth = np.zeros((3, 101)), np.zeros((3, 101), bool)
    truth[:, 5] = True
    found = [evaluate_ranking(scores, truth, n=10, ties=ties)["hit_rate@10"] for ties in TIES]
    assert found == [0, 1, pytest.approx(10 / 101)]


@given(worlds())
def test_auc_is_scikit_learns(world) -> None:
    scores, truth, seen = world
    result = evaluate_ranking(scores, truth, seen=seen, auc=True, block=2)
    for user, found in zip(result.users, result.per_user["auc"]):
        own = ~seen[user]
        if truth[user][own].all():
            assert np.isnan(found)
        else:
            expected = roc_auc_score(truth[user][own], scores[user][own])
            assert found == pytest.approx(expected, abs=1e-12)


@given(worlds(st.integers(2, 19)), st.integers(1, 23))
def test_expected_ndcg_is_scikit_learns(world, n: int) -> None:
    scores, truth, _ = world
    result = evaluate_ranking(scores, truth, n=n, ties="expected")
    for user, found in zip(result.users, result.per_user[f"ndcg@{n}"]):
        assert found == pytest.approx(ndcg_score([truth[user]], [scores[user]], k=n), abs=1e-12)


def runs(world) -> tuple[np.ndarray, dict, dict]:
    """The world with scores that differ, and as the dictionaries of the evaluation libraries."""
    scores, truth, _ = world
    rng = np.random.default_rng(1)
    scores = rng.permuted(np.tile(np.arange(scores.shape[1], 0, -1.0), (len(scores), 1)), axis=1)
    judged = [u for u in range(len(scores)) if truth[u].any()]
    names = [f"i{i:02}" for i in range(scores.shape[1])]
    truths = {f"u{u}": {names[i]: 1 for i in np.flatnonzero(truth[u])} for u in judged}
    return scores, truths, {f"u{u}": dict(zip(names, scores[u].tolist())) for u in judged}


@pytest.mark.oracle
@given(worlds(st.integers(2, 19)))
def test_metrics_are_pytrec_evals(world) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval", reason="compares with pytrec-eval-terrier")
    scores, truths, run = runs(world)
    theirs = {"hit_rate": "success", "precision": "P", "recall": "recall", "ndcg": "ndcg_cut"}
    theirs |= {"map": "map_cut"}
    measures = {f"{name}.1,3,10" for name in theirs.values()} | {"recip_rank"}
    found = pytrec_eval.RelevanceEvaluator(truths, measures).evaluate(run)
    result = evaluate_ranking(scores, world[1], n=[1, 3, 10, 19])
    for row, user in enumerate(result.users):
        for ours, name in theirs.items():
            for n in (1, 3, 10):
                value = result.per_user[f"{ours}@{n}"][row]
                assert value == pytest.approx(found[f"u{user}"][f"{name}_{n}"], abs=1e-9)
        value = result.per_user["mrr@19"][row]
        assert value == pytest.approx(found[f"u{user}"]["recip_rank"], abs=1e-9)


@pytest.mark.oracle
@pytest.mark.slow  # ranx compiles itself first
@pytest.mark.filterwarnings("ignore")
@settings(max_examples=20)
@given(worlds(st.integers(3, 19)))
def test_metrics_are_ranxs(world) -> None:
    ranx = pytest.importorskip("ranx", reason="compares with ranx")
    scores, truths, run = runs(world)
    names = [
        f"{name}@3" for name in ("hit_rate", "precision", "recall", "f1", "ndcg", "mrr", "map")
    ]
    found = ranx.evaluate(ranx.Qrels(truths), ranx.Run(run), names)
    result = evaluate_ranking(scores, world[1], n=3)
    for name in names:
        assert result[name] == pytest.approx(found[name], abs=1e-9), name


@given(worlds(), st.sampled_from(TIES))
def test_sampled_ranking_is_the_full_one_among_the_candidates(world, ties: str) -> None:
    scores, truth, seen = world
    candidates = np.random.default_rng(2).random(truth.shape) < 0.4
    result = evaluate_ranking(scores, truth, seen=seen, candidates=candidates, n=[2, 3], ties=ties)
    others = ~candidates & ~truth | seen
    full = evaluate_ranking(scores, truth, seen=others & ~truth, n=[2, 3], ties=ties)
    for name, values in result.per_user.items():
        assert np.array_equal(values, full.per_user[name])
    assert "coverage@2" not in result.metrics and "sampled" in str(result)
    assert result.protocol.candidates == candidates[result.users].sum(axis=1).mean()


def test_candidates_that_hold_the_positive_do_not_make_it_compete_with_itself() -> None:
    scores, truth = np.array([[2.0, 1.0, 3.0]]), np.array([[1, 0, 0]])
    for candidates in ([[0, 1, 0]], [[1, 1, 0]]):
        result = evaluate_ranking(scores, truth, candidates=candidates, n=1)
        assert result["hit_rate@1"] == 1


@given(worlds(), st.integers(1, 23))
def test_top_n_is_a_sort(world, n: int) -> None:
    scores, _, seen = world
    scores = np.where(seen, -np.inf, scores)
    found = top_n(scores, n)
    for row, own in zip(found, scores):
        order = np.argsort(-own, kind="stable")
        order = order[own[order] > -np.inf][:n]
        assert row.tolist() == [*order, *[-1] * (n - len(order))]


def test_top_n_of_many_items_in_two_stages() -> None:
    rng = np.random.default_rng(0)
    for scores in (rng.random((7, 4001)), rng.integers(0, 9, (7, 4001))):
        expected = np.argsort(-scores, axis=1, kind="stable")
        for n in (1, 20, 499, 500, 501, 4001):
            assert np.array_equal(top_n(scores, n), expected[:, :n])
    row, *_ = _leaders(rng.random((7, 4001)), 20)
    assert np.bincount(row).max() < 40, "few are sorted"


def test_users_without_positives_are_skipped_or_zero() -> None:
    scores, truth = np.array([[2.0, 1.0], [2.0, 1.0]]), np.array([[1, 0], [0, 0]])
    skipped = evaluate_ranking(scores, truth, n=1)
    zero = evaluate_ranking(scores, truth, n=1, without_positives="zero", auc=True)
    assert (skipped["recall@1"], zero["recall@1"], zero["ndcg@1"], zero["map@1"]) == (
        1,
        0.5,
        0.5,
        0.5,
    )
    assert np.isnan(zero.per_user["auc"][1]) and zero["auc"] == 1
    assert skipped.protocol.users_without_positives == zero.protocol.users_without_positives == 1
    assert (skipped.protocol.users, zero.protocol.users) == (1, 2)
    one = evaluate_ranking(scores, truth, n=1, users=[0])
    assert one.protocol.users_without_positives == 0
    assert evaluate_ranking(scores, truth, seen=[[0, 1], [1, 1]], n=1).protocol.masked == 1


def test_scores_may_come_in_blocks_and_are_left_alone() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((31, 53))
    truth, seen = rng.random((31, 53)) < 0.1, np.zeros((31, 53), bool)
    seen[:, 7], truth[:, 7] = True, False
    before, asked = scores.copy(), []

    def block_of(users):
        asked.append(len(users))
        return scores[users]

    whole = evaluate_ranking(lambda users: scores, truth, seen=seen, n=5, without_positives="zero")
    assert np.array_equal(scores, before)
    whole = evaluate_ranking(scores, truth, seen=seen, n=5)
    parts = evaluate_ranking(block_of, truth, seen=seen, n=5, block=7)
    assert asked[:-1] == [7] * (len(asked) - 1) and np.array_equal(scores, before)
    assert all(
        np.array_equal(whole.per_user[name], parts.per_user[name]) for name in whole.per_user
    )
    assert np.array_equal(whole.lists, parts.lists) and not (whole.lists == 7).any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scores": np.array([[1.0, np.nan, 2.0]])}, "the score of user 0, item 1 is nan"),
        ({"scores": np.array([[1.0, 2.0, -np.inf]])}, "the score of user 0, item 2 is -inf"),
        ({"scores": np.array([[np.inf, 2.0, 1.0]])}, "the score of user 0, item 0 is inf"),
        ({"scores": np.ones((2, 3))}, "scores: shape (2, 3), test has (1, 3)"),
        ({"scores": lambda users: np.ones((1, 2))}, "scores: shape (1, 2), expected (1, 3)"),
        ({"scores": lambda users: np.ones(3)}, "scores: shape (3,), expected (1, 3)"),
        ({"seen": [[0, 1, 0]]}, "user 0, item 1: in test and in seen, as 1 pairs in all; "
         "what is masked can't be found"),
        ({"seen": [[0, 1]]}, "seen: shape (1, 2), test has (1, 3)"),
        ({"candidates": [[0, 1]]}, "candidates: shape (1, 2), test has (1, 3)"),
        ({"test": [[0, 0, 0]]}, "no user has a positive in test: there is nothing to judge"),
        ({"ties": "random"}, "'random': expected one of 'pessimistic', 'optimistic', 'expected'"),
        ({"denominator": "n"}, "'n': expected one of 'relevant', 'attainable'"),
        ({"without_positives": 0}, "0: expected one of 'skip', 'zero'"),
        ({"n": 0}, "n=0, block=1024: expected at least 1"),
        ({"n": [2, 0]}, "n=[2, 0], block=1024: expected at least 1"),
        ({"n": []}, "n=[], block=1024: expected at least 1"),
        ({"block": 0}, "n=10, block=0: expected at least 1"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_error(change, words: str) -> None:
    arguments = {"scores": np.array([[1.0, 3.0, 2.0]]), "test": [[0, 1, 0]]} | change
    with pytest.raises(ValueError, match=exactly(words)):
        evaluate_ranking(**arguments)


def test_errors_name_the_user_of_the_whole_matrix() -> None:
    scores, truth = np.ones((5, 3)), np.eye(5, 3)
    scores[1, 2] = np.nan
    with pytest.raises(ValueError, match=exactly("the score of user 1, item 2 is nan")):
        evaluate_ranking(scores, truth, users=[2, 1], block=1)
    words = "user 1, item 1: in test and in seen, as 2 pairs in all; what is masked can't be found"
    with pytest.raises(ValueError, match=exactly(words)):
        evaluate_ranking(scores, truth, seen=np.eye(5, 3) * [0, 2, 3])
    words = "'ndcg@5': expected one of hit_rate@1, precision@1, recall@1, …"
    with pytest.raises(KeyError, match=exactly(f'"{words}')):
        evaluate_ranking(np.ones((1, 2)), [[0, 1]], n=1)["ndcg@5"]


BOOK = [(ties, of, seed) for ties in TIES for of in ("relevant", "attainable") for seed in range(3)]


@pytest.mark.parametrize(("ties", "denominator", "seed"), BOOK)
def test_four_users_by_the_book(ties: str, denominator: str, seed: int) -> None:
    """As the two tests of any worlds; these few take a moment."""
    rng = np.random.default_rng(seed)
    scores, kind = rng.integers(0, 3, (4, 6)).astype("f4"), rng.choice(3, (4, 6), p=[0.4, 0.4, 0.2])
    kind[2] = 0  # a user without a positive
    check((scores, kind == 1, kind == 2), ties, [1, 2, 5, 7], denominator, block=2)


def test_two_users_in_full() -> None:
    scores = np.array([[0.9, 0.8, 0.7, 0.6, 0.5], [0.1, 0.4, 0.2, 0.4, 0.3]])
    truth = np.array([[0, 1, 0, 1, 0], [0, 0, 0, 1, 0]])
    seen = np.array([[1, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    popularity, vectors = [1, 2, 1, 0, 2], [[1, 0], [0, 1], [1, 1], [1, 0], [0, 0]]
    result = evaluate_ranking(
        scores, truth, seen=seen, n=[1, 3], auc=True, popularity=popularity, item_vectors=vectors
    )
    assert result.lists.tolist() == [[1, 2, 3], [1, 3, 4]]  # item 1 before 3 by its index
    second = 1 / log2(3)
    first_of_2 = (1 + 1 / log2(4)) / (1 + second)
    expected = {
        "hit_rate": ([1, 0], [1, 1]), "precision": ([1, 0], [2 / 3, 1 / 3]),
        "recall": ([1 / 2, 0], [1, 1]), "f1": ([2 / 3, 0], [4 / 5, 1 / 2]),
        "ndcg": ([1, 0], [first_of_2, second]), "mrr": ([1, 0], [1, 1 / 2]),
        "map": ([1 / 2, 0], [(1 + 2 / 3) / 2, 1 / 2]),
    }  # fmt: skip
    for name, both in expected.items():
        for cut, values in zip((1, 3), both):
            assert result.per_user[f"{name}@{cut}"].tolist() == pytest.approx(values, rel=1e-14)
            assert result[f"{name}@{cut}"] == pytest.approx(sum(values) / 2, rel=1e-14)
    # User 0: 1 above 2 and 4, 3 above 4 only.  User 1: 3 above three, a tie with 1.
    assert result.per_user["auc"].tolist() == [3 / 4, 7 / 8] and result["auc"] == 13 / 16
    assert (result["coverage@1"], result["coverage@3"]) == (1 / 5, 4 / 5)
    assert result["gini@1"] == pytest.approx(4 / 5)
    assert result["gini@3"] == pytest.approx((-4 * 0 - 2 * 1 + 0 * 1 + 2 * 2 + 4 * 2) / (5 * 6))
    assert result["novelty@1"] == 0 and result["novelty@3"] == pytest.approx(3 / 6)
    assert np.isnan(result["diversity@1"])
    of_user_0 = 1 - (0.5**0.5 + 0 + 0.5**0.5) / 3
    assert result["diversity@3"] == pytest.approx((of_user_0 + 1) / 2)


def test_users_are_judged_in_the_order_they_are_given() -> None:
    scores, truth = np.arange(15.0).reshape(5, 3), np.eye(5, 3)
    result = evaluate_ranking(scores, truth, users=[4, 2, 0], n=1, without_positives="zero")
    assert result.users.tolist() == [4, 2, 0] and result["hit_rate@1"] == 1 / 3
    assert result.per_user["hit_rate@1"].tolist() == [0, 1, 0]
    assert evaluate_ranking(scores, truth, users=[4, 2, 0]).users.tolist() == [2, 0]
    assert evaluate_ranking(scores, truth, n=np.int64(2)).lists.shape == (3, 2)
    assert "map@10" in evaluate_ranking(scores, truth).metrics
    # Stored zeros and pairs that stand twice are one pair or none.
    stored = csr_array(([1.0, 0.0, 0.0, 2.0, -2.0], [0, 1, 2, 1, 1], [0, 3, 5]), (2, 3))
    truth = [[0, 0, 1], [1, 0, 0]]
    assert evaluate_ranking(np.ones((2, 3)), truth, seen=stored).protocol.masked == 2
    assert evaluate_ranking(np.ones((2, 3)), truth).protocol.masked == 0
    auc = {"without_positives": "zero", "auc": True}
    result = evaluate_ranking(np.arange(12.0).reshape(4, 3), [*truth, [0] * 3, [0] * 3], **auc)
    assert (
        result.per_user["auc"][:2].tolist() == [1, 0] and np.isnan(result.per_user["auc"][2:]).all()
    )


def test_top_n_of_a_few() -> None:
    inf = np.inf
    scores = np.array([[1, 3, 3, -inf], [0.5, 0, 0.25, 1], [-inf, -inf, 2, -inf]])
    for dtype in ("f4", "f8"):
        found = top_n(scores.astype(dtype), 3)
        assert found.tolist() == [[1, 2, 0], [3, 0, 2], [2, -1, -1]] and found.dtype == np.int64
    assert top_n(scores, 1).tolist() == [[1], [3], [2]]
    assert top_n(scores, 6)[1].tolist() == [3, 0, 2, 1, -1, -1]
    assert top_n([[5, 7], [7, 5]], 2).tolist() == [[1, 0], [0, 1]]  # whole numbers
    assert top_n(np.zeros((0, 3)), 2).shape == (0, 2)
    assert top_n(np.zeros((2, 0)), 1).tolist() == [[-1], [-1]]
    lowest = np.array([[np.finfo("f4").min, -inf]], "f4")
    assert top_n(lowest, 2).tolist() == [[0, -1]]


@pytest.mark.slow
def test_memory_grows_with_the_block_not_with_the_users() -> None:
    import tracemalloc

    n_items, peaks = 2003, []
    for users in (499, 1999):
        truth = csr_array((np.ones(users), (np.arange(users), np.arange(users))), (users, n_items))
        tracemalloc.start()
        evaluate_ranking(
            lambda u: np.tile(np.arange(n_items, dtype="f4"), (len(u), 1)), truth, block=97
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
