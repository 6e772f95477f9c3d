"""NeuMF: a product of factors beside a tower of layers (He et al., WWW 2017, equations 7–12).

    h = [ p_u ⊙ q_i  |  tower(P′_u, Q′_i) ],   logit = h W + b

The tower's first affine layer is taken apart, [P′_u | Q′_i] W₁ = P′_u W_u + Q′_i W_i, and each half
is computed once for each user and item of the batch, not once for each pair: exact, and cheaper.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from nnrec.data.interactions import Interactions
from nnrec.data.sampling import Pointwise
from nnrec.nn import (
    L2,
    Adam,
    Add,
    Composite,
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    Layer,
    LinearDecay,
    Multiply,
    Network,
    Normal,
    ReLU,
    Sequential,
    SigmoidCrossEntropy,
)
from nnrec.nn.layers import Array, Result, Rng, add_rows
from nnrec.recommend.scoring import ScoringModel, check_events, check_fitted


class Gather(Layer):
    """y = x[at]: rows of x (m, d) by integer positions (n,), y (n, d);  dx[at] += dy."""

    def __call__(self, theta: Array, x: Array, at: Array, rng: Rng = None) -> Result:
        def back(dy: Array, g: Array) -> tuple[Array, None]:
            dx = np.zeros_like(x)
            add_rows(dx, at, dy)
            return dx, None

        return x[at], back


class Towers(Composite):
    """The logit (n, 1) of pairs of user and item ids (n,): both towers, or only one of them."""

    def __init__(self, users: int, items: int, dim: int, dropout: float, towers: str = "both"):
        self.towers = towers
        small = Normal(0.05)
        product = {
            "user": Embedding(users, dim, small),
            "item": Embedding(items, dim, small),
            "multiply": Multiply(),
        }
        tower = {
            "tower_user": Embedding(users, 2 * dim, small),
            "tower_item": Embedding(items, 2 * dim, small),
            "from_user": Dense(2 * dim, 2 * dim),
            "from_item": Dense(2 * dim, 2 * dim),
            "add": Add(),
            "tower": Sequential(
                [ReLU(), Dropout(dropout), Dense(2 * dim, dim), ReLU(), Dropout(dropout)]
            ),
        }
        parts = {**(product if towers != "tower" else {}), **(tower if towers != "product" else {})}
        both = {"both": Concatenate()} if towers == "both" else {}
        out = Dense(dim * (1 + (towers == "both")), 1)
        super().__init__(**parts, gather=Gather(), **both, out=out)

    def __call__(self, theta: Array, users: Array, items: Array, rng: Rng = None) -> Result:
        on = self.bind(theta, rng)
        user, at_user = np.unique(users, return_inverse=True)
        item, at_item = np.unique(items, return_inverse=True)
        hs, backs = [], []
        if "user" in self.parts:
            p, back_p = on.user(user)
            q, back_q = on.item(item)
            p_n, back_p_n = on.gather(p, at_user)
            q_n, back_q_n = on.gather(q, at_item)
            h, back_multiply = on.multiply(p_n, q_n)
            hs.append(h)

            def back_product(dh: Array, g: Array) -> None:
                dp, dq = back_multiply(dh, g)
                back_p(back_p_n(dp, g)[0], g)
                back_q(back_q_n(dq, g)[0], g)

            backs.append(back_product)
        if "tower" in self.parts:
            u, back_u = on.tower_user(user)
            i, back_i = on.tower_item(item)
            z_u, back_z_u = on.from_user(u)
            z_i, back_z_i = on.from_item(i)
            z_u_n, back_z_u_n = on.gather(z_u, at_user)
            z_i_n, back_z_i_n = on.gather(z_i, at_item)
            z, back_add = on.add(z_u_n, z_i_n)
            h, back_h = on.tower(z)
            hs.append(h)

            def back_tower(dh: Array, g: Array) -> None:
                du, di = back_add(back_h(dh, g), g)
                back_u(back_z_u(back_z_u_n(du, g)[0], g), g)
                back_i(back_z_i(back_z_i_n(di, g)[0], g), g)

            backs.append(back_tower)
        both, back_both = on.both(*hs) if len(hs) == 2 else (hs[0], lambda dy, g: (dy,))
        y, back_out = on.out(both)

        def back(dy: Array, g: Array) -> None:
            for back_one, dh in zip(backs, back_both(back_out(dy, g), g)):
                back_one(dh, g)

        return y, back

    def rows(self, users: Array, items: Array) -> dict[str, Array]:  # type: ignore[override]
        rows: dict[str, Array] = {}
        for name, ids in (("user", users), ("item", items)):
            for part in (name, f"tower_{name}"):
                if part in self.parts:
                    rows |= self.part_rows(part, ids)
        return rows


class NeuMF(ScoringModel):
    """Both towers on sampled negatives, trained by the one loop with lazy Adam.

    dim: the product's factors and the tower's last width; the tower is 4·dim – 2·dim – dim.
    pretrain: train each tower alone first, and start from both (the paper's section 3.4.1).

    >>> log = Interactions.from_columns([1, 1, 2, 2, 3, 3], ["a", "b", "a", "b", "c", "d"])
    >>> NeuMF(dim=4, epochs=2).fit(log).score_all([0, 1]).shape
    (2, 4)
    """

    learned = ("network", "shape")

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
        rng: int = 0,
        verbose: int = 0,
    ):
        self.dim, self.negatives, self.epochs, self.batch_size = dim, negatives, epochs, batch_size
        self.learning_rate, self.l2, self.dropout = learning_rate, l2, dropout
        self.pretrain, self.rng, self.verbose = pretrain, rng, verbose

    def fit(self, interactions: Interactions, callbacks: Any = ()) -> Self:
        check_events(self, interactions)
        self.shape = (interactions.n_users, interactions.n_items)
        start = {}
        if self.pretrain:
            outs = []
            for towers in ("product", "tower"):
                alone = self._train(interactions, towers, {}, ()).parameters()
                outs.append((alone.pop("out.W"), alone.pop("out.b")))
                start |= alone
            start["out.W"] = np.concatenate([W for W, _ in outs]) / 2
            start["out.b"] = sum(b for _, b in outs) / 2
        self.network = self._train(interactions, "both", start, callbacks)
        return self

    def _train(
        self, interactions: Interactions, towers: str, start: dict[str, Array], callbacks: Any
    ) -> Network:
        layer = Towers(*self.shape, self.dim, self.dropout, towers)
        network = Network(layer, SigmoidCrossEntropy(), rng=self.rng, penalty=L2(self.l2))
        for name, values in start.items():
            network.parameters()[name][:] = values
        source = Pointwise(interactions, self.negatives, self.batch_size)
        steps = self.epochs * -(-len(interactions) // self.batch_size)
        rate = LinearDecay(self.learning_rate, steps, 0.03 * self.learning_rate)
        network.fit(
            source,
            optimizer=Adam(rate),
            epochs=self.epochs,
            callbacks=callbacks,
            verbose=self.verbose,
        )
        return network

    def score_all(self, users: Any) -> Array:
        check_fitted(self, "network")
        users, items = np.asarray(users), np.arange(self.shape[1])
        scores = np.empty((len(users), len(items)), self.network.theta.dtype)
        for first in range(0, len(users), 8):  # so few that the pairs' hidden units stay in cache
            block = users[first : first + 8]
            pairs = np.repeat(block, len(items)), np.tile(items, len(block))
            logits = self.network.predict(pairs, batch_size=len(pairs[0]), link=False)
            scores[first : first + 8] = logits.reshape(len(block), -1)
        return scores
