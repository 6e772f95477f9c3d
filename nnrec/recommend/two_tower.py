"""Two towers: a user by his pooled history and features, an item by its id and features.

    u = W₂ ReLU(mean of E over the history + F_user W_f + b₁) + b₂,   v = [id | F_item] V + c
    logit of item j for a user = u · v_j + b_j

The pattern of YouTube's recommender (Covington et al., RecSys 2016, section 3): a softmax over the
whole catalogue, or over the items of the batch.  An item that nobody has taken yet has a vector
from its features alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from nnrec.data.interactions import Interactions
from nnrec.nn import (
    L2,
    Adam,
    Add,
    Composite,
    Dense,
    Dropout,
    Layer,
    LinearDecay,
    Network,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
)
from nnrec.nn.layers import Array, Generator, Result, Rng
from nnrec.recommend.scoring import ScoringModel, check_events, check_fitted


class Product(Layer):
    """y = u vᵀ: u (n, d), v (m, d), y (n, m);  du = dy v,  dv = dyᵀ u."""

    def __call__(self, theta: Array, u: Array, v: Array, rng: Rng = None) -> Result:
        return u @ v.T, lambda dy, g: (dy @ v, dy.T @ u)


class Towers(Composite):
    """Logits (n, items) from CSR histories (n, items) and, if there are any, user features (n, f).

    catalogue: CSR (items, items + features), what the item tower sees of each item.  With `among`
    (m,) as the last input the logits (n, m) are of these items alone.
    """

    def __init__(self, catalogue: Any, user_features: int, hidden: int, dim: int, dropout: float):
        self.catalogue, items = catalogue, catalogue.shape[0]
        parts: dict[str, Layer] = {"history": Dense(items, hidden)}
        if user_features:
            parts |= {"features": Dense(user_features, hidden), "add": Add()}
        deep = Sequential([ReLU(), Dropout(dropout), Dense(hidden, dim + 1)])
        super().__init__(
            **parts, user=deep, item=Dense(catalogue.shape[1], dim + 1), product=Product()
        )

    def __call__(self, theta: Array, x: Any, *rest: Array, rng: Rng = None) -> Result:
        on = self.bind(theta, rng)
        h, back_h = on.history(x)
        if "features" in self.parts:
            f, back_f = on.features(rest[0])
            h, back_add = on.add(h, f)
        among = rest[-1] if rest and rest[-1].ndim == 1 else slice(None)
        u, back_u = on.user(h)
        v, back_v = on.item(self.catalogue[among])
        y, back_y = on.product(u, v)

        def back(dy: Array, g: Array) -> tuple[Any, ...]:
            du, dv = back_y(dy, g)
            back_v(dv, g)
            dh, df = back_u(du, g), None
            if "features" in self.parts:
                dh, df = back_add(dh, g)
                df = back_f(df, g)
            return (back_h(dh, g), df, None)[: 1 + len(rest)]

        return y, back


class NextItems:
    """A batch source: for each event, the user's other items (with times: the earlier ones, later
    ones weighing more) as a CSR row of sum 1, and the event's item as the label."""

    def __init__(
        self,
        log: Interactions,
        features: Any,
        window: int,
        recency: float,
        batch_size: int,
        in_batch: bool,
    ):
        self.features, self.batch_size, self.in_batch = features, batch_size, in_batch
        self.window, self.recency, self.ordered = window, recency, log.times is not None
        self.starts, events = log.by_user()
        self.users, self.items = log.user_index[events], log.item_index[events]
        self.n_items = log.n_items
        shares = np.bincount(self.items, minlength=self.n_items) / len(self.items)
        self.log_share = np.log(np.maximum(shares, 1e-12)).astype(np.float32)

    def histories(self, users: Array, before: Array) -> Any:
        """CSR (n, items): of each user, the last `window` events that stand before `before`."""
        from scipy.sparse import csr_array

        first = np.maximum(self.starts[users], before - self.window)
        length = before - first
        row = np.repeat(np.arange(len(users)), length)
        ends = np.cumsum(length)
        place = np.arange(len(row)) - np.repeat(ends - length, length)
        age = np.repeat(length, length) - 1 - place
        weight = self.recency ** (age if self.ordered else np.zeros(len(age)))
        weight /= np.bincount(row, weight, len(users))[row]
        at = self.items[np.repeat(first, length) + place]
        shape = (len(users), self.n_items)
        return csr_array((weight.astype(np.float32), (row, at)), shape=shape)

    def __call__(self, rng: Generator) -> Iterator[tuple[Any, Array]]:
        order = rng.permutation(len(self.items))
        for start in range(0, len(order), self.batch_size):
            events = order[start : start + self.batch_size]
            users, labels = self.users[events], self.items[events]
            if self.ordered:
                x = self.histories(users, events)
            else:
                x = self.histories(users, self.starts[users + 1])
                x = without(x, labels)
            rest = () if self.features is None else (self.features[users],)
            if self.in_batch:
                among, labels = np.unique(labels, return_inverse=True)
                yield (x, *rest, among), labels
            else:
                yield (x, *rest), labels


