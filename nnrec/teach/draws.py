"""Draws: the settings of an exercise, and the random networks and numbers it is made of.

Inputs and weights have one decimal, or are halves and quarters where fractions are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnrec import nn
from nnrec.nn.arguments import Array
from nnrec.teach.exercises import Exercise, Index
from nnrec.teach.recording import trace


@dataclass
class Draw:
    """The settings of a sheet, and the random numbers it is drawn from."""

    kind: str
    seed: int
    rng: np.random.Generator
    sizes: tuple[int, ...] | None
    rows: int | None
    difficulty: int
    fractions: bool
    digits: int

    def numbers(self, *shape: int, most: float = 1) -> Array:
        """Numbers that are easy to write, of both signs, none of them 0 or ±1."""
        steps = [0.5, 0.75, 1.5, 2, 2.5, 3, 3.5] if self.fractions else np.arange(1, 16) / 10
        usual = [s for s in steps if s != 1 and (self.fractions or s <= most)]
        return np.asarray(self.rng.choice(usual, shape) * self.rng.choice([-1, 1], shape))

    def widths(self, usual: tuple[int, ...], least: int = 2) -> tuple[int, ...]:
        """The sizes asked for, or the usual ones."""
        sizes = tuple(self.sizes or usual)
        if len(sizes) < least or any(not isinstance(s, int) or not 1 <= s <= 6 for s in sizes):
            raise ValueError(
                f"exercise: sizes={sizes}, expected {least} or more whole numbers from 1 to 6"
            )
        return sizes

    def count(self, usual: int) -> int:
        """The rows asked for, or as many as usual."""
        rows = self.rows or usual
        if not isinstance(rows, int) or not 1 <= rows <= 6:
            raise ValueError(f"exercise: rows={rows!r}, expected a whole number from 1 to 6")
        return rows

    def no_fractions(self) -> None:
        """Raise where they are asked for and there is an exponential."""
        if self.fractions:
            raise ValueError(f"exercise: {self.kind!r} has no fractions: e^z is not rational")

    def chain(self, sizes: tuple[int, ...]) -> nn.Network:
        """Dense layers with sigmoids, at the third difficulty tanh; ReLU where fractions go."""
        layers: list[nn.Layer] = []
        for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
            layers.append(nn.Dense(a, b))
            hidden = i < len(sizes) - 2
            if self.fractions:
                layers += [nn.ReLU()] * hidden
            else:
                layers.append(nn.Tanh() if hidden and self.difficulty == 3 else nn.Sigmoid())
        return self.network(layers, nn.MSE())

    def network(self, layer: Any, loss: nn.Loss) -> nn.Network:
        """A network with drawn parameters."""
        network = nn.Network(layer, loss, rng=0, dtype="float64")
        network.theta[:] = self.numbers(network.theta.size)
        return network

    def target(self, n: int, outputs: int) -> Array:
        """Targets: shares, or any number where there are fractions."""
        numbers = self.numbers(n, outputs)
        return numbers if self.fractions else abs(numbers)

    def sheet(
        self,
        title: str,
        task: str,
        network: nn.Network,
        x: Any,
        y: Any,
        given: list[str],
        asked: Sequence[str] | Mapping[str, list[Index]],
        optimizer: nn.Optimizer | None = None,
        **more: Any,
    ) -> Exercise:
        """The exercise; asked: symbols, or cells by symbol."""
        optimizer = optimizer or nn.SGD(0.5)
        recorded = trace(network, x, y, optimizer, exact=self.fractions)
        if not isinstance(asked, Mapping):
            asked = {name: [*np.ndindex(recorded.values[name].shape)] for name in asked}
        settings = {"digits": self.digits, "fractions": self.fractions} | more
        about = (self.kind, self.seed, title, task, network, x, y, optimizer, recorded)
        return Exercise(*about, given, dict(asked), **settings)
