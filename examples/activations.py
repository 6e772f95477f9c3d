"""Lesson 3: without activations no XOR; sigmoids in ten layers; ReLUs that died.

docs/course/3-activations.md
"""

import numpy as np

from nnrec import MSE, SGD, Adam, Dense, Network, ReLU, Sigmoid, Tanh

x, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])


def trained(*layers):
    net = Network([*layers], MSE(), rng=0, dtype="float64")
    net.fit(x, y, optimizer=Adam(0.03), epochs=500, batch_size=4, verbose=0)
    return net.predict(x).ravel()


straight = trained(Dense(2, 8), Dense(8, 1))
bent = trained(Dense(2, 8), Tanh(), Dense(8, 1))
print(f"XOR by two layers:             {np.abs(straight.round(2))}")
print(f"XOR by two layers, tanh between: {np.abs(bent.round(2))}")
assert np.allclose(straight, 0.5, atol=0.01) and np.allclose(bent, y, atol=0.01)

# How much of the error reaches the first of ten layers?
print("\nmean |∂E/∂W| at layers 1, 4, 7, 10:")
share = {}
for activation in (Sigmoid, Tanh, ReLU):
    chain = [part for _ in range(10) for part in (Dense(16, 16), activation())]
    net = Network([*chain, Dense(16, 1)], MSE(), rng=0, dtype="float64")
    rng = np.random.default_rng(0)
    _, g = net.loss_and_grad(rng.normal(size=(50, 16)), rng.normal(size=(50, 1)))
    size = {name: np.abs(dW).mean() for name, dW in net.parameters(g).items()}
    share[activation] = size["dense_1.W"] / size["dense_10.W"]
    print(f"  {activation.__name__:<8}", *(f"{size[f'dense_{i}.W']:.0e}" for i in (1, 4, 7, 10)))
assert share[Sigmoid] < 1e-5 < 0.1 < min(share[Tanh], share[ReLU])

# One step that is far too large: the biases fall, and no row gets the units above zero again.
rng = np.random.default_rng(1)
x, y = rng.uniform(size=(200, 5)), rng.normal(5, 1, size=(200, 1))
print("\n32 ReLUs after one step of α:")
for rate in (0.01, 10.0):
    net = Network([Dense(5, 32), ReLU(), Dense(32, 1)], MSE(), rng=0, dtype="float64")
    SGD(rate).step(net.theta, net.loss_and_grad(x, y)[1])
    p = net.parameters()
    dead = ~(x @ p["dense_1.W"] + p["dense_1.b"] > 0).any(axis=0)
    _, g = net.loss_and_grad(x, y)
    gradient = np.abs(net.parameters(g)["dense_1.W"][:, dead]).sum()
    print(f"  α = {rate:<5} {dead.sum():>2} are dead, the gradient of their weights {gradient:.0f}")
    assert gradient == 0 and (dead.sum() > 10) == (rate > 1)
