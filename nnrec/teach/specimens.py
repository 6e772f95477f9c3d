"""Specimens: every layer, loss and composite, and a set of whole networks, with data to check on.

Each is drawn from a seed.  Sizes are distinct primes, so that no transposed shape fits by chance;
ids repeat, rows' weights differ and biases are not zero, unless a plain case is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nnrec import nn
from nnrec.gradcheck import Report, check_gradients
from nnrec.nn.layers import Array, several


@dataclass(frozen=True)
class Case:
    """A layer, loss or Network with all that a check needs; a loss's input is its pred."""

    subject: Any
    inputs: tuple[Any, ...]
    target: Any = None
    weight: Array | None = None
    theta: Array | None = None
    seed: int = 0  # of dropout

    def check(self, method: str | None = None) -> Report:
        """The gradient check of this case."""
        return check_gradients(
            self.subject,
            *self.inputs,
            target=self.target,
            weight=self.weight,
            theta=self.theta,
            method=method,
            rng=self.seed,
        )

    def gradients(self) -> tuple[Array, ...]:
        """What is claimed, unchecked: the gradient in θ, then in each input that has one."""
        inputs, rng = self.inputs, np.random.default_rng(self.seed)
        if isinstance(self.subject, nn.Loss):
            pred = inputs if len(inputs) > 1 else inputs[0]
            return several(self.subject(pred, self.target, self.weight)[1])
        network = self.subject if isinstance(self.subject, nn.Network) else None
        layer: Any = network.layer if network else self.subject
        y, back = layer(self.theta, *inputs, rng=rng)
        g = np.zeros(layer.size)
        if network:
            batch = inputs, self.target, self.weight
            dx = back(network.loss(y, self.target, self.weight)[1], g)
            g = network.loss_and_grad(*batch, theta=self.theta, rng=self.seed)[1]
        else:
            dy = tuple(rng.normal(size=part.shape) for part in several(y))
            dx = back(dy if isinstance(y, tuple) else dy[0], g)
        return (g, *(d for d in several(dx) if d is not None))

    def plant(self, mistake: Any) -> Case | None:
        """This case with a mistake in it; None where it can't stand, or changes no gradient here.

        >>> from nnrec.teach import MISTAKES
        >>> case = SPECIMENS["Dense"].case(seed=3)
        >>> case.plant(MISTAKES["bias-averaged"]).check().ok
        False
        >>> case.plant(MISTAKES["relu-mask-forgotten"]) is None
        True
        """
        subject = mistake.plant(self.subject)
        if subject is None:
            return None
        planted = replace(self, subject=subject)
        if mistake.contract:
            return planted
        pairs = zip(self.gradients(), planted.gradients(), strict=True)
        same = all(np.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in pairs)
        return None if same else planted


