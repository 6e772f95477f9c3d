"""Interactions: a log of events (user, item[, value][, time]), on indices, with a map of ids.

The user behaviour of the document's §3.2.1.  Users and items are told apart by name everywhere,
never by the order of two axes.  Publishers' files are in `nnrec.data.formats`, splits in
`nnrec.data.holdouts`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from nnrec.data.columns import Array, factorize, parse, short, to_column
from nnrec.data.tables import Table


class Ids:
    """Ids ↔ indices 0 … n−1; an id is any hashable value that is not missing.

    Ids are equal when Python's `==` says so: "1" and 1 are two, 1 and 1.0 are one.

    >>> ids = Ids(["mug", 7, ("pen", "red")])
    >>> ids[2], ids[[1, 0]], ids.index([7, "cup"]).tolist(), "mug" in ids
    (('pen', 'red'), [7, 'mug'], [1, -1], True)
    """

    def __init__(self, ids: Iterable[Hashable]) -> None:
        self.ids, codes = _numbered(ids, "ids")
        if len(self.ids) < len(codes):
            row = int(np.flatnonzero(codes != np.arange(len(codes)))[0])
            raise ValueError(f"ids: {short(self.ids[codes[row]])} stands twice, again at {row}")
        self._index = {id: i for i, id in enumerate(self.ids)}

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self.ids)

    def __contains__(self, id: Any) -> bool:
        return id in self._index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ids) and self.ids == other.ids

    def __getitem__(self, index: Any) -> Any:
        """The id of one index, or the list of ids of several."""
        if isinstance(index, int | np.integer):
            return self.ids[index]
        return [self.ids[i] for i in index]

    def __repr__(self) -> str:
        return f"Ids({len(self)}: {', '.join(map(short, self.ids[:3]))}, …)"

    def index(self, ids: Iterable[Hashable]) -> Array:
        """(n,) int64: the index of each id, −1 for an unknown one."""
        values = _listed(ids, "ids")
        try:
            return np.array([self._index.get(id, -1) for id in values], np.int64)
        except TypeError as error:
            raise TypeError(f"ids: {error}; expected hashable ids") from None


class Interactions:
    """Events as arrays: `user_index` and `item_index` (n,) int64 into the id maps `users`, `items`.

    users, items: `Ids`; they may hold ids without any event.  values: (n,) float64, finite, or
    None.  times: (n,) numbers or datetime64[us], or None.  Events keep their order, repeated ones
    too, until `merged` says how they become one.  Indices are the order of first appearance, so
    other names in the same events give the same arrays.  No event at all is allowed.

    >>> log = Interactions.from_columns(["eve", "bob", "eve"], ["mug", "mug", 7], times=[3, 1, 2])
    >>> print(log)
    3 events of 2 users and 2 items, 3 different pairs (75 %)
    >>> log.items[log.item_index], log.csr().toarray().tolist()
    (['mug', 'mug', 7], [[1.0, 1.0], [1.0, 0.0]])
    """

    def __init__(
        self,
        users: Ids,
        items: Ids,
        user_index: Array,
        item_index: Array,
        values: Array | None = None,
        times: Array | None = None,
    ) -> None:
        self.users, self.items = users, items
        self.user_index, self.item_index = user_index, item_index
        self.values, self.times = values, times
        for name, ids in (("user_index", users), ("item_index", items)):
            index = getattr(self, name)
            if index.dtype != np.int64 or index.ndim != 1:
                raise TypeError(
                    f"{name}: {index.dtype} of shape {index.shape}; expected (n,) int64"
                )
            if len(index) and not 0 <= index.min() <= index.max() < len(ids):
                raise ValueError(f"{name}: {index.min()} … {index.max()} for {len(ids)} ids")
        for name in ("item_index", "values", "times"):
            column = getattr(self, name)
            if column is not None and column.shape != user_index.shape:
                raise ValueError(f"{name}: shape {column.shape} for {len(user_index)} users")

    @classmethod
    def from_columns(
        cls, users: Any, items: Any, values: Any = None, times: Any = None
    ) -> Interactions:
        """From columns of equal length: any hashable ids; numbers; numbers or times.

        A missing id (None, NaN, NaT), value or time is a ValueError that names its row.
        """
        user_ids, user_index = _numbered(users, "users")
        item_ids, item_index = _numbered(items, "items")
        return cls(
            Ids(user_ids),
            Ids(item_ids),
            user_index,
            item_index,
            None if values is None else _column(values, "values", "bif").astype(np.float64),
            None if times is None else _column(times, "times", "ifM"),
        )

    @classmethod
    def from_table(
        cls, data: Any, *, user: str, item: str, value: str | None = None, time: str | None = None
    ) -> Interactions:
        """From anything with named columns (see `Table.of`); the arguments are columns' names.

        >>> Interactions.from_table({"who": [7, 7], "what": ["a", "b"]}, user="who", item="what")
        Interactions(2 events of 1 user and 2 items, 2 different pairs (100 %))
        """
        table = Table.of(data)
        optional = (None if name is None else table[name] for name in (value, time))
        return cls.from_columns(table[user], table[item], *optional)

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        user: str,
        item: str,
        value: str | None = None,
        time: str | None = None,
        **reading: Any,
    ) -> Interactions:
        """From a .csv, .tsv or .parquet file; other arguments are those of `Table.read`."""
        table = Table.read(path, **reading)
        return cls.from_table(table, user=user, item=item, value=value, time=time)

    @property
    def n_users(self) -> int:
        """The number of users, those without events among them."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """The number of items, those without events among them."""
        return len(self.items)

    def __len__(self) -> int:
        return len(self.user_index)

    def __str__(self) -> str:
        pairs, cells = len(distinct(self.pairs())), self.n_users * self.n_items
        counts = ((len(self), "event"), (self.n_users, "user"), (self.n_items, "item"))
        events, users, items = (f"{n:,} {what}{'s' * (n != 1)}" for n, what in counts)
        share = f"different pair{'s' * (pairs != 1)} ({pairs / max(cells, 1) * 100:.3g} %)"
        return f"{events} of {users} and {items}, {pairs:,} {share}"

    def __repr__(self) -> str:
        return f"Interactions({self})"

    def pairs(self) -> Array:
        """(n,) int64: one number for each event's pair, user_index · n_items + item_index."""
        return self.user_index * self.n_items + self.item_index

    def csr(self, weights: str = "binary") -> Any:
        """CSR (n_users, n_items) float32: 1 per pair, its "count" of events, or Σ of its "values".

        Sorted, no cell twice; a sum of values may be an explicit 0.
        """
        from scipy.sparse import csr_array

        if weights not in ("binary", "count", "values"):
            raise ValueError(f"weights={weights!r}: expected 'binary', 'count' or 'values'")
        if weights == "values" and self.values is None:
            raise ValueError("weights='values': these interactions have no values")
        pairs = distinct(self.pairs())
        data = np.ones(len(pairs), np.float32)
        if weights != "binary":
            which = np.searchsorted(pairs, self.pairs())
            values = self.values if weights == "values" else None
            data = np.bincount(which, values, len(pairs)).astype(np.float32)
        user, item = np.divmod(pairs, max(self.n_items, 1))
        indptr = np.searchsorted(user, np.arange(self.n_users + 1))
        narrow = np.int32 if max(len(pairs), self.n_items) < 2**31 else np.int64
        parts = (data, item.astype(narrow), indptr.astype(narrow))
        return csr_array(parts, shape=(self.n_users, self.n_items))

    def by_time(self) -> Array:
        """(n,) the events, oldest first; equal times, and no times, keep the order of the log."""
        order = np.arange(len(self))
        return order if self.times is None else np.argsort(self.times, kind="stable")

    def by_user(self) -> tuple[Array, Array]:
        """(starts, events): user u's, oldest first, are events[starts[u] : starts[u + 1]]."""
        order = self.by_time()
        events = order[np.argsort(self.user_index[order], kind="stable")]
        starts = np.searchsorted(self.user_index[events], np.arange(self.n_users + 1))
        return starts, events

    def take(self, events: Any) -> Interactions:
        """These events (indices in this order, or a mask), with the same id maps."""
        values, times = (None if c is None else c[events] for c in (self.values, self.times))
        user, item = self.user_index[events], self.item_index[events]
        return Interactions(self.users, self.items, user, item, values, times)

    def merged(self, keep: str = "sum") -> Interactions:
        """One event for each pair, in the order of the pairs' first appearance.

        keep: "first" or "last" event, by time and then by order; or "sum" or "max": the last event
        with the sum or the largest of the values.  Without values a "sum" counts: 1 an event.

        >>> log = Interactions.from_columns([3, 3, 3], ["a", "b", "a"], [2.0, 5.0, 4.0])
        >>> [log.merged(keep).values.tolist() for keep in ("sum", "max", "first")]
        [[6.0, 5.0], [4.0, 5.0], [2.0, 5.0]]
        """
        if keep not in ("first", "last", "sum", "max"):
            raise ValueError(f"keep={keep!r}: expected 'first', 'last', 'sum' or 'max'")
        _, appeared, which = np.unique(self.pairs(), return_index=True, return_inverse=True)
        rank = np.empty_like(appeared)
        rank[np.argsort(appeared)] = np.arange(len(appeared))
        which = rank[which]
        kept = np.empty(len(appeared), np.int64)
        order = self.by_time()[:: -1 if keep == "first" else 1]
        kept[which[order]] = order  # of several, the last assignment stays
        merged = self.take(kept)
        if keep == "sum":
            merged.values = np.bincount(which, self.values, len(kept)).astype(np.float64)
        elif keep == "max" and self.values is not None and merged.values is not None:
            np.maximum.at(merged.values, which, self.values)
        return merged

    def core(self, *, per_user: int = 1, per_item: int = 1) -> Interactions:
        """The k-core: the largest part in which each user has `per_user` different items and each
        item `per_item` different users.  Other ids leave the id maps, which keep their order.

        >>> log = Interactions.from_columns(["a", "a", "b", "b", "c"], [5, 6, 5, 6, 6])
        >>> log.core(per_user=2, per_item=2).users.ids
        ['a', 'b']
        """
        _, first, which = np.unique(self.pairs(), return_index=True, return_inverse=True)
        user, item = self.user_index[first], self.item_index[first]
        alive = np.ones(len(first), bool)
        while True:
            of_user = np.bincount(user[alive], minlength=self.n_users) >= per_user
            of_item = np.bincount(item[alive], minlength=self.n_items) >= per_item
            left = alive & of_user[user] & of_item[item]
            if left.sum() == alive.sum():
                return self.take(alive[which])._without_unused()
            alive = left

    def including(
        self, *, users: Iterable[Hashable] = (), items: Iterable[Hashable] = ()
    ) -> Interactions:
        """The same events, with these users and items in the id maps too (behind, if new)."""
        user_ids, _ = _numbered([*self.users, *_listed(users, "users")], "users")
        item_ids, _ = _numbered([*self.items, *_listed(items, "items")], "items")
        same = (self.user_index, self.item_index, self.values, self.times)
        return Interactions(Ids(user_ids), Ids(item_ids), *same)

    def _without_unused(self) -> Interactions:
        (users, user), (items, item) = (
            np.unique(index, return_inverse=True) for index in (self.user_index, self.item_index)
        )
        maps = Ids(self.users[users]), Ids(self.items[items])
        return Interactions(*maps, user, item, self.values, self.times)


