"""Matrix factorization and NeuMF: training by its recipe, ratings, folding in, pretraining."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from nnrec import L2, MSE, Network, storage
from nnrec.data.interactions import Interactions, align
from nnrec.recommend import MatrixFactorization, NeuMF, evaluate
from nnrec.recommend.matrix_factorization import Factors
from tests.test_recommend_contract import planted_world, random_log

USERS, ITEMS = np.array([2, 0, 4, 2, 1]), np.array([3, 6, 0, 3, 2])


def ratings(noise: float) -> tuple[Interactions, Interactions]:
    """(train, test) of a matrix of rank 2 with biases and noise."""
    rng = np.random.default_rng(0)
    users, items = np.divmod(rng.permutation(101 * 61)[:4001], 61)
    p, q = rng.normal(size=(2, 101, 2)), rng.normal(size=(2, 61, 2))
    true = 3.5 + (p[0] @ q[0].T) + p[1][:, :1] / 2 + q[1][:, 0] / 2
    values = true[users, items] + noise * rng.normal(size=len(users))
    log = Interactions.from_columns(users, items, values)
    return log.take(slice(0, 3607)), log.take(slice(3607, None))


def test_what_is_withheld_changes_no_bit_of_a_rating_model() -> None:
    train, test = ratings(noise=0.3)
    other = Interactions(test.users, test.items, test.user_index[::-1].copy(), test.item_index)
    settings = {"loss": "squared", "implicit": True, "epochs": 1}
    once, again = (
        MatrixFactorization(3, **settings).fit(align(train, part)[0]).network
        for part in (test, other)
    )
    assert np.array_equal(once.theta, again.theta)
    near = once.layer.histories
    assert near.nnz == len(train) and not near[test.user_index, test.item_index].any()


@pytest.mark.parametrize("beta", [0.0, 0.7])
def test_all_items_training_is_its_recipe(beta: float) -> None:
    """Every step once more in float64 with dense matrices: penalties, rates, lazy Adam, order."""
    log = random_log()
    X, K, l2, epochs, size = log.csr().toarray(), 3, 0.02, 3, 29
    settings = {"l2": l2, "frequency": 0.6, "negatives": K, "epochs": epochs, "batch_size": size}
    model = MatrixFactorization(5, beta=beta, **settings)
    network, _, _ = model.assemble(log)
    P, Q, b = (a.astype(float) for a in network.parameters().values())
    model.fit(log)
    n_u, (users, items) = X.sum(axis=1), X.shape
    weight = n_u**-beta / (n_u**-beta).mean()
    n_j, per_item = weight @ X, K * weight @ n_u / items
    assert np.allclose(b, np.log((n_j + 0.5) / per_item))
    of_user, of_item = n_u * (1 + K), n_j + per_item
    l2_u, l2_j = (l2 * w**0.6 * w.mean() ** 0.4 for w in (of_user, of_item))

    def step(w, g, m, v, rate, t):
        m += 0.1 * (g - m)
        v += 0.01 * (g * g - v)
        w -= rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.99**t)) + 1e-8)

    moments = [np.zeros((2, *a.shape)) for a in (P, Q, b)]
    t, steps = 0, epochs * -(-users // size)
    for epoch in range(epochs):
        order = np.random.default_rng([network.entropy, 0, epoch]).permutation(users)
        for first in range(0, users, size):
            at = order[first : first + size]
            left = 1 - 2 / 3 * t / steps
            t += 1
            p, own = P[at], moments[0][:, at]
            sigma = 1 / (1 + np.exp(-(p @ Q.T + b)))
            G = weight[at, None] * (K * n_u[at, None] / items * sigma - X[at] * (1 - sigma))
            dp = G @ Q + (weight * l2_u)[at, None] * p
            dQ = G.T @ p + weight[at].sum() / users * l2_j[:, None] * Q
            step(p, dp, *own, 0.1 * left, epoch + 1)
            P[at], moments[0][:, at] = p, own
            step(Q, dQ, *moments[1], 0.002 * left, t)
            step(b, G.sum(axis=0), *moments[2], 0.002 * left, t)
    for found, expected in zip(model.network.parameters().values(), (P, Q, b)):
        assert np.allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_fold_in_scores_like_a_trained_user() -> None:
    log = random_log()
    model = MatrixFactorization(dim=8, l2=0.01, epochs=100).fit(log)
    found, trained = model.score_histories(log.csr()), model.score_all(np.arange(log.n_users))
    apart = [np.corrcoef(a, b)[0, 1] for a, b in zip(found, trained)]
    assert min(apart) > 0.99
    alone = model.score_histories(log.csr()[[7]])
    assert np.allclose(alone, found[[7]], rtol=1e-4, atol=1e-5)  # whoever is asked for beside him
    nobody = model.score_histories(log.csr()[:1] * 0)
    assert np.array_equal(nobody[0], model.network.parameters()["item.b"])
    with pytest.raises(NotImplementedError, match="folds in no new users"):
        MatrixFactorization(dim=2, loss="bpr", epochs=1).fit(log).score_histories(log.csr())


@pytest.mark.parametrize("beta", [0.0, 0.7])
@pytest.mark.parametrize("loss", ["all_items", "softmax"])
def test_tau_takes_a_part_of_the_prior_logit_off_the_scores(loss: str, beta: float) -> None:
    log, settings = random_log(), {"beta": beta, "epochs": 2}
    plain, adjusted = (MatrixFactorization(3, loss, tau=t, **settings).fit(log) for t in (0.0, 0.7))
    assert np.array_equal(plain.network.theta, adjusted.network.theta)
    n_u = np.diff(log.csr().indptr)
    X = log.csr().toarray() * (n_u**-beta / (n_u**-beta).mean())[:, None]
    prior = np.log((X.sum(axis=0) + 0.5) / (8 * X.sum() / log.n_items))
    for asked, given in (("score_all", np.arange(log.n_users)), ("score_histories", log.csr())):
        apart = getattr(adjusted, asked)(given) - getattr(plain, asked)(given)
        assert np.allclose(apart, -0.7 * prior, atol=1e-5)


@pytest.mark.parametrize("setting", ["beta", "tau"])
@pytest.mark.parametrize("loss", ["logistic", "bpr", "squared"])
def test_what_only_the_losses_over_all_items_know_is_refused(loss: str, setting: str) -> None:
    with pytest.raises(ValueError, match=r"beta and tau need loss='all_items' or 'softmax'"):
        MatrixFactorization(loss=loss, **{setting: 0.1})


def test_users_without_events_have_no_say_in_weights() -> None:
    log = Interactions.from_columns(np.arange(202) % 2, np.arange(202) % 101)
    idle = log.including(users=["idle"])
    with_idle, alone = (MatrixFactorization(2, beta=400.0, epochs=1).fit(x) for x in (idle, log))
    assert np.array_equal(with_idle.offset, alone.offset)
    prior = [
        model.assemble(x)[0].parameters()["item.b"]
        for model, x in ((alone, log), (with_idle, idle))
    ]
    assert np.allclose(*prior, rtol=1e-6)


@pytest.mark.parametrize("loss", ["all_items", "softmax"])
def test_an_item_stands_once_in_a_history_that_is_folded_in(loss: str) -> None:
    log = random_log()
    model, once = MatrixFactorization(3, loss, epochs=2).fit(log), log.csr()[[7]]
    twice = csr_array(
        (np.ones(2 * once.nnz, "f4"), np.repeat(once.indices, 2), once.indptr * 2), once.shape
    )
    assert np.array_equal(model.score_histories(twice), model.score_histories(once))
    assert twice.nnz == 2 * once.nnz, "the caller's histories are left alone"


def test_ratings_are_predicted_to_the_noise() -> None:
    train, test = ratings(noise=0.3)
    model = MatrixFactorization(2, "squared", l2=0.05, epochs=50, learning_rate=0.03).fit(train)
    error = model.predict(test.user_index, test.item_index) - test.values
    assert np.sqrt(np.mean(error**2)) < 0.3 * 1.15
    assert np.std(test.values) > 1.3
    pairs = model.score_all(test.user_index)[np.arange(len(test)), test.item_index]
    assert np.allclose(pairs, error + test.values, atol=1e-5)
    with pytest.raises(ValueError, match="no values to predict"):
        model.fit(random_log())
    with pytest.raises(ValueError, match="epochs=0, expected"):
        model.fit(train, epochs=0)
    again = model.predict(test.user_index, test.item_index)
    assert np.allclose(again, error + test.values, atol=1e-5), "as before what was refused"
    with pytest.raises(ValueError, match="predicts no values"):
        MatrixFactorization(dim=2, epochs=1).fit(train).predict([0], [0])


def test_who_rated_what_tells_of_ratings() -> None:
    """A user's taste shows in eight of the eleven items he rates, and the ratings are noisy."""
    rng = np.random.default_rng(0)
    taste = rng.integers(2, size=211)
    users, shown = np.repeat(np.arange(211), 11), np.tile(np.arange(11), 211)
    items = 2 * rng.integers(31, size=len(users)) + (taste[users] ^ (shown >= 8))
    truth = np.where(items % 2 == taste[users], 1.0, -1.0)
    log = Interactions.from_columns(users, items, truth + rng.normal(size=len(users)))
    test = rng.random(len(log)) < 0.2
    train, (u, i) = log.take(~test), (log.user_index[test], log.item_index[test])
    errors = []
    for implicit in (False, True):
        model = MatrixFactorization(3, "squared", 0.2, implicit=implicit, learning_rate=0.01)
        model.epochs, model.batch_size = 10, 32
        predicted = model.fit(train).predict(u, i)
        assert np.allclose(model.score_all(u)[np.arange(len(u)), i], predicted, atol=1e-5)
        errors.append(np.sqrt(np.mean((predicted - truth[test]) ** 2)))
    assert errors[1] < 0.7 * errors[0]
    classes = {c.__name__: c for c in (MatrixFactorization, Network, Factors, MSE, L2)}
    back = storage.unpack(*storage.pack(model, classes), classes)
    assert np.array_equal(back.predict(u, i), predicted)
    with pytest.raises(ValueError, match="implicit=True needs loss='squared'"):
        MatrixFactorization(loss="bpr", implicit=True)


