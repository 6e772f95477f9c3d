"""A two-input model: do two products look alike?  One tower, called twice, shares its weights.

Each product is 12 measurements around one of four hidden kinds, turned about by a fixed matrix;
a pair is alike when both are of one kind.  The model: a tower for each, and their dot product.
"""

import numpy as np

from nnrec import (
    Adam,
    Composite,
    Dense,
    Dot,
    Network,
    ReLU,
    Sequential,
    SigmoidCrossEntropy,
    check_gradients,
)
from nnrec.metrics import roc_auc


class Siamese(Composite):
    """logit = tower(a) · tower(b): a, b (n, inputs), the logit (n, 1)."""

    def __init__(self, inputs, hidden, dim):
        tower = Sequential([Dense(inputs, hidden), ReLU(), Dense(hidden, dim)])
        super().__init__(tower=tower, dot=Dot())

    def __call__(self, theta, a, b, rng=None):
        on = self.bind(theta, rng)
        p, back_p = on.tower(a)
        q, back_q = on.tower(b)
        y, back_y = on.dot(p, q)

        def back(dy, g):
            dp, dq = back_y(dy, g)
            return back_p(dp, g), back_q(dq, g)

        return y, back


def pairs(n, rng):
    turn = np.random.default_rng(7).normal(size=(4, 12))
    kinds = rng.integers(0, 4, size=(2, n))
    a, b = turn[kinds] + rng.normal(0, 0.8, size=(2, n, 12))
    return (a, b), (kinds[0] == kinds[1]).astype(int)


rng = np.random.default_rng(0)
x, y = pairs(2000, rng)
net = Network(Siamese(12, 16, 8), SigmoidCrossEntropy(), rng=0)

report = check_gradients(net, *(part[:5] for part in x), target=y[:5])
print(report)
assert report.ok and report.error < 1e-12

net.fit(x, y, optimizer=Adam(0.003), epochs=15, batch_size=32, verbose=0)
x_test, y_test = pairs(1000, rng)
auc = net.evaluate(x_test, y_test, metrics={"auc": roc_auc})["auc"]
a, b = x_test
print(f"test AUC {auc:.3f}; of the bare dot product {roc_auc(y_test, (a * b).sum(axis=1)):.3f}")
assert auc > 0.95
