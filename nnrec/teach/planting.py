"""Planting a mistake: the library's own layer or loss, run as it is, with its gradient altered.

Nothing in `nn` knows of this.  A planted layer wraps a real one from outside, calls it, and changes
what its back gives; a composite gets planted parts by `with_parts`; a network is a copy with a
planted layer, loss or penalty.  The mistakes themselves stand in `mistakes`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Self

import numpy as np

from nnrec.nn import Composite, Layer, Loss, Network
from nnrec.nn.arguments import Array
from nnrec.nn.losses import Penalty

Generator = np.random.Generator
Parts = dict[str, Array]
Function = Callable[..., Any]
RATE = 0.5  # of the mistakes that use weights which a step has already changed


@dataclass
class Batch:
    """One call of a loss, as a mistake sees it."""

    loss: Any
    pred: Any
    target: Any
    weight: Any


@dataclass
class Call:
    """One call of a layer, as a mistake sees it."""

    layer: Any
    theta: Array
    inputs: tuple[Any, ...]
    rng: Generator | None
    rate: float
    memory: dict[str, Any]  # lives as long as the planted layer: what a bad layer keeps on `self`

    def forward(self) -> tuple[Any, Callable[[Any, Array], Any]]:
        """The real layer's y and back."""
        self.y, self.back = self.layer(self.theta, *self.inputs, rng=self.rng)
        return self.y, self.back

    @property
    def x(self) -> Any:
        """The first input."""
        return self.inputs[0]

    def named(self, vector: Array) -> Parts:
        """The parts of θ, or of a gradient, by name, as views."""
        return dict(zip(self.layer.shapes, self.layer.split(vector)))


class Planted(Layer):
    """A layer that computes what `layer` does, but for one mistake in it."""

    def __init__(self, layer: Layer, hook: Function, name: str, rate: float = RATE):
        self.layer, self.hook, self.name, self.rate = layer, hook, name, rate
        self.takes_ids = layer.takes_ids
        self.memory: dict[str, Any] = {}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self.layer.shapes

    def init(self, rng: Generator) -> Array:
        return self.layer.init(rng)

    def rows(self, *inputs: Any) -> dict[str, Array]:
        return self.layer.rows(*inputs)

    def without_data_gradient(self) -> Self:
        twin = copy.copy(self)
        twin.layer = self.layer.without_data_gradient()
        return twin

    def __call__(self, theta: Array, *inputs: Any, rng: Generator | None = None) -> Any:
        return self.hook(Call(self.layer, theta, inputs, rng, self.rate, self.memory))

    def __repr__(self) -> str:
        return f"{self.layer!r} with {self.name}"


class PlantedLoss(Loss):
    """A loss that gives what `loss` does, but for one mistake in the gradient."""

    def __init__(self, loss: Loss, hook: Function, name: str):
        self.loss, self.hook, self.name = loss, hook, name
        self.takes_labels = loss.takes_labels

    def inverse_link(self, pred: Any) -> Any:
        return self.loss.inverse_link(pred)

    def __call__(self, pred: Any, target: Any, weight: Array | None = None) -> tuple[Any, Any]:
        value, d = self.loss(pred, target, weight)
        return value, self.hook(Batch(self.loss, pred, target, weight), d)

    def __repr__(self) -> str:
        return f"{self.loss!r} with {self.name}"


class PlantedPenalty(Penalty):
    """A penalty that gives what `penalty` does, but for one mistake in the gradient."""

    def __init__(self, penalty: Penalty, hook: Function):
        self.penalty, self.hook, self.strength = penalty, hook, penalty.strength

    def __call__(self, W: Array) -> tuple[Any, Array]:
        value, d = self.penalty(W)
        return value, self.hook(W, d)


