"""The synthetic shop: its truths are true, its structure can be found, its dirt can be counted."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from nnrec.data.dirt import plant_dirt
from nnrec.data.synthetic import CATEGORIES, INTENTS, SEGMENTS, shop
from nnrec.data.tables import Table
from nnrec.metrics import roc_auc

SIZES = {"customers": 701, "items": 151, "sessions": 20_011}
CELLS = ("missing", "outliers", "invalid")


@pytest.fixture(scope="module")
def world():
    return shop(**SIZES, rng=7)


def same(one: Table, other: Table) -> bool:
    """Equal names, types and cells; missing cells are equal."""
    return one.types == other.types and all(
        np.array_equal(one[name], other[name], equal_nan=one[name].dtype.kind in "fM")
        for name in one.names
    )


def places(column, words):
    index = {word: i for i, word in enumerate(words)}
    return np.array([index[word] for word in column])


def test_probabilities_are_those_the_purchases_were_drawn_with(world):
    """Binomial: the purchases of any group lie within 4.5 sd of the sum of its probabilities."""
    y, p = world.sessions["purchase"], world.probability
    assert p.dtype == np.float64 and p.min() > 0 and p.max() < 1
    tenth = np.argsort(np.argsort(p)) * 10 // len(p)
    groups = [np.ones(len(p), bool), *(tenth == k for k in range(10))]
    for name in ("segment", "category", "region", "weekend", "mobile", "member", "discount"):
        column = world.sessions[name]
        groups += [column == value for value in set(column.tolist())]
    for rows in groups:
        spread = np.sqrt(np.sum(p[rows] * (1 - p[rows])))
        assert abs(y[rows].sum() - p[rows].sum()) < 4.5 * spread
    assert not np.array_equal(tenth[:-1], tenth[1:])


@pytest.mark.parametrize("seed", range(5))
def test_the_job_is_realistic(seed):
    made = shop(rng=seed, sessions=30_011)
    assert 0.14 < made.sessions["purchase"].mean() < 0.20
    assert 0.88 < roc_auc(made.sessions["purchase"], made.probability) < 0.925


def test_best_auc_is_that_of_the_probabilities(world):
    """In expectation over labels too: AUC = Σ p_i (1 - p_j) [p_i > p_j] / Σ p_i (1 - p_j)."""
    p = world.probability[:3001]
    won = (p[:, None] > p) + 0.5 * (p[:, None] == p)
    pairs = p[:, None] * (1 - p) * (1 - np.eye(len(p)))
    expected = np.sum(pairs * won) / pairs.sum()
    assert roc_auc(world.sessions["purchase"], world.probability) == pytest.approx(
        expected, abs=0.01
    )


def test_price_and_weekend_mean_other_things_to_other_segments(world):
    """The interactions a linear model of the columns cannot hold: signs that turn around."""
    t, logit = world.sessions, np.log(world.probability / (1 - world.probability))
    typical = np.array([price for _, price in CATEGORIES.values()])
    ratio = np.log(t["price"] / typical[places(t["category"], CATEGORIES)])
    price, weekend = {}, {}
    for segment in SEGMENTS:
        rows = t["segment"] == segment
        price[segment] = np.polyfit(ratio[rows], logit[rows], 1)[0]
        weekend[segment] = logit[rows & t["weekend"]].mean() - logit[rows & ~t["weekend"]].mean()
    assert price["bargain"] < -1 and price["premium"] > 0.2
    assert weekend["family"] > 0.5 and weekend["professional"] < -0.5
    days = t["start"].astype("M8[D]").astype(object)
    assert t["weekend"].tolist() == [day.weekday() >= 5 for day in days]
    for word, effect in INTENTS.items():
        ends = np.array([query.endswith(f" {word}") for query in t["query"]])
        if word and abs(effect) > 0.8:
            assert np.sign(logit[ends].mean() - logit.mean()) == np.sign(effect)


def test_a_linear_model_falls_short_of_the_true_probabilities():
    """Given the right scales, one-hot columns and every intent, and still: interactions."""
    made = shop(rng=3, sessions=40_009)
    t, y = made.sessions, made.sessions["purchase"]
    hour = (t["start"] - t["start"].astype("M8[D]")) / np.timedelta64(1, "h")
    numeric = [
        t["age"],
        t["discount"],
        *(np.log(t[name]) for name in ("price", "pages", "minutes")),
    ]
    numeric += [np.sin(hour / 24 * 2 * np.pi), np.cos(hour / 24 * 2 * np.pi)]
    numeric += [t[name] for name in ("weekend", "mobile", "member")]
    numeric += [[query.endswith(word) for query in t["query"]] for word in INTENTS if word]
    x = np.column_stack(numeric).astype(float)
    for name in ("segment", "category", "region"):
        x = np.hstack([x, t[name][:, None] == np.unique(t[name].astype(str))])
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    half = np.random.default_rng(0).random(len(y)) < 0.5
    linear = LogisticRegression(max_iter=500).fit(x[half], y[half]).predict_proba(x[~half])[:, 1]
    share = (roc_auc(y[~half], linear) - 0.5) / (roc_auc(y[~half], made.probability[~half]) - 0.5)
    assert 0.88 < share < 0.965


def test_views_follow_the_true_affinity(world):
    """Chi-square of all items' views, and of single customers' favourites, within 5 sd."""
    views = world.events.take(world.events["event"] == "view")
    who = places(views["customer"], world.customers["customer"])
    what = places(views["item"], world.items["item"])
    affinity = world.true_affinity()
    assert affinity.shape == (701, 151)
    assert affinity.sum(axis=1) == pytest.approx(np.ones(701))
    assert np.array_equal(world.true_affinity([5, 3]), affinity[[5, 3]])
    n = np.bincount(who, minlength=701)
    expected = n @ affinity
    found = np.bincount(what, minlength=151)
    variance = n @ (affinity * (1 - affinity))
    assert np.sum((found - expected) ** 2 / variance) < 151 + 5 * np.sqrt(2 * 151)
    best = affinity.argmax(axis=1)
    hits, chance = np.sum(what == best[who]), affinity.max(axis=1)[who]
    assert abs(hits - chance.sum()) < 5 * np.sqrt(np.sum(chance * (1 - chance)))
    # Tastes differ: another customer's affinity explains the views far worse.
    own = np.log(affinity[who, what]).mean()
    assert own > np.log(affinity[(who + 1) % 701, what]).mean() + 0.5


def test_a_linear_recommender_beats_popularity_and_stays_below_the_optimum():
    made = shop(rng=1, customers=1009, items=307, sessions=30_011)
    views = made.events.take(made.events["event"] == "view")
    who = places(views["customer"], made.customers["customer"])
    what = places(views["item"], made.items["item"])
    seen = np.zeros((1009, 307))
    pairs = np.random.default_rng(0).permutation(np.unique(who * 307 + what))
    user, item = pairs // 307, pairs % 307
    seen[user, item] = 1
    held_users, at = np.unique(user, return_index=True)
    held = item[at]
    seen[held_users, held] = 0

    def hit_rate(scores):
        scores = np.where(seen > 0, -np.inf, scores)[held_users]
        own = scores[np.arange(len(held)), held]
        return np.mean(np.sum(scores >= own[:, None], axis=1) <= 10)

    gram = np.linalg.inv(seen.T @ seen + 100 * np.eye(307))
    ease = -gram / np.diag(gram)
    np.fill_diagonal(ease, 0)
    popular = hit_rate(np.broadcast_to(seen.sum(axis=0), seen.shape))
    linear, best = hit_rate(seen @ ease), hit_rate(made.true_affinity())
    assert 2 * 10 / 307 < popular < 0.75 * linear
    assert linear < best


def test_events_tell_the_story_of_the_sessions(world):
    """Independently recounted: views share a session's minutes, purchases are its label."""
    events, t = world.events, world.sessions
    kind, time = events["event"], events["time"]
    assert (np.diff(time) >= np.timedelta64(0)).all()
    assert set(kind) == {"view", "cart", "purchase", "rating"}
    assert np.array_equal(np.isnan(events["dwell"]), kind != "view")
    assert np.array_equal(np.isnan(events["rating"]), kind != "rating")
    assert set(events["rating"][kind == "rating"]) == {1, 2, 3, 4, 5}
    assert events["dwell"][kind == "view"].min() >= 0
    assert np.nansum(events["dwell"]) == pytest.approx(t["minutes"].sum() * 60)
    visitor, item = (
        table[name][world.visits[:, k]]
        for k, (table, name) in enumerate([(world.customers, "customer"), (world.items, "item")])
    )
    pair = list(zip(events["customer"], events["item"], kind))
    bought = Counter((c, i) for c, i, k in pair if k == "purchase")
    assert bought == Counter(zip(visitor[t["purchase"]], item[t["purchase"]]))
    carts = Counter((c, i) for c, i, k in pair if k == "cart")
    assert bought <= carts and bought.total() < carts.total() < bought.total() * 2
    rated = Counter((c, i) for c, i, k in pair if k == "rating")
    assert rated <= bought and 0.25 < rated.total() / bought.total() < 0.35
    # In time: into the cart as the session ends, paid a minute later, rated days later.
    end = t["start"] + np.round(t["minutes"] * 60e6).astype("m8[us]")
    minute, day = np.timedelta64(60, "s"), np.timedelta64(1, "D")
    assert set(time[kind == "cart"]) <= set(end)
    assert np.array_equal(time[kind == "purchase"], np.sort(end[t["purchase"]] + minute))
    assert {*time[kind == "rating"]} <= {*(end + np.arange(1, 15)[:, None] * day).ravel()}
    # Every session begins with a view of the item it is about.
    first = Counter(zip(visitor, item, t["start"].tolist()))
    views = kind == "view"
    seen = Counter(zip(events["customer"][views], events["item"][views], time[views].tolist()))
    assert first <= seen


