"""Losses: `value, dpred = loss(pred, target, weight=None)`, value and gradient in one call.

The document's squared error (its equation 10) and cross-entropy (11), the binary form its §5 uses,
and both cross-entropies on logits, where the sigmoid or softmax is taken inside: that is what one
trains with, since log σ(z) keeps its digits where σ(z) has become 0 or 1.  Every loss sums over
outputs and takes the mean over rows: value = Σ_i w_i L_i / Σ_i w_i, with weight w (n,) or 1.  Rows
whose weights are all zero give 0.  `value` keeps pred's dtype.
"""

from typing import Any

import numpy as np

from nnrec.nn import activations as act
from nnrec.nn.arguments import Array, Described, real_number


class Loss(Described):
    """What losses share: how targets arrive, how rows are averaged, what a prediction means.

    >>> class AbsoluteError(Loss):
    ...     def __call__(self, pred, target, weight=None):
    ...         sign = np.sign((pred - target).real)
    ...         return self.average((sign * (pred - target)).sum(axis=1), sign, weight)
    >>> AbsoluteError()(np.array([[3.0]]), np.array([[5.0]]))
    (np.float64(2.0), array([[-1.]]))
    """

    takes_labels = False  # True: integer targets are class labels, and stay integers

    def __call__(self, pred: Any, target: Any, weight: Array | None = None) -> tuple[Any, Any]:
        raise NotImplementedError(f"{type(self).__name__} defines no __call__")

    def inverse_link(self, pred: Any) -> Any:
        """The estimate in the target's units, from the network's output."""
        return pred

    def matched(self, pred: Array, target: Any) -> Array:
        """The target in pred's dtype; both must be (n, outputs), n ≥ 1: never a broadcast."""
        if pred.ndim != 2 or not len(pred) or pred.shape != np.shape(target):
            found = f"pred has shape {pred.shape} and target {np.shape(target)}"
            raise ValueError(f"{self!r}: {found}, expected the same (n, outputs), n ≥ 1")
        return np.asarray(target, pred.real.dtype)

    def average(self, losses: Array, d: Array, weight: Array | None) -> tuple[Any, Array]:
        """The weighted mean of the rows' losses (n,), and of their derivatives d (n, outputs)."""
        n = len(losses)
        if weight is None:
            return losses.sum() / n, d / n
        if np.shape(weight) != (n,):
            raise ValueError(f"{self!r}: weight has shape {np.shape(weight)}, expected ({n},)")
        check_range(self, "weight", weight)
        share = weight / (weight.sum() or 1)
        return (share * losses).sum(), d * share[:, None]


class MSE(Loss):
    """L_i = ½ Σ_k (y_ik − t_ik)²,  dy = y − t: the document's equation 10; pred, target (n, m).

    mean=True is what others call the mean squared error, L_i = (1/m) Σ_k (y_ik − t_ik)².

    >>> value, dpred = MSE()(np.array([[0.2, 0.8]]), np.array([[0.1, 0.9]]))
    >>> value.round(9), dpred.round(9)
    (np.float64(0.01), array([[ 0.1, -0.1]]))
    """

    def __init__(self, mean: bool = False):
        self.mean = mean

    def __call__(self, pred: Array, target: Array, weight: Array | None = None) -> Any:
        diff = pred - self.matched(pred, target)
        squares = (diff * diff).sum(axis=1)
        if self.mean:
            m = pred.shape[1]
            return self.average(squares / m, diff * 2 / m, weight)
        return self.average(squares / 2, diff, weight)


