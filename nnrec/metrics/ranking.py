"""Ranking metrics of top-n recommendation, with the protocol that each number depends on.

For a user with the relevant items R, of which h stand among the first n of the list:

    hit rate   [h > 0]                  precision  h / n         recall  h / d
    F1         2h / (n + d), the harmonic mean of the two, per user
    NDCG       Σ_{r ≤ n, item r ∈ R} 1/log₂(1 + r)  ÷  the same sum of an ideal list
    MRR        1 / the rank of the first relevant item, 0 beyond n
    MAP        Σ_{r ≤ n, item r ∈ R} (relevant items up to r) / r  ÷  d
    AUC        the share of pairs (relevant, other) in the right order, a tie counting ½

and then the plain mean over users.  d is |R| (`denominator="relevant"`, as in pytrec_eval's recall
and map_cut, LightGCN, …) or min(n, |R|) ("attainable", as in the variational autoencoder's paper).
Relevance is yes or no.  pytrec_eval and ranx agree where no scores tie (they then go by id or by
place); pytrec_eval's recip_rank has no n.  scikit-learn's ndcg_score takes the mean over the orders
of ties, as `ties="expected"`.  Measures of whole lists are in `nnrec.metrics.beyond_accuracy`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnrec.metrics.arguments import Array
from nnrec.metrics.beyond_accuracy import coverage, gini, intra_list_diversity, novelty

ScoreBlock = Callable[[Array], Array]


@dataclass(frozen=True)
class Protocol:
    """How a ranking was judged; without it two numbers can't be compared."""

    users: int
    users_without_positives: int
    without_positives: str
    items: int
    masked: int
    candidates: float | None
    ties: str
    denominator: str

    def __str__(self) -> str:
        ranking = f"full ranking of {self.items:,} items"
        if self.candidates is not None:
            ranking = f"sampled ranking: {self.candidates:.4g} candidates a user beside positives"
        treated = {"skip": "skipped", "zero": "counted as 0"}[self.without_positives]
        return (
            f"{ranking}; {self.users:,} users, {self.users_without_positives:,} without positives "
            f"({treated}); {self.masked:,} seen pairs masked; ties {self.ties}; recall, F1 and MAP "
            f"over {self.denominator} items"
        )


@dataclass(frozen=True)
class RankingResult:
    """Means by name, `result["ndcg@10"]`, the users' own values, and the protocol; prints all.

    per_user: name → (users,) float64, in the order of `users` (indices).  lists: (users, n) item
    indices, n_items at most, the best first, −1 where there was nothing left.
    """

    metrics: dict[str, float]
    per_user: dict[str, Array]
    users: Array
    lists: Array
    protocol: Protocol = field(kw_only=True)

    def __getitem__(self, name: str) -> float:
        if name not in self.metrics:
            raise KeyError(f"{name!r}: expected one of {', '.join(self.metrics)}")
        return self.metrics[name]

    def __str__(self) -> str:
        names = list(dict.fromkeys(name.partition("@")[0] for name in self.metrics))
        cuts = list(dict.fromkeys(name.partition("@")[2] for name in self.metrics if "@" in name))
        lines = [" " * 20 + "".join(f"{'@' + cut:>10}" for cut in cuts)]
        for name in names:
            own = [self.metrics.get(f"{name}@{cut}", self.metrics.get(name)) for cut in cuts]
            own = own if f"{name}@{cuts[0]}" in self.metrics else own[:1]
            lines.append(f"{name:<20}" + "".join(f"{value:>10.4f}" for value in own))
        return "\n".join([*lines, str(self.protocol)])


