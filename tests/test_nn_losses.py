"""Losses and penalties: gradients, forms that must agree, weights, targets, dtypes."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import nnrec.nn
from nnrec import (
    L1,
    L2,
    MSE,
    BinaryCrossEntropy,
    CategoricalCrossEntropy,
    Loss,
    Network,
    Sigmoid,
    SigmoidCrossEntropy,
    Softmax,
    SoftmaxCrossEntropy,
    Tanh,
    check_gradients,
    sigmoid,
    softmax,
)

Rng = np.random.Generator
K = 5  # outputs
pytestmark = pytest.mark.usefixtures("strict_arithmetic")


def logits(rng: Rng, n: int) -> np.ndarray:
    return rng.normal(size=(n, K)) * 3


def probabilities(rng: Rng, n: int) -> np.ndarray:
    return sigmoid(logits(rng, n))


def distributions(rng: Rng, n: int) -> np.ndarray:
    return softmax(logits(rng, n))


def labels(rng: Rng, n: int) -> np.ndarray:
    return rng.integers(0, K, n)


def one_hot(rng: Rng, n: int) -> np.ndarray:
    return np.eye(K)[labels(rng, n)]


def binary(rng: Rng, n: int) -> np.ndarray:
    return rng.integers(0, 2, (n, K)).astype(float)


def counts(rng: Rng, n: int) -> sp.csr_array:
    """Sparse counts; a row may be empty."""
    return sp.csr_array(rng.integers(0, 4, (n, K)) * rng.integers(0, 2, (n, K)) * 1.0)


def at_zero(rng: Rng, n: int) -> np.ndarray:
    return np.zeros((n, K))  # σ's branches meet; all logits tie


SPECIMENS: dict[str, tuple[Loss, Callable, Callable]] = {
    "MSE": (MSE(), logits, logits),
    "MSE, mean": (MSE(mean=True), logits, logits),
    "MSE, met": (MSE(), at_zero, at_zero),
    "BinaryCrossEntropy": (BinaryCrossEntropy(), probabilities, binary),
    "BinaryCrossEntropy, soft": (BinaryCrossEntropy(), probabilities, probabilities),
    "CategoricalCrossEntropy, labels": (CategoricalCrossEntropy(), distributions, labels),
    "CategoricalCrossEntropy, one-hot": (CategoricalCrossEntropy(), distributions, one_hot),
    "CategoricalCrossEntropy, soft": (CategoricalCrossEntropy(), distributions, distributions),
    "SigmoidCrossEntropy": (SigmoidCrossEntropy(), logits, binary),
    "SigmoidCrossEntropy, soft": (SigmoidCrossEntropy(), logits, probabilities),
    "SigmoidCrossEntropy at 0": (SigmoidCrossEntropy(), at_zero, binary),
    "SoftmaxCrossEntropy, labels": (SoftmaxCrossEntropy(), logits, labels),
    "SoftmaxCrossEntropy, one-hot": (SoftmaxCrossEntropy(), logits, one_hot),
    "SoftmaxCrossEntropy, soft": (SoftmaxCrossEntropy(), logits, distributions),
    "SoftmaxCrossEntropy, CSR": (SoftmaxCrossEntropy(), logits, counts),
    "SoftmaxCrossEntropy of ties": (SoftmaxCrossEntropy(), at_zero, labels),
}
specimens = pytest.mark.parametrize("name", SPECIMENS)
seeds = st.integers(0, 2**32 - 1)


def drawn(name: str, seed: int = 0, n: int = 11, dtype: str = "float64"):
    """(loss, pred, target, weight), read-only; one weight is 0."""
    loss, draw_pred, draw_target = SPECIMENS[name]
    rng = np.random.default_rng(seed)
    pred, target = draw_pred(rng, n).astype(dtype), draw_target(rng, n)
    target = target.astype(dtype) if target.dtype.kind == "f" else target
    weight = (rng.integers(1, 7, n) / 4).astype(dtype)
    weight[0] *= n == 1
    parts = (target.data, target.indices, target.indptr) if sp.issparse(target) else (target,)
    for array in (pred, weight, *parts):
        array.flags.writeable = False
    return loss, pred, target, weight


def dense(target, dtype: str = "float64") -> np.ndarray:
    """Labels and CSR as the matrix they stand for."""
    if sp.issparse(target):
        return target.toarray()
    return np.eye(K, dtype=dtype)[target] if target.ndim == 1 else target


def near(a, b, rtol: float = 1e-13, atol: float = 1e-14) -> None:
    np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def test_every_public_loss_has_a_specimen() -> None:
    public = vars(nnrec.nn).values()
    losses = {c for c in public if isinstance(c, type) and issubclass(c, Loss)}
    assert losses == {Loss, *(type(loss) for loss, *_ in SPECIMENS.values())}


@specimens
@settings(max_examples=20)
@given(seed=seeds, n=st.sampled_from([1, 2, 13]), weighted=st.booleans())
def test_gradient_by_complex_step(name: str, seed: int, n: int, weighted: bool) -> None:
    loss, pred, target, weight = drawn(name, seed, n)
    weight = weight if weighted else None
    report = check_gradients(
        loss, pred, target=target, weight=weight, method="complex", tolerance=1e-12
    )
    assert report.ok, str(report)
    _, d = loss(pred, target, weight)
    assert d.shape == pred.shape
    direction = np.random.default_rng(seed).normal(size=pred.shape)
    value, _ = loss(pred + 1e-100j * direction, target, weight)  # without the library's checker
    assert abs(value.imag / 1e-100 - (d * direction).sum()) <= 1e-12 * np.linalg.norm(d) * 9


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["MSE", "MSE, mean", "MSE, met"])
def test_squared_error_in_fractions_is_exact(name: str, weighted: bool) -> None:
    loss, pred, target, weight = drawn(name, 3, 5)
    report = check_gradients(
        loss, pred, target=target, weight=weight if weighted else None, method="exact"
    )
    assert report.ok and report.error == 0, str(report)


def plain_loss(name: str, y: np.ndarray, t: np.ndarray) -> float:
    """One row's loss, from the definition."""
    log = math.log
    if name.startswith("MSE"):
        return sum((a - b) ** 2 for a, b in zip(y, t)) / (len(y) if "mean" in name else 2)
    if name.startswith("Sigmoid"):
        y = [1 / (1 + math.exp(-z)) for z in y]
    if name.startswith("Softmax"):
        y = [math.exp(z) / sum(map(math.exp, y)) for z in y]
    if name.startswith(("Sigmoid", "Binary")):
        return -sum(b * log(a) + (1 - b) * log(1 - a) for a, b in zip(y, t))
    return -sum(b * log(a) for a, b in zip(y, t))


