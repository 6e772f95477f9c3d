"""Closed forms against their definitions, scikit-learn, and the published figures."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import cosine_similarity

from nnrec.data.formats import NCFSplit, read_lists, read_ncf
from nnrec.data.interactions import Interactions
from nnrec.metrics.beyond_accuracy import novelty
from nnrec.recommend import EASE, EDLAE, IALS, ItemKNN, Popularity, evaluate


def random_log(items: int = 23) -> Interactions:
    rng = np.random.default_rng(0)
    users, items = rng.integers(41, size=401), np.minimum(rng.geometric(2.5 / items, 401), items)
    return Interactions.from_columns(users, items)


@pytest.mark.lesson_7
def test_popularity_counts_different_users() -> None:
    log = Interactions.from_columns([1, 1, 1, 2, 3], list("aaabb"))
    assert Popularity().fit(log).score_all([2, 0]).tolist() == [[1, 2], [1, 2]]


@pytest.mark.lesson_7
@pytest.mark.parametrize("items", [23, 521])  # one block, and several
@pytest.mark.parametrize(("kappa", "beta"), [(0.0, 0.0), (0.3, 0.5), (1.7, 1.0)])
def test_edlae_is_its_definition(items: int, kappa: float, beta: float) -> None:
    log = random_log(items)
    x = log.csr().toarray().astype(np.float64)
    n = x.sum(axis=1)
    xw = (n / n.mean())[:, None] ** (-beta / 2) * x
    gram = xw.T @ xw
    p = np.linalg.inv(gram + 7 * np.eye(len(gram)) + kappa * np.diag(np.diag(gram)))
    b = -p / np.diag(p)
    np.fill_diagonal(b, 0)
    model = EDLAE(l2=7.0, kappa=kappa, beta=beta).fit(log)
    assert model.item_weights.dtype == np.float32
    assert np.allclose(model.item_weights, b, rtol=1e-6, atol=1e-7)
    assert np.allclose(model.score_all(np.arange(len(x))), x @ b, rtol=1e-5, atol=1e-6)


@pytest.mark.lesson_7
def test_ease_is_a_ridge_regression_of_each_item_on_the_others() -> None:
    log = random_log()
    x = log.csr().toarray().astype(np.float64)
    weights = EASE(l2=5.0).fit(log).item_weights
    for item in range(x.shape[1]):
        others = np.delete(x, item, axis=1)
        ridge = Ridge(alpha=5.0, fit_intercept=False).fit(others, x[:, item])
        assert np.allclose(np.delete(weights[:, item], item), ridge.coef_, atol=1e-6)
        assert weights[item, item] == 0


def test_edlae_minimises_the_expected_error_under_dropout() -> None:
    """Dropout of rate p, its kept inputs scaled by 1/(1−p), is a ridge with κ = p/(1−p)."""
    log, rate = random_log(7), 0.25
    x = log.csr().toarray().astype(np.float64)
    rng = np.random.default_rng(3)
    moments = np.zeros((x.shape[1], x.shape[1]))
    draws = 4001
    for _ in range(draws):
        dropped = x * (rng.random(x.shape) >= rate) / (1 - rate)
        moments += dropped.T @ dropped / draws
    model = EDLAE(l2=1.0, kappa=rate / (1 - rate), beta=0.0).fit(log)
    p = np.linalg.inv(moments + np.eye(len(moments)))
    expected = -p / np.diag(p)
    np.fill_diagonal(expected, 0)
    assert np.allclose(model.item_weights, expected, atol=0.01)
    assert not np.allclose(EASE(l2=1.0).fit(log).item_weights, expected, atol=0.01)


@pytest.mark.parametrize("similarity", ["cosine", "tfidf"])
def test_neighbours_are_scikit_learns(similarity: str) -> None:
    log = random_log(521)  # two blocks of items, if 512 are one
    log = log.including(items=range(1000, 1521))
    items = log.csr().T.toarray()
    if similarity == "tfidf":
        items = TfidfTransformer(norm=None).fit_transform(items)
    similar = cosine_similarity(items)
    np.fill_diagonal(similar, 0)
    whole = ItemKNN(neighbours=log.n_items, similarity=similarity).fit(log)
    assert np.allclose(whole.item_weights.toarray(), similar, atol=1e-6)
    near = ItemKNN(neighbours=3, similarity=similarity).fit(log).item_weights.toarray()
    bound = np.sort(similar, axis=0)[-3]
    assert np.allclose(near, np.where(similar >= bound * (1 - 1e-9), similar, 0), atol=1e-6)


@pytest.mark.parametrize("users", range(4, 18))
def test_neighbours_as_near_as_the_kth_stay_whatever_the_rounding(users: int) -> None:
    """1 / √(2 n) = 3 / √(18 n), but not in float64 for each n."""
    of_item = {"j": range(users), "a": [0, 100], "b": [0, 1, 2, *range(200, 215)]}
    pairs = [(user, item) for item, own in of_item.items() for user in own]
    log = Interactions.from_columns(*zip(*pairs))
    weights = ItemKNN(neighbours=1).fit(log).item_weights.toarray()
    j, a, b = log.items.index(["j", "a", "b"])
    assert weights[a, j] > 0 and np.isclose(weights[a, j], weights[b, j])


def test_users_without_events_weigh_nothing() -> None:
    log = random_log()
    idle = log.including(users=range(100, 153))
    for model in (EDLAE(l2=7.0, beta=0.5), ItemKNN(similarity="bm25")):
        plain, found = (model.fit(one).score_all(np.arange(log.n_users)) for one in (log, idle))
        assert np.allclose(plain, found, rtol=1e-6, atol=1e-7)


def test_bm25_and_shrink_are_their_definitions() -> None:
    log = random_log()
    x = log.csr().toarray().astype(np.float64)
    n_users, n_items = x.shape
    weighted = np.zeros_like(x)
    mean = x.sum() / n_items
    for u in range(n_users):
        for i in range(n_items):
            n_u, length = x[u].sum(), x[:, i].sum() / mean
            idf = np.log(1 + (n_items - n_u + 0.5) / (n_u + 0.5))
            weighted[u, i] = x[u, i] * idf * 2.2 / (1 + 1.2 * (0.25 + 0.75 * length))
    norms = np.linalg.norm(weighted, axis=0)
    expected = weighted.T @ weighted / (np.outer(norms, norms) + 3)
    np.fill_diagonal(expected, 0)
    model = ItemKNN(neighbours=n_items, similarity="bm25", shrink=3.0).fit(log)
    assert np.allclose(model.item_weights.toarray(), expected, atol=1e-6)


def objective(model: IALS, x: np.ndarray) -> float:
    """iALS's loss as its docstring prints it."""
    w, h = (factors.astype(np.float64) for factors in (model.user_factors, model.item_factors))
    s = w @ h.T
    loss = (x * (s - 1) ** 2).sum() + model.unobserved * (s**2).sum()
    for factors, sums, others in ((w, x.sum(axis=1), len(h)), (h, x.sum(axis=0), len(w))):
        penalty = model.l2 * (sums + model.unobserved * others) ** model.frequency
        loss += (penalty * (factors**2).sum(axis=1)).sum()
    return loss


