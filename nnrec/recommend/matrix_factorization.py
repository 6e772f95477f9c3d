"""Matrix factorisation: a user's factors times an item's, under one of five losses.

    s_uj = p_u · q_j + b_j            (for ratings: μ + b_u + b_j + p_u · q_j)

"all_items" and "softmax" look at the whole catalogue: one matrix product per block of users, which
is exact and, below some 10⁴ items, cheaper than drawing negatives.  "logistic" and "bpr" draw them
(Rendle et al. 2009).  "squared" is for ratings (Koren et al. 2009, equation 4).
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from nnrec.data.interactions import Interactions
from nnrec.data.sampling import Pairwise, Pointwise
from nnrec.nn import (
    L2,
    MSE,
    Adam,
    Batches,
    Composite,
    Dot,
    Embedding,
    Layer,
    LinearDecay,
    Loss,
    Network,
    Normal,
    Optimizer,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from nnrec.nn.layers import Array, Generator, Result, Rng, Shape
from nnrec.recommend.scoring import ScoringModel, check_events, check_fitted


class Catalogue(Layer):
    """s = p Qᵀ + b, every item's score: p (n, dim), Q (items, dim), b (items,), s (n, items).

        dQ = dsᵀ p,  db = Σ_rows ds,  dp = ds Q

    Returns (s, Q), so that a loss can hold a penalty on the whole table: dQ of it is added.
    """

    def __init__(self, items: int, dim: int, initializer: Any):
        self.items, self.dim, self.initializer = items, dim, initializer

    @property
    def shapes(self) -> dict[str, Shape]:
        return {"Q": (self.items, self.dim), "b": (self.items,)}

    def init(self, rng: Generator) -> Array:
        Q = self.initializer(rng, (self.items, self.dim))
        return np.concatenate([Q.ravel(), np.zeros(self.items)])

    def __call__(self, theta: Array, p: Array, rng: Rng = None) -> Result:
        Q, b = self.split(theta)
        s = p @ Q.T
        s += b

        def back(dy: tuple[Array, Array], g: Array) -> Array:
            ds, dQ_penalty = dy
            dQ, db = self.split(g)
            dQ += ds.T @ p
            dQ += dQ_penalty
            db += np.ones(len(ds), ds.dtype) @ ds
            return ds @ Q

        return (s, Q), back


class AllItems(Composite):
    """(s, p, Q): the scores of all items for a block of users (n,), and what penalties need."""

    def __init__(self, users: int, items: int, dim: int):
        small = Normal(0.1 / dim**0.5)
        super().__init__(user=Embedding(users, dim, small), item=Catalogue(items, dim, small))

    def __call__(self, theta: Array, users: Array, rng: Rng = None) -> Result:
        on = self.bind(theta, rng)
        p, back_p = on.user(users)
        (s, Q), back_s = on.item(p)

        def back(dy: tuple[Array, Array, Array], g: Array) -> None:
            ds, dp, dQ = dy
            back_p(dp + back_s((ds, dQ), g), g)

        return (s, p, Q), back

    def rows(self, *inputs: Array) -> dict[str, Array]:
        return self.part_rows("user", *inputs)


class Factors(Composite):
    """s = p_u · q_i + b_i for pairs, (n, 1); with `other` items too, the difference s_ui − s_uj."""

    def __init__(self, users: int, items: int, dim: int, user_bias: bool):
        small, parts = Normal(0.1 / dim**0.5), {"user_bias": Embedding(users, 1, Normal(0.0))}
        super().__init__(
            user=Embedding(users, dim, small),
            item=Embedding(items, dim, small),
            dot=Dot(),
            item_bias=Embedding(items, 1, Normal(0.0)),
            **(parts if user_bias else {}),
        )

    def __call__(self, theta: Array, *ids: Array, rng: Rng = None) -> Result:
        users, *items = ids
        on, backs = self.bind(theta, rng), []
        p, back_p = on.user(users)
        y: Any = 0
        for sign, of in zip((1, -1), items):
            q, back_q = on.item(of)
            s, back_s = on.dot(p, q)
            b, back_b = on.item_bias(of)
            y = y + sign * (s + b)
            backs.append((sign, back_s, back_q, back_b))
        if "user_bias" in self.parts:
            b, back_user_bias = on.user_bias(users)
            y = y + b

        def back(dy: Array, g: Array) -> None:
            dp: Any = 0
            for sign, back_s, back_q, back_b in backs:
                from_p, dq = back_s(sign * dy, g)
                back_q(dq, g)
                back_b(sign * dy, g)
                dp = dp + from_p
            back_p(dp, g)
            if "user_bias" in self.parts:
                back_user_bias(dy, g)

        return y, back

    def rows(self, *ids: Array) -> dict[str, Array]:
        users, items = ids[0], np.concatenate(ids[1:])
        rows = self.part_rows("user", users) | self.part_rows("item", items)
        rows |= self.part_rows("item_bias", items)
        return rows | (self.part_rows("user_bias", users) if "user_bias" in self.parts else {})


class AllItemsLoss(Loss):
    """The exact expectation of a sampled loss over all items, with its frequency-scaled penalty.

        E = Σ_u [ Σ_{j ∈ u} ln(1 + e^{−s_uj}) + (K n_u / I) Σ_j ln(1 + e^{s_uj}) ]
            + ½ Σ_u λ_u ‖p_u‖² + ½ (n / U) Σ_j λ_j ‖q_j‖²

    for the n users of a block, K = `negatives` expected negatives for each of u's n_u positives;
    ds = (K n_u / I) σ(s), less σ(−s) at positives.  With softmax=True the first line is
    Σ_u Σ_{j ∈ u} −ln softmax(s_u)_j.  Sums, not means: a user counts by what he has done.
    λ_u = λ (n_u (1 + K))^¾ m^¼, m the mean of n_u (1 + K); `item_l2` is (items,), λ_j / U.
    """

    def __init__(self, negatives: float, l2: float, mean: float, item_l2: Array, softmax: bool):
        self.negatives, self.l2, self.mean, self.item_l2 = negatives, l2, mean, item_l2
        self.softmax = softmax

    def __call__(self, pred: tuple[Array, Array, Array], target: Any, weight: Any = None) -> Any:
        s, p, Q = pred
        n_u = np.diff(target.indptr).astype(s.real.dtype)
        if self.softmax:
            value, ds = SoftmaxCrossEntropy()(s, target)
            value, ds = value * len(s), ds * len(s)
        else:
            value, ds = self.logistic(s, target, n_u * (self.negatives / s.shape[1]))
        user_l2 = self.l2 * (n_u * (1 + self.negatives)) ** 0.75 * self.mean**0.25
        dp = p * user_l2[:, None]
        dQ = Q * (self.item_l2 * len(s)).astype(s.real.dtype)[:, None]
        return value + ((p * dp).sum() + (Q * dQ).sum()) / 2, (ds, dp, dQ)

    def logistic(self, s: Array, target: Any, share: Array) -> tuple[Any, Array]:
        """The two sums over positives and over all items, in blocks of rows that stay in cache."""
        ds, value = np.empty_like(s), s.dtype.type(0)
        for first in range(0, len(s), 16):
            z, scale = s[first : first + 16], share[first : first + 16]
            above = z.real > 0
            e = np.exp(np.where(above, -z, z))
            softplus = np.log1p(e) + z * above
            value = value + softplus.sum(axis=1) @ scale
            ds[first : first + 16] = np.where(above, 1, e) / (1 + e) * scale[:, None]
        rows = np.repeat(np.arange(len(s)), np.diff(target.indptr))
        at = s[rows, target.indices]
        above = at.real > 0
        e = np.exp(np.where(above, -at, at))
        ds[rows, target.indices] -= np.where(above, e, 1) / (1 + e)
        return value + (np.log1p(e) - at * ~above).sum(), ds


class MatrixFactorization(ScoringModel):
    """p_u · q_j + b_j, trained by the one loop; see the module for the losses.

    dim: factors.  l2: the penalty's λ.  negatives: K, expected or drawn, for each positive.
    learning_rate: of the items; under the losses over all items a user has one step an epoch, so
    his factors take steps `user_rate` times as large.  The rate falls linearly to 3 %.

    >>> log = Interactions.from_columns([1, 1, 2, 2, 3], ["a", "b", "a", "b", "c"])
    >>> model = MatrixFactorization(dim=4, epochs=30, l2=0.001).fit(log)
    >>> model.score_all([0]).argmin()  # user 1 took a and b
    np.int64(2)
    """

    learned = ("network", "shape", "offset")

    def __init__(
        self,
        dim: int = 256,
        loss: str = "all_items",
        l2: float = 0.002,
        negatives: int = 8,
        epochs: int = 20,
        batch_size: int = 256,
        learning_rate: float = 0.003,
        user_rate: float = 33.0,
        rng: int = 0,
        verbose: int = 0,
    ):
        losses = ("all_items", "softmax", "logistic", "bpr", "squared")
        if loss not in losses:
            raise ValueError(f"MatrixFactorization: loss={loss!r}, expected one of {losses}")
        self.dim, self.loss, self.l2, self.negatives = dim, loss, l2, negatives
        self.epochs, self.batch_size, self.learning_rate = epochs, batch_size, learning_rate
        self.user_rate, self.rng, self.verbose = user_rate, rng, verbose

    def fit(self, interactions: Interactions, callbacks: Any = ()) -> Self:
        """Learn from events, or for "squared" from their values (the last of a pair)."""
        check_events(self, interactions)
        if self.loss == "squared" and interactions.values is None:
            raise ValueError(f"{self!r}.fit: the interactions have no values to predict")
        users, items = interactions.n_users, interactions.n_items
        self.shape, self.offset = (users, items), 0.0
        if self.loss in ("all_items", "softmax"):
            histories = interactions.csr()
            self.network = self._all_items(users, histories, AllItems(users, items, self.dim))
            source, steps = Blocks(histories, self.batch_size), -(-users // self.batch_size)
        else:
            squared = self.loss == "squared"
            layer = Factors(users, items, self.dim, user_bias=squared)
            loss = MSE() if squared else SigmoidCrossEntropy()
            self.network = Network(layer, loss, rng=self.rng, penalty=L2(self.l2))
            source = self._pairs(interactions)
            steps = -(-len(interactions) // self.batch_size)
        self.network.fit(
            source,
            optimizer=self._optimizer(steps),
            epochs=self.epochs,
            callbacks=callbacks,
            verbose=self.verbose,
        )
        return self

    def _all_items(self, users: int, histories: Any, layer: Layer) -> Network:
        """The network of a loss over all items, its biases at the logit of the item's share."""
        n_u, n_j = (
            np.diff(histories.indptr),
            np.bincount(histories.indices, minlength=self.shape[1]),
        )
        per_item = self.negatives * n_u.sum() / self.shape[1]
        user_weight, item_weight = n_u * (1.0 + self.negatives), n_j + per_item
        item_l2 = self.l2 * item_weight**0.75 * item_weight.mean() ** 0.25 / users
        loss = AllItemsLoss(
            self.negatives, self.l2, float(user_weight.mean()), item_l2, self.loss == "softmax"
        )
        network = Network(layer, loss, rng=self.rng)
        network.parameters()["item.b"][:] = np.log((n_j + 0.5) / per_item)
        return network

    def _pairs(self, interactions: Interactions) -> Any:
        """The batch source of the losses on pairs."""
        if self.loss == "bpr":
            triples = Pairwise(interactions, 1, self.batch_size)
            return lambda rng: ((x, np.ones(len(x[0]))) for x, _ in triples(rng))
        if self.loss == "logistic":
            return Pointwise(interactions, self.negatives, self.batch_size)
        log = interactions.merged("last")
        self.offset = float(np.mean(log.values))
        return Batches(
            (log.user_index, log.item_index), log.values - self.offset, batch_size=self.batch_size
        )

    def _optimizer(self, steps: int) -> Optimizer:
        """Lazy Adam; under a loss over all items a user's factors take larger steps."""
        faster = self.user_rate if self.loss in ("all_items", "softmax") else 1.0
        rates = {
            pattern: LinearDecay(rate, steps * self.epochs, 0.03 * rate)
            for pattern, rate in (
                ("user.*", self.learning_rate * faster),
                ("*", self.learning_rate),
            )
        }
        return Adam(rates, beta2=0.99)

    def _tables(self) -> tuple[Array, Array, Array]:
        """P (users, dim), Q (items, dim), b (items,)."""
        check_fitted(self, "network")
        p = self.network.parameters()
        if "item.Q" in p:
            return p["user.E"], p["item.Q"], p["item.b"]
        return p["user.E"], p["item.E"], p["item_bias.E"][:, 0]

    def score_all(self, users: Any) -> Array:
        P, Q, b = self._tables()
        scores = P[np.asarray(users)] @ Q.T
        scores += b
        return scores

    def predict(self, users: Any, items: Any) -> Array:
        """(n,): the value of each pair, such as a rating, from a model of loss "squared"."""
        check_fitted(self, "network")
        return np.asarray(self.network.predict((users, items))[:, 0] + self.offset)

    def score_histories(self, histories: Any) -> Array:
        """By factors for these users alone, the catalogue held still, under the all-items loss."""
        _, Q, b = self._tables()
        n = histories.shape[0]
        layer = AllItems(n, len(Q), self.dim)
        network = self._all_items(n, histories, layer)
        network.frozen = ["item.*"]
        network.parameters()["item.Q"][:] = Q
        network.parameters()["item.b"][:] = b
        rate = self.learning_rate * self.user_rate
        source = Blocks(histories, self.batch_size)
        network.fit(source, optimizer=Adam(rate, beta2=0.99), epochs=self.epochs, verbose=0)
        scores = network.parameters()["user.E"] @ Q.T
        scores += b
        return scores


class Blocks:
    """A batch source of users: (their indices, their rows of a CSR matrix), shuffled."""

    def __init__(self, histories: Any, batch_size: int):
        self.histories, self.batch_size = histories, batch_size

    def __call__(self, rng: Generator) -> Any:
        order = rng.permutation(self.histories.shape[0])
        for start in range(0, len(order), self.batch_size):
            users = order[start : start + self.batch_size]
            yield users, self.histories[users]