@specimens
def test_value_is_the_weighted_mean_of_the_rows_losses(name: str) -> None:
    loss, pred, target, weight = drawn(name)
    rows = [plain_loss(name, y, t) for y, t in zip(pred, dense(target))]
    near(loss(pred, target)[0], sum(rows) / len(rows), 1e-12)
    total = sum(w * row for w, row in zip(weight, rows))
    near(loss(pred, target, weight)[0], total / sum(weight), 1e-12)


@specimens
def test_whole_weights_are_repeated_rows(name: str) -> None:
    loss, pred, target, _ = drawn(name)
    times = np.random.default_rng(1).integers(0, 4, len(pred))
    again = np.repeat(np.arange(len(pred)), times)
    value, d = loss(pred, target, times.astype(float))
    value_repeated, d_repeated = loss(pred[again], target[again])
    near(value, value_repeated)
    summed = np.zeros_like(d)
    np.add.at(summed, again, d_repeated)
    near(d, summed)


@specimens
def test_weights_count_by_their_ratio_only(name: str) -> None:
    loss, pred, target, weight = drawn(name)
    value, d = loss(pred, target, weight)
    for scaled in (8 * weight, weight / 64):
        again = loss(pred, target, scaled)
        assert again[0] == value
        np.testing.assert_array_equal(again[1], d)
    even = loss(pred, target, np.full(len(pred), 3.0))
    near(even[0], loss(pred, target)[0])
    near(even[1], loss(pred, target)[1])


@specimens
def test_all_zero_weights_give_zero(name: str) -> None:
    loss, pred, target, weight = drawn(name)
    value, d = loss(pred, target, 0 * weight)
    assert value == 0 and d.shape == pred.shape and not d.any()


@specimens
def test_the_order_of_the_rows_does_not_matter(name: str) -> None:
    loss, pred, target, weight = drawn(name)
    order = np.random.default_rng(1).permutation(len(pred))
    value, d = loss(pred[order], target[order], weight[order])
    near(value, loss(pred, target, weight)[0])
    near(d, loss(pred, target, weight)[1][order])


