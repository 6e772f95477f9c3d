"""Probes: ∂E/∂ of anything inside a network, from its forward pass alone.

One number on the way, an input or the output of one call of one part, or a parameter as one call or
as all calls see it, is moved by h, and the rest of the forward pass is run: the derivative is
Im E / h with an imaginary h = 1e-100 (Squire & Trapp 1998), the ε part of E on dual numbers over
fractions, and a difference where the code refuses complex numbers.  No backward pass is called.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from nnrec.gradcheck import Dual, as_dual
from nnrec.nn import Network
from nnrec.nn.arguments import Array
from nnrec.nn.composites import rewired
from nnrec.nn.layers import several
from nnrec.teach.planting import Call, Planted
from nnrec.teach.traces import CENTRAL, widened

ENTRIES = 1000  # so many of an array are probed, evenly spread
STEP = 2.0**-14


class Probes:
    """A network at one point, with a probe in it.

    Places: ("x", i), ("theta", start, stop), ("pred", i), and of the i-th call in the order of the
    forward pass ("in", i, j), ("own", i, start, stop) and ("out", i, j); and a penalty on its own,
    ("penalty", penalty, W).
    """

    def __init__(self, network: Network, batch: Any, fresh: Callable[[], Any], exact: bool):
        self.network, self.fresh, self.exact = network, fresh, exact
        xs, target, weight = batch
        self.xs, self.target, self.weight = (
            tuple(map(widened, xs)),
            widened(target),
            widened(weight),
        )
        self.theta = widened(network.theta)
        self.layer = rewired(network.layer, lambda path, part: Planted(part, self.enter, path))
        self.method = "fractions" if exact else "complex step"
        self.place: tuple[Any, ...] = ()
        self.calls = 0

    def derivative(self, place: tuple[Any, ...], shape: tuple[int, ...]) -> Array:
        """∂E/∂ of what stands at a place; NaN where an entry is left unprobed."""
        size = int(np.prod(shape))
        entries = np.unique(np.linspace(0, size - 1, min(size, ENTRIES)).astype(int))
        found = np.full(size, np.nan, object if self.exact else float)
        for entry in entries:
            found[entry] = self.slope(place, int(entry))
        return found.reshape(shape)

    def slope(self, place: tuple[Any, ...], entry: int) -> Any:
        """The derivative in one number."""

        def moved(h: Any) -> Any:
            return self.objective(place, entry, h)

        if self.method == "fractions":
            return as_dual(moved(Dual(0, 1))).dual
        if self.method != CENTRAL:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", np.exceptions.ComplexWarning)
                    return np.imag(moved(1e-100j)) / 1e-100
            except (TypeError, np.exceptions.ComplexWarning):
                self.method = CENTRAL
        near, far = ((moved(h) - moved(-h)) / (2 * h) for h in (STEP / 2, STEP))
        return (4 * near - far) / 3

    def objective(self, place: tuple[Any, ...], entry: int, h: Any) -> Any:
        """E with one number moved by h."""
        self.place, self.entry, self.h, self.calls = place, entry, h, 0
        xs, theta = list(self.xs), self.theta
        match place:
            case ("x", i):
                xs[i] = self.moved(xs[i])
            case ("theta", start, _):
                theta = self.moved(theta, start)
            case ("penalty", penalty, W):
                return penalty(self.moved(widened(W)))[0]
        pred, _ = self.layer(theta, *xs, rng=self.fresh())
        if place[0] == "pred":
            pred = self.replaced(pred, place[1])
        value = self.network.loss(pred, self.target, self.weight)[0]
        return value + self.network.penalties(theta, self.network.layer.rows(*self.xs))

    def enter(self, call: Call) -> Any:
        """One call of a part, with the probe in it where it belongs there."""
        here, self.calls = self.calls, self.calls + 1
        match self.place:
            case ("in", i, j) if i == here:
                inputs = list(call.inputs)
                inputs[j] = self.moved(inputs[j])
                call.inputs = tuple(inputs)
            case ("own", i, start, _) if i == here:
                call.theta = self.moved(call.theta, start)
        y, back = call.forward()
        given = [np.asarray(a) for a in (call.theta, *call.inputs) if not hasattr(a, "tocsr")]
        moved = any(np.iscomplexobj(a) and a.size for a in given)
        if moved and not all(map(np.iscomplexobj, several(y))):
            raise TypeError(f"{call.layer!r} drops imaginary parts")
        if self.place[0] == "out" and self.place[1] == here:
            y = self.replaced(y, self.place[2])
        return y, back

    def replaced(self, y: Any, i: int) -> Any:
        """Outputs of which the i-th holds the moved number."""
        parts = list(several(y))
        parts[i] = self.moved(parts[i])
        return tuple(parts) if isinstance(y, tuple) else parts[0]

    def moved(self, a: Array, start: int = 0) -> Array:
        """A copy in which one number is moved by h."""
        complex_step = isinstance(self.h, complex)
        a = np.array(a, complex if complex_step else None)
        at = np.unravel_index(start + self.entry, a.shape)
        a[at] = a[at] + self.h
        return a


def as_fractions(a: Any) -> Any:
    """Floats as the fractions that their shortest decimals name: 0.1 as 1/10.

    >>> as_fractions(np.array([0.1, 2.0], np.float32)).tolist()
    [Fraction(1, 10), Fraction(2, 1)]
    """
    if hasattr(a, "tocsr"):
        raise TypeError("exact=True: a CSR matrix can't hold fractions; pass an array")
    if a is None or a.dtype.kind != "f":
        return a
    exact = np.empty(a.size, object)
    exact[:] = [Fraction(str(x)) for x in a.ravel()]
    return exact.reshape(a.shape)
