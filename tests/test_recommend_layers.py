"""The layers and losses of the recommender's networks: gradients of each whole, definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from nnrec import MSE, Network, SigmoidCrossEntropy, SoftmaxCrossEntropy, check_gradients
from nnrec.recommend.autoencoder import Coder, EvidenceBound, Sample, Tied, Unit
from nnrec.recommend.matrix_factorization import AllItems, AllItemsLoss, Factors
from nnrec.recommend.neumf import Fusion
from nnrec.recommend.two_tower import Towers

FEATURES = np.arange(23 * 3).reshape(23, 3) % 5 / 5
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


def test_fusion_gradient() -> None:
    target = np.array([[1.0], [0], [1], [1], [0]])
    network = checked(Fusion(5, 7, 3, 0.25), SigmoidCrossEntropy(), USERS, ITEMS, target=target)
    sides = {"user.E": [0, 1, 2, 4], "item.E": [0, 2, 3, 6]}
    expected = sides | {f"tower_{name}": ids for name, ids in sides.items()}
    assert {k: v.tolist() for k, v in network.layer.rows(USERS, ITEMS).items()} == expected
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
