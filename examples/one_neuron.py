"""Lesson 1: one neuron learns by hand-written steps from six customers, and the library agrees.

x: pages looked at, times put on the list; y: bought or not.  docs/course/1-one-neuron.md
"""

import numpy as np

from nnrec import MSE, SGD, Dense, Network, Sigmoid

x = np.array([[2.0, 1.0], [1.0, 0.0], [3.0, 2.0], [0.0, 0.0], [4.0, 0.0], [1.0, 2.0]])
y = np.array([1.0, 0.0, 1.0, 0.0, 0.0, 1.0])

# The neuron, written out: for each customer a δ; their mean moves w and b.
w, b, rate = np.array([0.5, -1.0]), 0.25, 1.0
errors = []
for _ in range(500):
    y_hat = 1 / (1 + np.exp(-(x @ w + b)))
    errors.append(np.mean((y_hat - y) ** 2 / 2))
    delta = (y_hat - y) * y_hat * (1 - y_hat)
    w -= rate * (delta @ x) / len(x)
    b -= rate * delta.mean()
print(f"by hand: E falls from {errors[0]:.4f} to {errors[-1]:.4f}; w = {w.round(3)}, b = {b:.3f}")
print("ŷ =", y_hat.round(2), " y =", y.astype(int))
assert np.all(np.diff(errors) < 0) and ((y_hat > 0.5) == y).all()

# The same neuron in the library: the same numbers.
net = Network([Dense(2, 1), Sigmoid()], MSE(), dtype="float64")
net.theta[:] = [0.5, -1.0, 0.25]
net.fit(x, y, optimizer=SGD(rate), epochs=500, batch_size=6, verbose=0)
print("library: w, b =", net.theta.round(3))
assert np.allclose(net.theta, [*w, b], rtol=1e-9)

# With the document's sign, δ = (y − ŷ) σ′(z), every step climbs.
net.theta[:] = [0.5, -1.0, 0.25]
before, g = net.loss_and_grad(x, y[:, None])
SGD(rate).step(net.theta, -g)
after = net.loss_and_grad(x, y[:, None])[0]
print(f"with y − ŷ in place of ŷ − y: E goes from {before:.4f} to {after:.4f}")
assert after > before
