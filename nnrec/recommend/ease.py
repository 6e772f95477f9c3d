"""EASE and EDLAE: linear autoencoders with a closed solution; hard to beat on small catalogues.

    min ‖X − X B‖² + λ ‖B‖²,  diag B = 0    ⇒    B = −P / diag P off the diagonal,  P = (G + λI)⁻¹

with G = Xᵀ X (Steck, WWW 2019).  Dropout of rate p on the input of this regression has the
expectation of one more penalty, Σ_i κ G_ii ‖B_i‖² with κ = p / (1 − p) (Steck, NeurIPS 2020).
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from nnrec.data.interactions import Interactions
from nnrec.recommend.scoring import Array, LinearModel, check_events

BLOCK = 256  # rows at a time, so that nothing beside the results grows with n_items²


class EDLAE(LinearModel):
    """X_w = diag((n_u / n̄)^(−β/2)) X,  G = X_wᵀ X_w,  P = (G + λI + κ diag G)⁻¹,  score = X B.

    l2      λ > 0.  kappa: κ, the strength of the dropout; 0 is none
    beta    β: at 1 a user of many items weighs no more than one of few; at 0 each event counts

    The system is solved in float64 in place: one array of 8 n_items² bytes, then one of 4 n_items²
    for `item_weights` (float32), and n_items³ multiply-adds.

    >>> log = Interactions.from_columns([1, 1, 2, 2, 2], ["mug", "tea", "mug", "tea", "pen"])
    >>> EDLAE(l2=1.0).fit(log).item_weights.round(3)[0]
    array([0.   , 0.506, 0.161], dtype=float32)
    """

    item_weights: Array
    positive = ("l2",)

    def __init__(self, l2: float = 500.0, kappa: float = 0.3, beta: float = 0.5) -> None:
        self.l2, self.kappa, self.beta = l2, kappa, beta
        self.check_arguments()

    def fit(self, interactions: Interactions) -> Self:
        from scipy.linalg.lapack import dpotrf, dpotri

        check_events(self, interactions)
        self.histories = interactions.csr()
        gram = self._gram(self.histories)
        diagonal = gram.reshape(-1)[:: len(gram) + 1]
        diagonal += self.l2 + self.kappa * diagonal
        # The transpose of a symmetric matrix is itself in the order of Fortran: nothing is copied.
        factor, failed = dpotrf(gram.T, lower=1, clean=0, overwrite_a=1)
        if not failed:
            inverse, failed = dpotri(factor, lower=1, overwrite_c=1)
        if failed:
            raise ValueError(f"{self!r}: XᵀX + λI can't be inverted in float64; try a larger l2")
        self.item_weights = np.empty_like(gram, np.float32)
        np.divide(_mirrored(inverse.T), -diagonal, out=self.item_weights, casting="same_kind")
        np.fill_diagonal(self.item_weights, 0)
        return self

    def _gram(self, x: Any) -> Array:
        """(n_items, n_items) float64, C order: Σ_u (n_u / n̄)^(−β) x_u x_uᵀ."""
        of_user = np.diff(x.indptr)
        share = np.maximum(of_user, 1) / of_user[of_user > 0].mean()
        x = x.astype(np.float64)
        x.data *= np.repeat(share ** (-self.beta / 2), of_user)
        transposed, gram = x.T.tocsr(), np.empty((x.shape[1], x.shape[1]))
        for start in range(0, len(gram), BLOCK):
            gram[start : start + BLOCK] = (transposed[start : start + BLOCK] @ x).toarray()
        return gram


class EASE(EDLAE):
    """`EDLAE` without dropout and user weights: B = −P / diag P,  P = (Xᵀ X + λI)⁻¹.

    >>> log = Interactions.from_columns([1, 1, 2], ["mug", "tea", "tea"])
    >>> EASE(l2=1.0).fit(log).score_all([1]).round(3)  # who has tea may want a mug
    array([[0.333, 0.   ]], dtype=float32)
    """

    def __init__(self, l2: float = 500.0) -> None:
        super().__init__(l2, kappa=0.0, beta=0.0)


def _mirrored(matrix: Array) -> Array:
    """The upper triangle copied onto the lower one, in place."""
    for start in range(0, len(matrix), BLOCK):
        own, behind = slice(start, start + BLOCK), slice(start + BLOCK, None)
        matrix[behind, own] = matrix[own, behind].T
        corner = np.triu(matrix[own, own])
        matrix[own, own] = corner + np.triu(corner, 1).T
    return matrix
