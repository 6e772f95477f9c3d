"""What optimisers and schedules refuse, and how they name it."""

from __future__ import annotations

import numpy as np
import pytest

from nnrec import SGD, Adagrad, Adam, AdamW, LinearDecay, RMSProp
from tests.test_nn_optimizers import each_rule


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(-0.1), r"SGD: learning_rate=-0.1, expected a number ≥ 0$"),
        (lambda: SGD(float("nan")), "SGD: learning_rate=nan"),
        (lambda: SGD(float("inf")), "SGD: learning_rate=inf"),
        (lambda: SGD("fast"), "SGD: learning_rate='fast'"),
        (lambda: SGD({"user.*": -1.0}), "SGD: learning_rate=-1.0"),
        (lambda: SGD(None), "SGD: learning_rate=None"),
        (lambda: SGD(0.1, momentum=-1), "SGD: momentum=-1"),
        (lambda: SGD(0.1, nesterov=True), "momentum"),
        (lambda: Adagrad(0.1, epsilon=-1e-9), "Adagrad: epsilon=-1e-09"),
        (lambda: RMSProp(0.1, rho=1), "RMSProp: rho=1, expected a number ≥ 0 and < 1"),
        (lambda: Adam(0.1, beta1=1.0), "Adam: beta1=1.0, expected a number ≥ 0 and < 1"),
        (lambda: Adam(0.1, beta2=1.5), "Adam: beta2=1.5"),
        (lambda: LinearDecay(0.1, steps=0), "LinearDecay: steps=0"),
        (lambda: AdamW(weight_decay=-0.1), "AdamW: weight_decay=-0.1"),
        (lambda: Adam(clip_norm=-1), "Adam: clip_norm=-1"),
    ],
)
def test_bad_settings_are_named(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf"), None])
def test_a_schedule_s_bad_rate_is_named(rate) -> None:
    theta = np.zeros(5)
    with pytest.raises(ValueError, match=f"SGD: learning_rate={rate}"):
        SGD(lambda step: rate).step(theta, np.ones(5))
    np.testing.assert_array_equal(theta, 0)


@each_rule
def test_wrong_shapes_are_refused(rule, settings) -> None:
    optimizer = rule(0.1, **settings)
    for theta, g in (
        (np.zeros(5), np.zeros(7)),
        (np.zeros((5, 1)), np.zeros((5, 1))),
        (np.zeros(5), np.zeros((5, 1))),
    ):
        before = theta.copy()
        with pytest.raises(ValueError, match=r"θ has shape .* and g "):
            optimizer.step(theta, g)
        np.testing.assert_array_equal(theta, before)
    assert optimizer.steps == 0


def test_another_size_of_theta_is_refused() -> None:
    optimizer = Adam()
    optimizer.step(np.zeros(5), np.zeros(5))
    with pytest.raises(ValueError, match="another size"):
        optimizer.step(np.zeros(7), np.zeros(7))


def test_rates_by_path_need_fit() -> None:
    with pytest.raises(ValueError, match=r"Network\.fit"):
        SGD({"*": 0.1}).step(np.zeros(5), np.zeros(5))


@pytest.mark.parametrize(
    ("optimizer", "other"),
    [
        (SGD(0.1), Adam()),
        (Adagrad(), RMSProp(momentum=0.9)),
        (RMSProp(), RMSProp(momentum=0.9)),
        (SGD(0.1, momentum=0.9), Adagrad()),
        (Adam(), SGD(0.1)),
        (SGD(0.1), None),
    ],
    ids=str,
)
def test_anothers_state_is_refused(optimizer, other) -> None:
    if other:
        other.step(np.zeros(5), np.ones(5))
    with pytest.raises(ValueError, match="slots"):
        optimizer.load_state_dict(other.state_dict() if other else {})
    assert optimizer.steps == 0


def test_slots_without_a_count_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the state has slots \(\), expected \('m', 'v'\)"):
        Adam().load_state_dict({"slots": {}})