def test_the_last_value_of_a_pair_is_the_rating() -> None:
    log = Interactions.from_columns([1, 1, 2], ["a", "a", "b"], [1.0, 5.0, 3.0], times=[2, 1, 0])
    model = MatrixFactorization(dim=2, loss="squared", epochs=1).fit(log)
    assert model.offset == 2.0


def test_neumf_scores_all_items_as_pairs() -> None:
    model = NeuMF(dim=67, epochs=2, batch_size=64).fit(random_log())
    pairs = model.network.predict((USERS, ITEMS), link=False)[:, 0]
    assert np.allclose(model.score_all(USERS)[np.arange(len(USERS)), ITEMS], pairs, atol=1e-6)


def test_pretrained_factors_are_where_neumf_begins() -> None:
    log = random_log()
    model = NeuMF(dim=67, epochs=1, learning_rate=0.0, pretrain=True, rng=3).fit(log)
    factors = MatrixFactorization(dim=66, rng=3).fit(log)
    users = np.arange(log.n_users)
    assert np.allclose(model.score_all(users), factors.score_all(users), atol=1e-5)


def test_pretraining_recovers_the_planted_world() -> None:
    train, test = planted_world()
    model = NeuMF(dim=8, epochs=10, batch_size=64, learning_rate=0.03, dropout=0.1, pretrain=True)
    assert evaluate(model.fit(train), train, test, n=1)["precision@1"] == 1


@pytest.mark.parametrize("loss", ["logistic", "bpr"])
def test_who_has_everything_trains_nothing(loss: str) -> None:
    log = Interactions.from_columns([1, 1, 2], ["a", "b", "a"])
    model = MatrixFactorization(dim=2, loss=loss, epochs=3).fit(log)
    untrained, _, _ = model.assemble(log)
    at = "user.E"
    assert np.array_equal(model.network.parameters()[at][0], untrained.parameters()[at][0])
    assert not np.array_equal(model.network.parameters()[at][1], untrained.parameters()[at][1])
