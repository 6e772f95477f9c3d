"""What stops a training: NaN and infinity, named where they arise, and wrong arguments."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from nnrec import (
    MSE,
    SGD,
    Adam,
    Add,
    Composite,
    Dense,
    Dropout,
    EarlyStopping,
    Embedding,
    Layer,
    Loss,
    Network,
    ReLU,
    Sequential,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    Tanh,
)
from tests.trainings import ITEMS, USERS, Linear, Log, Tower, X, Y, classifier, spoilt, trained


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_named_with_their_place(value) -> None:
    inputs = {
        f"x.* is {value} in row 17, column 3": ((spoilt(X, (17, 3), value), Y), {}),
        f"y is {value} in row 23, column 0": ((X, spoilt(Y, 23, value)), {}),
        f"weight is {value} in row 29": ((X, Y), {"sample_weight": spoilt(Y, 29, value)}),
        f"x.* is {value} in row 17, column 3; expected finite": (
            (csr_array(spoilt(X, (17, 3), value)), Y),
            {},
        ),
    }
    for message, (data, options) in inputs.items():
        net, calls = classifier(), []
        with pytest.raises(ValueError, match=message):
            net.fit(*data, callbacks=[Log("a", calls)], verbose=0, **options)
        np.testing.assert_array_equal(net.theta, classifier().theta)
        assert not calls, "before any work"


def test_a_lone_input_is_called_x() -> None:
    with pytest.raises(ValueError, match="x is nan in row 17, column 3"):
        classifier().fit(spoilt(X, (17, 3), np.nan), Y, verbose=0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_validation_data_that_are_not_finite_are_named(value) -> None:
    for data in [(spoilt(X, (17, 3), value), Y), (X, spoilt(Y, 17, value))]:
        with pytest.raises(ValueError, match=f"{value} in row 17"):
            classifier().fit(X, Y, validation_data=data, verbose=0)


def test_values_too_large_for_float32_are_named() -> None:
    with pytest.raises(ValueError, match="x.* is inf in row 17, column 3"):
        classifier().fit(spoilt(X, (17, 3), 1e300), Y, verbose=0)
    assert np.isfinite(trained(classifier(dtype="float64"), spoilt(X, (17, 3), 1e300), Y)).all()


def test_several_inputs_are_told_apart() -> None:
    class Sides(Composite):
        def __init__(self):
            super().__init__(a=Dense(5, 1), b=Dense(5, 1), add=Add())

        def __call__(self, theta, a, b, rng=None):
            on = self.bind(theta, rng)
            (p, back_p), (q, back_q) = on.a(a), on.b(b)
            y, back_y = on.add(p, q)

            def back(dy, g):
                dp, dq = back_y(dy, g)
                return back_p(dp, g), back_q(dq, g)

            return y, back

    net = Network(Sides(), SigmoidCrossEntropy(), rng=0)
    with pytest.raises(ValueError, match=r"x\[1\] is nan in row 17, column 3"):
        net.fit((X, spoilt(X, (17, 3), np.nan)), Y, verbose=0)


class Bad(Layer):
    """x, until the `when`th call in training: then an infinity in the output or in the gradient."""

    def __init__(self, where: str, when: int) -> None:
        self.where, self.when, self.calls = where, when, 0

    def spoil(self, a: np.ndarray, where: str) -> np.ndarray:
        return spoilt(a, (2, 0), np.inf) if self.where == where and self.calls >= self.when else a

    def __call__(self, theta, x, rng=None):
        self.calls += rng is not None
        return self.spoil(x, "output"), lambda dy, g: self.spoil(dy, "gradient")


def test_a_bad_draw_is_found_again() -> None:
    """The step is repeated, watched, with the same draws: what only they cause is named."""

    class Lottery(Layer):
        def __call__(self, theta, x, rng=None):
            lost = rng.random() < 0.1
            return spoilt(x, (2, 0), np.nan) if lost else x, lambda dy, g: dy

    layers = [Dense(5, 7), Dropout(0.3), Lottery(), Dense(7, 1)]
    for seed in range(5):
        net = Network(layers, SigmoidCrossEntropy(), rng=seed)
        with pytest.raises(FloatingPointError, match="the output of lottery_1 is not finite"):
            net.fit(X, Y, batch_size=7, epochs=97, verbose=0)


class BadTable(Embedding):
    """An Embedding that adds a NaN into ∂L/∂E."""

    def __call__(self, theta, ids, rng=None):
        y, back = super().__call__(theta, ids, rng=rng)

        def bad_back(dy, g):
            back(dy, g)
            g[:3] = np.nan

        return y, bad_back


@pytest.mark.parametrize("where", ["output", "gradient"])
def test_the_first_bad_part_is_named_and_theta_unharmed(where) -> None:
    bad = Bad(where, when=6)  # 101 rows in batches of 29: epoch 2, its second step
    inner = Sequential([Dense(7, 7), Dropout(0.5), bad, ReLU()])
    net = Network([Dense(5, 7), Dropout(0.3), inner, Dense(7, 1)], SigmoidCrossEntropy(), rng=0)
    thetas = [net.theta.copy()]

    class Keep:
        def on_step(self, run):
            thetas.append(run.network.theta.copy())

    message = f"epoch 2, step 6: the {where} of sequential_1.bad_1 is not finite"
    with pytest.raises(FloatingPointError, match=message):
        net.fit(X, Y, batch_size=29, epochs=3, callbacks=[Keep()], verbose=0)
    assert len(thetas) == 6
    np.testing.assert_array_equal(net.theta, thetas[-1])


def test_a_bad_gradient_of_parameters_is_named() -> None:
    tower = Tower(users=BadTable(11, 3))
    net = Network(tower, SigmoidCrossEntropy(), rng=0)
    theta, users = net.theta.copy(), np.where(USERS == 0, 1, USERS)
    users[5] = 0
    with pytest.raises(FloatingPointError, match="step 1: the gradient of user is not finite"):
        net.fit((users, ITEMS), Y, batch_size=101, verbose=0)
    np.testing.assert_array_equal(net.theta, theta)


def test_a_lone_layer_is_named_by_itself() -> None:
    class Explode(Dense):
        def __call__(self, theta, x, rng=None):
            y, back = super().__call__(theta, x, rng=rng)
            return y + np.inf, back

    net = Network(Explode(5, 1), MSE(), rng=0)
    with pytest.raises(FloatingPointError, match=r"the output of Explode\(5, 1\) is not finite"):
        net.fit(X, Y, verbose=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("last", "loss"),
    [
        ([Dense(7, 1)], MSE()),
        ([Dense(7, 1)], SigmoidCrossEntropy()),
        ([Dense(7, 2)], SoftmaxCrossEntropy()),
    ],
    ids=["MSE", "sigmoid", "softmax"],
)
def test_an_exploding_rate_is_named(last, loss, dtype) -> None:
    net = Network([Dense(5, 7), ReLU(), *last], loss, rng=0, dtype=dtype)
    rate = float(np.finfo(dtype).max) / 1e3
    with pytest.raises(FloatingPointError, match=r"epoch 1, step \d: .* is not finite"):
        net.fit(X, Y, optimizer=SGD(rate), batch_size=7, epochs=2, verbose=0)
    assert np.isfinite(net.theta).all()


def test_a_step_out_of_the_numbers_is_named() -> None:
    """A finite gradient times a huge rate; also where no further step would show it."""
    message = "epoch 1, step 1: θ is not finite after it: the learning rate is too large"
    with pytest.raises(FloatingPointError, match=message):
        classifier().fit(X, Y, optimizer=SGD(1e39), batch_size=101, verbose=0)


def test_a_division_by_zero_is_named_like_any_other() -> None:
    class Inverse(Layer):
        def __call__(self, theta, x, rng=None):
            return 1 / x, lambda dy, g: -dy / x**2

    net = Network([Inverse(), Dense(5, 1)], MSE(), rng=0)
    with pytest.raises(FloatingPointError, match="the output of inverse_1 is not finite"):
        net.fit(spoilt(X, (17, 3), 0), Y, verbose=0)


@pytest.mark.parametrize(("value", "slope"), [(np.nan, 0), (np.inf, 1), (1, np.nan)])
def test_a_bad_loss_is_named(value, slope) -> None:
    class Infinite(Loss):
        def __init__(self, value, slope):
            self.value, self.slope = value, slope

        def __call__(self, pred, target, weight=None):
            bad = weight is not None
            return np.float32(self.value if bad else 1), np.full_like(pred, self.slope * bad)

    net = Network([Dense(5, 7), Tanh(), Dense(7, 1)], Infinite(value, slope), rng=0)
    with pytest.raises(FloatingPointError, match="epoch 1, step 1: the .*loss .*is not finite"):
        net.fit(X, Y, sample_weight=np.ones(101), verbose=0)
    np.testing.assert_array_equal(net.theta, classifier().theta)


def test_large_finite_gradients_are_no_error() -> None:
    """The sum of their squares overflows; they themselves do not."""
    net = Network([Dense(5, 1)], Linear(), rng=0)
    trained(net, X, np.full(101, 1e25), optimizer=SGD(1e-27))
    assert np.isfinite(net.theta).all()


def test_a_step_that_ruins_theta_is_blamed_on_the_rate() -> None:
    x = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    net = Network([Dense(3, 1)], MSE(), rng=0)
    with pytest.raises(FloatingPointError, match="step 2: θ is not finite: the learning rate"):
        net.fit(x, 1e3 * x[:, 0], optimizer=SGD(1e38), batch_size=2, verbose=0, shuffle=False)


NEGATIVE = r"SoftmaxCrossEntropy\(\): weight -1.0 in row 17, expected ≥ 0 and finite"


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ((X, Y), {"epochs": -1}, "fit: epochs=-1, expected a whole number ≥ 0"),
        ((X, Y), {"epochs": 1.5}, "fit: epochs=1.5"),
        ((X, Y), {"batch_size": 0}, "fit: batch_size=0, expected a whole number ≥ 1"),
        ((X, Y), {"validation_split": 1.0}, r"validation_split=1\.0 of 101 rows leaves none"),
        ((X, Y), {"validation_split": 1.5}, r"validation_split=1\.5"),
        ((X, Y), {"validation_split": -0.1}, r"validation_split=-0\.1"),
        ((X, Y), {"validation_split": float("nan")}, "validation_split=nan"),
        ((X[:1], Y[:1]), {"validation_split": 0.5}, "of 1 rows leaves none"),
        ((X[:0], Y[:0]), {}, "0 rows"),
        ((X, Y), {"validation_split": 0.1, "validation_data": (X, Y)}, "validation_data"),
        ((X, Y), {"sample_weight": np.zeros(101)}, "positive weight"),
        ((X, Y), {"sample_weight": np.ones((101, 1))}, r"weight has shape \(101, 1\)"),
        ((X, Y), {"sample_weight": np.where(np.arange(101) == 17, -1, 1)}, NEGATIVE),
        ((X, Y), {"class_weight": {1: 2.0}}, r"class_weight has no entry for \[0\]"),
        ((X, Y), {"class_weight": {0: -1.0, 1: 1.0}}, "fit: class_weight=-1.0, expected a number"),
        ((X, Y), {"class_weight": {0: np.nan, 1: 1.0}}, "fit: class_weight=nan"),
        ((X, X[:, :1]), {"class_weight": {0: 1.0}}, "class_weight has no entry for"),
        ((X, np.eye(5)[Y]), {"class_weight": {0: 1.0, 1: 1.0}}, "class_weight"),
        ((X, csr_array(np.eye(5)[Y])), {"class_weight": {0: 1.0, 1: 1.0}}, "class_weight"),
        ((X,), {"class_weight": {0: 1.0, 1: 1.0}}, "class_weight"),
        ((lambda rng: [], Y), {}, "a batch source"),
        ((lambda rng: [],), {"sample_weight": Y}, "a batch source"),
        ((lambda rng: [],), {"class_weight": {0: 1}}, "a batch source"),
        ((lambda rng: [],), {"validation_split": 0.1}, "a batch source"),
        ((lambda rng: [],), {}, "no row with a positive weight"),
        ((lambda rng: [X],), {}, "batch source"),
        ((lambda rng: [(X, Y, None, None)],), {}, "batch source"),
    ],
)
def test_bad_arguments_are_named(data, options, message) -> None:
    net = Network([Dense(5, 5)], SoftmaxCrossEntropy(), rng=0)
    theta = net.theta.copy()
    with pytest.raises(ValueError, match=message):
        net.fit(*data, verbose=0, **options)
    np.testing.assert_array_equal(net.theta, theta)


@pytest.mark.parametrize(
    "setting",
    [
        {"optimizer": "adam"},
        {"optimizer": Adam},
        {"metrics": [len]},
        {"callbacks": EarlyStopping()},
        {"validation_data": np.ones((5, 3))},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_settings_of_the_wrong_kind_are_named_before_any_work(setting) -> None:
    net = Network([Dense(3, 1)], MSE(), rng=0)
    before = net.theta.copy()
    with pytest.raises(TypeError, match=f"fit: {next(iter(setting))}="):
        net.fit(np.ones((5, 3)), np.ones(5), verbose=0, **setting)
    assert (net.theta == before).all()