@specimens
def test_calls_leave_no_trace(name: str) -> None:
    """Pred, target and weight are read-only; a second call changes nothing of the first."""
    loss, pred, target, weight = drawn(name)
    value, d = loss(pred, target, weight)
    d.flags.writeable = False
    kept = d.copy()
    other = drawn(name, 1, 7)
    other[0](*other[1:])
    for same in (loss, copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        again, d_again = same(pred, target, weight)
        assert again == value and repr(same) == repr(loss)
        np.testing.assert_array_equal(d_again, kept)
    np.testing.assert_array_equal(d, kept)
    assert not np.shares_memory(d, pred)


@pytest.mark.parametrize("weighted", [False, True])
@specimens
def test_float32_stays_float32(name: str, weighted: bool) -> None:
    loss, pred, target, weight = drawn(name, dtype="float32")
    value, d = loss(pred, target, weight if weighted else None)
    assert value.dtype == d.dtype == np.float32
    loss, pred, target, weight = drawn(name)
    exact = loss(pred, target, weight if weighted else None)
    near(value, exact[0], 2e-5, 1e-6)
    near(d, exact[1], 2e-5, 1e-6)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int8, np.int64, np.float32])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("loss", "pred"),
    [
        (MSE(), logits),
        (MSE(mean=True), logits),
        (BinaryCrossEntropy(), probabilities),
        (SigmoidCrossEntropy(), logits),
        (CategoricalCrossEntropy(), distributions),
        (SoftmaxCrossEntropy(), logits),
    ],
    ids=lambda part: repr(part) if isinstance(part, Loss) else "",
)
def test_whole_targets_of_any_type_are_numbers(loss, pred, dtype: str, kind: type) -> None:
    """0 and 1 as truth values or integers of any width: the values of floats, in pred's dtype."""
    rng = np.random.default_rng(0)
    y, t = pred(rng, 7).astype(dtype), one_hot(rng, 7)
    expected = loss(y, t.astype(dtype))
    value, d = loss(y, t.astype(kind))
    assert value.dtype == d.dtype == dtype
    near(value, expected[0])
    near(d, expected[1])


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int8, np.int32, np.int64, np.float64])
def test_sparse_counts_of_any_type_are_numbers(kind: type) -> None:
    """A row's sum fits neither the int8 nor the uint8 of its counts, nor a truth value."""
    t = np.array([[127, 0, 127, 27, 0], [0, 0, 0, 0, 0], [0, 1, 100, 0, 100]]).astype(kind)
    z = logits(np.random.default_rng(0), 3)
    for dtype in ("float32", "float64"):
        y = z.astype(dtype)
        value, d = SoftmaxCrossEntropy()(y, sp.csr_array(t))
        expected = SoftmaxCrossEntropy()(y, t.astype(dtype))
        assert value.dtype == d.dtype == dtype
        near(value, expected[0], 1e-6 if dtype == "float32" else 1e-13)
        near(d, expected[1], 1e-6 if dtype == "float32" else 1e-13, 1e-5)


@pytest.mark.parametrize("form", [sp.csr_array, sp.csr_matrix, sp.csc_array, sp.coo_array])
def test_a_sparse_target_means_its_matrix_in_any_form(form: type) -> None:
    rng = np.random.default_rng(0)
    z, t = logits(rng, K), counts(rng, K).toarray()  # square: a transposition would pass unseen
    value, d = SoftmaxCrossEntropy()(z, form(t))
    near(value, SoftmaxCrossEntropy()(z, t)[0])
    near(d, SoftmaxCrossEntropy()(z, t)[1])


def test_repeated_entries_of_a_sparse_target_add_up() -> None:
    columns, ends = np.array([3, 1, 3, 0]), np.array([0, 3, 3, 4])
    target = sp.csr_array((np.array([1.0, 2.0, 4.0, 1.0]), columns, ends), shape=(3, K))
    z = logits(np.random.default_rng(0), 3)
    value, d = SoftmaxCrossEntropy()(z, target)
    near(value, SoftmaxCrossEntropy()(z, target.toarray())[0])
    near(d, SoftmaxCrossEntropy()(z, target.toarray())[1])
    assert target.nnz == 4  # the caller's matrix is as it was


