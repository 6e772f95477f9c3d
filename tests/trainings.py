"""What the tests of training share: rows, networks, and small layers, losses and callbacks."""

from __future__ import annotations

import numpy as np

from nnrec import (
    Composite,
    Dense,
    Dropout,
    Embedding,
    Layer,
    Loss,
    Multiply,
    Network,
    Sequential,
    SigmoidCrossEntropy,
    Tanh,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(101, 5))
Y = (X @ [1.0, -2.0, 0.5, 0.0, 1.0] + RNG.normal(size=101) > 0).astype(int)
USERS, ITEMS = RNG.integers(0, 11, 101), RNG.integers(0, 13, 101)


def classifier(**settings) -> Network:
    layers = [Dense(5, 7), Tanh(), Dropout(0.3), Dense(7, 1)]
    return Network(layers, SigmoidCrossEntropy(), **{"rng": 0} | settings)


def plain(**settings) -> Network:
    """Without dropout, float64: what is compared with other arithmetic."""
    layers = [Dense(5, 7), Tanh(), Dense(7, 1)]
    return Network(layers, SigmoidCrossEntropy(), **{"rng": 0, "dtype": "float64"} | settings)


def trained(net: Network, *data, **settings) -> np.ndarray:
    net.fit(*(data or (X, Y)), **{"verbose": 0} | settings)
    return net.theta


def accuracy(truth, estimate) -> float:
    return float((truth == (estimate > 0.5)).mean())


class Tower(Composite):
    """An Embedding of users and a Sequential over items, added: nested parts."""

    def __init__(
        self, users: Layer | None = None, items: Layer | None = None, mlp: Layer | None = None
    ) -> None:
        super().__init__(
            user=users or Embedding(11, 3),
            item=items or Embedding(13, 3),
            times=Multiply(),
            mlp=mlp or Sequential([Dense(3, 5), Tanh(), Dropout(0.2), Dense(5, 1)]),
        )

    def __call__(self, theta, users, items, rng=None):
        on = self.bind(theta, rng)
        p, back_p = on.user(users)
        q, back_q = on.item(items)
        pq, back_pq = on.times(p, q)
        y, back_y = on.mlp(pq)

        def back(dy, g):
            dp, dq = back_pq(back_y(dy, g), g)
            return back_p(dp, g), back_q(dq, g)

        return y, back

    def rows(self, users, items):
        return self.part_rows("user", users) | self.part_rows("item", items)


def factors() -> Tower:
    """Two tables multiplied, and one layer on their product."""
    return Tower(mlp=Dense(3, 1))


class DenseTower(Tower):
    """The same, never saying which rows it touches."""

    def rows(self, users, items):
        return {}


class Linear(Loss):
    """L = mean over rows of pred · target: the gradient doesn't depend on pred."""

    def __call__(self, pred, target, weight=None):
        return (pred * target).sum() / len(pred), target / len(pred)


class Log:
    """Notes what fit calls, in order."""

    def __init__(self, name: str, calls: list) -> None:
        self.name, self.calls = name, calls

    def on_start(self, run):
        self.calls.append((self.name, "start", run.epoch, run.step))

    def on_step(self, run):
        self.calls.append((self.name, "step", run.epoch, run.step))

    def on_epoch(self, run):
        self.calls.append((self.name, "epoch", run.epoch, run.step))

    def on_end(self, run):
        self.calls.append((self.name, "end", run.epoch, run.step))


def spoilt(array: np.ndarray, at, value) -> np.ndarray:
    array = array.astype(float)
    array[at] = value
    return array