class BinaryCrossEntropy(Loss):
    """L_i = −Σ_k [t ln y + (1 − t) ln(1 − y)] on probabilities y: the loss of the document's §5.

    dy = (1 − t)/(1 − y) − t/y;  pred, target (n, m) in [0, 1].  A y whose logarithm the target
    needs and which is exactly 0 (or 1) is an error: train on logits, with SigmoidCrossEntropy.

    >>> value, dpred = BinaryCrossEntropy()(np.array([[0.5]]), np.array([[1.0]]))
    >>> value.round(4), dpred
    (np.float64(0.6931), array([[-2.]]))
    """

    def __call__(self, pred: Array, target: Array, weight: Array | None = None) -> Any:
        t = self.matched(pred, target)
        check_range(self, "target", t, 1)
        log_y, inverse_y = log_where(self, pred, t != 0, "SigmoidCrossEntropy")
        log_n, inverse_n = log_where(self, 1 - pred, t != 1, "SigmoidCrossEntropy")
        losses = -(t * log_y + (1 - t) * log_n).sum(axis=1)
        return self.average(losses, (1 - t) * inverse_n - t * inverse_y, weight)


class CategoricalCrossEntropy(Loss):
    """L_i = −Σ_k t_ik ln y_ik on class probabilities: the document's equation 11, Σ_k y_ik = 1.

    dy = −t/y;  pred (n, k); target as in SoftmaxCrossEntropy.  A needed y that is exactly 0 is an
    error: train on logits, with SoftmaxCrossEntropy.

    >>> value, dpred = CategoricalCrossEntropy()(np.array([[0.25, 0.75]]), np.array([0]))
    >>> value.round(4), dpred
    (np.float64(1.3863), array([[-4., -0.]]))
    """

    takes_labels = True

    def __call__(self, pred: Array, target: Any, weight: Array | None = None) -> Any:
        t = class_target(self, pred, target)
        log_y, inverse = log_where(self, pred, t != 0, "SoftmaxCrossEntropy")
        return self.average(-(t * log_y).sum(axis=1), -t * inverse, weight)


class SigmoidCrossEntropy(Loss):
    """L_i = Σ_k [ln(1 + e^{z}) − t z], the binary cross-entropy of y = σ(z), from the logit z.

    dz = σ(z) − t.  With t′ = 1 − t where z > 0, else t: L_i = Σ_k [t′ |z| + ln(1 + e^{−|z|})] and
    dz = ±(t′ − σ(−|z|)), so no digit is lost near dz = 0.  pred, target (n, m), t in [0, 1].

    >>> value, dpred = SigmoidCrossEntropy()(np.array([[0.0]]), np.array([[1.0]]))
    >>> value.round(4), dpred
    (np.float64(0.6931), array([[-0.5]]))
    """

    def inverse_link(self, pred: Array) -> Array:
        return act.sigmoid(pred)

    def __call__(self, pred: Array, target: Array, weight: Array | None = None) -> Any:
        t = self.matched(pred, target)
        check_range(self, "target", t, 1)
        side = np.copysign(1, pred.real)
        size, other = pred * side, np.where(side > 0, 1 - t, t)
        e = np.exp(-size)
        losses = (other * size + np.log1p(e)).sum(axis=1)
        return self.average(losses, (other - e / (1 + e)) * side, weight)


class SoftmaxCrossEntropy(Loss):
    """L_i = Σ_k t_ik (ln Σ_j e^{z_ij} − z_ik), the cross-entropy of y = softmax(z), from logits.

    dz = T y − t with T_i = Σ_k t_ik.  pred (n, k), finite; target: integer labels (n,), one-hot or
    soft (n, k), or CSR (n, k) (counts: the multinomial likelihood).  With the largest logit m set
    apart, ln Σ_j e^{z_j} = m + ln(1 + r) and y_max − 1 = −r/(1 + r): no digit is lost in either.

    >>> value, dpred = SoftmaxCrossEntropy()(np.array([[0.0, 0.0]]), np.array([1]))
    >>> value.round(4), dpred
    (np.float64(0.6931), array([[ 0.5, -0.5]]))
    """

    takes_labels = True

    def inverse_link(self, pred: Array) -> Array:
        return act.softmax(pred)

    def __call__(self, pred: Array, target: Any, weight: Array | None = None) -> Any:
        t = class_target(self, pred, target)
        e, m, top = act.exp_shifted(pred)
        np.put_along_axis(e, top, 0, axis=1)
        r = e.sum(axis=1, keepdims=True)
        T, t_top = t.sum(axis=1, keepdims=True), np.take_along_axis(t, top, axis=1)
        losses = (T * np.log1p(r))[:, 0] + (t * (m - pred)).sum(axis=1)
        d = e
        d *= T / (1 + r)
        d -= t
        np.put_along_axis(d, top, ((T - t_top) - t_top * r) / (1 + r), axis=1)
        return self.average(losses, d, weight)