def test_columns_repeat_what_customers_and_items_say(world):
    t = world.sessions
    for table, k, names in (
        (world.customers, 0, ("segment", "region", "age", "member")),
        (world.items, 1, ("category", "price")),
    ):
        for name in names:
            assert np.array_equal(table[name][world.visits[:, k]], t[name])
    assert (np.diff(t["start"]) >= np.timedelta64(0)).all()
    for table, name in ((world.customers, "customer"), (world.items, "item")):
        assert len(set(table[name])) == len(table)
    assert len(set(world.items["title"])) == 151
    assert any("\u4e00" <= c <= "\u9fff" for title in world.items["title"] for c in title)
    assert t.types == {
        "start": "datetime",
        "weekend": "boolean",
        "mobile": "boolean",
        "segment": "text",
        "region": "text",
        "age": "integer",
        "member": "boolean",
        "category": "text",
        "price": "number",
        "discount": "number",
        "pages": "integer",
        "minutes": "number",
        "query": "text",
        "purchase": "boolean",
    }
    assert t["price"].min() > 0 and t["minutes"].min() > 0 and t["pages"].min() >= 1
    assert 0 == t["discount"].min() < t["discount"].max() == 0.5


def test_liked_items_are_looked_at_longer_and_rated_higher(world):
    events = world.events
    who = places(events["customer"], world.customers["customer"])
    what = places(events["item"], world.items["item"])
    affinity = world.true_affinity()
    liking = np.log(affinity[who, what] / affinity.mean(axis=0)[what])
    for value, least in ((np.log(events["dwell"] + 1), 0.05), (events["rating"], 0.3)):
        rows = ~np.isnan(value)
        assert np.corrcoef(value[rows], liking[rows])[0, 1] > least