def distinct(numbers: Array) -> Array:
    """The different ones, sorted.  On 10⁶ pairs `np.unique`, which hashes, takes 20 times as long.

    >>> distinct(np.array([3, 1, 3]))
    array([1, 3])
    """
    numbers = np.sort(numbers, kind="stable")  # a log has runs, which this kind makes use of
    first: Array = np.append(True, numbers[1:] != numbers[:-1])[: len(numbers)]
    return numbers[first]


def align(*logs: Interactions) -> tuple[Interactions, ...]:
    """The same events, all on the same two id maps: the first log's ids first, then new ones.

    >>> old = Interactions.from_columns(["eve"], ["mug"])
    >>> old, new = align(old, Interactions.from_columns(["bob", "eve"], ["mug", "pen"]))
    >>> old.users is new.users, new.users.ids, new.item_index.tolist()
    (True, ['eve', 'bob'], [0, 1])
    """
    users, items = (
        Ids(_numbered([id for log in logs for id in getattr(log, name)], name)[0])
        for name in ("users", "items")
    )
    return tuple(
        Interactions(
            users,
            items,
            users.index(log.users)[log.user_index],
            items.index(log.items)[log.item_index],
            log.values,
            log.times,
        )
        for log in logs
    )


def concatenate(*logs: Interactions) -> Interactions:
    """All events in one log, one log after the other; ids as `align` orders them.

    Values and times must stand in all of them or in none.

    >>> len(concatenate(*2 * [Interactions.from_columns(["eve"], ["mug"])]))
    2
    """
    parts = align(*logs)
    columns: dict[str, Any] = {}
    for name in ("user_index", "item_index", "values", "times"):
        found = [getattr(part, name) for part in parts]
        there = [column is not None for column in found]
        if any(there) and not all(there):
            raise ValueError(f"{name} stand in some of the logs only: {there}")
        kinds = {"M" if column.dtype.kind == "M" else "number" for column in found if all(there)}
        if len(kinds) > 1:
            raise ValueError(f"{name} are numbers in one log and datetime64 in another")
        columns[name] = np.concatenate(found) if all(there) else None
    return Interactions(parts[0].users, parts[0].items, **columns)


