"""Implicit alternating least squares: matrix factorisation on all pairs, the unseen ones too.

    L = Σ_{ui seen} c_ui (w_u·h_i − 1)² + α Σ_{all ui} (w_u·h_i)² + Σ_u λ_u |w_u|² + Σ_i λ_i |h_i|²

(Hu, Koren & Volinsky, ICDM 2008).  Each half step is exact: with the items fixed every user's row
solves (Σ_i c_ui h_i h_iᵀ + α HᵀH + λ_u I) w_u = Σ_i c_ui h_i, and the other way round.
Penalties grow with how often a row is used, λ_u = λ (Σ_i c_ui + α I)^ν (Rendle et al., RecSys 2022:
with it and a tuned α this model is on a par with the networks it was the weak baseline of).
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from nnrec.data.interactions import Interactions
from nnrec.recommend.scoring import Array, ScoringModel, check_events, check_fitted

CELLS = 2_000_000  # numbers in the stack of gathered rows that are multiplied at a time


class IALS(ScoringModel):
    """Factors of users (n_users, dim) and items (n_items, dim), float32; a score is their product.

    l2            λ.  frequency: ν; 0 is Hu's plain penalty, 1 in full proportion
    unobserved    α, the weight of all pairs
    weights       c_ui: "binary", "count" of events or Σ of "values" (above 0)
    epochs        of one step for users, one for items; then users are solved once more
    rng           of the first item factors, N(0, .01 / dim)

    New users are folded in by the same solution: `score_histories`.

    >>> log = Interactions.from_columns([1, 1, 2, 3, 3], ["mug", "tea", "tea", "pen", "ink"])
    >>> IALS(dim=2, l2=0.01, epochs=20).fit(log).score_all([1])[0].argsort()[::-1][:2]
    array([1, 0])
    """

    learned = ("user_factors", "item_factors")
    choices: ClassVar = {"weights": ("binary", "count", "values")}
    positive = ("l2",)
    user_factors: Array
    item_factors: Array

    def __init__(
        self,
        dim: int = 64,
        l2: float = 0.006,
        unobserved: float = 0.3,
        frequency: float = 1.0,
        epochs: int = 12,
        weights: str = "binary",
        rng: Any = 0,
    ) -> None:
        self.dim, self.l2, self.unobserved, self.frequency = dim, l2, unobserved, frequency
        self.epochs, self.weights, self.rng = epochs, weights, rng
        self.check_arguments()

    def fit(self, interactions: Interactions) -> Self:
        check_events(self, interactions)
        of_user = interactions.csr(self.weights)
        if of_user.data.min() <= 0:
            raise ValueError(f"IALS.fit: a pair of weight {of_user.data.min()}; expected above 0")
        of_item = of_user.T.tocsr()
        rng = np.random.default_rng(self.rng)
        spread = 0.1 / np.sqrt(self.dim)
        items = (spread * rng.standard_normal((of_user.shape[1], self.dim))).astype(np.float32)
        for _ in range(self.epochs):
            items = self._solve(of_item, self._solve(of_user, items))
        self.item_factors, self.user_factors = items, self._solve(of_user, items)
        return self

    def score_all(self, users: Any) -> Array:
        check_fitted(self, "user_factors")
        return np.asarray(self.user_factors[np.asarray(users)] @ self.item_factors.T)

    def score_histories(self, histories: Any) -> Array:
        check_fitted(self, "item_factors")
        return np.asarray(self._solve(histories.tocsr(), self.item_factors) @ self.item_factors.T)

    def _solve(self, weights: Any, fixed: Array) -> Array:
        """The rows (m, dim) that minimise L for weights (m, n) and the other side's rows (n, dim).

        Rows are taken by length, so that a stack of them wastes little on padding (with zeros).
        """
        lengths = np.diff(weights.indptr)
        padded = np.vstack([fixed, np.zeros_like(fixed[:1])])
        always = self.unobserved * (fixed.T @ fixed)
        total = np.asarray(weights.sum(axis=1), np.float64) + self.unobserved * len(fixed)
        penalty = (self.l2 * total**self.frequency).astype(np.float32)
        solved = np.zeros((len(lengths), self.dim), np.float32)
        order = np.argsort(lengths, kind="stable")
        order = order[lengths[order] > 0]
        eye = np.eye(self.dim, dtype=np.float32)
        while len(order):
            longest = lengths[order[-1]]
            size = max(1, CELLS // ((longest + self.dim) * self.dim))
            own, order = order[-size:], order[:-size]
            column = np.arange(longest)
            there = column < lengths[own, None]
            cell = np.minimum(weights.indptr[own, None] + column, weights.nnz - 1)
            index = np.where(there, weights.indices[cell], len(fixed))
            weight = weights.data[cell].astype(np.float32)[..., None]
            rows = padded[index] * np.sqrt(weight)
            normal = rows.transpose(0, 2, 1) @ rows + always + penalty[own, None, None] * eye
            right = (padded[index] * weight).sum(axis=1)[..., None]
            solved[own] = np.linalg.solve(normal, right)[..., 0]
        return solved