def without(x: Any, labels: Array) -> Any:
    """CSR rows without the cell (i, labels[i]), each again of sum 1; rows left empty are zero."""
    x = x.copy()
    x.data[x.indices == np.repeat(labels, np.diff(x.indptr))] = 0
    sums = np.asarray(x.sum(axis=1)).ravel()
    x.data /= np.repeat(np.where(sums > 0, sums, 1), np.diff(x.indptr)).astype(x.dtype)
    return x


class TwoTower(ScoringModel):
    """Next items from pooled history and features, trained by the one loop.

    item_features, user_features: (n_items, f) and (n_users, f), dense or CSR.  With times in the
    log a history is what came before, the last `window` events, each `recency` times the next
    one's weight.  loss: "full" softmax over the catalogue, or "in_batch".

    >>> log = Interactions.from_columns([1, 1, 2, 2, 3, 3], ["a", "b", "a", "b", "c", "d"])
    >>> model = TwoTower(dim=4, hidden=8, epochs=100, batch_size=6).fit(log)
    >>> model.score_histories(np.array([[1.0, 0, 0, 0]])).argmax()  # with a goes b
    np.int64(1)
    """

    learned = ("network", "histories")

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
        rng: int = 0,
        verbose: int = 0,
    ):
        if loss not in ("full", "in_batch"):
            raise ValueError(f"TwoTower: loss={loss!r}, expected 'full' or 'in_batch'")
        self.dim, self.hidden, self.loss = dim, hidden, loss
        self.item_features, self.user_features = item_features, user_features
        self.window, self.recency, self.dropout, self.l2 = window, recency, dropout, l2
        self.epochs, self.batch_size, self.learning_rate = epochs, batch_size, learning_rate
        self.rng, self.verbose = rng, verbose

    def fit(self, interactions: Interactions, callbacks: Any = ()) -> Self:
        check_events(self, interactions)
        users, items = interactions.n_users, interactions.n_items
        width = 0 if self.user_features is None else self.user_features.shape[1]
        layer = Towers(self._catalogue(items), width, self.hidden, self.dim, self.dropout)
        source = NextItems(
            interactions,
            self.user_features,
            self.window,
            self.recency,
            self.batch_size,
            self.loss == "in_batch",
        )
        penalty = L2(self.l2) if self.l2 else ()
        self.network = Network(layer, SoftmaxCrossEntropy(), rng=self.rng, penalty=penalty)
        steps = self.epochs * -(-len(interactions) // self.batch_size)
        rate = LinearDecay(self.learning_rate, steps, 0.03 * self.learning_rate)
        self.network.fit(
            source,
            optimizer=Adam(rate),
            epochs=self.epochs,
            callbacks=callbacks,
            verbose=self.verbose,
        )
        self.histories = source.histories(np.arange(users), source.starts[1:])
        return self

    def _catalogue(self, items: int) -> Any:
        """CSR (items, items + features): the identity beside the item features."""
        from scipy.sparse import csr_array, eye_array, hstack

        identity = eye_array(items, dtype=np.float32, format="csr")
        if self.item_features is None:
            return identity
        return hstack([identity, csr_array(self.item_features, dtype=np.float32)], format="csr")

    def score_all(self, users: Any) -> Array:
        check_fitted(self, "network")
        users = np.asarray(users)
        rest = () if self.user_features is None else (self.user_features[users],)
        return np.asarray(self.network.predict((self.histories[users], *rest), link=False))

    def score_histories(self, histories: Any, user_features: Any = None) -> Array:
        from scipy.sparse import csr_array

        check_fitted(self, "network")
        x = csr_array(histories, dtype=np.float32)
        x.data /= np.repeat(np.maximum(np.asarray(x.sum(axis=1)).ravel(), 1e-9), np.diff(x.indptr))
        rest = () if self.user_features is None else (user_features,)
        return np.asarray(self.network.predict((x, *rest), link=False))
