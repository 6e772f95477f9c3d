"""Networks of Dense layers: the document's job and a classifier of digits, in every library.

All get the same data and the same first weights (scikit-learn draws its own), Adam(0.001), float32;
a round is an epoch, shuffled.  Where a library has no dropout (scikit-learn) it does less work.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

Contestant = tuple[Callable[[], int], Callable[[], dict[str, float]]]
HELD = 8192
JOBS: dict[str, dict[str, Any]] = {
    "document": {"sizes": (28, 128, 64, 32, 1), "dropout": 0.2},
    "digits": {"sizes": (784, 512, 256, 10), "dropout": 0.0},
}


class Job:
    """Data that a small random network has labelled, and first weights for the one to train."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.batch, rows = settings["batch"], settings["rows"]
        self.sizes, self.dropout = JOBS[settings["job"]]["sizes"], JOBS[settings["job"]]["dropout"]
        if w := settings.get("width"):
            self.sizes = (self.sizes[0], w, w // 2, w // 4, self.sizes[-1])
        self.inputs, self.classes = self.sizes[0], self.sizes[-1]
        rng = np.random.default_rng(0)
        x = rng.normal(size=(rows + HELD, self.inputs)).astype(np.float32)
        hidden = np.tanh(x @ rng.normal(size=(self.inputs, 16)) / self.inputs**0.5)
        scores = hidden @ rng.normal(size=(16, self.classes)) + rng.gumbel(size=(len(x), 1))
        noisy = scores + rng.gumbel(size=scores.shape)
        y = noisy.argmax(axis=1) if self.classes > 1 else (noisy[:, 0] > 0.5).astype(np.int64)
        self.x, self.held_x, self.y, self.held_y = x[:rows], x[rows:], y[:rows], y[rows:]
        self.target = self.y if self.classes > 1 else self.y[:, None].astype(np.float32)
        limits = [(6 / (a + b)) ** 0.5 for a, b in zip(self.sizes, self.sizes[1:])]
        self.weights = [
            rng.uniform(-limit, limit, (a, b)).astype(np.float32)
            for a, b, limit in zip(self.sizes, self.sizes[1:], limits)
        ]

    @property
    def starts(self) -> range:
        return range(0, len(self.x), self.batch)

    def loss(self, p: Any) -> dict[str, float]:
        """The mean logarithmic loss of probabilities for the held rows."""
        p = np.asarray(p, float).reshape(HELD, -1)
        p = p if self.classes > 1 or p.shape[1] > 1 else np.hstack([1 - p, p])
        return {"loss": float(-np.log(p[np.arange(HELD), self.held_y]).mean())}


def bare(settings: dict[str, Any]) -> Contestant:
    """The step's matrix products and nothing else: what BLAS alone would need."""
    job = Job(settings)
    rng, W = np.random.default_rng(0), job.weights
    x = [rng.normal(size=(job.batch, n)).astype(np.float32) for n in job.sizes]

    def work() -> int:
        for _ in job.starts:
            for i, w in enumerate(W):
                x[i] @ w
                x[i].T @ x[i + 1]
                if i:
                    x[i + 1] @ w.T
        return len(job.starts)

    return work, dict


def nnrec(settings: dict[str, Any]) -> Contestant:
    from nnrec import Adam, Dense, Dropout, Network, ReLU, SigmoidCrossEntropy, SoftmaxCrossEntropy

    job, layers = Job(settings), []
    for a, b in zip(job.sizes[:-1], job.sizes[1:-1]):
        layers += [Dense(a, b), ReLU(), *[Dropout(job.dropout)] * bool(job.dropout)]
    loss = SoftmaxCrossEntropy() if job.classes > 1 else SigmoidCrossEntropy()
    net, adam = Network([*layers, Dense(*job.sizes[-2:])], loss, rng=0), Adam(0.001)
    for view, first in zip((v for v in net.parameters().values() if v.ndim > 1), job.weights):
        view[:] = first

    def work() -> int:
        before = adam.steps
        net.fit(job.x, job.target, optimizer=adam, batch_size=job.batch, verbose=0)
        return adam.steps - before

    return work, lambda: job.loss(net.predict(job.held_x))


def torch(settings: dict[str, Any], fused: bool = False) -> Contestant:
    import torch

    torch.set_num_threads(1)
    job, layers = Job(settings), []
    for w in job.weights:
        linear = torch.nn.Linear(*w.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w.T.copy()))
            linear.bias.zero_()
        layers += [linear, torch.nn.ReLU(), *[torch.nn.Dropout(job.dropout)] * bool(job.dropout)]
    net = torch.nn.Sequential(*layers[: layers.index(linear) + 1])
    adam = torch.optim.Adam(net.parameters(), 0.001, fused=True if fused else None)
    losses = torch.nn.functional
    loss = losses.cross_entropy if job.classes > 1 else losses.binary_cross_entropy_with_logits
    x, y = torch.from_numpy(job.x), torch.from_numpy(job.target)

    def work() -> int:
        net.train()
        order, steps = torch.randperm(len(x)), 0
        mixed_x, mixed_y = x[order], y[order]
        for a, b in zip(mixed_x.split(job.batch), mixed_y.split(job.batch)):
            adam.zero_grad()
            loss(net(a), b).backward()
            adam.step()
            steps += 1
        return steps

    def outcome() -> dict[str, float]:
        net.eval()
        with torch.no_grad():
            z = net(torch.from_numpy(job.held_x))
            return job.loss(torch.softmax(z, 1) if job.classes > 1 else torch.sigmoid(z))

    return work, outcome


