"""Checking the gradients of a network with about 10⁵ parameters, float64, batch 32.

Each library by its own checker: nnrec by the complex step, PyTorch (fast mode) and JAX by
differences, all of them along random directions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.benchmarks.speed.classifier import Contestant

SIZES = (300, 300, 30)


def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(32, SIZES[0])), rng.normal(size=(32, SIZES[-1]))


def nnrec(settings: dict[str, Any]) -> Contestant:
    from nnrec import MSE, Dense, Network, Tanh, check_gradients

    (x, y), (a, b, c) = data(), SIZES
    net = Network([Dense(a, b), Tanh(), Dense(b, c)], MSE(), rng=0, dtype="float64")

    def work() -> int:
        assert check_gradients(net, x, target=y).ok
        return 1

    return work, dict


def torch(settings: dict[str, Any]) -> Contestant:
    import torch

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    (x, y), (a, b, c) = map(torch.from_numpy, data()), SIZES
    x.requires_grad_()
    net = torch.nn.Sequential(torch.nn.Linear(a, b), torch.nn.Tanh(), torch.nn.Linear(b, c))

    def loss(x: Any, *theta: Any) -> Any:
        named = dict(zip(dict(net.named_parameters()), theta))
        return ((torch.func.functional_call(net, named, (x,)) - y) ** 2).sum() / 64

    def work() -> int:
        assert torch.autograd.gradcheck(loss, (x, *net.parameters()), fast_mode=True)
        return 1

    return work, dict


def jax(settings: dict[str, Any]) -> Contestant:
    import jax
    from jax.test_util import check_grads

    jax.config.update("jax_enable_x64", True)
    (x, y), (a, b, c), rng = data(), SIZES, np.random.default_rng(0)
    theta = (rng.normal(size=(a, b)) / a, np.zeros(b), rng.normal(size=(b, c)) / b, np.zeros(c))

    @jax.jit
    def loss(x: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
        return ((jax.numpy.tanh(x @ w1 + b1) @ w2 + b2 - y) ** 2).sum() / 64

    def work() -> int:
        check_grads(loss, (x, *theta), order=1, modes=["rev"])
        return 1

    return work, dict
