"""Lesson 4: a neuron that is sure and wrong, probabilities of rare events, and logits.

docs/course/4-losses-and-probabilities.md
"""

import numpy as np

from nnrec import (
    MSE,
    SGD,
    BinaryCrossEntropy,
    CategoricalCrossEntropy,
    Dense,
    Network,
    Sigmoid,
    SigmoidCrossEntropy,
)
from nnrec.nn.activations import sigmoid, softmax

# She bought (y = 1), the neuron says 0.0025 (z = −6). How many steps until it says one half?
x, y = np.ones((1, 1)), np.ones((1, 1))
squared = Network([Dense(1, 1), Sigmoid()], MSE(), dtype="float64")
crossed = Network([Dense(1, 1)], SigmoidCrossEntropy(), dtype="float64")
steps = {}
for name, net in (("squared error", squared), ("cross-entropy", crossed)):
    net.theta[:] = [-3.0, -3.0]
    for steps[name] in range(1, 10_000):
        SGD(0.5).step(net.theta, net.loss_and_grad(x, y)[1])
        if net.predict(x) >= 0.5:
            break
    print(f"from z = −6 to ŷ = ½ by {name}: {steps[name]} steps of α = 0.5")
assert 20 * steps["cross-entropy"] < steps["squared error"]

# One visitor in 25 buys, and nothing is known of them: what does a bias alone learn?
y = (np.arange(1000) % 25 == 0).astype(float)[:, None]
nothing = np.zeros((1000, 1))
net = Network([Dense(1, 1)], SigmoidCrossEntropy(), rng=0, dtype="float64")
net.fit(nothing, y, optimizer=SGD(2.0), epochs=300, batch_size=1000, verbose=0)
b = net.parameters()["dense_1.b"][0]
logit = np.log(0.04 / 0.96)
print(f"the bias of 4 %: {b:.3f}, the logit of 0.04: {logit:.3f}; ŷ = {sigmoid(b):.3f}")
assert np.isclose(sigmoid(b), 0.04, atol=1e-4)

# The document's −Σ y ln ŷ on one output: half of it is missing, and the bias never stops.
b = np.zeros((1000, 1))
for _ in range(2000):
    y_hat = sigmoid(b)
    slope = CategoricalCrossEntropy()(y_hat, y)[1] * y_hat * (1 - y_hat)
    b = b - 2.0 * slope.sum()
print(f"with the document's form, after 2,000 steps: ŷ = {sigmoid(b[0, 0]):.3f}, and rising")
assert sigmoid(b[0, 0]) > 0.95

# Softmax over two classes is the sigmoid of the difference of their logits.
z = np.array([[2.0, -1.0], [0.3, 0.4]])
assert np.allclose(softmax(z)[:, 0], sigmoid(z[:, 0] - z[:, 1]))

# A probability that has become 0 has no logarithm; its logit has lost nothing.
z, y = np.array([[-800.0]]), np.array([[1.0]])
value, dz = SigmoidCrossEntropy()(z, y)
print(f"at z = −800 the loss is {value:.0f} and ∂E/∂z = {dz[0, 0]:.0f}; on probabilities:")
try:
    BinaryCrossEntropy()(sigmoid(z), y)
except ValueError as error:
    print(" ", error)
    assert "give logits to SigmoidCrossEntropy" in str(error)
assert value == 800 and dz == -1
