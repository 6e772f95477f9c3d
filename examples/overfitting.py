"""Overfitting and its cures (the document's §9): L1, L2, dropout, noise, early stopping.

Thirty noisy points of a sine and a network of 2 × 64 units: left alone it learns the noise.  Each
cure is chosen on nothing: one strength, one seed, and the error against the true curve in a table
and a picture, overfitting.png.
"""

import matplotlib.pyplot as plt
import numpy as np

from nnrec import (
    L1,
    L2,
    MSE,
    Adam,
    Batches,
    Dense,
    Dropout,
    EarlyStopping,
    GaussianNoise,
    Network,
    Tanh,
)

rng = np.random.default_rng(3)
x = np.sort(rng.uniform(-1, 1, size=(30, 1)), axis=0)
y = np.sin(4 * x) + rng.normal(0, 0.4, size=x.shape)
x_val = rng.uniform(-1, 1, size=(30, 1))
y_val = np.sin(4 * x_val) + rng.normal(0, 0.4, size=x_val.shape)
grid = np.linspace(-1, 1, 200)[:, None]


def train(penalty=(), rate=0.0, noise=0.0, stopping=False):
    layers = [Dense(1, 64), Tanh(), Dropout(rate), Dense(64, 64), Tanh(), Dropout(rate)]
    net = Network([*layers, Dense(64, 1)], MSE(), rng=0, penalty=penalty)
    history = net.fit(
        GaussianNoise(Batches(x, y, batch_size=30), std=noise),
        optimizer=Adam(0.01),
        epochs=1500,
        validation_data=(x_val, y_val),
        callbacks=[EarlyStopping(patience=100)] if stopping else [],
        verbose=0,
    )
    return net, history


cures = {
    "nothing": train(),
    "L1 0.003": train(penalty=L1(0.003)),
    "L2 0.01": train(penalty=L2(0.01)),
    "dropout 0.3": train(rate=0.3),
    "noise 0.15": train(noise=0.15),
    "early stopping": train(stopping=True),
}
figure, panels = plt.subplots(2, 3, figsize=(11, 6), sharex=True, sharey=True, layout="constrained")
error = {}
for panel, (name, (net, history)) in zip(panels.flat, cures.items()):
    curve = net.predict(grid)
    error[name] = float(np.sqrt(np.mean((curve - np.sin(4 * grid)) ** 2)))
    panel.plot(grid, np.sin(4 * grid), color="0.6", label="truth")
    panel.plot(grid, curve, color="C0", label="network")
    panel.plot(x, y, "o", color="C1", ms=4, label="30 noisy points")
    panel.set_title(f"{name}: error {error[name]:.2f}", fontsize=11)
    panel.set_ylim(-2.2, 2.2)
    print(f"{name:<16} epochs {len(history['loss']):>5}  error against the truth {error[name]:.3f}")
panels[0, 2].legend(loc="lower left", fontsize=9)
figure.savefig("overfitting.png", dpi=120)

assert all(error[name] < error["nothing"] for name in error if name != "nothing")
