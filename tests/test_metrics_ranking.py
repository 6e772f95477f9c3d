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

from nnrec.metrics.beyond_accuracy import coverage, gini, intra_list_diversity, novelty
from nnrec.metrics.ranking import _leaders, evaluate_ranking, top_n

SIZES = st.integers(1, 19)
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


@st.composite
def worlds(draw, items=SIZES, values=7):
    """Scores with ties, test, and seen pairs that are not in test."""
    users, n_items = draw(st.integers(1, 5)), draw(items)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = rng.choice(3, (users, n_items), p=[0.5, 0.3, 0.2])
    kind[0, 0] = 1
    scores = rng.integers(0, values, (users, n_items)).astype(rng.choice(["f4", "f8"]))
    return scores, kind == 1, kind == 2


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


def test_the_protocol_is_printed() -> None:
    scores, truth = np.array([[3.0, 2.0, 1.0]]), np.array([[0, 1, 0]])
    text = str(evaluate_ranking(scores, truth, seen=[[1, 0, 0]], n=[1, 2], auc=True))
    assert "ndcg                    1.0000    1.0000" in text
    assert "auc                     1.0000\n" in text
    assert text.splitlines()[-1] == (
        "full ranking of 3 items; 1 users, 0 without positives (skipped); 1 seen pairs masked; "
        "ties pessimistic; recall, F1 and MAP over relevant items"
    )


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
    ("change", "error"),
    [
        ({"scores": np.array([[1.0, np.nan, 2.0]])}, "the score of user 0, item 1 is nan"),
        ({"scores": np.array([[1.0, 2.0, -np.inf]])}, "the score of user 0, item 2 is -inf"),
        ({"scores": np.ones((2, 3))}, r"scores: shape \(2, 3\), test has \(1, 3\)"),
        ({"scores": lambda users: np.ones((1, 2))}, r"scores: shape \(1, 2\), expected \(1, 3\)"),
        ({"seen": [[0, 1, 0]]}, "user 0, item 1: in test and in seen, as 1 pairs"),
        ({"seen": [[0, 1]]}, r"seen: shape \(1, 2\), test has \(1, 3\)"),
        ({"test": [[0, 0, 0]]}, "no user has a positive"),
        ({"ties": "random"}, "'random': expected one of 'pessimistic', 'optimistic', 'expected'"),
        ({"denominator": "n"}, "'n': expected one of 'relevant', 'attainable'"),
        ({"without_positives": 0}, "0: expected one of 'skip', 'zero'"),
        ({"n": 0}, "n=0.*expected at least 1"),
        ({"n": []}, r"n=\[\].*expected at least 1"),
    ],
)
def test_bad_input_is_one_clear_error(change, error: str) -> None:
    arguments = {"scores": np.array([[1.0, 3.0, 2.0]]), "test": [[0, 1, 0]]} | change
    with pytest.raises(ValueError, match=error):
        evaluate_ranking(**arguments)


def test_unknown_metric_is_named() -> None:
    with pytest.raises(KeyError, match="ndcg@5.*expected one of hit_rate@10"):
        evaluate_ranking(np.ones((1, 2)), [[0, 1]])["ndcg@5"]


@given(worlds(), st.integers(1, 7))
def test_measures_of_lists_agree_with_loops(world, n: int) -> None:
    scores, truth, seen = world
    n_users, n_items = scores.shape
    rng = np.random.default_rng(3)
    popularity, vectors = rng.integers(0, 4, n_items), rng.integers(0, 3, (n_items, 2))
    result = evaluate_ranking(
        scores, truth, seen=seen, n=[n, n + 1], popularity=popularity, item_vectors=vectors
    )
    lists = [[i for i in row if i >= 0] for row in result.lists[:, :n].tolist()]
    flat = [i for row in lists for i in row]
    assert result[f"coverage@{n}"] == len(set(flat)) / n_items
    counts = [flat.count(i) for i in range(n_items)]
    distances = sum(abs(a - b) for a in counts for b in counts)
    assert result[f"gini@{n}"] == pytest.approx(distances / (2 * n_items * sum(counts)))
    bits = [-log2(max(popularity[i], 1) / n_users) for i in flat]
    assert result[f"novelty@{n}"] == pytest.approx(np.mean(bits))

    def distance(a, b) -> float:
        length = np.linalg.norm(vectors[a]) * np.linalg.norm(vectors[b])
        return 1 - (vectors[a] @ vectors[b] / length if length else 0)

    own = [
        np.mean([distance(a, b) for a in row for b in row if a != b])
        for row in lists
        if len(row) > 1
    ]
    if own:
        assert result[f"diversity@{n}"] == pytest.approx(np.mean(own), abs=1e-12)
    else:
        assert np.isnan(result[f"diversity@{n}"])


def test_measures_of_lists_at_their_ends() -> None:
    same = np.full((13, 1), 3)
    assert gini(same, 17) == pytest.approx(1 - 1 / 17) and coverage(same, 17) == 1 / 17
    assert gini(np.arange(17)[:, None], 17) == 0 and coverage(np.arange(17)[:, None], 17) == 1
    assert novelty(same, np.full(17, 8), 8) == 0
    assert intra_list_diversity([[0, 1]], [[1, 0], [1, 0]]) == pytest.approx(0)


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
