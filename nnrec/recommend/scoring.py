"""Scoring models: mathematics on indices; users, items and their ids meet in `Recommender`.

A model gives every item of the catalogue a score for a user; only the order within a user counts.
One vocabulary for all models: dim, hidden, epochs, batch_size, optimizer, l2, dropout, negatives,
rng.  Constructor arguments are kept under their own names, what is learned is named in `learned`.
"""

from __future__ import annotations

import inspect
from math import inf
from typing import Any, ClassVar, Self

import numpy as np

from nnrec.data.interactions import Interactions
from nnrec.nn.arguments import Array, Described, real_number, whole_number

# Arguments of models: the least of whole numbers, and what other numbers, from 0 on, are below.
LEAST = dict.fromkeys(("dim", "hidden", "negatives", "epochs", "batch_size", "window"), 1)
LEAST |= {"neighbours": 1, "n": 1, "verbose": 0}
BELOW = dict.fromkeys(("l2", "learning_rate", "user_rate", "frequency", "beta", "recency"), inf)
BELOW |= dict.fromkeys(("temperature", "kappa", "unobserved", "shrink", "tau"), inf)
BELOW |= {"dropout": 1.0, "share": 1.0}


class ScoringModel(Described):
    """What a model derives from: `fit`, `score_all`, and `score_histories` if it can fold in.

    `fit` returns self and checks its data before any work; equal data, arguments and rng give
    equal bits.  Scores are finite, float32 or float64, in an array that nobody else holds.

    >>> class Newest(ScoringModel):
    ...     learned = ("n_items",)
    ...     def fit(self, interactions):
    ...         self.n_items = interactions.n_items
    ...         return self
    ...     def score_all(self, users):
    ...         return np.tile(np.arange(self.n_items, dtype=np.float32), (len(users), 1))
    >>> log = Interactions.from_columns(["eve", "bob", "eve"], ["mug", "mug", "pen"])
    >>> Newest().fit(log).score_all([1])
    array([[0., 1.]], dtype=float32)
    """

    learned: tuple[str, ...] = ()
    choices: ClassVar[dict[str, tuple[str, ...]]] = {}  # argument → its possible values
    positive: ClassVar[tuple[str, ...]] = ()  # such as a λ without which nothing can be solved

    def check_arguments(self) -> None:
        """ValueError unless each argument is in the range of its name; last line of `__init__`."""
        owner = type(self).__name__
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = getattr(self, name)
            if name in LEAST:
                setattr(self, name, whole_number(owner, name, value, LEAST[name]))
            elif name in BELOW:
                setattr(self, name, real_number(owner, name, value, BELOW[name]))
                if name in self.positive and value == 0:
                    raise ValueError(f"{owner}: {name}={value!r}, expected a number > 0")
            elif name in self.choices and value not in self.choices[name]:
                raise ValueError(f"{owner}: {name}={value!r}, expected one of {self.choices[name]}")
            elif isinstance(parameter.default, bool) and not isinstance(value, bool):
                raise ValueError(f"{owner}: {name}={value!r}, expected True or False")

    def fit(self, interactions: Interactions) -> Self:
        """Learn from a log with at least one event."""
        raise NotImplementedError

    def score_all(self, users: Any) -> Array:
        """(n, n_items): the score of every item, seen ones too, for (n,) user indices of `fit`."""
        raise NotImplementedError

    def score_histories(self, histories: Any) -> Array:
        """(n, n_items): the same for users by what they took up, CSR (n, n_items)."""
        raise NotImplementedError(f"{type(self).__name__} can't score users whom it has not seen")


class LinearModel(ScoringModel):
    """score = X B: a user's history (a row of 0 and 1) times `item_weights` (n_items, n_items).

    Additive, so a score explains itself: B[i, j] is what item i in the history adds to item j.
    """

    learned = ("item_weights", "histories")
    item_weights: Any
    histories: Any

    def score_all(self, users: Any) -> Array:
        check_fitted(self, "item_weights")
        return self.score_histories(self.histories[np.asarray(users)])

    def score_histories(self, histories: Any) -> Array:
        check_fitted(self, "item_weights")
        scores = histories @ self.item_weights
        return np.asarray(scores.toarray() if hasattr(scores, "toarray") else scores)


def check_fitted(model: Any, name: str) -> None:
    """RuntimeError before `fit`."""
    if not hasattr(model, name):
        raise RuntimeError(f"{type(model).__name__} has learned nothing yet: call fit first")


def check_events(model: ScoringModel, interactions: Any) -> None:
    """TypeError or ValueError unless these are interactions with at least one event."""
    if not isinstance(interactions, Interactions):
        found = type(interactions).__name__
        raise TypeError(f"{type(model).__name__}.fit: found {found}, expected Interactions")
    if not len(interactions):
        raise ValueError(f"{type(model).__name__}.fit: no event to learn from")