def evaluate_ranking(
    scores: ScoreBlock | Any,
    test: Any,
    *,
    seen: Any = None,
    candidates: Any = None,
    n: int | Sequence[int] = 10,
    users: Any = None,
    ties: str = "pessimistic",
    denominator: str = "relevant",
    without_positives: str = "skip",
    auc: bool = False,
    popularity: Any = None,
    item_vectors: Any = None,
    block: int = 1024,
) -> RankingResult:
    """Judge scores by the items that each user took up in `test`.

    scores      (n_users, n_items), or a function: (b,) user indices → (b, n_items); finite
    test        (n_users, n_items) CSR or dense; nonzero is relevant
    seen        the same shape; nonzero pairs are taken out of the ranking (None: nothing is)
    candidates  the same shape; a user's nonzero items are all that the positives compete with.
                Such *sampled* metrics don't estimate those of the full ranking and may order
                models otherwise (Krichene & Rendle, KDD 2020)
    n           list lengths; may exceed the number of items
    users       (m,) indices of the users to judge (None: all)
    ties        "pessimistic": a positive stands behind all others of its score, so that constant
                scores earn nothing; "optimistic": before them; "expected": the mean over all
                orders, exactly.  The lists, unlike the metrics, put the lower index first
    without_positives   "skip" these users, or count them as "zero"
    auc         per-user AUC too (NaN, and left out, where nothing competes); the slowest of all
    popularity  (n_items,) counts: adds novelty.  item_vectors: (n_items, d): adds diversity

    Memory is O(block × n_items).  ValueError: a pair both in `test` and in `seen`, a score that is
    not finite, shapes that differ.

    >>> result = evaluate_ranking(np.array([[3.0, 2.0, 1.0]]), [[0, 1, 1]], n=[1, 2])
    >>> result["hit_rate@1"], result["hit_rate@2"], result["recall@2"]
    (0.0, 1.0, 0.5)
    """
    cuts = [n] if isinstance(n, int | np.integer) else list(n)
    for value, allowed in (
        (ties, ("pessimistic", "optimistic", "expected")),
        (denominator, ("relevant", "attainable")),
        (without_positives, ("skip", "zero")),
    ):
        if value not in allowed:
            raise ValueError(f"{value!r}: expected one of {', '.join(map(repr, allowed))}")
    if not cuts or min(cuts) < 1 or block < 1:
        raise ValueError(f"n={n}, block={block}: expected at least 1")
    relevant, masked, sampled = _matrices(test, seen, candidates)
    n_users, n_items = relevant.shape
    if not callable(scores):
        whole = np.asarray(scores)
        if whole.shape != relevant.shape:
            raise ValueError(f"scores: shape {whole.shape}, test has {relevant.shape}")
        scores = whole.__getitem__
    chosen = np.arange(n_users) if users is None else np.asarray(users)
    positives = np.diff(relevant.indptr)[chosen]
    judged = chosen if without_positives == "zero" else chosen[positives > 0]
    if not len(judged):
        raise ValueError("no user has a positive in test: there is nothing to judge")

    blocks, tops, depth = [], [], min(max(cuts), n_items)
    for start in range(0, len(judged), block):
        own = judged[start : start + block]
        block_scores = _checked_scores(scores(own), own, n_items)
        if masked is not None:
            block_scores[_cells(masked, own)] = -np.inf
        truth = np.zeros(block_scores.shape, bool)
        truth[_cells(relevant, own)] = True
        if sampled is not None:
            rivals = truth.copy()
            rivals[_cells(sampled, own)] = True
            block_scores[~rivals] = -np.inf
        leaders = _leaders(block_scores, depth)
        table = _metrics(leaders, truth, cuts, ties, denominator)
        if auc:
            table["auc"] = _auc(block_scores, truth)
        blocks.append(table)
        tops.append(_lists(leaders, len(own), depth))
    per_user = {name: np.concatenate([table[name] for table in blocks]) for name in blocks[0]}
    metrics = {name: _mean(values) for name, values in per_user.items()}
    lists = np.concatenate(tops)
    for cut in cuts if sampled is None else []:
        metrics[f"coverage@{cut}"] = coverage(lists[:, :cut], n_items)
        metrics[f"gini@{cut}"] = gini(lists[:, :cut], n_items)
        if popularity is not None:
            metrics[f"novelty@{cut}"] = novelty(lists[:, :cut], popularity, n_users)
        if item_vectors is not None:
            metrics[f"diversity@{cut}"] = intra_list_diversity(lists[:, :cut], item_vectors)
    protocol = Protocol(
        users=len(judged),
        users_without_positives=int((positives == 0).sum()),
        without_positives=without_positives,
        items=n_items,
        masked=0 if masked is None else int(np.diff(masked.indptr)[judged].sum()),
        candidates=None if sampled is None else float(np.diff(sampled.indptr)[judged].mean()),
        ties=ties,
        denominator=denominator,
    )
    return RankingResult(metrics, per_user, judged, lists, protocol=protocol)