def class_target(loss: Loss, pred: Array, target: Any) -> Array:
    """Labels (n,) as one-hot rows; else the target (n, classes), CSR too, as a dense array."""
    if target.ndim != 1:
        t = loss.matched(pred, target.toarray() if hasattr(target, "toarray") else target)
        check_range(loss, "target", t)
        return t
    if pred.ndim != 2 or not len(pred) or len(target) != len(pred):
        found = f"pred has shape {pred.shape} and labels {target.shape}"
        raise ValueError(f"{loss!r}: {found}, expected (n, classes) and (n,), n ≥ 1")
    if target.dtype.kind not in "iub":
        raise TypeError(f"{loss!r}: labels are {target.dtype}, expected integers")
    if (bad := (target < 0) | (target >= pred.shape[1])).any():
        row, classes = int(bad.argmax()), pred.shape[1]
        raise IndexError(f"{loss!r}: label {target[row]} in row {row} is outside [0, {classes})")
    t = np.zeros(pred.shape, pred.real.dtype)
    t[np.arange(len(pred)), target.astype(np.intp)] = 1
    return t


def check_range(owner: Any, name: str, values: Array, most: float = np.inf) -> None:
    """Raise, naming the row, unless all values are finite and lie in [0, most]."""
    real = values.real
    fine = (real >= 0) & (real <= most if most < np.inf else real < np.inf)
    if not fine.all():
        at = tuple(np.argwhere(~fine)[0])
        wanted = "0 to 1" if most == 1 else "≥ 0 and finite"
        raise ValueError(f"{owner!r}: {name} {values[at]} in row {at[0]}, expected {wanted}")


def log_where(loss: Loss, p: Array, needed: Array, on_logits: str) -> tuple[Array, Array]:
    """ln p and 1/p where needed, else 0; an error that names the row where a needed p is 0."""
    check_range(loss, "probability", p, 1)
    if (zero := needed & (p.real == 0)).any():
        found = f"row {np.argwhere(zero)[0][0]} needs the logarithm of a probability"
        raise ValueError(f"{loss!r}: {found} that is exactly 0; give logits to {on_logits}")
    safe = np.where(needed, p, 1)
    return np.log(safe), needed / safe


class Penalty(Described):
    """A term of the objective on every parameter with two or more axes: weights, not biases."""

    def __init__(self, strength: float):
        self.strength = real_number(type(self).__name__, "strength", strength)

    def __call__(self, W: Array) -> tuple[Any, Array]:
        raise NotImplementedError(f"{type(self).__name__} defines no __call__")


class L1(Penalty):
    """λ Σ |w|,  dw = λ sign w (0 at 0).

    >>> L1(0.1)(np.array([[2.0, -3.0]]))
    (np.float64(0.5), array([[ 0.1, -0.1]]))
    """

    def __call__(self, W: Array) -> tuple[Any, Array]:
        sign = np.sign(W.real)
        return (W * sign).sum() * self.strength, sign * self.strength


class L2(Penalty):
    """(λ/2) Σ w²,  dw = λ w.

    >>> L2(0.1)(np.array([[2.0, -4.0]]))
    (np.float64(1.0), array([[ 0.2, -0.4]]))
    """

    def __call__(self, W: Array) -> tuple[Any, Array]:
        return (W * W).sum() * (self.strength / 2), W * self.strength
