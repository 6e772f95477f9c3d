"""The tester of gradients on layers that break the contract: each breach is found and named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nnrec import MSE, Dense, Embedding, Layer, Network, check_gradients

X = np.random.default_rng(0).normal(size=(5, 3))


def returning(back: Callable[..., Any], forward: Callable[..., Any] = np.multiply) -> Layer:
    """A layer of two inputs, y = a b, with a back of its own: back(a, b, dy)."""

    class Product(Layer):
        def __call__(self, theta, a, b, rng=None):
            return forward(a, b), lambda dy, g: back(a, b, dy)

    return Product()


@pytest.mark.parametrize(
    "back",
    [
        lambda a, b, dy: (dy * b, (dy * a).ravel()),
        lambda a, b, dy: (dy * b, (dy * a).sum(axis=0)),
        lambda a, b, dy: (dy * b, (dy * a)[:, :1]),
    ],
    ids=["flat", "summed", "one column"],
)
def test_a_gradient_of_the_wrong_shape_is_named(back: Callable[..., Any]) -> None:
    report = check_gradients(returning(back), X, X + 1)
    assert not report.ok
    assert any("shape" in v and "(5, 3)" in v for v in report.violations)


@pytest.mark.parametrize(
    "back",
    [lambda a, b, dy: (dy * b,), lambda a, b, dy: dy * b, lambda a, b, dy: (dy * b, dy * a, dy)],
    ids=["one of two", "an array for two", "three of two"],
)
def test_too_few_or_too_many_gradients_are_named(back: Callable[..., Any]) -> None:
    report = check_gradients(returning(back), X, X + 1)
    assert not report.ok and report.violations


def test_a_declined_gradient_is_no_error_but_a_forgotten_one_beside_it_is() -> None:
    assert check_gradients(Dense(3, 2, data_gradient=False), X).ok
    assert check_gradients(returning(lambda a, b, dy: (dy * b, None)), X, X + 1).ok
    assert not check_gradients(returning(lambda a, b, dy: (dy * a, None)), X, X + 1).ok


def test_a_networks_own_gradient_must_be_a_number() -> None:
    class Bad(Network):
        def loss_and_grad(self, *batch, **at):
            value, g = super().loss_and_grad(*batch, **at)
            g[0] = np.nan
            return value, g

    assert not check_gradients(Bad([Dense(3, 2)], MSE(), rng=0), X, target=X[:, :2]).ok


def test_rows_that_are_reached_but_not_named() -> None:
    class Forgetful(Embedding):
        def rows(self, ids):
            return {"E": np.unique(ids[1:])}

    ids = np.array([3, 1, 1, 4])
    report = check_gradients(Forgetful(7, 2), ids)
    assert not report.ok and any("rows" in v and "E" in v for v in report.violations)
    assert check_gradients(Embedding(7, 2), ids).ok


def test_a_cached_mask_is_seen_though_scaling_leaves_it() -> None:
    class Cached(Layer):
        def __call__(self, theta, x, rng=None):
            self.mask = x.real > 0
            return x * self.mask, lambda dy, g: dy * self.mask

    assert not check_gradients(Cached(), X).ok


def test_cached_ids_are_seen_though_ids_do_not_vary() -> None:
    class Cached(Embedding):
        def __call__(self, theta, ids, rng=None):
            y, self.back = super().__call__(theta, ids)
            return y, lambda dy, g: self.back(dy, g)

    assert not check_gradients(Cached(7, 2), np.array([3, 1, 1, 4])).ok


def test_a_second_call_of_back_gives_the_same() -> None:
    class Once(Layer):
        def __call__(self, theta, x, rng=None):
            derivative = [2 * x]

            def back(dy, g):
                derivative[0] = derivative[0] * dy
                return derivative[0].copy()

            return x * x, back

    assert not check_gradients(Once(), X).ok


def test_writing_into_what_the_caller_owns_is_a_violation_and_does_not_reach_the_caller() -> None:
    class Shifts(Embedding):
        def __call__(self, theta, ids, rng=None):
            result = super().__call__(theta, ids)
            ids[...] = 0
            return result

    def loss_writes(which):
        def loss(pred, target, weight=None):
            result = MSE()(pred, target, weight)
            (target if which == "target" else weight)[...] = 1
            return result

        return loss

    ids, target, weight = np.array([3, 1, 1]), X[::-1].copy(), np.arange(1.0, 6.0)
    reports = [check_gradients(Shifts(5, 2), ids)]
    for which in ("target", "weight"):
        at = {"target": target, "weight": weight}
        reports.append(check_gradients(loss_writes(which), X, **at))
    assert not any(report.ok for report in reports)
    assert ids.tolist() == [3, 1, 1] and weight.tolist() == [1, 2, 3, 4, 5]
    assert np.array_equal(target, X[::-1])


def test_the_weights_of_the_outputs_are_not_the_callers_numbers() -> None:
    """With dy = x a layer that normalises has the gradient 0, and nothing would be checked."""
    for seed in range(5):
        x = np.random.default_rng(seed).normal(size=(5, 3))
        seen = []

        class Listening(Layer):
            def __call__(self, theta, x, rng=None, seen=seen):
                return x, lambda dy, g: seen.append(np.array(dy)) or dy

        check_gradients(Listening(), x, rng=seed)
        assert seen and not np.array_equal(seen[0], x)
