"""Recommender: a scoring model on ids; what a shop calls.

A string, a tuple and whatever can't be iterated is one id; a list, an array or a column is several.
An unknown user is an error: a service that asks for "7" where the log has 7 must not answer with
the same list for everybody.  A newcomer is `history=[…]`, empty if need be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np

from nnrec.data.holdouts import fraction_per_user
from nnrec.data.interactions import Ids, Interactions, concatenate
from nnrec.data.lookups import is_lists, is_one, known, on_maps, some_known
from nnrec.metrics.comparison import Comparison
from nnrec.metrics.ranking import RankingResult, top_n
from nnrec.nn import EarlyStopping
from nnrec.nn.arguments import Described, whole_number
from nnrec.recommend.ease import EASE
from nnrec.recommend.evaluation import evaluate
from nnrec.recommend.item_knn import ItemKNN
from nnrec.recommend.network_model import NetworkModel
from nnrec.recommend.popularity import Popularity
from nnrec.recommend.scoring import Array, LinearModel, ScoringModel, check_events, check_fitted

BLOCK = 512  # users whose scores of all items are in memory at a time
EASE_ITEMS = 20_000  # with more, EASE's matrices pass 5 GB; item neighbours stand in for it


class Recommender(Described):
    """Recommendations by a model, which `fit` fits in place; `interactions` is what it has seen.

    >>> log = Interactions.from_columns([1, 1, 2, 2, 3], ["mug", "tea", "mug", "tea", "tea"])
    >>> shop = Recommender(EASE(l2=1.0)).fit(log)
    >>> items, scores = shop.recommend(3)
    >>> items, scores.round(2), shop.recommend([1, 3], n=1)[0]
    (['mug'], array([0.5], dtype=float32), [[], ['mug']])
    >>> shop.recommend(history=["mug"], n=1)[0], shop.recommend(history=[])[0]
    (['tea'], ['tea', 'mug'])
    """

    learned = ("interactions",)
    interactions: Interactions

    def __init__(self, model: ScoringModel) -> None:
        if not isinstance(model, ScoringModel):
            raise TypeError(f"Recommender: model={model!r}, expected a model such as EASE()")
        self.model = model

    def fit(
        self,
        interactions: Interactions,
        validation: float = 0.0,
        patience: int = 5,
        callbacks: Sequence[Any] = (),
    ) -> Self:
        """Learn from a log.

        validation: for a network, first train without this share of each user's pairs, until their
        NDCG@10 has not risen for `patience` epochs; the best number of epochs becomes the model's
        `epochs`, and it is then trained on everything.  callbacks: of that last training.
        """
        check_events(self.model, interactions)
        if validation:
            if not isinstance(self.model, NetworkModel):
                raise ValueError(f"validation={validation} chooses epochs; {self.model!r} has none")
            train, held, *_ = fraction_per_user(interactions, validation)
            stopping = EarlyStopping("ndcg@10", patience, mode="max")

            def judge(run: Any) -> None:
                ndcg = evaluate(self.model, train, held, n=10)["ndcg@10"]
                run.history.setdefault("ndcg@10", []).append(ndcg)

            self.model.fit(train, callbacks=[judge, stopping])
            self.model.epochs = stopping.best_epoch
        if callbacks and not isinstance(self.model, NetworkModel):
            raise ValueError(f"callbacks are told of a network's training; {self.model!r} has none")
        self.model.fit(interactions, **({"callbacks": callbacks} if callbacks else {}))
        return self._seen(interactions)

    def partial_fit(self, new: Interactions, epochs: int | None = None) -> Self:
        """Learn from further events; new users and items come behind the known ones.

        Networks go on from what they have learned for `epochs`, a quarter of the model's by
        default, on all events; other models are fitted to all events afresh.
        """
        log = concatenate(self.log, new)
        if isinstance(self.model, NetworkModel):
            epochs = max(1, self.model.epochs // 4) if epochs is None else epochs
            self.model.fit(log, start=self.model.network.parameters(), epochs=epochs)
        else:
            self.model.fit(log)
        return self._seen(log)

    def _seen(self, interactions: Interactions) -> Self:
        self.interactions = interactions
        vars(self).pop("histories", None)
        return self

    @property
    def log(self) -> Interactions:
        """What the model has seen; RuntimeError before `fit`."""
        check_fitted(self, "interactions")
        return self.interactions

    @property
    def users(self) -> Ids:
        """The users that the model knows: `if id in shop.users`."""
        return self.log.users

    @property
    def items(self) -> Ids:
        """The items that can be recommended, in the order of the model's indices."""
        return self.log.items

    @cached_property
    def histories(self) -> Any:
        """CSR (n_users, n_items) of 0 and 1: what each user has taken up."""
        return self.log.csr()

    def recommend(
        self,
        users: Any = None,
        n: int = 10,
        *,
        history: Any = None,
        among: Any = None,
        without: Any = (),
        exclude_seen: bool = True,
    ) -> tuple[list[Any], Any]:
        """(items, scores), the best first, fewer than n where fewer are left; equal ones by index.

        users       one id, or several: then a list of lists of items, and a list of arrays
        history     or, of somebody unknown, the items that he has taken up, oldest first; several
                    are a list of lists.  ValueError: an item that the model doesn't know
        among       only these items (in stock); without: none of these (in the basket).  Unknown
                    ones change nothing, unless all of them are unknown: a ValueError
        exclude_seen    no item of the user's history

        Where the model knows nothing, all its scores being equal, items rank by their number of
        users, and these are the scores.
        """
        n = min(whole_number("recommend", "n", n), len(self.items))
        allowed = np.full(len(self.items), among is None)
        if among is not None:
            allowed[some_known(self.items, among, "among")] = True
        allowed[some_known(self.items, without, "without")] = False
        found: list[tuple[list[Any], Array]] = []
        for scores, seen in self._scored(users, history):
            flat = scores.min(axis=1) == scores.max(axis=1)
            if flat.any():
                scores[flat] = np.bincount(self.histories.indices, minlength=len(self.items))
            scores[:, ~allowed] = -np.inf
            if exclude_seen:
                row = np.repeat(np.arange(len(scores)), np.diff(seen.indptr))
                scores[row, seen.indices] = -np.inf
            found += map(self._named, scores, top_n(scores, n))
        if is_one(users) if history is None else not is_lists(history):
            return found[0]
        return [items for items, _ in found], [values for _, values in found]

    def score(self, users: Any, items: Any) -> Any:
        """The score of each pair, ids broadcast against each other; NaN where one is unknown.

        One user and one item give a number; several users and as many items pair up.
        """
        u, i = (
            ids.index([given])[0] if is_one(given) else ids.index(given)
            for ids, given in ((self.users, users), (self.items, items))
        )
        if np.ndim(u) and np.ndim(i) and len(u) != len(i):
            raise ValueError(f"score: {len(u)} users and {len(i)} items, expected as many, or one")
        u, i = np.broadcast_arrays(u, i)
        scores, both = np.full(u.shape, np.nan), (u >= 0) & (i >= 0)
        rows, which = np.unique(u[both], return_inverse=True)
        found = np.empty(len(which))
        for start in range(0, len(rows), BLOCK):
            own = which // BLOCK == start // BLOCK
            block = self.model.score_all(rows[start : start + BLOCK])
            found[own] = block[which[own] - start, i[both][own]]
        scores[both] = found
        return scores[()]

    def similar_items(self, item: Any, n: int = 10) -> tuple[list[Any], Array]:
        """(items, scores): nearest by the cosine of item factors; of a model without any, those
        with the highest scores for somebody who has taken up this item alone."""
        at = known(self.items, [item], "item")
        if (factors := getattr(self.model, "item_factors", None)) is not None:
            length = np.linalg.norm(factors, axis=1)
            scores = factors @ factors[at[0]] / np.maximum(length * length[at], 1e-30)
        else:
            scores = self.model.score_histories(self._histories([[item]]))[0]
        scores[at], n = -np.inf, min(whole_number("similar_items", "n", n), len(scores))
        return self._named(scores, top_n(scores[None], n)[0])

    def explain(self, user: Any, item: Any, *, history: Any = None) -> tuple[list[Any], Array]:
        """ "Because you bought …": (items of the history, what each adds), the largest first.

        Of an additive model (EASE, EDLAE, ItemKNN) the contributions add up to the score.  Of
        another, each is what the score would lose without this item in the history, by fold-in;
        a model that can't fold in raises NotImplementedError.  For a newcomer user is None.
        """
        (at,) = known(self.items, [item], "item")
        if history is None:
            row = getattr(self.model, "histories", self.histories)[self._rows(user)]
        else:
            row = self._histories([history])
        if isinstance(self.model, LinearModel):
            column = self.model.item_weights[:, [at]]
            column = column.toarray() if hasattr(column, "toarray") else column
            parts = column[row.indices, 0] * row.data
        else:
            from scipy.sparse import csr_array

            # Row 0 is the history, row k the history without its k-th item.
            rows, cells = np.nonzero(~np.eye(row.nnz + 1, row.nnz, k=-1, dtype=bool))
            cut = (row.data[cells], (rows, row.indices[cells]))
            shape = (row.nnz + 1, len(self.items))
            scores = self.model.score_histories(csr_array(cut, shape=shape))[:, at]
            parts = scores[0] - scores[1:]
        order = np.argsort(-parts, kind="stable")
        return self.items[row.indices[order]], parts[order]

    def evaluate(
        self,
        test: Interactions,
        *,
        n: int | Sequence[int] = (10, 20),
        fold_in: Interactions | None = None,
        exclude_seen: bool = True,
        **protocol: Any,
    ) -> Comparison:
        """The model on withheld events, beside Popularity and EASE fitted to the same train.

        Ids are those of the log, whatever the id maps.  Events whose user or item train doesn't
        know, and pairs that are masked because train has them, are counted in `left_out`.
        fold_in: histories of users whom train doesn't know.  protocol: as in
        `nnrec.recommend.evaluate`.  With more than 20,000 items ItemKNN stands in for EASE.
        """
        train, left_out = self.log, {"seen": 0}
        if fold_in is not None:
            train = train.including(users=fold_in.users)
            fold_in = on_maps(train, fold_in, left_out)
        test = on_maps(train, test, left_out)
        if exclude_seen:
            seen = np.isin(test.pairs(), (train if fold_in is None else fold_in).pairs())
            left_out["seen"] += int(seen.sum())
            test = test.take(~seen)
        if not len(test):
            ids = f"known are users {train.users!r}, items {train.items!r}"
            raise ValueError(f"evaluate: no event is left to judge; left out: {left_out}; {ids}")
        rules: dict[str, Any] = {"n": n, "fold_in": fold_in, "exclude_seen": exclude_seen}
        results: dict[str, RankingResult] = {}
        strong = EASE() if train.n_items <= EASE_ITEMS else ItemKNN()
        for model in (self.model, Popularity(), strong):
            if (name := type(model).__name__) not in results:
                fitted = model if model is self.model else model.fit(self.log)
                results[name] = evaluate(fitted, train, test, **rules, **protocol)
        return Comparison(results, left_out)

    def _named(self, scores: Array, best: Array) -> tuple[list[Any], Array]:
        best = best[best >= 0]
        return self.items[best], scores[best]

    def _rows(self, users: Any) -> Array:
        hint = "; for a newcomer give history=[…]"
        return known(self.users, [users] if is_one(users) else users, "user", hint)

    def _scored(self, users: Any, history: Any) -> Iterator[tuple[Array, Any]]:
        """Blocks of (scores, CSR of what was seen) of those who are asked for."""
        if (users is None) == (history is None):
            raise ValueError("recommend: give users or history, one of them")
        if history is None:
            rows, seen = self._rows(users), self.histories
        else:
            seen = self._histories(history if is_lists(history) else [history])
            rows = np.arange(seen.shape[0])
        for start in range(0, len(rows), BLOCK):
            own = rows[start : start + BLOCK]
            model, block = self.model, seen[own]
            scores = model.score_all(own) if history is None else model.score_histories(block)
            yield scores, block

    def _histories(self, lists: Sequence[Any]) -> Any:
        """CSR (n, n_items) of lists of item ids, oldest first; of repeated ones the last counts."""
        from scipy.sparse import csr_array

        cells: list[tuple[int, int, int]] = []
        for number, given in enumerate(lists):
            newest = dict.fromkeys(known(self.items, given, "item")[::-1].tolist())
            cells += [(number, item, age) for age, item in enumerate(newest)]
        row, item, age = np.array(cells, np.int64).reshape(-1, 3).T
        weights = getattr(self.model, "weigh", np.ones_like)(age).astype(np.float32)
        return csr_array((weights, (row, item)), shape=(len(lists), len(self.items)))
