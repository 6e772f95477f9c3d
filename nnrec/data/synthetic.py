"""A synthetic shop: customers, items, events and sessions whose true probabilities are known.

Real data cannot say how good a model could have been. Here every session carries the probability
with which its purchase was drawn, so the best achievable AUC is known, and every customer's true
preference over all items, so is the best achievable ranking.

Who sees what: a customer is a mixture of `INTERESTS`, an interest a distribution over items,
P(item | customer) = Σ_k taste_ck · interest_ki (a topic model; Blei et al. 2003). Who buys: the
logit of a session's purchase is a sum of effects, several of which turn around with another column
(price with segment, weekend with segment, hour with device), so a linear model falls short.
`nnrec.data.dirt` spoils such a table the way real ones are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nnrec.data.columns import Array
from nnrec.data.tables import Table

INTERESTS = 12
SEGMENTS = ("bargain", "family", "gift", "professional", "premium")
REGIONS = ("北京", "上海", "東京", "São Paulo", "Kraków", "Zürich")
# Each category: the words of its titles, and its typical price.
CATEGORIES = {
    "shoes": (("运动鞋", "Sneaker", "スニーカー"), 60.0),
    "clothing": (("连衣裙", "Jacket", "Żakiet"), 45.0),
    "kitchen": (("炒锅", "Kettle", "Poêle"), 35.0),
    "books": (("小说", "Cookbook", "Wörterbuch"), 15.0),
    "toys": (("积木", "Puzzle", "인형"), 20.0),
    "sports": (("瑜伽垫", "Racket", "Balón"), 40.0),
    "beauty": (("面霜", "Perfume", "Crème"), 30.0),
    "electronics": (("耳机", "Keyboard", "Câble"), 120.0),
}
STYLES = ("经典", "Classic", "Été", "新款", "Max", "Señor", "Mini", "豪华")
# What a visitor's search ends with, and what it says about buying.
INTENTS = {"": 0, "buy": 0.9, "购买": 0.9, "coupon": 0.5, "优惠": 0.5, "review": -0.9, "评测": -0.9}

# Effects on the logit of a purchase, one number per segment.
_PRICE = np.array([-1.8, -1.3, -0.9, -0.5, 0.5])  # × ln(price / typical price)
_DISCOUNT = np.array([7.0, 5.0, 4.0, 2.5, 0.0])  # × discount
_WEEKEND = np.array([0.3, 1.0, 0.6, -1.0, 0.3])
_SEGMENT = np.array([-0.3, 0.2, 0.1, -0.1, 0.2])


@dataclass(frozen=True)
class Shop:
    """What `shop` returns. Rows of `sessions` and of `probability` belong together.

    customers   customer, segment, age, region, member, joined
    items       item, title, category, price
    sessions    one visit a row, by start: what was known about it, and the label `purchase`
    events      customer, item, event (view, cart, purchase, rating), rating, dwell (seconds), time
    probability (sessions,) the true probability of each session's purchase
    tastes      (customers, interests) and interests (interests, items): rows sum to 1
    visits      (sessions, 2) row in `customers` and row in `items` of each session
    """

    customers: Table
    items: Table
    sessions: Table
    events: Table
    probability: Array
    tastes: Array
    interests: Array
    visits: Array

    def true_affinity(self, customers: Any = None) -> Array:
        """(n, items): P(item | customer) of a view, the best there is to rank by, for these rows.

        All customers without an argument: mind the memory, and ask for a large shop in blocks.
        (What is *bought* of what was seen also hangs on its price, as in `probability`.)

        >>> shop(customers=5, items=7, sessions=11).true_affinity([0, 3]).sum(axis=1).round(9)
        array([1., 1.])
        """
        rows = slice(None) if customers is None else np.asarray(customers)
        affinity: Array = self.tastes[rows] @ self.interests
        return affinity


def shop(
    customers: int = 3_000, items: int = 600, sessions: int = 100_000, *, rng: Any = 0
) -> Shop:
    """A shop of any size, in O(customers + items + sessions) memory; the same for the same `rng`.

    About 16 % of the sessions end in a purchase; four events or so come of one.

    >>> small = shop(customers=50, items=20, sessions=100)
    >>> len(small.customers), len(small.items), len(small.sessions), small.probability.shape
    (50, 20, 100, (100,))
    """
    for name, size in (("customers", customers), ("items", items), ("sessions", sessions)):
        if size < 1:
            raise ValueError(f"{name}={size}: a shop needs at least 1")
    # A stream each: more sessions leave customers and items as they are.
    streams = np.random.default_rng(rng).spawn(4)
    people, tastes = _customers(customers, streams[0])
    goods, interests = _items(items, streams[1])
    table, probability, visits = _sessions(sessions, people, goods, tastes, interests, streams[2])
    events = _events(table, people, goods, tastes, interests, visits, streams[3])
    return Shop(people, goods, table, events, probability, tastes, interests, visits)


def _customers(n: int, rng: np.random.Generator) -> tuple[Table, Array]:
    segment = rng.choice(len(SEGMENTS), n, p=[0.3, 0.25, 0.15, 0.2, 0.1])
    # A segment leans to some interests, a customer to one or two.
    leaning = rng.dirichlet(np.ones(INTERESTS), len(SEGMENTS))
    draws = rng.standard_gamma(0.15 + leaning[segment]) + 1e-6
    table = Table(
        {
            "customer": _ids("C", n),
            "segment": _words(SEGMENTS, segment),
            "age": np.clip(rng.normal(40, 13, n).round(), 18, 85).astype(np.int64),
            "region": _words(REGIONS, rng.integers(len(REGIONS), size=n)),
            "member": rng.random(n) < 0.35,
            "joined": _time("2019-01-01") + _seconds(rng.integers(5 * 365, size=n) * 86_400),
        }
    )
    return table, draws / draws.sum(axis=1, keepdims=True)


def _items(n: int, rng: np.random.Generator) -> tuple[Table, Array]:
    category = rng.integers(len(CATEGORIES), size=n)
    words = np.array([words for words, _ in CATEGORIES.values()], dtype=object)
    typical = np.array([price for _, price in CATEGORIES.values()])
    noun = words[category, rng.integers(words.shape[1], size=n)]
    style = _words(STYLES, rng.integers(len(STYLES), size=n))
    number = np.array([f" {i}" for i in range(1, n + 1)], dtype=object)
    table = Table(
        {
            "item": _ids("I", n),
            "title": style + " " + noun + number,
            "category": _words(tuple(CATEGORIES), category),
            "price": (typical[category] * np.exp(0.6 * rng.standard_normal(n))).round(2),
        }
    )
    popular = rng.permutation(1 / (3 + np.arange(n)) ** 0.7)
    home = rng.integers(INTERESTS, size=n)
    weight = popular * (0.01 + rng.gamma(0.03, size=(INTERESTS, n)))
    weight[home, np.arange(n)] += popular
    return table, weight / weight.sum(axis=1, keepdims=True)


def _sessions(
    n: int, people: Table, goods: Table, tastes: Array, interests: Array, rng: np.random.Generator
) -> tuple[Table, Array, Array]:
    who = rng.integers(len(people), size=n)
    what = _draw_items(who, tastes, interests, rng)
    day = np.sort(rng.integers(366, size=n))  # 2024
    mobile = rng.random(n) < 0.55
    hour = np.where(rng.random(n) < 0.6, rng.normal(19, 3, n), rng.normal(12, 3, n)) % 24
    start = _time("2024-01-01") + _seconds(day * 86_400 + np.floor(hour * 3_600))
    order = np.argsort(start, kind="stable")
    start, hour, mobile = start[order], hour[order], mobile[order]
    weekend = (start.astype("M8[D]").astype(np.int64) + 3) % 7 >= 5  # 1970-01-01: Thursday
    pages = 1 + rng.negative_binomial(1.5, 0.14, n)
    minutes = (pages * rng.lognormal(-0.3, 0.6, n)).round(1) + 0.1
    discount = np.where(rng.random(n) < 0.4, rng.integers(1, 11, n) * 0.05, 0).round(2)
    intent = rng.choice(len(INTENTS), n, p=[0.46, 0.09, 0.09, 0.09, 0.09, 0.09, 0.09])

    category, price = goods["category"][what], goods["price"][what]
    kind = _places(goods["category"], tuple(CATEGORIES))[what]
    typical = np.array([price for _, price in CATEGORIES.values()])[kind]
    segment = _places(people["segment"], SEGMENTS)[who]
    age, member = people["age"][who], people["member"][who]
    peak = np.where(mobile, 20, 13)
    logit = (
        _SEGMENT[segment]
        + _PRICE[segment] * np.clip(np.log(price / typical), -1.5, 1.5)
        + _DISCOUNT[segment] * discount
        + _WEEKEND[segment] * weekend
        + 3.0 * np.tanh((pages - 9) / 8)
        - 0.4 * np.clip(np.log(minutes / 8) ** 2, 0, 4)
        + 1.2 * np.exp(-(((hour - peak) / 4) ** 2))
        + 1.0 * member
        - 0.3 * mobile
        - ((age - 42) / 22) ** 2 * 0.5
        + np.array(list(INTENTS.values()))[intent]
        - 3.8
    )
    probability = 1 / (1 + np.exp(-logit))
    table = Table(
        {
            "start": start,
            "weekend": weekend,
            "mobile": mobile,
            "segment": people["segment"][who],
            "region": people["region"][who],
            "age": age,
            "member": member,
            "category": category,
            "price": price,
            "discount": discount,
            "pages": pages,
            "minutes": minutes,
            "query": _queries(kind, intent, rng),
            "purchase": rng.random(n) < probability,
        }
    )
    return table, probability, np.column_stack([who, what])


def _events(
    sessions: Table,
    people: Table,
    goods: Table,
    tastes: Array,
    interests: Array,
    visits: Array,
    rng: np.random.Generator,
) -> Table:
    n, bought = len(sessions), sessions["purchase"]
    views = 1 + np.minimum(sessions["pages"] - 1, 7) // 2
    first = np.cumsum(views) - views
    session = np.repeat(np.arange(n), views)
    who = visits[session, 0]
    what = _draw_items(who, tastes, interests, rng)
    what[first] = visits[:, 1]
    # How much likelier than for anybody this customer was to see this item, in logs.
    chance = np.zeros(len(who))
    for taste, interest in zip(tastes.T, interests):
        chance += taste[who] * interest[what]
    liking = np.log(chance / (tastes.mean(axis=0) @ interests)[what])

    # Time spent: the session's minutes, shared by its views, the liked items getting more.
    share = rng.standard_gamma(2.0, len(who)) * np.exp(0.3 * liking)
    dwell = share / np.add.reduceat(share, first)[session] * sessions["minutes"][session] * 60
    before = np.cumsum(dwell) - dwell
    time = sessions["start"][session] + _seconds(before - before[first][session])

    end = sessions["start"] + _seconds(sessions["minutes"] * 60)
    cart = np.flatnonzero(bought | (rng.random(n) < 0.1))
    buy = np.flatnonzero(bought)
    rate = buy[rng.random(len(buy)) < 0.3]
    stars = np.clip(np.round(3.7 + 0.5 * liking[first[rate]] + rng.normal(0, 0.8, len(rate))), 1, 5)
    delay = _seconds(rng.integers(1, 15, len(rate)) * 86_400)

    parts = (("view", session), ("cart", cart), ("purchase", buy), ("rating", rate))
    lengths = [len(rows) for _, rows in parts]
    row = np.concatenate([rows for _, rows in parts])
    others = len(row) - len(session)
    table = Table(
        {
            "customer": people["customer"][visits[row, 0]],
            "item": goods["item"][np.append(what, visits[row[len(session) :], 1])],
            "event": _words([name for name, _ in parts], np.repeat(np.arange(4), lengths)),
            "rating": np.append(np.full(len(row) - len(rate), np.nan), stars),
            "dwell": np.append(dwell, np.full(others, np.nan)),
            "time": np.concatenate([time, end[cart], end[buy] + _seconds(60), end[rate] + delay]),
        }
    )
    return table.take(np.argsort(table["time"], kind="stable"))


def _draw_items(who: Array, tastes: Array, interests: Array, rng: np.random.Generator) -> Array:
    """(n,) an item for each customer of `who`: first an interest, then an item of it."""
    m, chance = interests.shape[1], rng.random(len(who))
    interest = np.zeros(len(who), dtype=np.int64)
    for step in np.cumsum(tastes, axis=1).T[:-1]:
        interest += chance > step[who]
    # The interests' distribution functions end to end, each one higher than the last: one search.
    steps = np.cumsum(interests, axis=1) + np.arange(len(interests))[:, None]
    found = np.searchsorted(steps.ravel(), interest + rng.random(len(who)), side="right")
    items: Array = np.clip(found - interest * m, 0, m - 1)
    return items


def _queries(kind: Array, intent: Array, rng: np.random.Generator) -> Array:
    """(n,) what was searched for: one of the category's words, and perhaps an intent."""
    nouns = np.array([words[:2] for words, _ in CATEGORIES.values()], dtype=object)
    noun = nouns[kind, rng.integers(nouns.shape[1], size=len(kind))]
    queries: Array = noun + _words([f" {word}".rstrip() for word in INTENTS], intent)
    return queries


def _words(words: Any, rows: Array) -> Array:
    """(n,) object array of str: the words at these places."""
    return np.array(words, dtype=object)[rows]


def _places(column: Array, words: tuple[str, ...]) -> Array:
    """(n,) the place of each row's word among `words`."""
    places: Array = np.argmax(column[:, None] == np.array(words, dtype=object), axis=1)
    return places


def _ids(letter: str, n: int) -> Array:
    width = len(str(n))
    return np.array([f"{letter}{i:0{width}}" for i in range(1, n + 1)], dtype=object)


def _time(day: str) -> np.datetime64:
    return np.datetime64(day, "us")


def _seconds(seconds: Array | float) -> Array:
    return np.round(np.asarray(seconds) * 1e6).astype("m8[us]")