def top_n(scores: Any, n: int) -> Array:
    """(b, n) the items of the n highest scores of each row, best first; equal ones by index.

    −1 where a row has fewer than n scores above −∞.  O(b · n_items): the n-th largest maximum of
    8n groups bounds the n-th largest score from below, and few items lie above the bound.

    >>> top_n(np.array([[1.0, 3.0, 3.0, -np.inf], [0.5, 0.0, 0.25, 1.0]]), 3)
    array([[1, 2, 0],
           [3, 0, 2]])
    """
    scores = np.asarray(scores)
    scores = scores if scores.dtype.kind == "f" else scores.astype(np.float64)
    return _lists(_leaders(scores, n), len(scores), n)


def _leaders(scores: Array, n: int) -> tuple[Array, Array, Array]:
    """Rows, items and scores of all entries at least as large as their row's n-th largest, and a
    few more; by row, then falling score, then item.  −∞ never leads."""
    items = scores.shape[1]
    groups = min(items, 8 * n)
    depth = items // max(groups, 1)
    folded = scores[:, : depth * groups].reshape(len(scores), depth, groups)
    maxima = folded.max(axis=1, initial=-np.inf)
    bound = np.full((len(scores), 1), np.finfo(scores.dtype).min, scores.dtype)
    if n <= groups:
        np.maximum(bound, np.partition(maxima, -n)[:, -n, None], out=bound)
    row, item = np.divmod(np.flatnonzero(scores >= bound), max(items, 1))
    value = scores[row, item]
    order = np.lexsort((item, -value, row))
    return row[order], item[order], value[order]


def _lists(leaders: tuple[Array, Array, Array], rows: int, n: int) -> Array:
    row, item, _ = leaders
    place = np.arange(len(row)) - np.searchsorted(row, np.arange(rows))[row]
    lists = np.full((rows, n), -1)
    lists[row[place < n], place[place < n]] = item[place < n]
    return lists


def _metrics(
    leaders: tuple[Array, Array, Array],
    truth: Array,
    cuts: Sequence[int],
    ties: str,
    denominator: str,
) -> dict[str, Array]:
    """Each user's metrics, from tables over the ranks 1 … max n (McSherry & Najork, ECIR 2008).

    The unit is a run of equal scores of one user: p positives among e places behind `above`
    others, `before` of them positive.  A tie rule says where in its run a positive may stand, each
    place with the same probability p / e.
    """
    row, item, value = leaders
    users, depth = len(truth), min(max(cuts), truth.shape[1])
    positive = truth[row, item].astype(np.int64)
    starts = np.flatnonzero(
        np.append(True, (np.diff(row) != 0) | (np.diff(value) != 0))[: len(row)]
    )
    first = np.searchsorted(row, np.arange(users))  # a user's first leader
    earlier = np.append(0, np.cumsum(positive))  # positives among the leaders before each one
    user = row[starts]
    e = np.diff(np.append(starts, len(row)))
    p = np.diff(earlier[np.append(starts, len(row))])
    above, before = starts - first[user], earlier[starts] - earlier[first[user]]
    if ties == "pessimistic":
        above += e - p
    if ties != "expected":
        e = p.copy()
    runs = (p > 0) & (above < depth)
    user, e, p, above, before = (column[runs] for column in (user, e, p, above, before))

    places = np.minimum(e, depth - above)
    run = np.repeat(np.arange(len(e)), places)
    j = np.arange(len(run)) - np.repeat(np.cumsum(places) - places, places)  # place in its run
    relevance, precision = np.zeros((2, users, depth))
    no_hit = np.ones((users, depth))
    cell = user[run], above[run] + j
    relevance[cell] = (p / e)[run]
    others = j * (p - 1)[run] / np.maximum(e - 1, 1)[run]  # positives before it in its own run
    precision[cell] = relevance[cell] * (before[run] + 1 + others) / (cell[1] + 1)
    # P(not at place j | not before j); after a user's first run of positives the product is 0.
    no_hit[cell] = np.maximum(1 - p[run] / (e[run] - j), 0)
    hit = 1 - np.cumprod(no_hit, axis=1)
    rank = np.arange(1, depth + 1)
    discount = 1 / np.log2(1 + rank)
    hits, gain, average = (
        np.cumsum(table, axis=1) for table in (relevance, relevance * discount, precision)
    )
    reciprocal = np.cumsum(np.diff(hit, prepend=0) / rank, axis=1)
    total = truth.sum(axis=1)
    ideal = np.cumsum(discount)

    table: dict[str, Array] = {}
    for n in cuts:
        at = min(n, depth) - 1
        d = np.maximum(total if denominator == "relevant" else np.minimum(total, n), 1)
        table[f"hit_rate@{n}"] = hit[:, at]
        table[f"precision@{n}"] = hits[:, at] / n
        table[f"recall@{n}"] = hits[:, at] / d
        table[f"f1@{n}"] = 2 * hits[:, at] / (n + d)
        table[f"ndcg@{n}"] = gain[:, at] / ideal[np.clip(total - 1, 0, at)]
        table[f"mrr@{n}"] = reciprocal[:, at]
        table[f"map@{n}"] = average[:, at] / d
    return table


