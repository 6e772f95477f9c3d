"""Matrix factorisation: a user's factors times an item's, under one of five losses.

    s_uj = p_u · q_j + b_j            (for ratings: μ + b_u + b_j + p_u · q_j)

"all_items" and "softmax" look at the whole catalogue: one matrix product per block of users, which
is exact and, below some 10⁴ items, cheaper than drawing negatives.  "logistic" and "bpr" draw them
(Rendle et al. 2009).  "squared" is for ratings (Koren et al. 2009, equation 4).
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

import numpy as np

from nnrec import nn
from nnrec.data.histories import unit_rows
from nnrec.data.interactions import Interactions
from nnrec.data.sampling import Pairwise, Pointwise
from nnrec.nn.layers import Array, Result, Rng, Shape
from nnrec.recommend.network_model import NetworkModel, with_negatives
from nnrec.recommend.scoring import check_fitted


class Catalogue(nn.Layer):
    """s = p Qᵀ + b, every item's score: p (n, dim), Q (items, dim), b (items,), s (n, items).

        dQ = dsᵀ p,  db = Σ_rows ds,  dp = ds Q

    Returns (s, Q), so that a loss can hold a penalty on the whole table: dQ of it is added.
    """

    def __init__(self, items: int, dim: int, initializer: Any):
        self.items, self.dim, self.initializer = items, dim, initializer

    @property
    def shapes(self) -> dict[str, Shape]:
        return {"Q": (self.items, self.dim), "b": (self.items,)}

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


class AllItems(nn.Composite):
    """(s, p, Q): the scores of all items for a block of users (n,), and what penalties need."""

    def __init__(self, users: int, items: int, dim: int):
        self.users, self.items, self.dim = users, items, dim
        small = nn.Normal(0.1 / dim**0.5)
        super().__init__(user=nn.Embedding(users, dim, small), item=Catalogue(items, dim, small))

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


class Factors(nn.Composite):
    """s = p_u · q_i + b_i for pairs, (n, 1); with `other` items too, the difference s_ui − s_uj.

    histories: CSR (users, items), whose rows and columns, scaled to length 1, join the factors:
    p_u = E_u + Σ_{j ∈ u} y_j / √n_u + c, and q_i likewise with the users of i.
    """

    def __init__(self, users: int, items: int, dim: int, user_bias: bool, histories: Any = None):
        self.users, self.items, self.dim, self.user_bias = users, items, dim, user_bias
        self.histories, self.near = histories, {}
        small, bias = nn.Normal(0.1 / dim**0.5), nn.Normal(0.0)
        parts: dict[str, nn.Layer] = {}
        parts |= {"user": nn.Embedding(users, dim, small), "item": nn.Embedding(items, dim, small)}
        if user_bias:
            parts["user_bias"] = nn.Embedding(users, 1, bias)
        if histories is not None:
            self.near = {"user": unit_rows(histories), "item": unit_rows(histories.T.tocsr())}
            parts |= {f"{k}_near": nn.Dense(x.shape[1], dim, small) for k, x in self.near.items()}
        super().__init__(**parts, item_bias=nn.Embedding(items, 1, bias), dot=nn.Dot())

    def vectors(self, on: Any, side: str, ids: Array) -> Result:
        """p_u or q_i, (n, dim), from bound parts."""
        y, back_y = getattr(on, side)(ids)
        if not self.near:
            return y, back_y
        x = self.near[side][ids].astype(y.real.dtype, copy=False)
        h, back_h = getattr(on, f"{side}_near")(x)
        return y + h, lambda dy, g: (back_y(dy, g), back_h(dy, g))

    def __call__(self, theta: Array, *ids: Array, rng: Rng = None) -> Result:
        users, *items = ids
        on, backs = self.bind(theta, rng), []
        p, back_p = self.vectors(on, "user", users)
        y: Any = 0
        for sign, of in zip((1, -1), items):
            q, back_q = self.vectors(on, "item", of)
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


class AllItemsLoss(nn.Loss):
    """The exact expectation of a sampled loss over all items, with its frequency-scaled penalty.

        E = Σ_u w_u [ Σ_{j ∈ u} ln(1 + e^{−s_uj}) + (K n_u / I) Σ_j ln(1 + e^{s_uj})
                      + ½ λ_u ‖p_u‖² + ½ Σ_j λ_j ‖q_j‖² / U ]

    for a block of users of `weight` w, K = `negatives` expected negatives for each of u's n_u
    positives; ds = w_u (K n_u / I) σ(s), less w_u σ(−s) at positives.  With softmax=True the first
    line is Σ_{j ∈ u} −ln softmax(s_u)_j.  A sum, not a mean: two is as twice the same user.
    λ_u = `user_l2` n_u^`frequency`; λ_j = U `item_l2`_j, U being the number of users.
    """

    def __init__(
        self, negatives: float, user_l2: float, frequency: float, item_l2: Array, softmax: bool
    ):
        self.negatives, self.user_l2, self.frequency = negatives, user_l2, frequency
        self.item_l2, self.softmax = item_l2, softmax

    def __call__(self, pred: tuple[Array, Array, Array], target: Any, weight: Any = None) -> Any:
        s, p, Q = pred
        n_u = np.diff(target.indptr).astype(s.real.dtype)
        weight = np.ones_like(n_u) if weight is None else weight
        if weight.shape != n_u.shape or not (weight >= 0).all():
            raise ValueError(f"AllItemsLoss: weight={weight!r:.40}, expected {n_u.shape}, all ≥ 0")
        if self.softmax:
            value, ds = (a * weight.sum() for a in nn.SoftmaxCrossEntropy()(s, target, weight))
        else:
            value, ds = self.logistic(s, target, n_u * (self.negatives / s.shape[1]), weight)
        dp = p * (weight * self.user_l2 * n_u**self.frequency)[:, None]
        dQ = Q * (self.item_l2 * weight.sum()).astype(s.real.dtype)[:, None]
        return value + ((p * dp).sum() + (Q * dQ).sum()) / 2, (ds, dp, dQ)

    def logistic(self, s: Array, target: Any, share: Array, weight: Array) -> tuple[Any, Array]:
        """The two sums over positives and over all items, in blocks of rows that stay in cache."""
        ds, value, share = np.empty_like(s), s.dtype.type(0), share * weight
        for first in range(0, len(s), 16):
            z, scale = s[first : first + 16], share[first : first + 16]
            above = z.real > 0  # as a factor: np.where takes ten times as long
            positive = z * above
            e = np.exp(z - 2 * positive)
            value = value + (positive + np.log1p(e)).sum(axis=1) @ scale
            ds[first : first + 16] = (above + e * ~above) / (1 + e) * scale[:, None]
        rows = np.repeat(np.arange(len(s)), np.diff(target.indptr))
        at, of_user = s[rows, target.indices], weight[rows]
        above = at.real > 0
        e = np.exp(np.where(above, -at, at))
        ds[rows, target.indices] -= of_user * np.where(above, e, 1) / (1 + e)
        return value + (np.log1p(e) - at * ~above) @ of_user, ds


class MatrixFactorization(NetworkModel):
    """p_u · q_j + b_j; see the module for the losses.

    dim: factors.  l2: λ; on pairs λ/2 (‖p_u‖² + ‖q_i‖² + …) for each event.  negatives: K, expected
    or drawn, for each positive (bpr draws one).  Under the losses over all items: frequency, ν in
    λ_u = λ (1 + K) n̄ (n_u / n̄)^ν, n̄ the mean of n_u, and for items alike; beta, β, each user
    weighing n_u^−β, so that at 1 all weigh the same in the items' factors; tau, τ, taking τ times
    the prior logit off the scores in the end (Menon et al., ICLR 2021); user_rate, how many times
    the items' learning rate the users' is, as their factors take one step an epoch.
    implicit: under "squared" what a user has rated, and who an item, tells too (`Factors`; SVD++
    has the users' half: Koren, KDD 2008).

    Under these two losses new users get factors of their own, by a convex problem.

    >>> log = Interactions.from_columns([1, 1, 2, 2, 3], ["a", "b", "a", "b", "c"])
    >>> model = MatrixFactorization(dim=4, epochs=30, l2=0.001).fit(log)
    >>> model.score_all([0]).argmin()  # user 1 took a and b
    np.int64(2)
    """

    learned = ("network", "offset")
    choices: ClassVar = {"loss": ("all_items", "softmax", "logistic", "bpr", "squared")}
    beta2 = 0.99

    def __init__(
        self,
        dim: int = 256,
        loss: str = "all_items",
        l2: float = 0.004,
        frequency: float = 0.75,
        beta: float = 0.0,
        tau: float = 0.0,
        negatives: int = 8,
        epochs: int = 20,
        batch_size: int = 256,
        learning_rate: float = 0.002,
        user_rate: float = 50.0,
        implicit: bool = False,
        rng: Any = 0,
        verbose: int = 0,
    ):
        self.dim, self.loss, self.l2, self.frequency, self.beta = dim, loss, l2, frequency, beta
        self.tau, self.negatives, self.epochs, self.batch_size = tau, negatives, epochs, batch_size
        self.learning_rate, self.user_rate, self.implicit = learning_rate, user_rate, implicit
        self.rng, self.verbose = rng, verbose
        self.check_arguments()
        if implicit and loss != "squared":
            raise ValueError(f"{self!r}: implicit=True needs loss='squared'")
        if (beta or tau) and loss not in ("all_items", "softmax"):
            raise ValueError(f"{self!r}: beta and tau need loss='all_items' or 'softmax'")

    def assemble(self, interactions: Interactions) -> tuple[nn.Network, Any, int]:
        """For "squared" the events' values are the targets, the last value of a pair."""
        users, items = interactions.n_users, interactions.n_items
        if self.loss in ("all_items", "softmax"):
            return self._all_items(interactions.csr())
        penalty = nn.L2(self.l2 / self.batch_size)  # losses are means: λ is that of one event
        if self.loss == "squared":
            log = interactions.merged("last")
            if log.values is None:
                raise ValueError(f"{self!r}.fit: the interactions have no values to predict")
            self.offset = float(log.values.mean())
            pairs, values = (log.user_index, log.item_index), log.values - self.offset
            layer = Factors(users, items, self.dim, True, log.csr() if self.implicit else None)
            network = nn.Network(layer, nn.MSE(), rng=self.rng, penalty=penalty)
            return network, nn.Batches(pairs, values, batch_size=self.batch_size), len(log)
        layer, self.offset = Factors(users, items, self.dim, user_bias=False), 0.0
        network = nn.Network(layer, nn.SigmoidCrossEntropy(), rng=self.rng, penalty=penalty)
        log = with_negatives(interactions)
        rows = log.csr().nnz
        if not rows:
            return network, None, 0
        if self.loss == "logistic":
            return network, Pointwise(log, self.negatives, self.batch_size), rows
        triples = Pairwise(log, 1, self.batch_size)
        return network, lambda rng: ((x, np.ones(len(x[0]))) for x, _ in triples(rng)), rows

    def _all_items(self, histories: Any) -> tuple[nn.Network, Any, int]:
        """The biases begin at the logit of the item's share of positives, their prior."""
        users, items = histories.shape
        n_u = np.diff(histories.indptr)
        weight = np.maximum(n_u / n_u[n_u > 0].min(), 1) ** -self.beta
        weight /= weight.mean()  # the items' penalty is a share of Σ w, and their use another
        n_j = np.bincount(histories.indices, np.repeat(weight, n_u), items)
        per_item = self.negatives * (weight @ n_u) / items
        uses, rest, softmax = n_j + per_item, 1 - self.frequency, self.loss == "softmax"
        user_l2 = self.l2 * (1 + self.negatives) * float(n_u.mean()) ** rest
        item_l2 = self.l2 / users * uses**self.frequency * uses.mean() ** rest
        loss = AllItemsLoss(self.negatives, user_l2, self.frequency, item_l2, softmax)
        network = nn.Network(AllItems(users, items, self.dim), loss, rng=self.rng)
        network.parameters()["item.b"][:] = prior = np.log((n_j + 0.5) / per_item)
        self.offset = (-self.tau * prior).astype(np.float32)
        return network, nn.Batches(np.arange(users), histories, weight, self.batch_size), users

    def rates(self) -> dict[str, tuple[float, float]]:
        """Over all items they end at a third: falling to 3 % in as many epochs, it ranks worse."""
        if self.loss not in ("all_items", "softmax"):
            return super().rates()
        user, item = self.learning_rate * self.user_rate, self.learning_rate
        return {"user.*": (user, user / 3), "*": (item, item / 3)}

    @property
    def item_factors(self) -> Array:
        """Q (items, dim)."""
        check_fitted(self, "network")
        p = self.network.parameters()
        return p["item.Q"] if "item.Q" in p else self._vectors("item", slice(None))

    def _vectors(self, side: str, at: Any) -> Array:
        p, layer = self.network.parameters(), cast(Any, self.network.layer)
        y: Array = p[f"{side}.E"][at]
        if self.implicit:
            y = y + layer.near[side][at] @ p[f"{side}_near.W"] + p[f"{side}_near.b"]
        return y

    def score_all(self, users: Any) -> Array:
        """For "squared" the mean and the user's bias are in it: the estimated values."""
        Q, p, at = self.item_factors, self.network.parameters(), np.asarray(users)
        scores: Array = self._vectors("user", at) @ Q.T
        scores += p["item.b"] + self.offset if "item.b" in p else p["item_bias.E"][:, 0]
        if "user_bias.E" in p:
            scores += p["user_bias.E"][at] + self.offset
        return scores

    def predict(self, users: Any, items: Any) -> Array:
        """(n,): the value of each pair, such as a rating, from a model of loss "squared"."""
        check_fitted(self, "network")
        if self.loss != "squared":
            raise ValueError(f"{self!r} predicts no values: only loss='squared' does")
        return np.asarray(self.network.predict((users, items))[:, 0] + self.offset)

    def score_histories(self, histories: Any) -> Array:
        if self.loss not in ("all_items", "softmax"):
            raise NotImplementedError(f"{self!r} folds in no new users: 'all_items' does")
        Q, b = self.item_factors, self.network.parameters()["item.b"]
        histories = (histories.copy() != 0).astype(np.float32)
        n = histories.shape[0]
        network = nn.Network(AllItems(n, *Q.shape), self.network.loss, rng=0, frozen=["item.*"])
        p = network.parameters()
        p["user.E"][:], p["item.Q"][:], p["item.b"][:] = 0, Q, b
        rate, _ = self.rates()["user.*"]
        falling = nn.LinearDecay(rate, self.epochs * -(-n // self.batch_size), 0.03 * rate)
        source = nn.Batches(np.arange(n), histories, batch_size=self.batch_size)
        adam = nn.Adam(falling, beta2=self.beta2)
        network.fit(source, optimizer=adam, epochs=self.epochs, verbose=0)
        return np.asarray(p["user.E"] @ Q.T + (b + self.offset))
