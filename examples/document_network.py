"""The document's 3-4-2 network (its §4.2): one forward and backward pass, then training.

Prints the quantities of its worked example as they must read, ∂E/∂z_L = (0.016, −0.016) and
E = 0.01, and trains the network by its own update w ← w − α ∂E/∂w until it gives y = (0.1, 0.9).
"""

import numpy as np

from nnrec import MSE, SGD, Dense, Network, Sigmoid, check_gradients

x, y = np.array([[1.0, 0.5, -1.0]]), np.array([[0.1, 0.9]])

# The worked example starts from a prediction ŷ = (0.2, 0.8).
z = np.log([[0.2 / 0.8, 0.8 / 0.2]])
y_hat, back = Sigmoid()(np.empty(0), z)
E, dy = MSE()(y_hat, y)
dz = back(dy, np.empty(0))
print(f"ŷ = {y_hat.round(3)[0]}, E = {E:.3f}, ∂E/∂z = {dz.round(4)[0]}")
assert np.allclose(dz, [[0.016, -0.016]]) and np.isclose(E, 0.01)

# The network itself: (1,3)(3,4) + (4,), σ, (1,4)(4,2) + (2,), σ.
net = Network([Dense(3, 4), Sigmoid(), Dense(4, 2), Sigmoid()], MSE(), rng=0, dtype="float64")
print(net.summary())
print(check_gradients(net, x, target=y))

loss, g = net.loss_and_grad(x, y)
for name, gradient in net.parameters(g).items():
    print(f"∂E/∂{name:<10} {np.array2string(gradient, precision=4, prefix=' ' * 15)}")

losses = []
for _ in range(400):
    loss, g = net.loss_and_grad(x, y)
    losses.append(loss)
    SGD(1.0).step(net.theta, g)

print(f"E falls from {losses[0]:.4f} to {losses[-1]:.1e}; ŷ = {net.predict(x).round(3)[0]}")
assert np.all(np.diff(losses) < 0)
assert np.allclose(net.predict(x), y, atol=0.01)
