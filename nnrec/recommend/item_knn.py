"""Item neighbours: what stands in the same histories is similar (Sarwar et al., WWW 2001).

    s_ij = x_i · x_j / (|x_i| |x_j| + shrink),    x_i the (weighted) column of item i

and score_uj = Σ s_ij over the items i of the history that are among the k nearest to j, or as
near as the k-th.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from nnrec.data.interactions import Interactions
from nnrec.metrics.ranking import top_n
from nnrec.recommend.scoring import Array, LinearModel, check_events

BLOCK = 512  # items whose similarities to all others are dense at a time


class ItemKNN(LinearModel):
    """Item neighbours under one of three weightings of the cells; items are documents, users words.

    similarity  "cosine": x = 1
                "tfidf":  x = ln((1 + I) / (1 + n_u)) + 1: a user of everything says little
                "bm25":   x = ln(1 + (I − n_u + ½) / (n_u + ½)) · 2.2 / (1 + 1.2 (¼ + ¾ n_i / n̄)),
                          which also damps popular items (Robertson & Zaragoza 2009)
    neighbours  k, of each item.  shrink: makes few common users count for less

    >>> log = Interactions.from_columns([1, 1, 2, 2, 3], ["mug", "tea", "mug", "tea", "pen"])
    >>> ItemKNN(neighbours=1).fit(log).score_histories(log.csr()[[0]]).round(3)
    array([[1., 1., 0.]], dtype=float32)
    """

    choices: ClassVar = {"similarity": ("cosine", "tfidf", "bm25")}

    def __init__(
        self, neighbours: int = 100, similarity: str = "cosine", shrink: float = 0.0
    ) -> None:
        self.neighbours, self.similarity, self.shrink = neighbours, similarity, shrink
        self.check_arguments()

    def fit(self, interactions: Interactions) -> Self:
        """Memory: O(512 × n_items), and about k n_items for the result."""
        from scipy.sparse import csr_array

        check_events(self, interactions)
        self.histories = interactions.csr()
        x = self._weighted(self.histories).tocsc()
        norms = np.sqrt((x * x).sum(axis=0))
        n_items = x.shape[1]
        columns, rows, weights = [], [], []
        for start in range(0, n_items, BLOCK):
            own = np.arange(start, min(start + BLOCK, n_items))
            similar = (x[:, own].T @ x).toarray()
            length = norms[own, None] * norms + self.shrink
            similar = np.divide(similar, length, out=np.zeros_like(similar), where=similar > 0)
            similar[own - start, own] = 0
            farthest = top_n(similar, min(self.neighbours, n_items))[:, -1, None]
            # Who is as near as the k-th stays, or the order of the items would decide.
            bound = np.take_along_axis(similar, farthest, axis=1) * (1 - 1e-9)
            column, row = np.nonzero((similar >= bound) & (similar > 0))
            columns.append(own[column])
            rows.append(row)
            weights.append(similar[column, row])
        cells = (np.concatenate(rows), np.concatenate(columns))
        parts = (np.concatenate(weights).astype(np.float32), cells)
        self.item_weights = csr_array(parts, shape=(n_items, n_items))
        return self

    def _weighted(self, x: Any) -> Any:
        """CSR float64: each cell of x weighted by its user, and for BM25 by its item."""
        of_user, n_items = np.diff(x.indptr), x.shape[1]
        x = x.astype(np.float64)
        weight: Array = np.ones(len(of_user))
        if self.similarity == "tfidf":
            weight = np.log((1 + n_items) / (1 + of_user)) + 1
        elif self.similarity == "bm25":
            weight = np.log1p((n_items - of_user + 0.5) / (of_user + 0.5))
            of_item = np.bincount(x.indices, minlength=n_items)
            x.data *= (2.2 / (1 + 1.2 * (0.25 + 0.75 * of_item / of_item.mean())))[x.indices]
        x.data *= np.repeat(weight, of_user)
        return x
