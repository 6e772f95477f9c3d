"""The catalogue of classic mistakes in back-propagation, each as a change to the real backward.

One function is one mistake: its docstring says what was done (title) and what is right (why), its
lines do it, its decorator names the classes in which it can stand.  The gradient check must reject
every one, and a student's gradient is compared with each.

In a layer's back a mistake gets the call (its layer, theta, inputs, y), dy, and what the real back
gave: dx, and `d`, the parameters' gradients by name, which it may change; it returns its own dx.
In a loss it gets the batch (loss, pred, target, weight) and the real d, and returns its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnrec import nn
from nnrec.nn import activations as act
from nnrec.nn.layers import Array
from nnrec.nn.losses import Penalty
from nnrec.teach.planting import (
    Batch,
    Call,
    Function,
    Parts,
    Planted,
    altered,
    each,
    enter,
    in_all_gradients,
    in_back,
    in_call,
    in_loss,
    times,
)


@in_all_gradients
def gradient_scaled(d: Array) -> Array:
    """The gradient is 1.0005 times too large

    A factor this near to 1 is what a slip in a constant leaves behind; training hides it.
    """
    return times(d, 1.0005)


@in_all_gradients
def sign_reversed(d: Array) -> Array:
    """The gradient has the wrong sign

    The step θ − α g then climbs. One minus too many, or one that was forgotten.
    """
    return -d


@in_loss(nn.Loss)
def mean_forgotten(at: Batch, d: Any) -> Any:
    """The gradient of the sum over the rows stands for that of their mean

    The loss is a mean over n rows, so each row's derivative carries 1/n (with weights, 1/Σw).
    """
    rows = len(at.pred[0] if isinstance(at.pred, tuple) else at.pred)
    return each(lambda a: a * (rows if at.weight is None else at.weight.sum()), d)


@in_loss(nn.Loss)
def mean_twice(at: Batch, d: Any) -> Any:
    """The mean over the rows is taken twice

    1/n belongs into ∂L/∂pred once; dividing again where W's gradient is formed makes it 1/n².
    """
    return each(lambda a: a / len(a), d)


@in_loss(nn.Loss)
def weight_forgotten(at: Batch, d: Any) -> Any:
    """The rows' weights are in the loss but not in its gradient

    A row that counts w_i times in the loss counts w_i times in the gradient.
    """
    return at.loss(at.pred, at.target)[1]


@in_loss(nn.Loss)
def target_minus_prediction(at: Batch, d: Any) -> Any:
    """t − y stands where y − t must

    The derivative of ½(y − t)², and of both cross-entropies on logits, is y − t. The other order
    belongs to rules that add α times it.
    """
    return each(lambda a: -a, d)


@in_loss(nn.MSE)
def half_forgotten(at: Batch, d: Any) -> Any:
    """The gradient is off by the 2 of the square

    ½(y − t)² has the derivative y − t; without the ½ (the mean form) it is 2(y − t).
    """
    return d / 2 if at.loss.mean else d * 2


@in_loss(nn.SigmoidCrossEntropy)
def sigmoid_derivative_twice(at: Batch, d: Any) -> Any:
    """The sigmoid's derivative is applied after it has cancelled

    ∂L/∂z = y − t is already the derivative in the logit: σ′ has cancelled against 1/(y(1 − y)).
    """
    return d * act.sigmoid_derivative(act.sigmoid(at.pred))


@in_loss(nn.SoftmaxCrossEntropy)
def softmax_derivative_twice(at: Batch, d: Any) -> Any:
    """The softmax's derivative is applied after it has cancelled

    ∂L/∂z = y − t is already the derivative in the logits: the Jacobian has cancelled against t/y.
    """
    y = act.softmax(at.pred)
    return np.asarray(y * (d - (d * y).sum(axis=-1, keepdims=True)))


@in_loss(nn.BinaryCrossEntropy)
def zeros_forgotten(at: Batch, d: Any) -> Any:
    """Only t ln y is differentiated; (1 − t) ln(1 − y) is forgotten

    The binary cross-entropy has two terms, dy = (1 − t)/(1 − y) − t/y. With one alone nothing
    holds the bias back.
    """
    share = 1 / len(at.pred) if at.weight is None else (at.weight / at.weight.sum())[:, None]
    return d - share * (1 - at.target) / (1 - at.pred)


@in_back(nn.Dense)
def bias_averaged(call: Call, dy: Array, dx: Any, d: Parts) -> Any:
    """The bias's gradient is averaged over the rows

    The bias is added to every row, so ∂L/∂b is the sum of dy over them; the mean is in dy already.
    """
    d["b"] /= len(dy)
    return dx


@in_back(nn.Dense)
def bias_forgotten(call: Call, dy: Array, dx: Any, d: Parts) -> Any:
    """The bias gets no gradient

    ∂L/∂b = Σ_rows dy: the bias is learned like a weight whose input is always 1.
    """
    d["b"][...] = 0
    return dx


@in_back(nn.Dense)
def weights_reshaped(call: Call, dy: Array, dx: Any, d: Parts) -> Any:
    """W is reshaped (or, where square, left as it is) where it must be transposed

    ∂L/∂x = dy Wᵀ: the shapes of W.reshape(outputs, inputs) fit too, the entries are misplaced.
    """
    W = call.named(call.theta)["W"]
    return dy @ W.reshape(W.shape[::-1])


@in_back(nn.Dense)
def weight_gradient_transposed(call: Call, dy: Array, dx: Any, d: Parts) -> Any:
    """∂L/∂W is formed as dyᵀ x and put into W's shape

    ∂L/∂W = xᵀ dy, row i for input i and column j for output j, as in W.
    """
    d["W"][...] = d["W"].T.copy().reshape(d["W"].shape)
    return dx


@in_back(nn.Dense)
def updated_weights(call: Call, dy: Array, dx: Any, d: Parts) -> Any:
    """δ is passed back through weights that this step has already changed

    All derivatives belong to one θ: ∂L/∂x = dy Wᵀ takes the W of the forward pass, and the step
    comes when the whole gradient stands.
    """
    return dy @ (call.named(call.theta)["W"] - times(d["W"], call.rate)).T


@in_call(nn.Sequential)
def neighbours_weights(call: Call) -> Any:
    """δ is passed back through the weights of another layer of the same shape

    δ_l = (δ_{l+1} W_{l+1}ᵀ) ⊙ σ′(z_l): the weights are those of the layer that δ comes from.
    """

    def through(W: Array) -> Function:
        return altered(lambda call, dy, dx, d: dy @ W.T)

    theta = call.named(call.theta)
    weights = {name: theta[f"{name}.W"] for name in call.layer.parts if f"{name}.W" in theta}
    parts = dict(call.layer.parts)
    for name, W in weights.items():
        others = [V for other, V in weights.items() if other != name and V.shape == W.shape]
        if others:
            parts[name] = Planted(parts[name], through(others[0]), "a neighbour's weights")
    return call.layer.with_parts(parts)(call.theta, *call.inputs, rng=call.rng)


@in_back(nn.Sigmoid, nn.Tanh, nn.Softmax)
def derivative_forgotten(call: Call, dy: Array, dx: Any, d: Parts) -> Any:
    """δ is passed on without the activation's derivative

    By the chain rule ∂L/∂z = ∂L/∂a ⊙ σ′(z): each layer on the way multiplies its own derivative.
    """
    return dy


@in_back(nn.Sigmoid, nn.Tanh)
def function_for_derivative(call: Call, dy: Array, dx: Any, d: Parts) -> Any:
    """σ(z) stands where σ′(z) must

    ∂a/∂z = σ′(z) = σ(z)(1 − σ(z)), and 1 − tanh² z; the output itself is not the derivative.
    """
    return dy * call.y


@in_back(nn.Sigmoid, nn.Tanh)
def derivative_at_output(call: Call, dy: Array, dx: Any, d: Parts) -> Any:
    """The derivative is taken at a where it must be taken at z

    σ′(z) = σ(z)(1 − σ(z)) = a(1 − a). σ′(a) = σ(a)(1 − σ(a)) applies the activation twice.
    """
    if isinstance(call.layer, nn.Tanh):
        return dy * act.tanh_derivative(np.tanh(call.y))
    return dy * act.sigmoid_derivative(act.sigmoid(call.y))


@in_back(nn.Sigmoid, nn.Tanh)
def derivative_of_input(call: Call, dy: Array, dx: Any, d: Parts) -> Any:
    """The formula in the output, a(1 − a) or 1 − a², is given z

    A derivative written in terms of the output must be given the output: a = σ(z).
    """
    of = act.tanh_derivative if isinstance(call.layer, nn.Tanh) else act.sigmoid_derivative
    return dy * of(call.x)


@in_back(nn.Tanh)
def square_forgotten(call: Call, dy: Array, dx: Any, d: Parts) -> Any:
    """1 − a stands where 1 − a² must

    d tanh z/dz = 1 − tanh² z.
    """
    return dy * (1 - call.y)


@in_back(nn.Softmax)
def jacobian_diagonal(call: Call, dy: Array, dx: Any, d: Parts) -> Any:
    """Only the diagonal of the softmax's Jacobian is used

    Every output depends on every logit: ∂y_i/∂z_j = y_i (1_{i=j} − y_j).
    """
    return dy * call.y * (1 - call.y)


@in_back(nn.ReLU)
def relu_mask_forgotten(call: Call, dy: Array, dx: Any, d: Parts) -> Any:
    """The ReLU passes every gradient on

    Its derivative is 0 where z < 0: a unit that is off passes nothing back.
    """
    return dy


@in_back(nn.ReLU)
def relu_mask_reversed(call: Call, dy: Array, dx: Any, d: Parts) -> Any:
    """The ReLU's derivative is 1 where z < 0

    It is 1 where z > 0 and 0 where z < 0.
    """
    return dy * (call.x.real < 0)


@in_back(nn.ReLU)
def relu_mask_of_gradient(call: Call, dy: Array, dx: Any, d: Parts) -> Any:
    """The ReLU is applied to the gradient: negative dy become 0

    The mask is the forward pass's, z > 0; the sign of dy has no part in it.
    """
    return dy * (dy > 0)


def dropout_factor(call: Call, dy: Array) -> Array:
    """What each entry was multiplied by: 0 or 1/keep."""
    return np.asarray(call.back(np.ones_like(dy), np.empty(0)))


@in_back(nn.Dropout)
def dropout_mask_forgotten(call: Call, dy: Array, dx: Any, d: Parts) -> Any:
    """Gradients pass through units that were dropped

    y = x m / keep has the derivative m / keep: what was dropped passes nothing back.
    """
    return dy * dropout_factor(call, dy).max()


@in_back(nn.Dropout)
def dropout_scale_forgotten(call: Call, dy: Array, dx: Any, d: Parts) -> Any:
    """The backward pass has the mask but not 1/keep

    What multiplies x in the forward pass, m / keep, multiplies dy in the backward pass.
    """
    return dy * (dropout_factor(call, dy) != 0)


@in_back(nn.Dropout)
def dropout_mask_drawn_again(call: Call, dy: Array, dx: Any, d: Parts) -> Any:
    """The backward pass draws a mask of its own

    Forward and backward belong to one network: the one that the first mask left.
    """
    return np.asarray(call.layer(call.theta, dy, rng=call.rng)[0])


@in_back(nn.Embedding)
def repeated_ids_lost(call: Call, dy: Array, dx: Any, d: Parts) -> Any:
    """Of an id that occurs twice only the last gradient is kept

    Every use of a row adds its part: np.add.at, not dE[ids] += dy, which NumPy buffers.
    """
    (table,) = d.values()
    table[...] = 0
    table[call.x] = dy


def normalised(call: Call) -> tuple[Array, Array]:
    """x̂ and √(var x + ε)."""
    x: Array = call.x
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    spread = np.sqrt(variance + call.layer.epsilon)
    return centred / spread, spread


@in_back(nn.LayerNorm)
def norm_mean_constant(call: Call, dy: Array, dx: Any, d: Parts) -> Any:
    """The mean is treated as a constant

    Each x_k also moves the mean of its row: that is the term − mean dx̂.
    """
    _, spread = normalised(call)
    dnormed = dy * call.named(call.theta)["gain"]
    return dx + dnormed.mean(axis=-1, keepdims=True) / spread


@in_back(nn.LayerNorm)
def norm_variance_constant(call: Call, dy: Array, dx: Any, d: Parts) -> Any:
    """The variance is treated as a constant

    Each x_k also moves the variance of its row: that is the term − x̂ · mean(dx̂ x̂).
    """
    normed, spread = normalised(call)
    dnormed = dy * call.named(call.theta)["gain"]
    return dx + normed * (dnormed * normed).mean(axis=-1, keepdims=True) / spread


@in_back(nn.Multiply, nn.Dot)
def own_factor(call: Call, dy: Array, dx: Any, d: Parts) -> Any:
    """Each factor's gradient is multiplied by the factor itself

    ∂(a b)/∂a = b: the gradient of a factor carries the *others*.
    """
    return tuple(dy * x for x in call.inputs)


@in_back(nn.Add)
def sum_shared_out(call: Call, dy: Array, dx: Any, d: Parts) -> Any:
    """The summands share the gradient among them

    ∂(a + b)/∂a = 1: each summand gets the whole of dy.
    """
    return tuple(dy / len(dx) for _ in dx)


@in_back(nn.Concatenate)
def cut_one_off(call: Call, dy: Array, dx: Any, d: Parts) -> Any:
    """The gradient is cut one column too early

    dy is cut where the inputs were joined: input i begins after the widths of those before it.
    """
    widths = [x.shape[-1] for x in call.inputs]
    starts = [max(0, sum(widths[:i]) - 1) for i in range(len(widths))]
    return tuple(dy[..., a : a + width] for a, width in zip(starts, widths))


@in_back(nn.Composite, nn.Concatenate)
def inputs_swapped(call: Call, dy: Any, dx: Any, d: Parts) -> Any:
    """The two inputs get each other's gradient

    back returns the gradients in the order of the inputs.
    """
    alike = isinstance(dx, tuple) and len({np.shape(part) for part in dx}) == 1
    return dx[::-1] if alike else dx


@in_call(nn.Composite)
def one_call_kept(call: Call) -> Any:
    """Of a weight that is used twice only one use gives a gradient

    Sharing means one θ with two paths to the loss, and the gradients of the paths add up.
    """

    def first_only(real: nn.Layer) -> nn.Layer:
        calls = []

        def hook(inner: Call) -> Any:
            y, back = inner.forward()
            calls.append(y)
            first = len(calls) == 1
            return y, back if first else lambda dy, g: back(dy, np.zeros_like(g))

        return Planted(real, hook, "one call kept")

    parts = {name: first_only(part) for name, part in call.layer.parts.items()}
    return call.layer.with_parts(parts)(call.theta, *call.inputs, rng=call.rng)


@in_loss(Penalty)
def penalty_forgotten(W: Array, d: Array) -> Array:
    """The penalty is in the loss but not in the gradient

    L2's (λ/2) Σ w² adds λ w to ∂L/∂w, L1's λ Σ |w| adds λ sign w.
    """
    return d * 0


def penalty_on_biases(network: nn.Network) -> Function:
    """The gradient has the penalty's term for the biases too

    The penalty is on weights, parameters with two or more axes; its gradient covers what it does.
    """

    def loss_and_grad(x: Any, y: Any = None, weight: Any = None, **at: Any) -> tuple[Any, Array]:
        value, g = network.loss_and_grad(x, y, weight, **at)
        theta = network.parameters(at.get("theta"))
        for name, d in network.parameters(g).items():
            if d.ndim == 1:
                d += sum(penalty(theta[name])[1] for penalty in network.penalty)
        return value, g

    return loss_and_grad


enter(penalty_on_biases, {nn.Network: penalty_on_biases})
