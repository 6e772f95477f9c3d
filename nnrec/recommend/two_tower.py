"""Two towers: a user by his pooled history and features, an item by its id and features.

    u = ReLU([F_user | history] W + b₁) W₂ + b₂,   v = [F_item | id] V + c,   history: of sum 1
    logit of item j for a user = u · v_j

The pattern of YouTube's recommender (Covington et al., RecSys 2016, section 3): a softmax over the
whole catalogue, or over the items of the batch.  An item that nobody has taken yet has a vector
from its features alone.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from nnrec import nn
from nnrec.data.histories import NextItems, scaled_rows
from nnrec.data.interactions import Interactions
from nnrec.data.sampling import in_batch_shift
from nnrec.nn.layers import Array, Result, Rng
from nnrec.recommend.network_model import NetworkModel
from nnrec.recommend.scoring import check_fitted


class Product(nn.Layer):
    """y = u vᵀ: u (n, d), v (m, d), y (n, m);  du = dy v,  dv = dyᵀ u."""

    def __call__(self, theta: Array, u: Array, v: Array, rng: Rng = None) -> Result:
        return u @ v.T, lambda dy, g: (dy @ v, dy.T @ u)


class Towers(nn.Composite):
    """Logits (n, items) from CSR (n, user_features + items), a user's features and his history.

    catalogue: CSR (items, features + items), what the item tower sees of each item.  With item ids
    (n,) too, logits (n, m) of their m different ones in rising order, to which `shift` (items,) is
    added.
    """

    def __init__(
        self, catalogue: Any, user_features: int, hidden: int, dim: int, dropout: float, shift: Any
    ):
        self.catalogue, self.user_features, self.shift = catalogue, user_features, shift
        self.hidden, self.dim, self.dropout = hidden, dim, dropout
        items, seen = catalogue.shape
        first, last = nn.Dense(user_features + items, hidden), nn.Dense(hidden, dim)
        user = nn.Sequential([first, nn.ReLU(), nn.Dropout(dropout), last])
        super().__init__(user=user, item=nn.Dense(seen, dim), product=Product())
        self.takes_ids = True

    def __call__(self, theta: Array, x: Any, ids: Any = None, rng: Rng = None) -> Result:
        on = self.bind(theta, rng)
        among: Any = slice(None) if ids is None else np.unique(ids)
        u, back_u = on.user(x)
        v, back_v = on.item(self.catalogue[among].astype(u.real.dtype, copy=False))
        y, back_y = on.product(u, v)
        if ids is not None and self.shift is not None:
            y = y + self.shift[among].astype(y.real.dtype)

        def back(dy: Array, g: Array) -> Any:
            du, dv = back_y(dy, g)
            back_v(dv, g)
            return back_u(du, g) if ids is None else (back_u(du, g), None)

        return y, back


class TwoTower(NetworkModel):
    """Next items from pooled history and features.

    item_features, user_features: (n_items, f) and (n_users, f), dense or CSR, in the order of the
    log's ids.  With times in the log a history is what came before, the last `window` events, each
    `recency` times the next one's weight.  loss: "full" softmax over the catalogue, or "in_batch",
    logits then being shifted by −ln of the probability that the item is in the batch (Yi et al.,
    RecSys 2019).  Of a repeated pair the last event counts.

    >>> log = Interactions.from_columns([1, 1, 2, 2, 3, 3], ["a", "b", "a", "b", "c", "d"])
    >>> model = TwoTower(dim=4, hidden=8, epochs=300, batch_size=6).fit(log)
    >>> model.score_histories(np.array([[1.0, 0, 0, 0]])).argmax()  # with a goes b
    np.int64(1)
    """

    learned = ("network", "histories", "item_factors", "ordered")
    choices: ClassVar = {"loss": ("full", "in_batch")}
    item_factors: Array | None = None

    def __init__(
        self,
        dim: int = 64,
        hidden: int = 128,
        loss: str = "full",
        item_features: Any = None,
        user_features: Any = None,
        window: int = 50,
        recency: float = 0.8,
        dropout: float = 0.3,
        l2: float = 0.0,
        epochs: int = 20,
        batch_size: int = 256,
        learning_rate: float = 0.002,
        rng: Any = 0,
        verbose: int = 0,
    ):
        self.dim, self.hidden, self.loss = dim, hidden, loss
        self.item_features, self.user_features = item_features, user_features
        self.window, self.recency, self.dropout, self.l2 = window, recency, dropout, l2
        self.epochs, self.batch_size, self.learning_rate = epochs, batch_size, learning_rate
        self.rng, self.verbose = rng, verbose
        self.check_arguments()

    def fit(self, interactions: Interactions, *args: Any, **options: Any) -> Self:
        self.item_factors = None  # kept after training only, when θ stands still
        super().fit(interactions, *args, **options)
        self.item_factors = self._items()
        return self

    def assemble(self, interactions: Interactions) -> tuple[nn.Network, Any, int]:
        from scipy.sparse import eye_array, hstack

        users, items = interactions.n_users, interactions.n_items
        log, width, shift, of_user = interactions.merged("last"), 0, None, None
        catalogue = eye_array(items, dtype=np.float32, format="csr")
        if self.item_features is not None:
            features = checked_features("item_features", self.item_features, items)
            catalogue = hstack([features, catalogue], format="csr")
        if self.user_features is not None:
            of_user = checked_features("user_features", self.user_features, users)
            width = of_user.shape[1]
        if self.loss == "in_batch":
            share = np.bincount(log.item_index, minlength=items) / len(log)
            shift = in_batch_shift(share, self.batch_size)
        layer = Towers(catalogue, width, self.hidden, self.dim, self.dropout, shift)
        penalty = nn.L2(self.l2) if self.l2 else ()
        network = nn.Network(layer, nn.SoftmaxCrossEntropy(), rng=self.rng, penalty=penalty)
        rules = self.window, self.recency, self.batch_size, self.loss == "in_batch"
        source = NextItems(log, of_user, *rules)
        self.ordered = source.ordered
        self.histories = source.histories(np.arange(users), source.starts[1:])
        return network, source, len(log)

    def weigh(self, age: Array) -> Array:
        """What an item of a history weighs, by the number of items that came after it."""
        return np.where(age < self.window, self.recency ** (age if self.ordered else 0 * age), 0.0)

    def score_all(self, users: Any) -> Array:
        check_fitted(self, "network")
        users = np.asarray(users)
        features = None if self.user_features is None else self.user_features[users]
        return self._scores(self.histories[users], features)

    def score_histories(self, histories: Any, user_features: Any = None) -> Array:
        """histories: CSR of weights ≥ 0.  user_features: (n, f); unknown ones are the mean ones."""
        from scipy.sparse import csr_array

        check_fitted(self, "network")
        x = csr_array(histories, dtype=np.float32, copy=True)
        x = scaled_rows(x, np.asarray(x.sum(axis=1)))
        if user_features is None and self.user_features is not None:
            mean = np.asarray(self.user_features.mean(axis=0)).reshape(1, -1)
            user_features = np.repeat(mean, x.shape[0], axis=0)
        return self._scores(x, user_features)

    def _items(self) -> Array:
        """v of every item."""
        layer: Any = self.network.layer
        p = self.network.parameters()
        return np.asarray(layer.catalogue @ p["item.W"] + p["item.b"])

    def _scores(self, x: Any, features: Any) -> Array:
        from scipy.sparse import csr_array, hstack

        user: Any = self.network.layer.parts["user"]  # type: ignore[attr-defined]
        if features is not None:
            x = hstack([csr_array(features, dtype=np.float32), x], format="csr")
        u, _ = user(self.network.theta[: user.size], *self.network.inputs((x,)))
        v = self._items() if self.item_factors is None else self.item_factors
        return np.asarray(u @ v.T)


def checked_features(name: str, features: Any, rows: int) -> Any:
    """Features (rows, f) as CSR float32, finite; else a ValueError."""
    from scipy.sparse import csr_array

    shape = np.shape(features)
    if len(shape) != 2 or shape[0] != rows or not shape[1]:
        raise ValueError(f"TwoTower: {name} has shape {shape}, expected ({rows}, f)")
    features = csr_array(features, dtype=np.float32)
    if not np.isfinite(features.data).all():
        raise ValueError(f"TwoTower: {name} holds a value that is not finite")
    return features