class Feed:
    """Draws of one seed: what subjects are fed."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng([seed, 7])

    def real(self, *shape: int) -> Array:
        """Normal numbers."""
        return self.rng.normal(size=shape)

    def pair(self, *shape: int) -> tuple[Array, ...]:
        """Two arrays of normal numbers."""
        return tuple(self.real(2, *shape))

    def share(self, *shape: int) -> Array:
        """Numbers well inside (0, 1)."""
        return self.rng.uniform(0.35, 0.65, shape)

    def binary(self, *shape: int) -> Array:
        """Zeros and ones, as floats."""
        return self.rng.integers(0, 2, shape).astype(float)

    def soft(self, n: int, classes: int) -> Array:
        """Rows of probabilities."""
        return self.rng.dirichlet(np.ones(classes), n)

    def labels(self, n: int, classes: int) -> Array:
        """Integer class labels."""
        return self.rng.integers(0, classes, n)

    def ids(self, count: int) -> Array:
        """Thirteen ids below the count: some repeat."""
        return self.rng.integers(0, count, 13)

    def csr(self, n: int, columns: int) -> Any:
        """A CSR matrix, about half of it zero, no row empty."""
        from scipy.sparse import csr_array

        full = self.rng.uniform(1, 2, (n, columns)) * self.binary(n, columns)
        full[:, 0] = 1
        return csr_array(full)


class Siamese(nn.Composite):
    """y = tower(a) · tower(b): one tower, called twice, so that its weights are shared."""

    def __init__(self, tower: nn.Layer):
        super().__init__(tower=tower, dot=nn.Dot())

    def __call__(self, theta: Array, *inputs: Any, rng: Any = None) -> Any:
        on = self.bind(theta, rng)
        a, b = inputs
        p, back_p = on.tower(a)
        q, back_q = on.tower(b)
        y, back_y = on.dot(p, q)

        def back(dy: Array, g: Array) -> Any:
            dp, dq = back_y(dy, g)
            return back_p(dp, g), back_q(dq, g)

        return y, back


class NeuMF(nn.Composite):
    """A product of two embeddings beside an MLP on two more, joined (He et al. 2017, figure 3)."""

    def __init__(self, users: int, items: int, dim: int):
        super().__init__(
            user=nn.Embedding(users, dim),
            item=nn.Embedding(items, dim),
            mlp_user=nn.Embedding(users, dim),
            mlp_item=nn.Embedding(items, dim),
            product=nn.Multiply(),
            side_by_side=nn.Concatenate(),
            mlp=nn.Sequential([nn.Dense(2 * dim, dim), nn.ReLU()]),
            join=nn.Concatenate(),
            out=nn.Dense(2 * dim, 1),
        )

    def __call__(self, theta: Array, *inputs: Any, rng: Any = None) -> Any:
        on = self.bind(theta, rng)
        user, item = inputs
        p, back_p = on.user(user)
        q, back_q = on.item(item)
        a, back_a = on.mlp_user(user)
        b, back_b = on.mlp_item(item)
        pq, back_pq = on.product(p, q)
        ab, back_ab = on.side_by_side(a, b)
        h, back_h = on.mlp(ab)
        joined, back_joined = on.join(pq, h)
        y, back_y = on.out(joined)

        def back(dy: Array, g: Array) -> Any:
            dpq, dh = back_joined(back_y(dy, g), g)
            da, db = back_ab(back_h(dh, g), g)
            dp, dq = back_pq(dpq, g)
            for back_table, d in ((back_p, dp), (back_q, dq), (back_a, da), (back_b, db)):
                back_table(d, g)
            return None, None

        return y, back

    def rows(self, *inputs: Any) -> dict[str, Array]:
        user, item = inputs
        tables = {"user": user, "item": item, "mlp_user": user, "mlp_item": item}
        return {
            k: rows for name, at in tables.items() for k, rows in self.part_rows(name, at).items()
        }


class TwoHeads(nn.Composite):
    """Two outputs, the mean and the log-variance of the target, on one body."""

    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__(
            body=nn.Sequential([nn.Dense(inputs, hidden), nn.Tanh()]),
            mean=nn.Dense(hidden, outputs),
            log_variance=nn.Dense(hidden, outputs),
        )

    def __call__(self, theta: Array, *inputs: Any, rng: Any = None) -> Any:
        on = self.bind(theta, rng)
        h, back_h = on.body(*inputs)
        mean, back_mean = on.mean(h)
        s, back_s = on.log_variance(h)

        def back(dy: Any, g: Array) -> Any:
            dmean, ds = dy
            return back_h(back_mean(dmean, g) + back_s(ds, g), g)

        return (mean, s), back


class GaussianLikelihood(nn.Loss):
    """L_i = ½ Σ_k [s + (t − m)² e^{−s}], of pred = (mean m, log-variance s), each (n, k)."""

    def __call__(self, pred: Any, target: Array, weight: Array | None = None) -> Any:
        mean, s = pred
        miss, precision = mean - target, np.exp(-s)
        losses = (s + miss * miss * precision).sum(axis=1) / 2
        value, dmean = self.average(losses, miss * precision, weight)
        _, ds = self.average(losses, (1 - miss * miss * precision) / 2, weight)
        return value, (dmean, ds)


def relu_net(a: int, b: int, c: int) -> nn.Sequential:
    """One hidden layer of b units."""
    return nn.Sequential([nn.Dense(a, b), nn.ReLU(), nn.Dense(b, c)])


def tanh_net(a: int, b: int, c: int, *rest: nn.Layer) -> list[nn.Layer]:
    """One hidden layer of b units, and what follows."""
    return [nn.Dense(a, b), nn.Tanh(), nn.Dense(b, c), *rest]


# Each row: (feed, n, a, b, c) -> subject, inputs and, of a loss or a network, the target.
Row = Callable[..., tuple[Any, ...]]


def of_one_shape(loss: nn.Loss, pred: Callable[..., Any], target: Callable[..., Any]) -> Row:
    """The row of a loss: how its pred and its target are drawn, both for (n, a)."""
    return lambda d, n, a, b, c: (loss, pred(d, n, a), target(d, n, a))


LAYERS = {
    "Dense": lambda d, n, a, b, c: (nn.Dense(a, b), d.real(n, a)),
    "Dense, CSR input": lambda d, n, a, b, c: (nn.Dense(a, b), d.csr(n, a)),
    "Sigmoid": lambda d, n, a, b, c: (nn.Sigmoid(), d.real(n, a)),
    "Tanh": lambda d, n, a, b, c: (nn.Tanh(), d.real(n, a, b)),
    "ReLU": lambda d, n, a, b, c: (nn.ReLU(), d.real(n, a)),
    "Softmax": lambda d, n, a, b, c: (nn.Softmax(), d.real(n, a)),
    "Dropout": lambda d, n, a, b, c: (nn.Dropout(0.4), d.real(11, a)),
    "Embedding": lambda d, n, a, b, c: (nn.Embedding(a, b), d.ids(a)),
    "LayerNorm": lambda d, n, a, b, c: (nn.LayerNorm(a), d.real(n, a)),
}

COMPOSITES = {
    "Concatenate": lambda d, n, a, b, c: (nn.Concatenate(), (d.real(n, a), d.real(n, b))),
    "Add": lambda d, n, a, b, c: (nn.Add(), tuple(d.real(3, n, a))),
    "Multiply": lambda d, n, a, b, c: (nn.Multiply(), tuple(d.real(3, n, a))),
    "Dot": lambda d, n, a, b, c: (nn.Dot(), d.pair(n, a)),
    "Sequential": lambda d, n, a, b, c: (relu_net(a, b, c), d.real(n, a)),
    "Siamese": lambda d, n, a, b, c: (Siamese(nn.Dense(a, b)), d.pair(n, a)),
    "NeuMF": lambda d, n, a, b, c: (NeuMF(n, a, 2), (d.ids(n), d.ids(a))),
}

LOSSES = {
    "MSE": of_one_shape(nn.MSE(), Feed.real, Feed.real),
    "MSE, mean form": of_one_shape(nn.MSE(mean=True), Feed.real, Feed.real),
    "BinaryCrossEntropy": of_one_shape(nn.BinaryCrossEntropy(), Feed.share, Feed.share),
    "CategoricalCrossEntropy": of_one_shape(nn.CategoricalCrossEntropy(), Feed.share, Feed.soft),
    "SigmoidCrossEntropy": of_one_shape(nn.SigmoidCrossEntropy(), Feed.real, Feed.binary),
    "SoftmaxCrossEntropy": of_one_shape(nn.SoftmaxCrossEntropy(), Feed.real, Feed.labels),
    "SoftmaxCrossEntropy, soft": of_one_shape(nn.SoftmaxCrossEntropy(), Feed.real, Feed.soft),
    "SoftmaxCrossEntropy, CSR": of_one_shape(nn.SoftmaxCrossEntropy(), Feed.real, Feed.csr),
    "a custom one, two outputs": of_one_shape(GaussianLikelihood(), Feed.pair, Feed.real),
}

NETWORKS = {
    "Dense, ReLU, MSE": lambda d, n, a, b, c: (
        nn.Network(relu_net(a, b, c), nn.MSE(), d.rng),
        d.real(n, a),
        d.real(n, c),
    ),
    "the document's 3-4-2": lambda d, n, a, b, c: (
        nn.Network([nn.Dense(3, 4), nn.Sigmoid(), nn.Dense(4, 2), nn.Sigmoid()], nn.MSE(), d.rng),
        d.real(n, 3),
        d.share(n, 2),
    ),
    "four layers of tanh": lambda d, n, a, b, c: (
        nn.Network([*tanh_net(a, b, b, nn.Tanh()), *tanh_net(b, b, c)], nn.MSE(True), d.rng),
        d.real(n, a),
        d.real(n, c),
    ),
    "logistic, L1 and L2": lambda d, n, a, b, c: (
        nn.Network(
            tanh_net(a, b, 1, nn.Sigmoid()),
            nn.BinaryCrossEntropy(),
            d.rng,
            penalty=[nn.L1(0.01), nn.L2(0.1)],
        ),
        d.real(n, a),
        d.binary(n, 1),
    ),
    "LayerNorm, Dropout": lambda d, n, a, b, c: (
        nn.Network(
            [nn.Dense(a, b), nn.LayerNorm(b), nn.ReLU(), nn.Dropout(0.4), nn.Dense(b, c)],
            nn.SoftmaxCrossEntropy(),
            d.rng,
        ),
        d.real(n, a),
        d.labels(n, c),
    ),
    "Softmax at the end": lambda d, n, a, b, c: (
        nn.Network(tanh_net(a, b, c, nn.Softmax()), nn.CategoricalCrossEntropy(), d.rng),
        d.real(n, a),
        d.labels(n, c),
    ),
    "siamese": lambda d, n, a, b, c: (
        nn.Network(Siamese(relu_net(a, b, c)), nn.MSE(), d.rng),
        d.pair(n, a),
        d.real(n, 1),
    ),
    "NeuMF, MSE": lambda d, n, a, b, c: (
        nn.Network(NeuMF(n, a, 2), nn.MSE(), d.rng),
        (d.ids(n), d.ids(a)),
        d.real(13, 1),
    ),
    "NeuMF, logits, L2": lambda d, n, a, b, c: (
        nn.Network(NeuMF(n, a, 2), nn.SigmoidCrossEntropy(), d.rng, penalty=nn.L2(0.1)),
        (d.ids(n), d.ids(a)),
        d.binary(13, 1),
    ),
    "two outputs": lambda d, n, a, b, c: (
        nn.Network(TwoHeads(a, b, c), GaussianLikelihood(), d.rng),
        d.real(n, a),
        d.real(n, c),
    ),
    "CSR input and target": lambda d, n, a, b, c: (
        nn.Network(tanh_net(a, b, c), nn.SoftmaxCrossEntropy(), d.rng),
        d.csr(n, a),
        d.csr(n, c),
    ),
}

RATIONAL = {
    *("Dense", "ReLU", "Embedding", "MSE", "MSE, mean form", *COMPOSITES),
    *("Dense, ReLU, MSE", "siamese", "NeuMF, MSE"),
}


@dataclass(frozen=True)
class Specimen:
    """What is checked; exact: its arithmetic is rational, so that fractions can check it too.

    draw: a row of the tables above; n, a, b, c are the primes 2, 3, 5, 7 in any order.
    """

    kind: str
    name: str
    draw: Row
    exact: bool

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that apply."""
        return ("complex", *(["exact"] * self.exact), "central", "taylor")

    def case(self, seed: int = 0, plain: bool = False) -> Case:
        """A case drawn from the seed; plain: first θ, whose biases are zero, and no weights.

        >>> SPECIMENS["MSE"].case(seed=3).check().ok
        True
        """
        feed = Feed(seed)
        rng = feed.rng
        subject, inputs, *targets = self.draw(feed, *rng.permutation([2, 3, 5, 7]).tolist())
        target: Any = targets[0] if targets else None
        weight = rng.uniform(0.5, 2, target.shape[:1]) if targets and not plain else None
        case = Case(subject, several(inputs), target, weight, seed=seed)
        if self.kind == "loss":
            return case
        layer: Any = getattr(subject, "layer", subject)
        theta = layer.init(rng)
        return replace(case, theta=theta if plain else theta + rng.normal(size=theta.size) / 2)


KINDS: dict[str, dict[str, Row]] = {
    "layer": LAYERS,
    "composite": COMPOSITES,
    "loss": LOSSES,
    "network": NETWORKS,
}
SPECIMENS = {
    name: Specimen(kind, name, draw, name in RATIONAL)
    for kind, rows in KINDS.items()
    for name, draw in rows.items()
}
