"""What models with a network share: one run of the one loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from nnrec import nn
from nnrec.data.interactions import Interactions
from nnrec.nn.arguments import whole_number
from nnrec.nn.layers import Array
from nnrec.recommend.scoring import ScoringModel, check_events


class NetworkModel(ScoringModel):
    """A model with a `network`: what derives from it writes `assemble` and `score_all`."""

    learned: tuple[str, ...] = ("network",)
    beta2: ClassVar[float] = 0.999  # of nn.Adam
    network: nn.Network
    epochs: int
    batch_size: int
    learning_rate: float
    verbose: int

    def assemble(self, interactions: Interactions) -> tuple[nn.Network, Any, int]:
        """A fresh network, its batch source, and how many rows this gives in an epoch."""
        raise NotImplementedError(f"{type(self).__name__} defines no assemble")

    def rates(self) -> dict[str, tuple[float, float]]:
        """The first and the last learning rate of the parameters that a pattern fits."""
        return {"*": (self.learning_rate, 0.03 * self.learning_rate)}

    def fit(
        self,
        interactions: Interactions,
        callbacks: Sequence[Any] = (),
        start: Mapping[str, Array] | None = None,
        epochs: int | None = None,
    ) -> Self:
        """Learn by Adam; the rates fall linearly.

        start: parameters to begin at, such as `network.parameters()` of an earlier fit; where
        users or items have come behind the earlier ones since, theirs begin afresh.
        """
        check_events(self, interactions)
        epochs = self.epochs if epochs is None else whole_number(f"{self!r}.fit", "epochs", epochs)
        self.network, source, rows = self.assemble(interactions)
        for name, old in (start or {}).items():
            new = self.network.parameters()[name]
            both = tuple(slice(min(sizes)) for sizes in zip(old.shape, new.shape))
            new[both] = old[both]
        steps = max(1, epochs * -(-rows // self.batch_size))
        rates = {path: nn.LinearDecay(a, steps, b) for path, (a, b) in self.rates().items()}
        adam = nn.Adam(rates, beta2=self.beta2)
        if rows:
            told: dict[str, Any] = {"callbacks": callbacks, "verbose": self.verbose}
            self.network.fit(source, optimizer=adam, epochs=epochs, **told)
        return self


def with_negatives(interactions: Interactions) -> Interactions:
    """The events of users to whom an item is left that can be drawn as a negative."""
    had = np.diff(interactions.csr().indptr)
    return interactions.take(had[interactions.user_index] < interactions.n_items)
