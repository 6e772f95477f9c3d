"""XOR by two optimisers: SGD step by step, and SciPy's L-BFGS as a one-liner on the flat vector θ.

No line separates XOR's classes: it takes a hidden layer.  A 2-4-1 network with tanh learns it.
"""

import numpy as np
from scipy.optimize import minimize

from nnrec import MSE, SGD, Dense, Network, Tanh

x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
y = np.array([0, 1, 1, 0])


def network(seed):
    return Network([Dense(2, 4), Tanh(), Dense(4, 1)], MSE(), rng=seed, dtype="float64")


net = network(seed=0)
history = net.fit(x, y, optimizer=SGD(0.1, momentum=0.9), epochs=500, batch_size=4, verbose=0)
print(f"SGD:    loss {history['loss'][0]:.3f} → {history['loss'][-1]:.1e} in 500 steps")
print(f"        predictions {np.abs(net.predict(x).ravel().round(3))}")
assert np.allclose(net.predict(x).ravel(), y, atol=0.01)

net = network(seed=0)
result = minimize(
    lambda theta: net.loss_and_grad(x, y, theta=theta),
    net.theta,
    jac=True,
    method="L-BFGS-B",
    options={"maxiter": 500, "ftol": 1e-15, "gtol": 1e-10},
)
net.theta[:] = result.x
print(f"L-BFGS: loss {result.fun:.1e} in {result.nfev} evaluations")
print(f"        predictions {np.abs(net.predict(x).ravel().round(3))}")
assert result.fun < 1e-6