def torch_fused(settings: dict[str, Any]) -> Contestant:
    return torch(settings, fused=True)


def jax(settings: dict[str, Any]) -> Contestant:
    """A whole epoch in one compiled call: shuffle, dropout and Adam inside; full batches only."""
    import jax
    import jax.numpy as jnp

    job = Job(settings)
    x, y, steps = jnp.asarray(job.x), jnp.asarray(job.target), len(job.x) // job.batch
    theta = [(jnp.asarray(w), jnp.zeros(w.shape[1])) for w in job.weights]
    zeros = jax.tree.map(jnp.zeros_like, theta)

    def forward(theta: Any, a: Any, key: Any = None) -> Any:
        for w, b in theta[:-1]:
            a = jax.nn.relu(a @ w + b)
            if key is not None and job.dropout:
                key, own = jax.random.split(key)
                kept = jax.random.bernoulli(own, 1 - job.dropout, a.shape)
                a = jnp.where(kept, a / (1 - job.dropout), 0)
        return a @ theta[-1][0] + theta[-1][1]

    def loss(theta: Any, a: Any, t: Any, key: Any) -> Any:
        z = forward(theta, a, key)
        if job.classes > 1:
            return -jnp.take_along_axis(jax.nn.log_softmax(z), t[:, None], 1).mean()
        return (jax.nn.softplus(z) - t * z).mean()

    def step(state: Any, batch: Any) -> Any:
        theta, m, v, count, key = state
        key, own = jax.random.split(key)
        g = jax.grad(loss)(theta, *batch, own)
        count = count + 1
        m = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
        v = jax.tree.map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
        c1, c2 = 1 - 0.9**count, 1 - 0.999**count
        theta = jax.tree.map(
            lambda p, a, b: p - 0.001 * (a / c1) / (jnp.sqrt(b / c2) + 1e-8), theta, m, v
        )
        return (theta, m, v, count, key), None

    def epoch(state: Any, key: Any) -> Any:
        rows = jax.random.permutation(key, len(x))[: steps * job.batch].reshape(steps, job.batch)
        return jax.lax.scan(lambda s, at: step(s, (x[at], y[at])), state, rows)[0]

    compiled = jax.jit(epoch, donate_argnums=0)
    state = jax.tree.map(jnp.array, (theta, zeros, zeros, 0.0))  # donated ones may not be shared
    state = (*state, jax.random.key(0))
    rounds = iter(range(10**9))

    def work() -> int:
        nonlocal state
        before = float(state[3])
        state = jax.block_until_ready(compiled(state, jax.random.key(next(rounds))))
        return int(float(state[3]) - before)

    def outcome() -> dict[str, float]:
        z = forward(state[0], jnp.asarray(job.held_x))
        return job.loss(jax.nn.softmax(z) if job.classes > 1 else jax.nn.sigmoid(z))

    return work, outcome


def keras(settings: dict[str, Any], backend: str = "tensorflow", at_once: int = 1) -> Contestant:
    os.environ |= {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    import keras

    job = Job(settings)
    net = keras.Sequential([keras.Input((job.inputs,))])
    for b in job.sizes[1:-1]:
        net.add(keras.layers.Dense(b, activation="relu"))
        if job.dropout:
            net.add(keras.layers.Dropout(job.dropout))
    net.add(keras.layers.Dense(job.classes))
    net.set_weights([a for w in job.weights for a in (w, np.zeros(w.shape[1]))])
    loss = (
        keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        if job.classes > 1
        else keras.losses.BinaryCrossentropy(from_logits=True)
    )
    adam = keras.optimizers.Adam(0.001)
    net.compile(optimizer=adam, loss=loss, steps_per_execution=at_once)

    def work() -> int:
        before = int(adam.iterations)
        net.fit(job.x, job.target, batch_size=job.batch, epochs=1, verbose=0)
        return int(adam.iterations) - before

    def outcome() -> dict[str, float]:
        z = net.predict(job.held_x, batch_size=HELD, verbose=0)
        return job.loss(keras.ops.softmax(z) if job.classes > 1 else keras.ops.sigmoid(z))

    return work, outcome


def keras_at_once(settings: dict[str, Any]) -> Contestant:
    """With steps_per_execution=50, which few set."""
    return keras(settings, at_once=50)


def keras_jax(settings: dict[str, Any]) -> Contestant:
    return keras(settings, backend="jax")


def sklearn(settings: dict[str, Any]) -> Contestant:
    from sklearn.neural_network import MLPClassifier

    job = Job(settings)
    net = MLPClassifier(job.sizes[1:-1], alpha=0.0, batch_size=job.batch, random_state=0)
    classes = np.unique(job.y)
    if len(job.x) % job.batch:
        raise ValueError("partial_fit and others would count the last, partial batch differently")

    def work() -> int:
        before = net._optimizer.t if hasattr(net, "_optimizer") else 0
        net.partial_fit(job.x, job.y, classes=classes)
        return net._optimizer.t - before

    return work, lambda: job.loss(net.predict_proba(job.held_x))
