"""Features: each encoding against scikit-learn or a closed form, and the same in serving."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, RobustScaler, StandardScaler

from nnrec import storage
from nnrec.data import encodings, features, text
from nnrec.data.encodings import (
    Boolean,
    Dates,
    Log,
    OneHot,
    Ordinal,
    Robust,
    Standardize,
    Thermometer,
)
from nnrec.data.features import Features, inferred
from nnrec.data.tables import Table
from nnrec.data.text import BagOfWords, TfIdf

NUMBERS = st.lists(st.integers(-997, 997).map(lambda i: i / 8), min_size=1, max_size=31).map(
    np.array
)
CLASSES = {
    name: thing
    for module in (encodings, text, features)
    for name, thing in vars(module).items()
    if isinstance(thing, type)
}


def texts(*values: str | None) -> np.ndarray:
    return np.array(values, dtype=object)


@given(NUMBERS, NUMBERS)
def test_scaling_is_scikit_learns(train: np.ndarray, test: np.ndarray) -> None:
    for ours, theirs in ((Standardize(), StandardScaler()), (Robust(), RobustScaler())):
        theirs.fit(train[:, None])
        ours.fit(train)
        for x in (train, test):
            np.testing.assert_allclose(
                ours.transform(x), theirs.transform(x[:, None]), rtol=1e-12, atol=1e-12
            )


def test_a_constant_becomes_zeros_whatever_its_rounding() -> None:
    x = np.full(7, 0.1)
    assert x.mean() != 0.1
    assert not Standardize().fit(x).transform(x).any()


@given(NUMBERS, st.sampled_from([Standardize, Robust, Log]))
def test_clipping_is_the_last_step(train: np.ndarray, kind: type[Standardize]) -> None:
    x = np.concatenate([train, [-1e6, 1e6, 3.0]])
    free, clipped = (kind(clip).fit(train).transform(x)[:, 0] for clip in (None, 1.5))
    assert np.array_equal(clipped, np.clip(free, -1.5, 1.5))


@given(NUMBERS)
def test_log_is_odd_standardised_and_flags_zeros(train: np.ndarray) -> None:
    x = np.sign(train) * np.log(1 + np.abs(train))
    found = Log().fit(train).transform(train)
    expected = StandardScaler().fit_transform(x[:, None])[:, 0]
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-9, atol=1e-9)
    mixed = (train == 0).any() and (train != 0).any()
    assert found.shape[1] == 1 + mixed == len(Log().fit(train).outputs("x"))
    if mixed:
        assert np.array_equal(found[:, 1], train == 0)


@given(
    st.lists(st.integers(-997, 997), min_size=11, max_size=31, unique=True),
    NUMBERS,
    st.integers(2, 7),
)
def test_thermometer_counts_up_to_scikit_learns_bin(
    train: list, test: np.ndarray, bins: int
) -> None:
    train = np.array(train, float)
    ours = Thermometer(bins).fit(train)
    theirs = KBinsDiscretizer(
        bins, encode="ordinal", strategy="quantile", quantile_method="linear", subsample=None
    ).fit(train[:, None])
    found = ours.transform(test)
    assert found.shape == (len(test), bins - 1)
    assert np.array_equal(found.sum(axis=1), theirs.transform(test[:, None])[:, 0])
    assert (np.diff(found, axis=1) <= 0).all(), "it rises from the left"


def test_thermometer_leaves_out_edges_that_tell_nothing() -> None:
    assert Thermometer(5).fit(np.array([0] * 7 + [7] * 3 + [9])).edges == [7.0]
    constant = Thermometer(5).fit(np.full(7, 3))
    assert constant.transform(np.arange(5)).shape == (5, 0)


@given(
    st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=31),
    st.lists(st.sampled_from("abcxyz"), min_size=1, max_size=11),
    st.integers(1, 5),
    st.sampled_from([None, 2, 3]),
)
def test_one_hot_is_scikit_learns(train: list, test: list, least: int, most: int | None) -> None:
    ours = OneHot(min_count=least, max_categories=most).fit(texts(*train))
    counts = {c: train.count(c) for c in sorted(set(train))}
    kept = sorted(sorted(counts, key=lambda c: -counts[c])[:most])
    assert ours.categories == [c for c in kept if counts[c] >= least]
    found = ours.transform(texts(*test))
    assert (found.sum(axis=1) == 1).all()
    if most is None:
        theirs = OneHotEncoder(
            min_frequency=least, handle_unknown="infrequent_if_exist", sparse_output=False
        ).fit([[c] for c in train])
        with warnings.catch_warnings(action="ignore"):  # it warns of what it does not know
            expected = theirs.transform([[c] for c in test])
        assert np.array_equal(found[:, : expected.shape[1]], expected)


def test_one_hot_of_numbers_knows_them_beside_a_missing_one() -> None:
    codes = OneHot(min_count=1).fit(np.array([3, 1, 3]))
    assert codes.outputs("type") == ["type = 1", "type = 3", "type unknown"]
    assert codes.transform(np.array([np.nan, 3.0, 2.0])).argmax(axis=1).tolist() == [2, 1, 2]
    assert OneHot(min_count=1).fit(np.array([3.0, np.nan, 2.5])).outputs("type") == [
        "type = 2.5",
        "type = 3",
        "type unknown",
    ]


def test_ordinal_has_even_steps_and_an_unknown() -> None:
    ordinal = Ordinal(["S", "M", "L", "XL"]).fit(texts("S"))
    found = ordinal.transform(texts("XL", "S", "M", None, "XXL"))
    assert found.tolist() == [[1, 0], [0, 0], [1 / 3, 0], [0, 1], [0, 1]]


@given(st.datetimes().map(lambda moment: moment.replace(microsecond=0)))
def test_dates_are_the_calendars(moment) -> None:
    column = np.array([moment], "M8[us]")
    dates = Dates(["year", "month", "day", "weekday", "hour"]).fit(np.array(["1970"], "M8[us]"))
    year, *waves = dates.transform(column)[0]
    assert year == moment.year - 1970
    parts = [moment.month - 1, moment.day - 1, moment.weekday(), moment.hour]
    angles = 2 * np.pi * np.array(parts) / [12, 31, 7, 24]
    expected = np.column_stack([np.sin(angles), np.cos(angles)]).ravel()
    np.testing.assert_allclose(waves, expected, atol=1e-14)
    assert len(dates.outputs("day")) == 9


def shop(n: int = 211) -> Table:
    rng = np.random.default_rng(3)
    price = rng.lognormal(3, 1, n)
    price[::17] = np.nan
    day = np.datetime64("2024-01-31T07:00", "us") + rng.integers(0, 10**7, n) * np.timedelta64(
        1, "s"
    )
    day[5] = np.datetime64("NaT")
    return Table(
        {
            "price": price,
            "weight": rng.normal(5, 2, n),
            "region": rng.integers(1, 9, n),
            "visits": rng.integers(0, 97, n),
            "weekend": rng.random(n) < 0.3,
            "seen": rng.choice([0.0, 1.0, np.nan], n),
            "month": texts(*rng.choice(["May", "Nov", None], n)),
            "day": day,
            "order": texts(*(f"A{i}" for i in range(n))),
            "shop": texts(*["the only one"] * n),
            "title": texts(
                *(
                    f"red {w} dress" if i % 13 else None
                    for i, w in enumerate(rng.choice(["long", "short"], n))
                )
            ),
            "review": texts(*(f"very {a} and {b}" for a, b in rng.integers(0, 50, (n, 2)))),
        }
    )


def test_types_are_inferred_and_shown() -> None:
    fitted = Features().fit(shop())
    chosen = {column.name: str(column) for column in fitted.columns}
    assert chosen == {
        "price": "Log(clip=5.0), Thermometer(), missing",
        "weight": "Standardize(clip=5.0), Thermometer()",
        "region": "Standardize(clip=5.0), OneHot()",
        "visits": "Standardize(clip=5.0), Thermometer()",
        "weekend": "Boolean()",
        "seen": "Boolean(), missing",
        "month": "OneHot()",
        "day": "Dates(), missing",
        "order": "none: every value is different",
        "shop": "none: one value only",
        "title": "OneHot()",
        "review": "TfIdf(ngram_range=(1, 2), min_df=2, sublinear_tf=True)",
    }
    shown = str(fitted).splitlines()
    assert shown[0] == f"12 columns → {len(fitted.names)} inputs, sparse"
    assert [line.split()[0] for line in shown[1:]] == ["column", *shop().names]
    assert all(choice in line for choice, line in zip(chosen.values(), shown[2:]))


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([5, 5, 5], "one value only"),
        ([np.nan, np.nan], "no value"),
        ([2, 1, 2], "Standardize()"),
        ([0, 1, 1], "Boolean()"),
        ([0, 0, 0, 0, 1, 2, 40], "Log(clip=5.0), OneHot()"),
        (list(range(21)), "Standardize(clip=5.0), Thermometer()"),
        ([0.5, 0.5, 0.75, 9], "Log(clip=5.0), Thermometer()"),
        ([-0.5, 0.5, 0.75, 9], "Standardize(clip=5.0), Thermometer()"),
        (["a", "b", "a"], "OneHot()"),
        (["a", "b", "c"], "every value is different"),
        (["red dress", "blue dress"], "TfIdf(ngram_range=(1, 2), min_df=2, sublinear_tf=True)"),
        (["red dress", "blue dress"] * 2, "OneHot()"),
        (["质量很好", "太大了"], "TfIdf(ngram_range=(1, 2), min_df=2, sublinear_tf=True)"),
        (np.array(["2024-01", "2024-02"], "M8[us]"), "Dates()"),
    ],
)
def test_inferred_by_what_a_column_holds(column, expected: str) -> None:
    chosen, why = inferred(Table({"x": column})["x"])
    assert (", ".join(map(str, chosen)) or why) == expected


def test_matrix_names_and_groups_belong_together() -> None:
    table = shop()
    fitted = Features({"title + review": BagOfWords(), "region": None}).fit(table)
    x = fitted.transform(table)
    assert x.format == "csr" and x.shape == (211, len(fitted.names)) and x.dtype == np.float64
    assert len(set(fitted.names)) == len(fitted.names)
    assert [i for group in fitted.groups.values() for i in range(x.shape[1])[group]] == list(
        range(x.shape[1])
    )
    assert not {"region", "order", "title", "review"} & set(fitted.groups)
    for name, group in fitted.groups.items():
        shuffled = table
        for source in name.split(" + "):
            shuffled = shuffled.with_columns({source: table[source][::-1]})
        changed = np.unique((fitted.transform(shuffled) != x).nonzero()[1])
        assert len(changed) and set(changed) <= set(range(x.shape[1])[group])


def test_encodings_side_by_side_and_nothing_else() -> None:
    table = Table({"a": [1, 2, 3, 5], "b": [1, 2, 3, 5]})
    fitted = Features({"a": [Standardize(), Robust(), Ordinal([1, 2])]}, infer=False).fit(table)
    assert fitted.names == ["a", "a robust", "a", "a unknown"]
    x = fitted.transform(table)
    assert np.array_equal(x[:, :1], StandardScaler().fit_transform(table["a"][:, None]))
    assert x[:, 3].tolist() == [0, 0, 1, 1]


def test_texts_are_joined_with_a_blank() -> None:
    table = Table({"title": ["Red", None, None], "review": ["nice", "nice", None]})
    fitted = Features({"title + review": BagOfWords(ngram_range=(1, 2))}).fit(table)
    assert fitted.names == [
        "title + review: 'nice'",
        "title + review: 'red'",
        "title + review: 'red nice'",
        "title + review missing",
    ]
    found = fitted.transform(table).toarray()
    assert found.tolist() == [[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    plus = Table({"a + b": ["x", "y", "x"], "a": [1, 2, 3], "b": [1, 2, 3]})
    assert Features({"a + b": OneHot()}).fit(plus).names[:3] == ["a + b = x", "a + b unknown", "a"]


def test_statistics_are_the_training_parts() -> None:
    table = shop()
    fitted = Features().fit(table)
    row = table.take([20])
    alone, among = fitted.transform(row), fitted.transform(table)
    assert np.array_equal(alone.toarray()[0], among.toarray()[20])
    assert np.array_equal(Features().fit_transform(table).toarray(), among.toarray())


def test_a_missing_number_or_date_is_the_median_and_said() -> None:
    train = Table(
        {"n": [1.0, np.nan, 4.0, 9.0], "d": np.array(["2001", "2003", "NaT", "2008"], "M8[us]")}
    )
    fitted = Features({"n": Standardize(), "d": Dates(["year"])}).fit(train)
    assert fitted.names == ["n", "n missing", "d year", "d missing"]
    x = fitted.transform(train)
    assert np.array_equal(x[1], [x[2, 0], 1, x[1, 2], 0])
    assert np.array_equal(x[2], [x[2, 0], 0, x[1, 2], 1])
    complete = Features().fit(Table({"n": [1.0, 4.0, 9.0, 2.5]}))
    assert "n missing" not in complete.names
    assert np.array_equal(complete.transform({"n": [np.nan]}), complete.transform({"n": [2.5]}))


def test_a_missing_number_is_unknown_where_there_is_a_place_for_it() -> None:
    train = Table({"n": [1.0, np.nan, 4.0, 4.0], "none": [np.nan] * 4})
    fitted = Features({"n": [Standardize(), OneHot()], "none": Standardize()}).fit(train)
    assert fitted.names == ["n", "n = 4", "n unknown", "none"]
    x = fitted.transform(train)
    assert x[:, 2].tolist() == [1, 1, 0, 0] and not x[:, 3].any()
    assert x[1, 0] == x[2, 0], "the median of 1, 4, 4"


def test_rows_that_training_did_not_see() -> None:
    train = Table(
        {"month": ["May", "May", "Nov", "Nov"], "size": [1, 2, 3, 5], "old": [True, False] * 2}
    )
    fitted = Features({"size": Standardize()}).fit(train)
    unseen = Table(
        {"extra": ["?"], "old": [None], "size": [None], "month": ["Dec"]}, {"old": "number"}
    )
    assert fitted.transform(unseen).tolist() == [[0, 0, 1, fitted.transform(train)[1, 3], 0]]
    assert fitted.transform(train.take([])).shape == (0, 5)
    assert fitted.transform({"month": [7], "size": ["3"], "old": [1.0]})[0, -1] == 1
    with pytest.raises(ValueError, match="the table lacks 'month', 'old'; it has size"):
        fitted.transform({"size": [1]})
    with pytest.raises(ValueError, match="column 'size', row 1: found 'big', expected"):
        fitted.transform(train.take([0, 1]).with_columns({"size": ["1", "big"]}))
    with pytest.raises(ValueError, match="column 'size', row 1: found inf, expected a number"):
        fitted.transform(train.take([0, 1]).with_columns({"size": [1, np.inf]}))
    with pytest.raises(ValueError, match="column 'old': found 2.0 in row 0; expected 0 or 1"):
        fitted.transform(train.take([0]).with_columns({"old": [2]}))


def test_columns_left_out_need_not_be_there() -> None:
    table = shop()
    fitted = Features().fit(table)
    less = table.without("order", "shop")
    assert np.array_equal(fitted.transform(less).toarray(), fitted.transform(table).toarray())


def test_given_encodings_stay_unfitted() -> None:
    given_encodings = {"price": [Standardize()]}
    fitted = Features(given_encodings).fit(shop())
    assert fitted.encodings is given_encodings
    assert not hasattr(given_encodings["price"][0], "center")


def test_a_file_holds_all_that_was_learned() -> None:
    table = shop()
    given_encodings = {
        "region": [Ordinal([1, 2, 3]), OneHot(), Robust(clip=2)],
        "title + review": [TfIdf(analyzer="char", ngram_range=(1, 3)), BagOfWords()],
        "weekend": Boolean(),
        "shop": None,
    }
    fitted = Features(given_encodings).fit(table)
    again = storage.unpack(*storage.pack(fitted, CLASSES), CLASSES)
    assert np.array_equal(again.transform(table).toarray(), fitted.transform(table).toarray())
    assert str(again) == str(fitted)
    assert again.names == fitted.names
    assert np.array_equal(again.fit_transform(table).toarray(), fitted.transform(table).toarray())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Features().fit({"a": []}), "a table of no rows"),
        (
            lambda: Features().fit({"a": [1, 1]}),
            r"no column gives an input \('a': one value only\)",
        ),
        (lambda: Features({"b": OneHot()}).fit({"a": [1, 2]}), "a column 'b'; the table has a"),
        (lambda: Features({"a + b": OneHot()}).fit({"a": [1, 2]}), "a column 'b'; the table has a"),
        (lambda: Features({"a": "onehot"}).fit({"a": [1, 2]}), "'onehot' is not an encoding"),
        (lambda: Features({"a": OneHot}).fit({"a": [1, 2]}), "is not an encoding"),
        (lambda: Features({"a": Log()}).fit({"a": ["x"]}), r"'a' is text; Log\(\) takes number"),
        (lambda: Features({"a": TfIdf()}).fit({"a": [1]}), r"'a' is number; TfIdf\(\) takes text"),
        (lambda: Features({"a": Dates()}).fit({"a": [1]}), r"number; Dates\(\) takes datetime"),
        (
            lambda: Features().fit({"a": [1, -np.inf]}),
            "column 'a', row 1 of the training rows: found -inf",
        ),
        (
            lambda: Features().fit({"a": [1, 2, 1e200]}),
            r"row 2 of the training rows: found 1e\+200, expected a number",
        ),
        (lambda: Features({"a": Boolean()}).fit({"a": [1, 2]}), "column 'a': found 2.0 in row 1"),
        (lambda: Features().transform({"a": [1]}), "not fitted"),
        (lambda: Features().names, "not fitted"),
        (lambda: Standardize(clip=0), "clip=0: expected a number above 0"),
        (lambda: Thermometer(1), "bins=1: expected 2 or more"),
        (lambda: OneHot(max_categories=0), "max_categories=0: expected 1 or more"),
        (lambda: Ordinal(["a", "a"]), "expected two or more different values"),
        (lambda: Dates(["minute"]), "expected some of year, month, day, weekday, hour"),
        (lambda: Standardize().fit(np.array([1, np.nan])), "found nan in row 1; expected a number"),
        (
            lambda: Standardize().fit(np.array([1e300, 1])),
            r"found 1e\+300 in row 0; expected a num",
        ),
        (lambda: Standardize().fit(texts("a")), "found values of type object; expected numbers"),
        (lambda: Dates().fit(np.array(["NaT"], "M8[us]")), "found NaT in row 0; expected a date"),
    ],
)
def test_bad_input_is_one_clear_error(call, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        call()


CELLS = st.sampled_from([None, np.nan, 0.0, 1.0, -3.5, 1e150, 1e-300, 7.0])
WORDS = st.sampled_from([None, "", "a", "ab cd", "质量很好", "🙂", "e\u0301", "x" * 97])
MOMENTS = st.sampled_from(["NaT", "0001-01-01", "2024-02-29T23:59:59", "9999-12-31"])


def test_a_scale_near_zero_leaves_numbers_finite():
    column = np.array([0, 0, 1e-300, 1e-300, 1e150])
    assert Robust().fit(column).transform(column).max() == 1e150


@given(st.data())
def test_any_table_is_a_finite_matrix_or_a_reason(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 7))
    table = Table(
        {
            "number": np.array(data.draw(st.lists(CELLS, min_size=n, max_size=n)), float),
            "text": texts(*data.draw(st.lists(WORDS, min_size=n, max_size=n))),
            "date": np.array(data.draw(st.lists(MOMENTS, min_size=n, max_size=n)), "M8[us]"),
            "count": np.array(
                data.draw(st.lists(st.integers(-(2**62), 2**62), min_size=n, max_size=n))
            ),
            "boolean": np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n))),
        }
    )
    chosen = data.draw(
        st.sampled_from([None, {"number": [Log(), Robust(), Thermometer(), OneHot()]}])
    )
    fitted = Features(chosen)
    try:
        fitted.fit(table)
    except ValueError as error:
        assert "no column gives an input" in str(error)
        return
    x = fitted.transform(table)
    x = x if isinstance(x, np.ndarray) else x.toarray()
    assert x.shape == (n, len(fitted.names)) and np.isfinite(x).all()
    assert len(str(fitted).splitlines()) == 7


def test_many_categories_stay_a_small_matrix() -> None:
    names = texts(*(f"c{i % 10**4}" for i in range(20_000)), *["common"] * 5)
    fitted = Features().fit(Table({"c": names}))
    assert len(fitted.names) == 101 and "c = common" in fitted.names


@pytest.mark.data
def test_online_shoppers(nnrec_data) -> None:
    table = Table.read(nnrec_data / "online_shoppers" / "online_shoppers_intention.csv").without(
        "Revenue"
    )
    x = Features().fit_transform(table)
    assert x.dtype == np.float64 and np.isfinite(x).all() and abs(x).max() <= 5
