"""NeuMF: a product of factors beside a tower of layers (He et al., WWW 2017, equations 7–12).

    h = [ p_u ⊙ q_i  |  tower(P′_u, Q′_i) ],   logit = h W + b

The tower's first affine layer is taken apart, [P′_u | Q′_i] W₁ = P′_u W_u + Q′_i W_i, and each half
is computed once for each user and item of the batch, not once for each pair: exact, and cheaper.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from nnrec import nn
from nnrec.data.interactions import Interactions
from nnrec.data.sampling import Pointwise
from nnrec.nn.layers import Array, Result, Rng, add_rows
from nnrec.recommend.matrix_factorization import MatrixFactorization
from nnrec.recommend.network_model import NetworkModel, with_negatives
from nnrec.recommend.scoring import check_fitted

WIDEST = 64  # units of the tower's last layer, at most


class Rows(nn.Layer):
    """y = a[i] (n, d): rows of a by their places i (n,);  da[i] += dy."""

    def __call__(self, theta: Array, a: Array, i: Array, rng: Rng = None) -> Result:
        def back(dy: Array, g: Array) -> tuple[Array, None]:
            da = np.zeros_like(a)
            add_rows(da, i, dy)
            return da, None

        return a.take(i, axis=0), back


class Fusion(nn.Composite):
    """The logit (n, 1) of pairs of user and item ids (n,)."""

    def __init__(self, users: int, items: int, dim: int, dropout: float):
        self.users, self.items, self.dim, self.dropout = users, items, dim, dropout
        small, unit, last = nn.Normal(0.05), [nn.ReLU(), nn.Dropout(dropout)], min(dim, WIDEST)
        super().__init__(
            user=nn.Embedding(users, dim, small),
            item=nn.Embedding(items, dim, small),
            multiply=nn.Multiply(),
            tower_user=nn.Embedding(users, 2 * last, small),
            tower_item=nn.Embedding(items, 2 * last, small),
            from_user=nn.Dense(2 * last, 2 * last),
            from_item=nn.Dense(2 * last, 2 * last),
            rows=Rows(),
            add=nn.Add(),
            tower=nn.Sequential([*unit, nn.Dense(2 * last, last), *unit]),
            both=nn.Concatenate(),
            out=nn.Dense(dim + last, 1),
        )

    def __call__(self, theta: Array, users: Array, items: Array, rng: Rng = None) -> Result:
        on = self.bind(theta, rng)
        user, at_user = np.unique(users, return_inverse=True)
        item, at_item = np.unique(items, return_inverse=True)
        p, back_p = on.user(user)
        q, back_q = on.item(item)
        rows_p, back_rows_p = on.rows(p, at_user)
        rows_q, back_rows_q = on.rows(q, at_item)
        product, back_product = on.multiply(rows_p, rows_q)
        u, back_u = on.tower_user(user)
        i, back_i = on.tower_item(item)
        z_u, back_z_u = on.from_user(u)
        z_i, back_z_i = on.from_item(i)
        rows_u, back_rows_u = on.rows(z_u, at_user)
        rows_i, back_rows_i = on.rows(z_i, at_item)
        z, back_z = on.add(rows_u, rows_i)
        h, back_h = on.tower(z)
        both, back_both = on.both(product, h)
        y, back_y = on.out(both)

        def back(dy: Array, g: Array) -> None:
            d_product, dh = back_both(back_y(dy, g), g)
            dz_u, dz_i = back_z(back_h(dh, g), g)
            back_i(back_z_i(back_rows_i(dz_i, g)[0], g), g)
            back_u(back_z_u(back_rows_u(dz_u, g)[0], g), g)
            dp, dq = back_product(d_product, g)
            back_q(back_rows_q(dq, g)[0], g)
            back_p(back_rows_p(dp, g)[0], g)

        return y, back

    def rows(self, users: Array, items: Array) -> dict[str, Array]:
        distinct = {"user": np.unique(users), "item": np.unique(items)}
        return {f"{t}{side}.E": ids for side, ids in distinct.items() for t in ("", "tower_")}


class NeuMF(NetworkModel):
    """The product and the tower, on sampled negatives, with lazy Adam.

    dim: the product's factors; the tower is 4·dim – 2·dim – dim, 256 – 128 – 64 at most.
    pretrain: begin at the product of a `MatrixFactorization` over all items (the paper, section
    3.4.1, trains both parts alone first, on drawn negatives).

    >>> log = Interactions.from_columns([1, 1, 2, 2, 3, 3], ["a", "b", "a", "b", "c", "d"])
    >>> NeuMF(dim=4, epochs=2).fit(log).score_all([0, 1]).shape
    (2, 4)
    """

    def __init__(
        self,
        dim: int = 64,
        negatives: int = 8,
        epochs: int = 12,
        batch_size: int = 1024,
        learning_rate: float = 0.004,
        l2: float = 3e-6,
        dropout: float = 0.5,
        pretrain: bool = False,
        rng: Any = 0,
        verbose: int = 0,
    ):
        self.dim, self.negatives, self.epochs, self.batch_size = dim, negatives, epochs, batch_size
        self.learning_rate, self.l2, self.dropout = learning_rate, l2, dropout
        self.pretrain, self.rng, self.verbose = pretrain, rng, verbose
        self.check_arguments()

    def fit(
        self, interactions: Interactions, callbacks: Any = (), start: Any = None, epochs: Any = None
    ) -> Self:
        if self.pretrain and not start:
            start = self._product(interactions)
        return super().fit(interactions, callbacks, start, epochs)

    def _product(self, interactions: Interactions) -> dict[str, Array]:
        """Where the product begins: its last factors are 1 for users and the items' biases."""
        model = MatrixFactorization(self.dim - 1, negatives=self.negatives, rng=self.rng)
        p = model.fit(interactions).network.parameters()
        ones = np.ones((interactions.n_users, 1), np.float32)
        return {
            "user.E": np.hstack([p["user.E"], ones]),
            "item.E": np.hstack([p["item.Q"], p["item.b"][:, None]]),
            "out.W": (np.arange(self.dim + WIDEST) < self.dim).astype(np.float32)[:, None],
        }

    def assemble(self, interactions: Interactions) -> tuple[nn.Network, Any, int]:
        users, items, log = interactions.n_users, interactions.n_items, with_negatives(interactions)
        layer = Fusion(users, items, self.dim, self.dropout)
        network = nn.Network(layer, nn.SigmoidCrossEntropy(), rng=self.rng, penalty=nn.L2(self.l2))
        source = Pointwise(log, self.negatives, self.batch_size) if len(log) else None
        return network, source, log.csr().nnz

    @property
    def item_factors(self) -> Array:
        """(items, 3 dim): the item's factors of the product beside those of the tower."""
        check_fitted(self, "network")
        p = self.network.parameters()
        return np.concatenate([p["item.E"], p["tower_item.E"]], axis=1)

    def score_all(self, users: Any) -> Array:
        """As for pairs; the items' half of the tower's first layer is computed once."""
        check_fitted(self, "network")
        layer: Any = self.network.layer
        on, p = layer.bind(self.network.theta), self.network.parameters()
        of_users, _ = on.from_user(p["tower_user.E"][np.asarray(users)])
        of_items, _ = on.from_item(p["tower_item.E"])
        of_product, of_tower = np.split(p["out.W"][:, 0], [self.dim])
        scores = (p["user.E"][np.asarray(users)] * of_product) @ p["item.E"].T + p["out.b"]
        for row, of_user in zip(scores, of_users):
            row += on.tower(of_user + of_items)[0] @ of_tower
        return np.asarray(scores)