def test_the_same_seed_gives_the_same_shop(world):
    again, generator = shop(**SIZES, rng=7), shop(**SIZES, rng=np.random.default_rng(7))
    other = shop(**SIZES, rng=8)
    for name in ("customers", "items", "sessions", "events"):
        assert same(getattr(world, name), getattr(again, name))
        assert same(getattr(world, name), getattr(generator, name))
        assert not same(getattr(world, name), getattr(other, name))
    for name in ("probability", "tastes", "interests", "visits"):
        assert np.array_equal(getattr(world, name), getattr(again, name))
    more = shop(**SIZES | {"sessions": 23}, rng=7)
    assert same(more.customers, world.customers) and same(more.items, world.items)
    assert np.array_equal(more.true_affinity(), world.true_affinity())


@given(st.integers(1, 13), st.integers(1, 13), st.integers(1, 31), st.integers(0, 999))
def test_any_size(customers, items, sessions, seed):
    made = shop(customers, items, sessions, rng=seed)
    assert (len(made.customers), len(made.items)) == (customers, items)
    assert len(made.sessions) == len(made.probability) == len(made.visits) == sessions
    assert made.true_affinity().shape == (customers, items)
    assert made.visits.max(axis=0)[0] < customers and made.visits.max(axis=0)[1] < items
    assert np.count_nonzero(made.events["event"] == "view") >= sessions


