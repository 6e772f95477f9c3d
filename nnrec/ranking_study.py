"""A ranking study: one event log; a recommender chosen, judged on withheld items, and told of.

The document's §6.1, honestly: settings are chosen on a part of train, the withheld items are used
once, and the model stands beside Popularity and EASE, under one printed protocol.  The command
line's `demo`, `fit-recommender` and `evaluate` are made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np

from nnrec import plots
from nnrec.data import Interactions, Table
from nnrec.data.columns import Array, missing, short
from nnrec.data.holdouts import Holdout, fraction_per_user, leave_one_out
from nnrec.data.tables import grid
from nnrec.metrics.comparison import Comparison
from nnrec.metrics.ranking import RankingResult, evaluate_ranking
from nnrec.recommend import (
    EASE,
    EDLAE,
    IALS,
    AutoEncoder,
    Blend,
    ItemKNN,
    MatrixFactorization,
    NeuMF,
    Popularity,
    Recommender,
    ScoringModel,
    TwoTower,
    evaluate,
)
from nnrec.recommend.network_model import NetworkModel
from nnrec.recommend.recommender import EASE_ITEMS
from nnrec.report import Report

MODELS: Mapping[str, Callable[[], list[ScoringModel]]] = {
    "popularity": lambda: [Popularity()],
    "knn": lambda: [ItemKNN(k, s) for s in ("cosine", "bm25") for k in (20, 100)],
    "ease": lambda: [EASE(l2) for l2 in (500.0, 100.0, 20.0, 2500.0)],
    "edlae": lambda: [EDLAE(l2) for l2 in (500.0, 100.0, 20.0, 2500.0)],
    "ials": lambda: [IALS(l2=l2) for l2 in (0.006, 0.02)],
    "factors": lambda: [MatrixFactorization(dim=64)],
    "neumf": lambda: [NeuMF(dim=16)],
    "autoencoder": lambda: [AutoEncoder()],
    "vae": lambda: [AutoEncoder(variational=True)],
    "two-tower": lambda: [TwoTower()],
    "blend": lambda: [Blend([EDLAE(), AutoEncoder(hidden=100, epochs=15)])],
}
"""A name on the command line → the settings to choose from, the usual ones first."""
CUTS = (1, 2, 5, 10, 20, 50)
SHOWN = "ndcg@10 hit_rate@10 precision@10 recall@10 mrr@10 map@10 coverage@10 novelty@10".split()
TRUTH = "optimum"
ABOUT = {
    "Popularity": "the same list for everybody, less what he has had",
    "EASE": "the best linear map of histories, which few networks beat",
    "ItemKNN": "item neighbours",
    TRUTH: "the true preferences: no model can rank better, but by luck",
}


@dataclass
class Standing:
    """A comparison as it is shown: the model's figures with intervals, the others' beside them."""

    comparison: Comparison

    @cached_property
    def name(self) -> str:
        """The model that is judged."""
        return next(iter(self.comparison.results))

    def error(self, metric: str, name: str, other: str | None = None) -> float:
        """Half the 95 % interval of a mean over users, or of a difference, user by user."""
        values = self.comparison.results[name].per_user[metric]
        if other is not None:
            values = values - self.comparison.results[other].per_user[metric]
        return 1.96 * float(values.std(ddof=len(values) > 1)) / float(np.sqrt(len(values)))

    @property
    def achieved(self) -> float:
        """NDCG@10 in relation to that of the true preferences, where those are known."""
        return self.comparison["ndcg@10"] / self.comparison.results[TRUTH]["ndcg@10"]

    @cached_property
    def lines(self) -> list[list[str]]:
        """A header and a line a metric."""
        results = self.comparison.results
        _, *others = results
        lines = [["", self.name, "95 % interval", *others]]
        for metric in SHOWN:
            value, interval = self.comparison[metric], ""
            if metric in self.comparison.first.per_user:
                half = self.error(metric, self.name)
                interval = f"{value - half:.4f} to {value + half:.4f}"
            cells = [f"{results[other][metric]:.4f}" for other in others]
            lines.append([metric, f"{value:.4f}", interval, *cells])
        return lines

    @cached_property
    def gaps(self) -> list[list[str]]:
        """A header, and how far the model is above each of the others, user by user."""
        lines = [[f"NDCG@10 of {self.name}, above that of", "by", "95 % interval"]]
        for other in list(self.comparison.results)[1:]:
            gap = self.comparison["ndcg@10"] - self.comparison.results[other]["ndcg@10"]
            half = self.error("ndcg@10", self.name, other)
            lines.append([other, f"{gap:+.4f}", f"{gap - half:+.4f} to {gap + half:+.4f}"])
        return lines

    @property
    def protocol(self) -> str:
        """What the figures depend on, and which events could not be judged."""
        return f"{self.comparison.first.protocol}; left out: {self.comparison.unjudged}"

    def __str__(self) -> str:
        table = grid(self.lines, "<" + ">" * (len(self.lines[0]) - 1))
        return f"{table}\n\n{grid(self.gaps, '<>>')}\n\nThe protocol: {self.protocol}."

    def tell(self, page: Report) -> None:
        """Add the figures and the pictures to a page."""
        results, first = self.comparison.results, self.comparison.first
        tiles = {
            "NDCG@10": (f"{first['ndcg@10']:.3f}", f"± {self.error('ndcg@10', self.name):.3f}"),
            "hit rate@10": (f"{first['hit_rate@10']:.1%}", "of users find an item among 10"),
            "coverage@10": (f"{first['coverage@10']:.1%}", "of the catalogue is shown to someone"),
        }
        if TRUTH in results:
            about = f"of NDCG@10 {results[TRUTH]['ndcg@10']:.3f}"
            tiles["of the achievable"] = (f"{self.achieved:.1%}", about)
        page.tiles(tiles)
        for header, *lines in (self.lines, self.gaps):
            page.table(header, lines)
        about = "; ".join(f"{name}: {ABOUT[name]}" for name in results if name in ABOUT)
        page.text(f"{about}. The protocol: {self.protocol}.")
        values = {name: result["ndcg@10"] for name, result in results.items()}
        halves = {name: self.error("ndcg@10", name) for name in results}
        page.figures(
            {
                "A line through a bar's end is the 95 % interval": plots.bars(
                    values, halves, "Mean over users", "NDCG@10"
                ),
                "How much of what was withheld is found, as lists get longer": plots.by_length(
                    results, "recall"
                ),
                "Whether a few items fill all lists": plots.exposure(results, 10),
            }
        )


@dataclass
class RankingStudy:
    """A log, what was withheld of it and how, the settings to choose from, and the outcome."""

    log: Interactions
    parts: Holdout
    withheld: str
    candidates: list[ScoringModel]
    recommender: Recommender = field(init=False)
    standing: Standing = field(init=False)

    @classmethod
    def plan(
        cls, log: Interactions, model: str | None = None, share: float | None = None, seed: int = 0
    ) -> Self:
        """Withhold the last item of each user, or the last share; without times any, by `seed`.

        model: of `MODELS`; None is "edlae", and "ials" with more than 20,000 items.

        >>> log = Interactions.from_columns(list("aabbc"), [5, 6, 5, 6, 6], times=range(5))
        >>> study = RankingStudy.plan(log)
        >>> print(study.summary())
        part   events  users  items
        train       3      3      2
        test        2      2      1
        """
        by = "random" if log.times is None else "time"
        if share is None:
            parts = leave_one_out(log, by=by, rng=seed)
            what = "an item of each user, drawn" if by == "random" else "the last item of each user"
        else:
            parts = fraction_per_user(log, share, by=by, rng=seed)
            what = f"{'any' if by == 'random' else 'the last'} {share:.0%} of each user's items"
        if not len(parts.test):
            raise ValueError(f"{log}: no user has two different items; none can be withheld")
        name = model or ("edlae" if log.n_items <= EASE_ITEMS else "ials")
        candidates = MODELS[name]()
        for candidate in candidates:
            if hasattr(candidate, "rng"):
                candidate.rng = seed
            if isinstance(candidate, IALS) and log.values is not None:
                candidate.weights = "values"
        return cls(log, parts, what, candidates)

    def train(self) -> None:
        """Choose the settings on a part of train, then fit to all of train."""
        train, chosen = self.parts.train, self.candidates[0]
        inner = leave_one_out(train, by="random" if train.times is None else "time")

        def ndcg(model: ScoringModel) -> float:
            model.fit(inner.train)
            return evaluate(model, inner.train, inner.test, n=10)["ndcg@10"]

        if len(self.candidates) > 1 and len(inner.test):
            chosen = max(self.candidates, key=ndcg)
        able = isinstance(chosen, NetworkModel) and len(fraction_per_user(train, 0.1).test)
        self.recommender = Recommender(chosen).fit(train, 0.1 if able else 0.0)

    def judge(self, truth: Callable[[Array], Array] | None = None) -> Standing:
        """Look at the withheld items, once.  truth: user indices → true preferences, if known."""
        train, test, *_ = self.parts
        found = self.recommender.evaluate(test, n=CUTS)
        results: dict[str, RankingResult] = dict(found.results)
        if truth is not None:
            counts = np.bincount(train.csr().indices, minlength=train.n_items)
            rules: dict[str, Any] = {"seen": train.csr(), "n": CUTS, "popularity": counts}
            results[TRUTH] = evaluate_ranking(truth, test.csr(), **rules)
        self.standing = Standing(Comparison(results, found.left_out))
        return self.standing

    def finish(self) -> Recommender:
        """The recommender as it goes to work: the chosen settings, learned from all events."""
        return Recommender(self.recommender.model).fit(self.log)

    def summary(self) -> str:
        """How many events, users and items there are in each part."""
        lines = [["part", "events", "users", "items"]]
        for name, part in (("train", self.parts.train), ("test", self.parts.test)):
            sizes = (len(part), *(len(np.unique(i)) for i in (part.user_index, part.item_index)))
            lines.append([name, *(f"{size:,}" for size in sizes)])
        return grid(lines, "<>>>")

    def examples(self, names: Mapping[Any, Any], users: int = 5, n: int = 5) -> list[list[str]]:
        """A header, and for a few test users what they took up last and what they were shown."""
        train, result = self.parts.train, self.standing.comparison.first
        starts, events = train.by_user()
        lines = [["user", "took up last", f"would be shown, best of {len(names) or train.n_items}"]]
        for place in np.unique(np.linspace(0, len(result.users) - 1, users).astype(int)):
            user = result.users[place]
            last = train.item_index[events[starts[user] : starts[user + 1]]][::-1]
            had = list(dict.fromkeys(last.tolist()))[:3]
            shown = [item for item in result.lists[place, :n].tolist() if item >= 0]
            cells = (
                ", ".join(str(names.get(id, id)) for id in train.items[part])
                for part in (had, shown)
            )
            lines.append([str(train.users[user]), *cells])
        return lines

    def warnings(self) -> list[str]:
        """What the reader should know before believing the figures."""
        found, users = [], len(np.unique(self.parts.test.user_index))
        if self.log.values is not None and not isinstance(self.candidates[0], IALS):
            found.append("Values weigh nothing here: only --model ials weighs its events by them.")
        if users < 200:
            found.append(f"Only {users:,} users are in the test part: the intervals are wide.")
        return found

    def figures(self) -> dict[str, Any]:
        """What goes into the recommender's file with it, as JSON values."""
        return {
            "protocol": {"withheld": self.withheld, "ranked": self.standing.protocol},
            "test": {metric: self.standing.comparison[metric] for metric in SHOWN},
        }

    def tell(self, page: Report, names: Mapping[Any, Any]) -> None:
        """Add the whole study to a page; names: ids of items → what to call them."""
        for text in self.warnings():
            page.note(text)
        page.text(f"{self.log}. Withheld: {self.withheld}. Model: {self.recommender.model!r}.")
        self.standing.tell(page)
        page.listing(self.summary())
        header, *lines = self.examples(names)
        page.table(header, lines)


def read_log(table: Table, user: str, item: str, **others: str | None) -> tuple[Interactions, int]:
    """The events of a table, and how many rows were left out for want of an id, value or time.

    others: the columns `value` and `time`.  Whole numbers that missing cells made floats are whole.

    >>> table = Table({"who": [7, None, 8], "what": ["mug", "tea", "tea"]})
    >>> log, left_out = read_log(table, "who", "what")
    >>> log.users.ids, left_out
    ([7, 8], 1)
    """
    columns = {"user": user, "item": item} | {k: v for k, v in others.items() if v is not None}
    gaps = np.any([missing(table[name]) for name in columns.values()], axis=0)
    kept, whole = table.take(~gaps), {}
    for name in (user, item):
        ids = kept[name]
        if ids.dtype.kind == "M":
            raise ValueError(f"column {name!r} holds times, such as {short(ids[0])}, expected ids")
        if ids.dtype.kind == "f" and (ids == np.rint(ids)).all() and (abs(ids) < 2**53).all():
            whole[name] = ids.astype(np.int64)
    log = Interactions.from_table(kept.with_columns(whole), **columns)
    return log, len(table) - len(kept)
