"""What the tests of traces share: networks, each with its data, and the optimisers that step."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnrec import nn
from nnrec.teach import SPECIMENS

OPTIMIZERS = [
    nn.SGD(0.5),
    nn.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1, clip_norm=0.01),
    nn.Adagrad(0.1),
    nn.RMSProp(0.1, momentum=0.9),
    nn.Adam(nn.LinearDecay(0.1, steps=7)),
    nn.AdamW(0.1),
]


def drawn(name: str, seed: int = 3) -> tuple[nn.Network, tuple[Any, ...], Any, Any]:
    """A network specimen in float64 at its point, its inputs, target and weights."""
    case = SPECIMENS[name].case(seed)
    network = case.subject
    network.dtype, network.theta = "float64", case.theta
    return network, case.inputs, case.target, case.weight


def document(dtype: str = "float64") -> tuple[nn.Network, Any, Any]:
    layers = [nn.Dense(3, 4), nn.Sigmoid(), nn.Dense(4, 2), nn.Sigmoid()]
    network = nn.Network(layers, nn.MSE(), rng=5, dtype=dtype)
    network.theta += np.linspace(0.1, 0.3, network.theta.size).astype(dtype)  # the biases too
    return network, [[1.0, 0.5, -1.0]], [[0.1, 0.9]]


class Branches(nn.Composite):
    """Two Dense layers on one input, joined, and a Dense layer on both."""

    def __init__(self, inputs: int, outputs: int, join: nn.Layer):
        joined = {nn.Concatenate: 2 * outputs, nn.Dot: 1}.get(type(join), outputs)
        left, right = nn.Dense(inputs, outputs), nn.Dense(inputs, outputs)
        super().__init__(left=left, right=right, join=join, out=nn.Dense(joined, outputs))

    def __call__(self, theta: Any, *inputs: Any, rng: Any = None) -> Any:
        on = self.bind(theta, rng)
        p, back_p = on.left(*inputs)
        q, back_q = on.right(*inputs)
        joined, back_joined = on.join(p, q)
        y, back_y = on.out(joined)

        def back(dy: Any, g: Any) -> Any:
            dp, dq = back_joined(back_y(dy, g), g)
            return back_p(dp, g) + back_q(dq, g)

        return y, back


def random_network(seed: int) -> tuple[nn.Network, Any, Any, Any]:
    """A chain of one to five Dense layers with all that stands between them, and its data."""
    rng = np.random.default_rng([seed, 23])
    joins = [nn.Add(), nn.Multiply(), nn.Concatenate(), nn.Dot()]
    sizes = rng.choice([2, 3, 5, 7], size=rng.integers(2, 7)).tolist()
    layers: list[nn.Layer] = []
    n = int(rng.choice([1, 2, 3, 11]))
    x: Any = rng.normal(size=(n, sizes[0]))
    if rng.random() < 0.2:
        layers, x = [nn.Embedding(13, sizes[0])], rng.integers(0, 13, n)
    for a, b in zip(sizes, sizes[1:]):
        layers.append(nn.Dense(a, b))
        layers += [Branches(b, b, joins[rng.integers(4)])] * (rng.random() < 0.2)
        layers += [nn.LayerNorm(b)] * (rng.random() < 0.3)
        activations = [nn.Sigmoid(), nn.ReLU(), nn.Tanh(), nn.Softmax(), None]
        layers += [a for a in [activations[rng.integers(5)]] if a is not None]
        layers += [nn.Dropout(0.4)] * (rng.random() < 0.3)
    k, kind = sizes[-1], int(rng.integers(6))
    labels = rng.integers(0, k, n)
    soft = rng.dirichlet(np.ones(k), n)
    loss, y = [
        (nn.MSE(), rng.normal(size=(n, k))),
        (nn.MSE(mean=True), rng.normal(size=(n, k))),
        (nn.SigmoidCrossEntropy(), rng.integers(0, 2, (n, k)).astype(float)),
        (nn.SoftmaxCrossEntropy(), labels if seed % 2 else soft),
        (nn.BinaryCrossEntropy(), rng.integers(0, 2, (n, k)).astype(float)),
        (nn.CategoricalCrossEntropy(), labels if seed % 2 else soft),
    ][kind]
    if kind >= 4:
        while not isinstance(layers[-1], nn.Dense | Branches):
            layers.pop()
        layers.append(nn.Sigmoid() if kind == 4 else nn.Softmax())
    penalty = [[], [nn.L2(0.1)], [nn.L1(0.01), nn.L2(0.1)]][rng.integers(3)]
    network = nn.Network(layers, loss, rng, "float64", penalty=penalty)
    network.theta += rng.normal(size=network.theta.size) / 3
    return network, x, y, rng.uniform(0.5, 2, n) if rng.random() < 0.4 else None