def test_a_shop_has_at_least_one_of_each():
    for name in SIZES:
        with pytest.raises(ValueError, match=f"{name}=0: a shop needs at least 1"):
            shop(**SIZES | {name: 0})


def missing(value) -> bool:
    return value is None or value != value


@settings(max_examples=20)
@given(
    st.sampled_from([0, 0.013, 0.25]),
    st.sampled_from([0, 0.0026, 0.05]),
    st.sampled_from([0, 0.0026, 0.05]),
    st.sampled_from([0, 0.0026, 0.05]),
    st.integers(0, 999),
)
def test_the_ledger_is_what_an_independent_count_finds(duplicates, gaps, outliers, invalid, seed):
    clean = shop(customers=101, items=31, sessions=1009, rng=0).sessions
    dirty, ledger = plant_dirt(
        clean, duplicates=duplicates, missing=gaps, outliers=outliers, invalid=invalid, rng=seed
    )
    assert dirty.names == clean.names and dirty.types == clean.types
    columns = {name: dirty[name].tolist() for name in dirty.names}
    known = {name: set(clean[name].tolist()) for name in clean.names}

    rows = Counter(tuple(map(str, row)) for row in zip(*columns.values()))
    assert max(rows.values()) <= 2
    assert sum(rows.values()) - len(rows) == len(ledger.duplicates) == round(duplicates * 1009)
    found = {
        "missing": {
            name: [i for i, value in enumerate(column) if missing(value)]
            for name, column in columns.items()
        },
        "outliers": {
            name: [i for i, value in enumerate(column) if value > max(known[name])]
            for name, column in columns.items()
            if clean.types[name] in ("integer", "number")
        },
        "invalid": {
            name: [i for i, v in enumerate(columns[name]) if v is not None and v not in known[name]]
            for name in ("segment", "region", "category")
        },
    }
    for kind in CELLS:
        spoilt = {name: where for name, where in found[kind].items() if where}
        assert {name: where.tolist() for name, where in getattr(ledger, kind).items()} == spoilt
    assert ledger.counts() == {
        "duplicates": round(duplicates * 1009),
        "missing": 8 * round(gaps * 1009),
        "outliers": 5 * round(outliers * 1009),
        "invalid": 3 * round(invalid * 1009),
    }