@settings(max_examples=30)
@given(seed=seeds, n=st.sampled_from([1, 7]))
def test_forms_of_a_class_target_agree(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    z, label = logits(rng, n), labels(rng, n)
    hot = np.eye(K)[label]
    forms = [label.astype(np.uint8), hot, sp.csr_array(hot)]
    for form in forms:
        near(SoftmaxCrossEntropy()(z, form)[0], SoftmaxCrossEntropy()(z, label)[0])
        near(SoftmaxCrossEntropy()(z, form)[1], SoftmaxCrossEntropy()(z, label)[1])
    y = softmax(z)
    near(CategoricalCrossEntropy()(y, hot)[0], CategoricalCrossEntropy()(y, label)[0])
    near(CategoricalCrossEntropy()(y, hot)[1], CategoricalCrossEntropy()(y, label)[1])


@settings(max_examples=30)
@given(seed=seeds, n=st.sampled_from([1, 7]), soft=st.booleans(), weighted=st.booleans())
@pytest.mark.parametrize(
    ("on_logits", "link", "on_probabilities"),
    [
        (SigmoidCrossEntropy(), Sigmoid(), BinaryCrossEntropy()),
        (SoftmaxCrossEntropy(), Softmax(), CategoricalCrossEntropy()),
    ],
    ids=repr,
)
def test_logits_and_probabilities_agree(on_logits, link, on_probabilities, seed, n, soft, weighted):
    """Value, and the gradient through the link's own backward pass."""
    rng = np.random.default_rng(seed)
    z, none = logits(rng, n), np.empty(0)
    targets = (distributions if soft else one_hot)(rng, n)
    weight = rng.random(n) + 0.1 if weighted else None
    value, d = on_logits(z, targets, weight)
    y, back = link(none, z)
    value_y, dy = on_probabilities(y, targets, weight)
    near(value, value_y, 1e-11)
    near(d, back(dy, none), 1e-10, 1e-12)
    np.testing.assert_array_equal(on_logits.inverse_link(z), y)


@pytest.mark.lesson_4
def test_two_classes_are_one_logit() -> None:
    rng = np.random.default_rng(0)
    z, label = rng.normal(size=(13, 2)) * 9, rng.integers(0, 2, 13)
    value, d = SoftmaxCrossEntropy()(z, label)
    difference, target = z[:, 1:] - z[:, :1], label[:, None].astype(float)
    near(value, SigmoidCrossEntropy()(difference, target)[0])
    near(d[:, 1:], SigmoidCrossEntropy()(difference, target)[1], 1e-12, 0)
    near(d[:, :1], -d[:, 1:], 1e-12, 0)


@settings(max_examples=30)
@given(seed=seeds, shift=st.integers(-1000, 1000))
def test_softmax_cross_entropy_ignores_a_shift(seed: int, shift: int) -> None:
    rng = np.random.default_rng(seed)
    z, t = np.round(logits(rng, 7) * 8) / 8, distributions(rng, 7)
    value, d = SoftmaxCrossEntropy()(z, t)
    shifted, d_shifted = SoftmaxCrossEntropy()(z + shift, t)
    assert shifted == value
    np.testing.assert_array_equal(d_shifted, d)
    near(d.sum(axis=1), np.zeros(7), atol=1e-15)


def test_mean_squared_error_differs_by_its_factor() -> None:
    rng = np.random.default_rng(0)
    y, t = logits(rng, 7), logits(rng, 7)
    value, d = MSE()(y, t)
    mean, d_mean = MSE(mean=True)(y, t)
    near(value * 2 / K, mean)
    near(d * 2 / K, d_mean)
    near(mean, ((y - t) ** 2).mean())


def test_the_gradient_of_a_met_target_is_zero() -> None:
    """Soft targets equal to the estimate: nothing to descend."""
    z = logits(np.random.default_rng(0), 7)
    near(SigmoidCrossEntropy()(z, sigmoid(z))[1], np.zeros((7, K)), atol=1e-16)
    near(SoftmaxCrossEntropy()(z, softmax(z))[1], np.zeros((7, K)), atol=1e-16)


def test_inverse_links_give_the_target_units() -> None:
    z = logits(np.random.default_rng(0), 7)
    np.testing.assert_array_equal(SigmoidCrossEntropy().inverse_link(z), sigmoid(z))
    np.testing.assert_array_equal(SoftmaxCrossEntropy().inverse_link(z), softmax(z))
    for loss in (MSE(), BinaryCrossEntropy(), CategoricalCrossEntropy()):
        assert loss.inverse_link(z) is z


def test_probabilities_at_the_ends_pass_where_no_logarithm_is_needed() -> None:
    value, d = BinaryCrossEntropy()(np.array([[0.0, 1.0]]), np.array([[0.0, 1.0]]))
    assert value == 0
    np.testing.assert_array_equal(d, [[1, -1]])
    value, d = CategoricalCrossEntropy()(np.array([[0.0, 1.0]]), np.array([1]))
    assert value == 0
    np.testing.assert_array_equal(d, [[0, -1]])


@pytest.mark.lesson_4
def test_extreme_logits_stay_finite() -> None:
    z = np.array([[-1000.0], [1000.0], [0.0]])
    t = np.array([[1.0], [0.0], [1.0]])
    with np.errstate(all="raise", under="ignore"):
        value, d = SigmoidCrossEntropy()(z, t)
        classes, d_classes = SoftmaxCrossEntropy()(np.hstack([z, -z]), np.array([0, 1, 0]))
    near(value, (2000 + math.log(2)) / 3)
    np.testing.assert_array_equal(d * 3, [[-1], [1], [-0.5]])
    near(classes, (4000 + math.log(2)) / 3)
    near(d_classes[:2] * 3, [[-1, 1], [1, -1]])


def test_small_losses_keep_their_digits() -> None:
    """ln(1 + e⁻⁴⁰) is e⁻⁴⁰, where 1 + e⁻⁴⁰ is 1."""
    z = np.array([[40.0, 0.0]])
    near(SigmoidCrossEntropy()(z[:, :1], np.ones((1, 1)))[0], math.exp(-40), atol=0)
    for target in (np.array([0]), np.array([[1.0, 0.0]])):
        value, d = SoftmaxCrossEntropy()(z, target)
        near(value, math.exp(-40), atol=0)
        near(d, [[-math.exp(-40), math.exp(-40)]], atol=0)


def test_a_network_with_one_hot_counts_stays_float32() -> None:
    net = Network([Tanh()], loss=SoftmaxCrossEntropy(), rng=0, dtype="float32")
    x = np.random.default_rng(0).normal(size=(3, K))
    for target in (np.eye(K, dtype=int)[:3], sp.csr_array(np.eye(K, dtype=int)[:3]), np.arange(3)):
        value, _ = net.loss_and_grad(x, target)
        assert value.dtype == np.float32


@pytest.mark.lesson_6
@pytest.mark.parametrize("strength", [0, 0.1, 3, np.float64(0.1), np.float32(0.5)])
def test_penalties_are_their_formulas(strength: float) -> None:
    W = np.array([[2.0, -3.0, 0.0], [0.5, -0.25, 1.0]])
    value, dW = L1(strength)(W)
    near(value, float(strength) * 6.75)
    near(dW, float(strength) * np.array([[1, -1, 0], [1, -1, 1]]))
    value, dW = L2(strength)(W)
    near(value, float(strength) / 2 * (4 + 9 + 0.25 + 0.0625 + 1))
    near(dW, float(strength) * W)


@pytest.mark.parametrize("penalty", [L1(0.3), L2(0.3), L1(np.float64(0.3)), L2(np.float64(0.3))])
def test_penalties_keep_dtypes_and_are_their_own_derivative(penalty) -> None:
    W = np.random.default_rng(0).normal(size=(3, 5))
    W.flags.writeable = False
    _, dW = penalty(W)
    step = np.random.default_rng(1).normal(size=W.shape)
    near(penalty(W + 1e-100j * step)[0].imag / 1e-100, (dW * step).sum())
    value, dW = penalty(W.astype(np.float32))
    assert value.dtype == dW.dtype == np.float32
    assert repr(pickle.loads(pickle.dumps(penalty))) in ("L1(0.3)", "L2(0.3)")


@pytest.mark.oracle
class TestTorch:
    """Values and gradients of PyTorch in float64."""

    @pytest.mark.parametrize("weighted", [False, True])
    @specimens
    def test_losses(self, name: str, weighted: bool) -> None:
        torch = pytest.importorskip("torch", reason="needs the extra `oracles`")
        loss, pred, target, weight = drawn(name)
        value, d = loss(pred, target, weight if weighted else None)
        F = torch.nn.functional
        y, t = torch.tensor(pred, requires_grad=True), torch.tensor(dense(target))
        rows = {
            "MSE": lambda: F.mse_loss(y, t, reduction="none").sum(1) / 2,
            "BinaryCrossEntropy": lambda: F.binary_cross_entropy(y, t, reduction="none").sum(1),
            "CategoricalCrossEntropy": lambda: -(t * y.log()).sum(1),
            "SigmoidCrossEntropy": lambda: F.binary_cross_entropy_with_logits(
                y, t, reduction="none"
            ).sum(1),
            "SoftmaxCrossEntropy": lambda: F.cross_entropy(y, t, reduction="none"),
        }
        losses = rows[type(loss).__name__]() * (2 / K if name == "MSE, mean" else 1)
        w = torch.tensor(weight if weighted else np.ones(11))
        mean = (w * losses).sum() / w.sum()
        mean.backward()
        near(value, mean.item(), 1e-12)
        near(d, y.grad.numpy(), 1e-11, 1e-14)
