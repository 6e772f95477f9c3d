"""The recommender's network models: gradients of every variant whole, and models' contract."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from scipy.sparse import csr_array

from nnrec import (
    L2,
    MSE,
    Network,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    check_gradients,
    storage,
)
from nnrec.data.histories import NextItems, Noisy, unit_rows, without
from nnrec.data.interactions import Interactions, align, concatenate
from nnrec.recommend import AutoEncoder, MatrixFactorization, NeuMF, TwoTower, evaluate
from nnrec.recommend.autoencoder import Coder, EvidenceBound, Sample, Tied, Unit
from nnrec.recommend.matrix_factorization import AllItems, AllItemsLoss, Factors
from nnrec.recommend.neumf import Fusion
from nnrec.recommend.two_tower import Towers
from tests.test_recommend_contract import ModelContract, planted_world, random_log

FEATURES = np.arange(23 * 3).reshape(23, 3) % 5 / 5


def fast(model, *, l2=0.001, epochs=60, **others):
    return lambda: model(dim=8, l2=l2, epochs=epochs, batch_size=64, **others)


class TestAllItems(ModelContract):
    model = staticmethod(fast(MatrixFactorization))
    exact_fold_in = False
    classes: ClassVar = {c.__name__: c for c in (Network, AllItems, AllItemsLoss)}


class TestSoftmaxFactors(TestAllItems):
    model = staticmethod(fast(MatrixFactorization, loss="softmax"))


class TestWeightedUsers(TestAllItems):
    model = staticmethod(fast(MatrixFactorization, beta=0.5))


class TestLogisticFactors(ModelContract):
    model = staticmethod(fast(MatrixFactorization, loss="logistic", learning_rate=0.05, epochs=25))
    folds_in = False
    classes: ClassVar = {c.__name__: c for c in (Network, Factors, SigmoidCrossEntropy, L2)}


class TestPairwiseFactors(TestLogisticFactors):
    model = staticmethod(fast(MatrixFactorization, loss="bpr", learning_rate=0.05, epochs=25))


class TestNeuMF(ModelContract):
    model = staticmethod(fast(NeuMF, l2=1e-6, epochs=15, learning_rate=0.03, dropout=0.1))
    folds_in = False
    classes: ClassVar = {c.__name__: c for c in (Network, Fusion, SigmoidCrossEntropy, L2)}


class TestDenoising(ModelContract):
    model = staticmethod(fast(AutoEncoder, hidden=17, learning_rate=0.03, l2=0.0))
    classes: ClassVar = {c.__name__: c for c in (Network, Coder, SoftmaxCrossEntropy)}


class TestVariational(ModelContract):
    model = staticmethod(
        fast(AutoEncoder, hidden=17, variational=True, skip=True, learning_rate=0.03, l2=0.0)
    )
    classes: ClassVar = {c.__name__: c for c in (Network, Coder, EvidenceBound)}


class TestTied(ModelContract):
    model = staticmethod(fast(AutoEncoder, temperature=0.2, learning_rate=0.03, l2=0.0))
    classes: ClassVar = {c.__name__: c for c in (Network, Tied, SoftmaxCrossEntropy)}


class TestTwoTower(ModelContract):
    model = staticmethod(fast(TwoTower, hidden=17, epochs=20, learning_rate=0.02, l2=0.0))
    exact_fold_in = False
    classes: ClassVar = {c.__name__: c for c in (Network, Towers, SoftmaxCrossEntropy)}


class TestTwoTowerInBatch(TestTwoTower):
    model = staticmethod(
        fast(TwoTower, hidden=17, epochs=20, learning_rate=0.02, l2=0.0, loss="in_batch")
    )


USERS, ITEMS = np.array([2, 0, 4, 2, 1]), np.array([3, 6, 0, 3, 2])


def checked(layer, loss, *inputs, target=None, **options):
    """The gradient of a whole network, away from its first values, by complex steps."""
    network = Network(layer, loss, rng=0, dtype="float64")
    network.theta[:] = np.random.default_rng(1).normal(size=network.theta.size)
    report = check_gradients(network, *inputs, target=target, **options)
    assert report.ok and report.error < 1e-12, report
    return network


def histories(users: int, items: int = 7):
    dense = np.random.default_rng(3).random((users, items)) < 0.4
    dense[0] = False  # a user without any
    return csr_array(dense.astype(float))


@pytest.mark.parametrize("softmax", [False, True])
def test_all_items_gradient(softmax: bool) -> None:
    loss = AllItemsLoss(3, 0.1, 0.75, np.arange(7) / 50, softmax)
    checked(AllItems(5, 7, 3), loss, USERS, target=histories(5))


@pytest.mark.lesson_7
@pytest.mark.parametrize("items", [1, 2])
@pytest.mark.parametrize("user_bias", [False, True])
def test_factors_gradient(items: int, user_bias: bool) -> None:
    pairs = (USERS, ITEMS, ITEMS[::-1])[: 1 + items]
    layer = Factors(5, 7, 3, user_bias)
    checked(layer, MSE(), *pairs, target=np.array([[1.0], [0.5], [-2.0], [3.0], [0.0]]))
    network = Network(layer, MSE(), rng=0, dtype="float64")
    assert check_gradients(network, *pairs, target=np.eye(5)[:, :1], method="exact").error == 0


def test_factors_with_histories_gradient() -> None:
    layer = Factors(5, 7, 3, True, histories(5))
    checked(layer, MSE(), USERS, ITEMS, target=np.array([[1.0], [0.5], [-2.0], [3.0], [0.0]]))


@pytest.mark.lesson_7
def test_factors_with_histories_are_their_definition() -> None:
    known = histories(5).toarray()
    layer = Factors(5, 7, 3, True, histories(5))
    network = Network(layer, MSE(), rng=0, dtype="float64")
    network.theta[:] = np.random.default_rng(2).normal(size=network.theta.size)
    w = network.parameters()
    for u, i, found in zip(USERS, ITEMS, network.predict((USERS, ITEMS))[:, 0]):
        p, q = w["user.E"][u] + w["user_near.b"], w["item.E"][i] + w["item_near.b"]
        for j in range(7):
            if known[u, j]:
                p = p + w["user_near.W"][j] / known[u].sum() ** 0.5
        for v in range(5):
            if known[v, i]:
                q = q + w["item_near.W"][v] / known[:, i].sum() ** 0.5
        expected = p @ q + w["user_bias.E"][u, 0] + w["item_bias.E"][i, 0]
        assert np.isclose(found, expected, rtol=1e-12)


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


def test_fusion_gradient() -> None:
    target = np.array([[1.0], [0], [1], [1], [0]])
    checked(Fusion(5, 7, 3, 0.25), SigmoidCrossEntropy(), USERS, ITEMS, target=target)
    network = Network(Fusion(5, 7, 3, 0.0), MSE(), rng=0, dtype="float64")
    report = check_gradients(network, USERS, ITEMS, target=target, method="exact")
    assert report.ok and report.error == 0


@pytest.mark.parametrize("variational", [False, True])
@pytest.mark.parametrize("skip", [False, True])
def test_coder_gradient(variational: bool, skip: bool) -> None:
    loss = EvidenceBound(0.3) if variational else SoftmaxCrossEntropy()
    checked(Coder(7, 5, 3, variational, skip), loss, histories(5), target=histories(5))


def test_tied_gradient() -> None:
    x = histories(5)
    x.data[3] = 0  # dropped, and still one of the batch's items
    ids = np.unique(x.indices)
    network = checked(Tied(7, 3, 0.25, np.arange(7.0)), SoftmaxCrossEntropy(), x, target=x[:, ids])
    assert {k: v.tolist() for k, v in network.layer.rows(x).items()} == {"item.E": ids.tolist()}
    (E,) = network.parameters().values()
    u, v = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x[1:] @ E, E[ids]))
    assert np.allclose(network.predict(x, link=False)[1:], u @ v.T / 0.25 + ids)


def test_rows_of_zeros_have_no_direction() -> None:
    y, back = Unit()(np.empty(0), np.array([[0.0, 0.0], [3.0, 4.0]]))
    assert y.tolist() == [[0, 0], [0.6, 0.8]]
    assert np.isfinite(back(np.ones((2, 2)), np.empty(0))).all()


@pytest.mark.parametrize("features", [0, 2])
@pytest.mark.parametrize("among", [False, True])
def test_towers_gradient(features: int, among: bool) -> None:
    catalogue = csr_array(np.hstack([FEATURES[:7], np.eye(7)]))
    layer = Towers(catalogue, features, 5, 3, 0.25, shift=np.arange(7.0) if among else None)
    of_user = np.random.default_rng(4).normal(size=(5, features))
    inputs = [csr_array(np.hstack([of_user, histories(5).toarray()]))]
    inputs += [ITEMS] if among else []
    target = np.unique(ITEMS, return_inverse=True)[1] if among else ITEMS
    network = checked(layer, SoftmaxCrossEntropy(), *inputs, target=target)
    whole = network.predict(inputs[0], link=False)
    part = network.predict(tuple(inputs), link=False)
    items = np.unique(ITEMS) if among else np.arange(7)
    assert np.allclose(part, whole[:, items] + (items if among else 0))


def test_sample_draws_in_training_only() -> None:
    m = np.hstack([np.full((10007, 1), 3.0), np.full((10007, 1), np.log(4.0))])
    z, _ = Sample()(np.empty(0), m)
    assert (z == 3).all()
    z, _ = Sample()(np.empty(0), m, rng=np.random.default_rng(0))
    assert abs(z.mean() - 3) < 0.1 and abs(z.std() - 2) < 0.1


def test_all_items_loss_is_its_definition() -> None:
    rng, x = np.random.default_rng(5), histories(37, 11)  # more rows than a block of 16
    s, p, Q = rng.normal(size=(37, 11)) * 3, rng.normal(size=(37, 3)), rng.normal(size=(11, 3))
    negatives, l2, item_l2 = 3.0, 0.1, rng.random(11)
    value, (ds, dp, dQ) = AllItemsLoss(negatives, l2, 0.5, item_l2, False)((s, p, Q), x)
    expected, slope = 0.0, np.zeros_like(s)
    for u, row in enumerate(x.toarray()):
        n_u = row.sum()
        for j, taken in enumerate(row):
            sigma, share = 1 / (1 + np.exp(-s[u, j])), negatives * n_u / 11
            expected += -taken * np.log(sigma) - share * np.log(1 - sigma)
            slope[u, j] = share * sigma - taken * (1 - sigma)
        user_l2 = l2 * n_u**0.5
        expected += user_l2 / 2 * p[u] @ p[u]
        assert np.allclose(dp[u], user_l2 * p[u])
    for j in range(11):
        expected += 37 * item_l2[j] / 2 * Q[j] @ Q[j]
        assert np.allclose(dQ[j], 37 * item_l2[j] * Q[j])
    assert np.isclose(value, expected, rtol=1e-12) and np.allclose(ds, slope, rtol=1e-12)
    value, (ds, _, _) = AllItemsLoss(3.0, 0.0, 0.75, item_l2 * 0, True)((s, p, Q), x)
    likelihood = s - np.log(np.exp(s).sum(axis=1, keepdims=True))
    assert np.isclose(value, -(x.toarray() * likelihood).sum(), rtol=1e-12)
    assert np.allclose(ds.sum(axis=1), 0, atol=1e-12)


@pytest.mark.parametrize("softmax", [False, True])
def test_all_items_loss_of_weight_two_is_that_of_the_row_twice(softmax: bool) -> None:
    rng, x = np.random.default_rng(5), histories(37, 11)
    s, p, Q = rng.normal(size=(37, 11)) * 3, rng.normal(size=(37, 3)), rng.normal(size=(11, 3))
    loss = AllItemsLoss(3.0, 0.1, 0.5, rng.random(11), softmax)
    weight = rng.integers(3, size=37)
    rows = np.repeat(np.arange(37), weight)
    value, (ds, dp, dQ) = loss((s, p, Q), x, weight.astype(float))
    expected, (ds_each, dp_each, dQ_each) = loss((s[rows], p[rows], Q), x[rows])
    once = np.cumsum(weight)[weight > 0] - 1
    assert np.isclose(value, expected, rtol=1e-12) and np.allclose(dQ, dQ_each, rtol=1e-12)
    for found, each in ((ds, ds_each), (dp, dp_each)):
        assert not found[weight == 0].any()
        at = weight > 0
        assert np.allclose(found[at], each[once] * weight[at, None], rtol=1e-12)
    for bad in (np.ones(1), np.full(37, -1.0), np.full(37, np.nan)):
        with pytest.raises(ValueError, match=r"weight=array.* expected \(37,\), all ≥ 0"):
            loss((s, p, Q), x, bad)


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


def test_all_items_loss_does_not_overflow() -> None:
    s = np.array([[-1e4, 1e4, 0.0]], np.float32)
    target = csr_array(np.array([[1.0, 0, 0]]))
    with np.errstate(all="raise", under="ignore"):
        value, (ds, _, _) = AllItemsLoss(3, 0.0, 0.75, np.zeros(3), False)((s, s, s.T), target)
    assert np.isclose(value, 1e4 + 1e4 + np.log(2))
    assert np.allclose(ds, [[-1, 1, 0.5]]) and ds.dtype == np.float32


def test_evidence_bound_is_the_divergence_of_normals() -> None:
    rng = np.random.default_rng(7)
    logits, m = np.zeros((5, 3)), rng.normal(size=(5, 4))
    target = csr_array(np.zeros((5, 3)))
    value, _ = EvidenceBound(0.5)((logits, m), target)
    mean, deviation = m[:, :2], np.exp(m[:, 2:] / 2)
    z = np.linspace(-20, 20, 200_001)[:, None, None]  # ∫ q ln(q / p) dz
    log_q = -(((z - mean) / deviation) ** 2) / 2 - np.log(deviation)
    divergence = (np.exp(log_q) * (log_q + z * z / 2)).sum(axis=0) * 2e-4 / np.sqrt(2 * np.pi)
    assert np.isclose(value, 0.5 * divergence.sum() / 5, rtol=1e-6)
    assert EvidenceBound(0.5)((logits, m * 0), target)[0] == 0


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


def ratings(noise: float) -> tuple[Interactions, Interactions]:
    """(train, test) of a matrix of rank 2 with biases and noise."""
    rng = np.random.default_rng(0)
    users, items = np.divmod(rng.permutation(101 * 61)[:4001], 61)
    p, q = rng.normal(size=(2, 101, 2)), rng.normal(size=(2, 61, 2))
    true = 3.5 + (p[0] @ q[0].T) + p[1][:, :1] / 2 + q[1][:, 0] / 2
    values = true[users, items] + noise * rng.normal(size=len(users))
    log = Interactions.from_columns(users, items, values)
    return log.take(slice(0, 3607)), log.take(slice(3607, None))


def test_ratings_are_predicted_to_the_noise() -> None:
    train, test = ratings(noise=0.3)
    model = MatrixFactorization(2, "squared", l2=0.05, epochs=50, learning_rate=0.03).fit(train)
    error = model.predict(test.user_index, test.item_index) - test.values
    assert np.sqrt(np.mean(error**2)) < 0.3 * 1.15
    assert np.std(test.values) > 1.3
    pairs = model.score_all(test.user_index)[np.arange(len(test)), test.item_index]
    assert np.allclose(pairs, error + test.values, atol=1e-5)
    with pytest.raises(ValueError, match="no values to predict"):
        MatrixFactorization(2, "squared").fit(random_log())
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


def test_two_towers_know_cold_items_by_their_features() -> None:
    train, test = planted_world()
    kind = np.searchsorted([7, 12], np.array(train.items[range(25)]), side="right")
    first = [train.items.index([item])[0] for item in (0, 7, 12)]  # never seen, by block
    warm = train.take(~np.isin(train.item_index, first))
    settings = fast(
        TwoTower, hidden=17, epochs=40, learning_rate=0.02, item_features=np.eye(3)[kind]
    )
    model = settings().fit(warm)
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


def test_a_history_is_what_came_before() -> None:
    log = Interactions.from_columns([1, 2, 1, 1], ["a", "b", "c", "d"], times=[3, 0, 1, 2])
    source = NextItems(log, None, window=2, recency=0.5, batch_size=5, in_batch=False)
    ((x,), labels), *rest = source(np.random.default_rng(0))
    assert not rest
    found = {label: row.round(3).tolist() for label, row in zip(labels.tolist(), x.toarray())}
    a, b, c, d = range(4)
    assert not any(found[b]) and not any(found[c])
    assert found[d] == [0, 0, 1, 0]
    assert np.allclose(found[a], [0, 0, 1 / 3, 2 / 3], atol=1e-3)
    whole = source.histories(np.array([0]), source.starts[1:2]).toarray()[0]
    assert np.allclose(whole, [2 / 3, 0, 0, 1 / 3])


def test_without_times_a_history_is_all_but_the_label() -> None:
    log = Interactions.from_columns([1, 1, 1, 2], ["a", "b", "c", "a"])
    source = NextItems(log, None, window=5, recency=0.5, batch_size=5, in_batch=False)
    ((x,), labels), *_ = source(np.random.default_rng(0))
    for row, label in zip(x.toarray(), labels):
        assert row[label] == 0 and row.sum() in (0, 1)
    assert without(x, labels).toarray().tolist() == x.toarray().tolist()


def test_noise_drops_items_and_keeps_the_target() -> None:
    x = csr_array(np.ones((101, 53), np.float32))
    (thin, whole), *rest = Noisy(x, 0.25, 128)(np.random.default_rng(0))
    assert not rest and (whole.toarray() == 1).all()
    assert abs((thin.toarray() > 0).mean() - 0.75) < 0.02
    assert np.allclose(np.linalg.norm(thin.toarray(), axis=1), 1, atol=1e-6)
    assert not unit_rows(csr_array((2, 3), dtype=np.float32)).toarray().any()


@pytest.mark.parametrize("model", [MatrixFactorization, NeuMF, AutoEncoder, TwoTower])
def test_arguments_are_checked(model) -> None:
    bad = [("dim", 0), ("dim", 2.5), ("epochs", 0), ("batch_size", -1), ("learning_rate", -0.1)]
    bad += [("l2", float("nan")), ("verbose", -1), ("verbose", None), ("learning_rate", "fast")]
    own = {
        MatrixFactorization: [
            ("loss", "mse"),
            ("negatives", 0),
            ("user_rate", -1),
            ("frequency", -1),
        ],
        NeuMF: [("dropout", 1.0), ("negatives", True), ("pretrain", "yes")],
        AutoEncoder: [
            ("hidden", 0),
            ("variational", 1),
            ("skip", None),
            ("beta", -1),
            ("temperature", -1),
        ],
        TwoTower: [("loss", "softmax"), ("window", 0), ("recency", -0.1), ("dropout", -0.5)],
    }
    for name, value in bad + own[model]:
        with pytest.raises(ValueError, match=rf"^{model.__name__}: {name}={value!r}, expected"):
            model(**{name: value})
    assert repr(model(dim=7)) == f"{model.__name__}(dim=7)"


def test_features_are_checked() -> None:
    log = random_log()
    for name, rows in (("item_features", 23), ("user_features", 31)):
        for features in (np.ones(rows), np.ones((rows + 1, 2)), np.ones((rows, 0))):
            with pytest.raises(ValueError, match=f"{name} has shape"):
                TwoTower(**{name: features}).fit(log)
        with pytest.raises(ValueError, match=f"{name} holds a value that is not finite"):
            TwoTower(**{name: np.full((rows, 2), np.nan)}).fit(log)


@pytest.mark.parametrize("model", [MatrixFactorization, NeuMF, AutoEncoder, TwoTower])
def test_a_fit_begins_where_another_ended(model) -> None:
    old, log = random_log(), random_log().including(users=["new"], items=["fresh"])
    before = model(dim=3, learning_rate=0.0, epochs=1, rng=1).fit(old)
    after = model(dim=3, learning_rate=0.0, epochs=1, rng=2)
    after.fit(log, start=before.network.parameters())
    assert np.allclose(
        before.score_all(range(31)), after.score_all(range(31))[:, :23], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("loss", ["logistic", "bpr"])
def test_who_has_everything_trains_nothing(loss: str) -> None:
    log = Interactions.from_columns([1, 1, 2], ["a", "b", "a"])
    model = MatrixFactorization(dim=2, loss=loss, epochs=3).fit(log)
    untrained, _, _ = model.assemble(log)
    at = "user.E"
    assert np.array_equal(model.network.parameters()[at][0], untrained.parameters()[at][0])
    assert not np.array_equal(model.network.parameters()[at][1], untrained.parameters()[at][1])


def test_in_batch_logits_are_shifted_by_the_chance_of_being_there() -> None:
    log = random_log().merged("first")
    network, _, _ = TwoTower(dim=2, hidden=3, loss="in_batch", batch_size=5).assemble(log)
    share = np.bincount(log.item_index) / len(log)
    expected = -np.log(1 - (1 - share) ** 5)
    assert np.allclose(network.layer.shift, expected, rtol=1e-5)


def test_tied_logits_are_of_the_items_in_the_batch() -> None:
    log = random_log().merged("first")
    model = AutoEncoder(dim=2, temperature=0.1, batch_size=5, dropout=0.0)
    network, source, rows = model.assemble(log.including(users=["new"]))  # trains nothing
    known = log.csr().toarray()
    assert rows == len(known)
    assert np.allclose(network.layer.shift, -np.log(1 - (1 - known.mean(axis=0)) ** 5), rtol=1e-5)
    for x, target in source(0):
        assert np.allclose(target.toarray(), x[:, np.unique(x.indices)].toarray() > 0)
    for other in ("variational", "skip"):
        with pytest.raises(ValueError, match="takes neither variational nor skip"):
            AutoEncoder(temperature=0.1, **{other: True})


def test_tied_scores_are_cosines_of_what_was_trained() -> None:
    log = random_log().including(users=["new"], items=["unsold"])
    model = AutoEncoder(dim=3, temperature=0.1, epochs=2, batch_size=64, learning_rate=0.03)
    X, scores = log.csr(), model.fit(log).score_all(np.arange(32))
    logits = model.network.predict(unit_rows(X), link=False)  # of the items in X
    assert np.allclose((logits - model.network.layer.shift[:23]) * 0.1, scores[:, :23], atol=1e-6)
    assert not scores[31].any()
    assert not scores[:, 23].any()  # no direction by chance, ahead of what has been judged
    more = Interactions.from_columns(["new", *range(7)], ["unsold"] * 8, times=np.arange(8))
    again = model.fit(concatenate(log, more), start=model.network.parameters())
    assert again.score_all([31])[0].argmax() == 23  # and it learns, once there are events


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