@pytest.mark.parametrize("weights", ["binary", "count"])
@pytest.mark.parametrize("frequency", [0.0, 0.5, 1.0])
def test_ials_users_solve_their_equations_and_the_loss_falls(
    weights: str, frequency: float
) -> None:
    log = random_log()
    x = log.csr(weights).toarray().astype(np.float64)
    made = {"dim": 5, "l2": 0.05, "unobserved": 0.2, "frequency": frequency, "weights": weights}
    losses = []
    for epochs in (1, 2, 3, 5, 8):
        model = IALS(**made, epochs=epochs).fit(log)
        losses.append(objective(model, x))
        h = model.item_factors.astype(np.float64)
        for user in range(len(x)):
            penalty = 0.05 * (x[user].sum() + 0.2 * len(h)) ** frequency
            normal = h.T @ (x[user][:, None] * h) + 0.2 * h.T @ h + penalty * np.eye(5)
            row = np.linalg.solve(normal, h.T @ x[user])
            assert np.allclose(model.user_factors[user], row, rtol=1e-3, atol=1e-4)
    assert (np.diff(losses) < 0).all()


def test_ials_in_many_small_stacks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    log = random_log()
    once = IALS(dim=5).fit(log).score_all(np.arange(log.n_users))
    monkeypatch.setattr("nnrec.recommend.ials.CELLS", 300)
    assert np.allclose(IALS(dim=5).fit(log).score_all(np.arange(log.n_users)), once, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: EASE(l2=0), "EASE: l2=0, expected a number > 0"),
        (lambda: EASE(l2=-1), "EASE: l2=-1, expected a number ≥ 0"),
        (lambda: EDLAE(kappa=-1), "EDLAE: kappa=-1"),
        (lambda: EDLAE(beta=float("nan")), "EDLAE: beta=nan"),
        (lambda: ItemKNN(similarity="jaccard"), "ItemKNN: similarity='jaccard'"),
        (lambda: ItemKNN(neighbours=0), "ItemKNN: neighbours=0, expected a whole number ≥ 1"),
        (lambda: IALS(l2=0.0), "IALS: l2=0.0, expected a number > 0"),
        (lambda: IALS(dim=2.5), "IALS: dim=2.5"),
        (
            lambda: IALS(weights="stars"),
            "IALS: weights='stars', expected one of .*'binary', 'count'",
        ),
    ],
)
def test_bad_arguments_are_one_clear_error(make, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        make()


def test_weights_of_nothing_are_an_error() -> None:
    log = Interactions.from_columns([1, 1], [2, 3], values=[1.0, 0.0])
    with pytest.raises(ValueError, match="a pair of weight 0.0; expected above 0"):
        IALS(dim=2, weights="values").fit(log)


def test_evaluation_wants_one_id_map() -> None:
    log = random_log()
    model = Popularity().fit(log)
    with pytest.raises(ValueError, match="test and train have different items"):
        evaluate(model, log, log.including(items=["new"]))
    with pytest.raises(ValueError, match="fold_in and train have different users"):
        evaluate(model, log, log, fold_in=log.including(users=["new"]))
    with pytest.raises(ValueError, match="in test and in seen"):
        evaluate(model, log, log)
    folded = log.take(log.user_index < 5)
    with pytest.raises(ValueError, match="train has learned from pairs of test"):
        evaluate(model, log, log.take(log.user_index > 4), fold_in=folded)
    result = evaluate(model, log, log, fold_in=folded, exclude_seen=False, n=3)
    counts = np.bincount(log.csr().indices)
    assert result["novelty@3"] == novelty(result.lists, counts, log.n_users)
    repeated = evaluate(model, log, log, exclude_seen=False, n=3)
    assert repeated.protocol.masked == 0 and "novelty@3" in repeated.metrics


@cache
def ncf(folder: Path) -> NCFSplit:
    names = ("ml-1m.train.pairs.gz", "ml-1m.test.rating", "ml-1m.test.negative.gz")
    return read_ncf(*(folder / "ncf-ml-1m" / name for name in names))


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "hit_rate", "ndcg"),
    [
        (Popularity(), 0.4531, 0.2541),
        (EASE(l2=1320.0), 0.7192, 0.4494),
        (EASE(l2=700.0), 0.7162, 0.4523),
        (EDLAE(l2=500.0, kappa=0.3, beta=0.5), 0.7217, 0.4535),
    ],
    ids=repr,
)
def test_figures_on_the_ncf_split(nnrec_data: Path, model, hit_rate: float, ndcg: float) -> None:
    split = ncf(nnrec_data)
    assert split.duplicates == 156
    model.fit(split.train)
    result = evaluate(model, split.train, split.test, candidates=split.candidates, n=10)
    assert result.protocol.ties == "pessimistic" and result.protocol.users == 6_040
    assert round(result["hit_rate@10"], 4) == hit_rate
    assert round(result["ndcg@10"], 4) == ndcg


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "recall", "ndcg"),
    [(EASE(l2=1000.0), 0.2755, 0.2674), (EDLAE(l2=500.0, kappa=0.3, beta=0.5), 0.2824, 0.2720)],
    ids=repr,
)
def test_figures_on_the_full_ranking_split(
    nnrec_data: Path, model, recall: float, ndcg: float
) -> None:
    train, test = read_lists(
        *(nnrec_data / "ml-1m_m1" / f"{part}.txt.gz" for part in ("train", "test"))
    )
    result = evaluate(model.fit(train), train, test, n=20)
    assert result.protocol.denominator == "relevant" and result.protocol.masked == 796_244
    assert round(result["recall@20"], 4) == recall
    assert round(result["ndcg@20"], 4) == ndcg
    if isinstance(model, EASE):
        other = evaluate(model, train, test, n=20, denominator="attainable")
        assert round(other["recall@20"], 4) == 0.3115