def test_dirt_touches_nothing_else(world):
    clean = world.sessions
    before = {name: clean[name].copy() for name in clean.names}
    dirty, ledger = plant_dirt(clean, missing=0.02, keep=("price",), rng=5)
    assert all(np.array_equal(clean[name], before[name]) for name in clean.names)
    assert len(dirty) == len(ledger.source) == 20_011 + 200
    for name in dirty.names:
        spoilt = [getattr(ledger, kind).get(name, np.array([], int)) for kind in CELLS]
        assert sum(map(len, spoilt)) == len(set(np.concatenate(spoilt).tolist()))
        rest = np.delete(np.arange(len(dirty)), np.concatenate(spoilt).astype(int))
        assert np.array_equal(dirty[name][rest], clean[name][ledger.source[rest]])
    for name in ("price", "purchase", "weekend"):
        assert not any(name in getattr(ledger, kind) for kind in CELLS)
    # A copy follows its row, so the order in time stays, and removing copies gives every row once.
    assert np.array_equal(ledger.source[ledger.duplicates], ledger.source[ledger.duplicates - 1])
    assert np.array_equal(np.delete(ledger.source, ledger.duplicates), np.arange(20_011))
    high = {name: clean[name].max() for name in ledger.outliers}
    span = {name: np.ptp(clean[name]) for name in ledger.outliers}
    for name, rows in ledger.outliers.items():
        far = (dirty[name][rows] - high[name]) / span[name]
        assert (far >= 10).all() and (far < 101).all()


def test_the_same_seed_plants_the_same_dirt(world):
    for rng in (3, np.random.default_rng(3)):
        dirty, ledger = plant_dirt(world.sessions, rng=rng)
        again, other = (plant_dirt(world.sessions, rng=seed) for seed in (3, 4))
        assert same(dirty, again[0]) and not same(dirty, other[0])
        assert ledger.counts() == again[1].counts() == other[1].counts()
        assert np.array_equal(ledger.source, again[1].source)


def test_dirt_in_small_and_odd_tables():
    dirty, ledger = plant_dirt(Table({"x": [2, 2, 2]}), outliers=1, duplicates=0, missing=0)
    assert dirty["x"].min() >= 12 and ledger.outliers["x"].tolist() == [0, 1, 2]
    dirty, ledger = plant_dirt(Table({"x": []}))
    assert len(dirty) == 0 and ledger.counts() == dict.fromkeys(("duplicates", *CELLS), 0)
    words = Table({"word": ["???", "test", "???", "x"]})
    dirty, ledger = plant_dirt(words, invalid=0.5, missing=0.5, duplicates=0)
    spoilt = dirty["word"][ledger.invalid["word"]]
    assert set(spoilt) <= {"錯誤", "Ünknown"} and ledger.counts()["missing"] == 2
    gaps = Table({"x": [np.nan, 1.0, np.nan, 3.0], "none": [np.nan] * 4})
    dirty, ledger = plant_dirt(gaps, missing=0.5, outliers=0.5, duplicates=0)
    assert (ledger.counts()["missing"], ledger.counts()["outliers"]) == (1, 1)
    assert ledger.missing.keys() == ledger.outliers.keys() == {"x"}
    assert np.isnan(dirty["x"]).sum() == 3 and np.nanmax(dirty["x"]) > 20
    many = Table({"id": [f"id {i}" for i in range(31)]})
    assert plant_dirt(many, invalid=1, missing=0)[1].counts()["invalid"] == 0
    assert plant_dirt(many.take(slice(30)), invalid=1, missing=0, duplicates=0)[1].counts() == {
        "duplicates": 0,
        "missing": 0,
        "outliers": 0,
        "invalid": 30,
    }


def test_dirt_errors(world):
    table = world.sessions.take(slice(100))
    for name in ("duplicates", *CELLS):
        for rate in (-0.1, 1.5):
            with pytest.raises(ValueError, match=rf"{name}={rate}: expected a share between 0"):
                plant_dirt(table, **{name: rate})
    with pytest.raises(ValueError, match="more cells than a column has"):
        plant_dirt(table, missing=0.6, invalid=0.5)
    with pytest.raises(ValueError, match="duplicates=0.5: 50 rows, but only 0 are unspoilt"):
        plant_dirt(table, missing=1, outliers=0, invalid=0, duplicates=0.5)
    with pytest.raises(ValueError, match=r"keep=\('label',\): no column 'label'"):
        plant_dirt(table, keep=("label",))