def _auc(scores: Array, truth: Array) -> Array:
    """Per user, by counting the others above and at each positive; chunks keep memory bounded."""
    row, item = np.nonzero(truth)
    above, equal = np.zeros(len(row)), np.zeros(len(row))
    others = np.where(truth, -np.inf, scores)
    for start in range(0, len(row), len(truth)):
        own = slice(start, start + len(truth))
        own_score = scores[row[own], item[own], None]
        rivals = others[row[own]]
        above[own] = np.count_nonzero(rivals > own_score, axis=1)
        equal[own] = np.count_nonzero(rivals == own_score, axis=1)
    positives = np.bincount(row, minlength=len(truth))
    competing = np.count_nonzero(others > -np.inf, axis=1)
    pairs = positives * competing
    wrong = np.bincount(row, above + equal / 2, len(truth))
    share: Array = np.divide(wrong, pairs, out=np.full(len(truth), np.nan), where=pairs > 0)
    return 1 - share


def _mean(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _matrices(test: Any, seen: Any, candidates: Any) -> tuple[Any, Any, Any]:
    """The three as CSR of bool without stored zeros, of one shape; no pair in test and seen."""
    from scipy.sparse import csr_array

    found: list[Any] = []
    for name, matrix in (("test", test), ("seen", seen), ("candidates", candidates)):
        if matrix is not None:
            matrix = csr_array(matrix).astype(bool)
            matrix.sum_duplicates()
            matrix.eliminate_zeros()
            if found and matrix.shape != found[0].shape:
                raise ValueError(f"{name}: shape {matrix.shape}, test has {found[0].shape}")
        found.append(matrix)
    if seen is not None:
        both = (found[0] * found[1]).tocoo()
        if both.nnz:
            user, item = int(both.row[0]), int(both.col[0])
            raise ValueError(
                f"user {user}, item {item}: in test and in seen, as {both.nnz:,} pairs in all; "
                "what is masked can't be found"
            )
    return found[0], found[1], found[2]


def _cells(matrix: Any, rows: Array) -> tuple[Array, Array]:
    """The nonzero cells of some rows of a CSR matrix, as an index into a block of these rows."""
    part = matrix[rows]
    return np.repeat(np.arange(len(rows)), np.diff(part.indptr)), part.indices


def _checked_scores(found: Any, users: Array, n_items: int) -> Array:
    """A copy of a block of scores, float32 or float64."""
    kept = np.asarray(found)
    scores = np.array(kept, kept.dtype if kept.dtype in (np.float32, np.float64) else np.float64)
    if scores.shape != (len(users), n_items):
        raise ValueError(f"scores: shape {scores.shape}, expected {(len(users), n_items)}")
    if scores.size and not (np.isfinite(scores.min()) and np.isfinite(scores.max())):
        row, item = np.argwhere(~np.isfinite(scores))[0]
        raise ValueError(f"the score of user {users[row]}, item {item} is {scores[row, item]}")
    return scores
