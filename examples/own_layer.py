"""Write your own layer, let the library check it, break it, and read what was broken.

The layer is the softplus y = ln(1 + e^x) with a learned slope for each input: y = softplus(s x).
"""

import numpy as np

from nnrec import MSE, Adam, Dense, Layer, Network, check_gradients
from nnrec.nn.activations import sigmoid


class Softplus(Layer):
    """y = ln(1 + e^{s x}), x and y (n, dim), s (dim,);  dy/dx = s σ(s x),  dy/ds = x σ(s x)."""

    def __init__(self, dim):
        self.dim = dim

    @property
    def shapes(self):
        return {"s": (self.dim,)}

    def init(self, rng):
        return np.ones(self.dim)

    def __call__(self, theta, x, rng=None):
        (s,) = self.split(theta)
        z = s * x
        y = np.log1p(np.exp(z))

        def back(dy, g):
            (ds,) = self.split(g)
            dz = dy * sigmoid(z)
            ds += (dz * x).sum(axis=0)
            return dz * s

        return y, back


class Broken(Softplus):
    """The same with a classic mistake: `=` where a gradient must be added."""

    def __call__(self, theta, x, rng=None):
        y, right = super().__call__(theta, x, rng)

        def back(dy, g):
            alone = np.zeros_like(g)
            dx = right(dy, alone)
            g[:] = alone
            return dx

        return y, back


x = np.random.default_rng(0).normal(size=(7, 3))
report = check_gradients(Softplus(3), x)
print(report, end="\n\n")
assert report.ok and report.error < 1e-12

report = check_gradients(Broken(3), x)
print(report, end="\n\n")
assert not report.ok and "add" in report.violations[0]

net = Network([Dense(3, 5), Softplus(5), Dense(5, 1)], MSE(), rng=0)
y = np.abs(x).sum(axis=1)
history = net.fit(x, y, optimizer=Adam(0.02), epochs=300, verbose=0)
print(f"in a network: loss {history['loss'][0]:.2f} → {history['loss'][-1]:.4f}")
assert history["loss"][-1] < 0.05