@dataclass(frozen=True)
class Mistake:
    """A classic mistake, and how to make it: a hook for each class that it can stand in.

    name: a slug.  title: what was done.  why: what is right, for the student.  whole: it is made
    once, around the outermost layer, not in every part.  contract: it breaks the contract of a
    layer, and may do so with the numbers of one call right.  suits: which of the layers.
    """

    name: str
    title: str
    why: str
    hooks: Mapping[type, Function] = field(repr=False)
    whole: bool = False
    contract: bool = False
    suits: Callable[[Any], bool] = field(default=lambda layer: True, repr=False)

    def plant(
        self, subject: Any, rate: float = RATE, only: str | None = None, path: str = ""
    ) -> Any:
        """A twin of a layer, loss or Network with this mistake wherever it can stand; else None.

        rate: the learning rate, for mistakes that use weights which a step has already changed.
        only: the path of the one part to plant it in, or "loss".  path: that of the subject itself.

        >>> from nnrec import MSE, Dense, ReLU, Tanh, check_gradients
        >>> from nnrec.teach import MISTAKES
        >>> wrong = MISTAKES["relu-mask-forgotten"]
        >>> net = Network([Dense(3, 5), ReLU(), Dense(5, 1)], MSE(), rng=0)
        >>> x, y = np.random.default_rng(0).normal(size=(7, 3)), np.ones(7)
        >>> [bool(check_gradients(n, x, target=y)) for n in (net, wrong.plant(net))]
        [True, False]
        >>> wrong.plant(Tanh()) is None
        True
        """
        if isinstance(subject, Network):
            return self.plant_network(subject, rate, only)
        here = only is None or only == path
        if isinstance(subject, Composite) and not (self.whole and here):
            under = f"{path}." if path else ""
            parts = {k: self.plant(p, rate, only, under + k) for k, p in subject.parts.items()}
            if any(parts.values()):
                kept = {name: part or subject.parts[name] for name, part in parts.items()}
                inside = subject.with_parts(kept)
                return here and self.wrap(inside, rate) or inside
        return self.wrap(subject, rate) if here else None

    def wrap(self, subject: Any, rate: float) -> Any:
        """The subject itself with the mistake around it, or None."""
        hook = next((hook for kind, hook in self.hooks.items() if isinstance(subject, kind)), None)
        if hook is None or not self.suits(subject):
            return None
        if isinstance(subject, Loss):
            return PlantedLoss(subject, hook, self.name)
        if isinstance(subject, Penalty):
            return PlantedPenalty(subject, hook)
        return Planted(subject, hook, self.name, rate)

    def plant_network(self, network: Network, rate: float, only: str | None) -> Network | None:
        """A copy of a network with a planted layer, loss or penalty; None when it has no place."""
        planted: dict[str, Any] = {"layer": self.plant(network.layer, rate, only)}
        if only == "loss" or (only is None and not (self.whole and planted["layer"])):
            planted["loss"] = self.plant(network.loss)
        if only is None:
            penalties = [self.plant(penalty) for penalty in network.penalty]
            if any(penalties):
                planted["penalty"] = [p or real for p, real in zip(penalties, network.penalty)]
            if Network in self.hooks and network.penalty:
                planted["loss_and_grad"] = self.hooks[Network](network)
        changes = {name: value for name, value in planted.items() if value is not None}
        twin = copy.copy(network)
        vars(twin).update(changes)
        return twin if changes else None


MISTAKES: dict[str, Mistake] = {}  # the catalogue, by name


def enter(function: Function, hooks: dict[type, Function], **flags: Any) -> None:
    """Put a mistake into the catalogue, under its function's name and words."""
    name = function.__name__.replace("_", "-")
    title, _, why = inspect.getdoc(function).partition("\n\n")  # type: ignore[union-attr]
    MISTAKES[name] = Mistake(name, title, " ".join(why.split()), hooks, **flags)


def in_call(*kinds: type, **flags: Any) -> Function:
    """Decorate a mistake `(call) -> (y, back)` in layers of these kinds."""

    def entered(function: Function) -> Function:
        enter(function, dict.fromkeys(kinds, function), **flags)
        return function

    return entered


def in_back(*kinds: type) -> Function:
    """Decorate a mistake `(call, dy, dx, d) -> dx` in the back of layers of these kinds."""

    def entered(function: Function) -> Function:
        enter(function, dict.fromkeys(kinds, altered(function)))
        return function

    return entered


def altered(function: Function) -> Function:
    """The call whose back runs the real one on a g of its own, then `function` on what it gave."""

    def hook(call: Call) -> tuple[Any, Function]:
        y, real_back = call.forward()

        def back(dy: Any, g: Array) -> Any:
            own = np.zeros_like(g)
            dx = real_back(dy, own)
            wrong = function(call, dy, dx, call.named(own))
            g += own
            return None if dx is None else wrong

        return y, back

    return hook


in_loss = in_call  # a mistake `(batch, d) -> d` in losses, `(W, d) -> d` in penalties


def in_all_gradients(function: Function) -> Function:
    """Decorate a mistake `(array) -> array` made once in all that a layer or a loss gives back."""

    def in_layer(call: Call, dy: Any, dx: Any, d: Parts) -> Any:
        for part in d.values():
            part[...] = function(part)
        return each(function, dx)

    def in_a_loss(at: Batch, d: Any) -> Any:
        return each(function, d)

    enter(function, {Layer: altered(in_layer), Loss: in_a_loss}, whole=True)
    return function


def times(a: Array, factor: float) -> Array:
    """a times a factor; fractions stay fractions.

    >>> times(np.array([Fraction(1, 3)]), 0.5)
    array([Fraction(1, 6)], dtype=object)
    """
    return np.asarray(a * (Fraction(factor) if a.dtype == object else factor))


def each(function: Function, d: Any) -> Any:
    """`function` of an array, or of every array of a tuple; None stays.

    >>> each(abs, (-2, None))
    (2, None)
    """
    if isinstance(d, tuple):
        return tuple(each(function, part) for part in d)
    return None if d is None else function(d)