def _listed(values: Any, name: str) -> list[Any]:
    """A column of ids as Python values."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise TypeError(f"{name}: found {short(values)}, expected a column of ids")
    if isinstance(values, np.ndarray) and values.ndim != 1:
        raise ValueError(f"{name}: an array of shape {values.shape}, expected one dimension")
    for method in ("tolist", "to_list", "to_pylist"):
        if hasattr(values, method):
            return list(getattr(values, method)())
    return list(values)


def _numbered(values: Any, name: str) -> tuple[list[Any], Array]:
    """Different ids in the order of their first appearance, and each row's place among them."""
    rows = _listed(values, name)
    index: defaultdict[Any, int] = defaultdict(count().__next__)
    try:
        codes = np.fromiter(map(index.__getitem__, rows), np.int64, len(rows))
    except TypeError as error:
        raise TypeError(f"{name}: {error}; expected hashable ids") from None
    ids = list(index)
    for place, id in enumerate(ids):
        nan = isinstance(id, float | np.floating | np.datetime64) and id != id
        if id is None or nan or type(id).__name__ in ("NAType", "NaTType"):
            row = int(np.argmax(codes == place))
            raise ValueError(f"{name}: a missing id in row {row}: found {id!r}")
    return ids, codes


def _column(values: Any, name: str, kinds: str) -> Array:
    """Numbers or times without a gap; the error names the row."""
    column = to_column(values)
    if column.dtype.kind not in kinds:
        expected, found = "numbers or times" if "M" in kinds else "numbers", str(column.dtype)
        if column.dtype.kind == "O":
            words = factorize(column)[1]
            odd = [word for word in words if parse([word]).dtype.kind not in kinds] or words
            found = f"{short(odd[0])} in row {column.tolist().index(odd[0])}"
        raise TypeError(f"{name}: found {found}, expected {expected}")
    bad = ~np.isfinite(column)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"{name}: found {column[row]} in row {row}, expected a finite value")
    return column
