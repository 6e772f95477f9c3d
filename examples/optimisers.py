"""Lesson 5: five optimisers in a valley; three ways to check a gradient; a planted mistake.

docs/course/5-optimisers-and-checks.md
"""

import numpy as np

from nnrec import MSE, SGD, Adagrad, Adam, Dense, Network, ReLU, RMSProp, check_gradients
from nnrec.teach import MISTAKES, diagnose

# E = ½ (x² + 100 y²) from (1, 1): how many steps until E < 0.001?
CURVE = np.array([1.0, 100.0])
OPTIMIZERS = {
    "SGD": SGD(2 / 101),
    "SGD, a little faster": SGD(0.021),
    "momentum": SGD(0.019, momentum=0.8),
    "Adagrad": Adagrad(0.5),
    "RMSProp": RMSProp(0.01),
    "Adam": Adam(0.1),
}
steps = {}
for name, optimizer in OPTIMIZERS.items():
    theta, steps[name] = np.ones(2), 0
    while 0.001 <= CURVE @ theta**2 / 2 < 1e6:
        optimizer.step(theta, CURVE * theta)
        steps[name] += 1
    E = CURVE @ theta**2 / 2
    said = f"{steps[name]} steps" if E < 1 else f"flies away: E = {E:.0e} after {steps[name]} steps"
    print(f"{name:<22}{said}")
    assert (E < 0.001) == (name != "SGD, a little faster")
assert max(steps["momentum"], steps["Adam"], steps["Adagrad"]) < steps["SGD"] / 2

# Three checks of one gradient.  A ReLU network is rational: fractions are exact.
rng = np.random.default_rng(0)
x, y = rng.normal(size=(5, 3)), rng.normal(size=5)
net = Network([Dense(3, 4), ReLU(), Dense(4, 1)], MSE(), rng=0, dtype="float64")
print()
for method, limit in (("central", 1e-6), ("complex", 1e-13), ("exact", 0)):
    report = check_gradients(net, x, target=y, method=method)
    print(f"{method}: off by {report.error:.0e}")
    assert report.ok and report.error <= limit

# A mistake is planted into the real backward pass: seen, and called by its name.
wrong = MISTAKES["bias-averaged"].plant(net)
report = check_gradients(wrong, x, target=y)
print("\nplanted:", str(report).splitlines()[-1].strip())
said = diagnose(wrong, net, x, target=y)
print("its name:", *said.names)
assert not report.ok and said.names == ["bias-averaged"]

# It trains all the same, which is why a falling loss proves nothing.
history = wrong.fit(x, y, optimizer=SGD(0.1), epochs=50, verbose=0)
print(f"and still its loss falls, from {history['loss'][0]:.3f} to {history['loss'][-1]:.3f}")
assert history["loss"][-1] < history["loss"][0] / 2
