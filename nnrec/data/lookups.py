"""Lookups: ids that come from outside, one or several, against the ids that are known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from nnrec.data.columns import Array
from nnrec.data.interactions import Ids, Interactions


def is_one(given: Any) -> bool:
    """Whether this is one id: a string, a tuple or what can't be iterated.

    >>> is_one("mug"), is_one(("mug", "red")), is_one(7), is_one(["mug"]), is_one(range(3))
    (True, True, True, False, False)
    """
    return isinstance(given, str | bytes | tuple) or not isinstance(given, Iterable)


def is_lists(given: Any) -> bool:
    """Whether these are several lists of ids, not one.

    >>> is_lists([["mug"], []]), is_lists(["mug"]), is_lists([])
    (True, False, False)
    """
    return len(given) > 0 and not any(map(is_one, given))


def known(ids: Ids, given: Any, what: str, hint: str = "") -> Array:
    """(n,) int64: the index of each of several ids; ValueError: the first that isn't known.

    >>> known(Ids(["mug", "tea"]), ["tea"], "item")
    array([1])
    """
    index = ids.index(given)
    if (index < 0).any():
        first = [*given][int(np.argmax(index < 0))]
        more = int((index < 0).sum()) - 1
        others = f" and {more} more" if more else ""
        raise ValueError(f"unknown {what} {first!r}{others}; known are {ids!r}{hint}")
    return index


def some_known(ids: Ids, given: Any, what: str) -> Array:
    """The indices of those ids that are known; ValueError if none is, as with ids of another type.

    >>> some_known(Ids(["mug", "tea"]), ["pen", "tea"], "among")
    array([1])
    """
    index = ids.index(given)
    if len(index) and (index < 0).all():
        raise ValueError(f"{what}: none of {len(index)} ids is known; known are {ids!r}")
    return index[index >= 0]


def on_maps(maps: Interactions, part: Interactions, left_out: dict[str, int]) -> Interactions:
    """A log on the id maps of another; events of ids that don't stand there are only counted.

    >>> log = Interactions.from_columns(["eve", "bob"], ["mug", "tea"])
    >>> later = Interactions.from_columns(["bob", "bob", "kim"], ["pen", "mug", "mug"])
    >>> left_out = {}
    >>> on_maps(log, later, left_out).pairs(), left_out
    (array([2]), {'unknown user': 1, 'unknown item': 1})
    """
    user = maps.users.index(part.users)[part.user_index]
    item = maps.items.index(part.items)[part.item_index]
    for what, unknown in (("user", user < 0), ("item", (user >= 0) & (item < 0))):
        name = f"unknown {what}"
        left_out[name] = left_out.get(name, 0) + int(unknown.sum())
    kept = (user >= 0) & (item >= 0)
    return Interactions(maps.users, maps.items, user[kept], item[kept])
