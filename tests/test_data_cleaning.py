"""Cleaning: rules against independent loops, statistics of the training part only, counts."""

from __future__ import annotations

import csv
import gzip
import math
import re
from copy import deepcopy
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer

from nnrec.data.cleaning import Cleaning, Touched
from nnrec.data.rules import Categories, Clip, DropDuplicates, DropMissing, DropWhere, Fill
from nnrec.data.tables import Table
from nnrec.storage import pack, unpack

RULES = (Categories, Clip, DropDuplicates, DropMissing, DropWhere, Fill)


def cells(table: Table) -> dict[str, list]:
    """The values, None where missing."""
    return {n: [None if v != v else v for v in table[n].tolist()] for n in table}


def cleaned(columns, *rules, **options) -> dict[str, list]:
    return cells(Cleaning(rules, **options).fit_transform(columns)[0])


VISITS = {
    "id": ["a", "b", "b", "c", None, "C5", "d"],
    "pages": [2, 3, 3, None, 5, 7, 1_009],
    "size": ["S", "M", "M", "XXL", "S", None, "S"],
    "day": [datetime(2009, 12, day) for day in (1, 2, 2, 3, 5, 8, 13)],
    "bought": [True, False, False, True, False, False, True],
}


@pytest.mark.parametrize(
    "rule, kept",
    [
        (DropDuplicates(), [0, 1, 3, 4, 5, 6]),
        (DropDuplicates("size"), [0, 1, 3, 5]),
        (DropDuplicates(["size", "bought"]), [0, 1, 3, 4, 5]),
        (DropMissing("id"), [0, 1, 2, 3, 5, 6]),
        (DropMissing(["id", "pages"]), [0, 1, 2, 5, 6]),
        (DropWhere("id", "starts with", "C"), [0, 1, 2, 3, 4, 6]),
        (DropWhere("id", "ends with", "b"), [0, 3, 4, 5, 6]),
        (DropWhere("size", "contains", "X"), [0, 1, 2, 4, 5, 6]),
        (DropWhere("pages", "starts with", "1"), [0, 1, 2, 3, 4, 5]),
        (DropWhere("pages", "<=", 3), [3, 4, 5, 6]),
        (DropWhere("pages", ">", 5), [0, 1, 2, 3, 4]),
        (DropWhere("pages", "!=", 3), [1, 2, 3]),
        (DropWhere("size", "==", "S"), [1, 2, 3, 5]),
        (DropWhere("day", ">=", "2009-12-05"), [0, 1, 2, 3]),
        (DropWhere("bought", "==", True), [1, 2, 4, 5]),
    ],
)
def test_row_rules_drop_in_training_and_only_count_afterwards(rule, kept):
    table = Table(VISITS)
    cleaning = Cleaning([rule])
    train, report = cleaning.fit_transform(table)
    assert cells(train) == cells(table.take(kept))
    assert report.rows_before == 7 and report.rows_after == len(kept)
    assert report.lines[0].rows == 7 - len(kept)
    new, report = cleaning.transform(table)
    assert cells(new) == cells(table)
    assert report.rows_after == 7 and report.lines[0].rows == 7 - len(kept)
    assert report.lines[0].note == "matched and kept"


@given(st.lists(st.tuples(st.sampled_from([0, 1, None]), st.sampled_from(["a", "b", None]))))
def test_duplicates_are_those_a_loop_has_seen_before(rows):
    table = Table({"x": [x for x, _ in rows], "s": [s for _, s in rows]})
    seen, expected = set(), []
    for row in rows:
        expected.append(row in seen)
        seen.add(row)
    assert DropDuplicates().matches(table).tolist() == expected


def test_rules_apply_in_order():
    orders = {"id": [None, None, "a", "a"], "n": [2, 2, 3, 3]}
    counts = []
    for rules in ([DropDuplicates(), DropMissing("id")], [DropMissing("id"), DropDuplicates()]):
        counts.append([line.rows for line in Cleaning(rules).fit_transform(orders)[1].lines])
    assert counts == [[2, 1], [2, 1]]
    fill = [Fill("n", indicator=False), DropWhere("n", ">", 5)]
    assert cleaned({"n": [2, 2, 7, None]}, *fill) == {"n": [2, 2, 2]}
    assert cleaned({"n": [2, 2, 7, None]}, *fill[::-1]) == {"n": [2, 2, 2]}
    assert cleaned({"n": [2, 4, 7, None]}, *fill) == {"n": [2, 4, 4]}
    assert cleaned({"n": [2, 4, 7, None]}, *fill[::-1]) == {"n": [2, 4, 3]}


def test_categories():
    size = VISITS["size"]
    assert cleaned({"s": size}, Categories("s", ["S", "M"]))["s"] == [
        "S", "M", "M", None, "S", None, "S",
    ]  # fmt: skip
    assert cleaned({"s": size}, Categories("s", ["S"], other="?"))["s"] == [
        "S", "?", "?", "?", "S", None, "S",
    ]  # fmt: skip
    assert cleaned({"s": size}, Categories("s", min_count=2))["s"][3] is None
    assert cleaned({"stars": [5, 0, 3]}, Categories("stars", [1, 2, 3, 4, 5])) == {
        "stars": [5, None, 3]
    }
    assert cleaned({"stars": [5, 0, 3]}, Categories("stars", [3, 5], other=-1))["stars"] == [
        5,
        -1,
        3,
    ]
    assert cleaned({"stars": [5, 0]}, Categories("stars", [5], other=0.5))["stars"] == [5, 0.5]
    assert cleaned({"b": [True, False]}, Categories("b", [True]))["b"] == [1, None]
    cleaning = Cleaning([Categories("s", min_count=2, other="rare")])
    cleaning.fit_transform({"s": size})
    table, report = cleaning.transform({"s": ["M", "new", "XXL", None]})
    assert table["s"].tolist() == ["M", "rare", "rare", None]
    assert report.lines[0].cells == {"s": 2} and report.lines[0].rows == 2


@pytest.mark.parametrize(
    "rule, values, expected",
    [
        (Clip(iqr=1.5), [1, 2, 3, 4, 99], [1, 2, 3, 4, 7]),
        (Clip(iqr=0.3), [1, 2, 3, 4, 99], [2, 2, 3, 4, 4]),
        (Clip(iqr=0), [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 2.0, 3.0, 4.0, 4.0]),
        (Clip(iqr=1), [1.0, 2.0, 4.0, np.inf, -np.inf], [1.0, 2.0, 4.0, 4.5, 0.0]),
        (Clip(iqr=1), [1, 2, 3, None, 40], [1, 2, 3, None, 22.75]),
        (Clip(quantiles=(0.25, 0.75)), [5, 3, 2, 7, 11], [5, 3, 3, 7, 7]),
        (Clip(quantiles=(0, 1)), [2.0, np.inf, 3.0], [2.0, 3.0, 3.0]),
        (Clip(iqr=1.5), [0, 0, 0, 0, 0, 0, 5], [0, 0, 0, 0, 0, 0, 5]),
        (Clip(iqr=1.5), [None, None], [None, None]),
    ],
)
def test_clip(rule, values, expected):
    assert cleaned({"x": values}, rule)["x"] == expected


def test_clip_says_what_it_leaves_alone():
    columns = {"x": [0, 0, 0, 0, 5], "y": [1, 2, 3, 4, 99], "z": [None] * 5, "s": ["a"] * 5}
    _, report = Cleaning([Clip(iqr=1.5)], label="y").fit_transform(columns)
    assert report.lines[0].cells == {} and report.lines[0].rows == 0
    assert report.lines[0].note == "x left alone: bounds 0 and 0; z left alone: no finite value"


finite = st.floats(-1e9, 1e9)


@given(st.lists(finite | st.none(), min_size=1).filter(lambda x: set(x) != {None}))
def test_clip_equals_numpy(values):
    x = np.array(values, dtype=float)
    first, third = np.nanpercentile(x, [25, 75])
    low, high = first - 1.5 * (third - first), third + 1.5 * (third - first)
    new = Cleaning([Clip(iqr=1.5)]).fit_transform({"x": x})[0]["x"]
    np.testing.assert_array_equal(new, x if low >= high else np.clip(x, low, high))


@given(st.lists(finite | st.none(), min_size=1).filter(lambda x: set(x) != {None}))
def test_the_median_is_scikit_learns(values):
    x = np.array(values, dtype=float)
    expected = SimpleImputer(strategy="median").fit_transform(x[:, None])[:, 0]
    table, report = Cleaning([Fill("x", "median")]).fit_transform({"x": x})
    np.testing.assert_allclose(table["x"], expected, rtol=1e-15, atol=0)
    gaps = np.isnan(x)
    assert ("x missing" in table) == gaps.any()
    assert not gaps.any() or table["x missing"].tolist() == gaps.tolist()
    assert report.lines[0].rows == sum(report.lines[0].cells.values()) == gaps.sum()


@given(
    st.lists(st.sampled_from(["a", "b", "ç", None]), min_size=1).filter(lambda x: set(x) != {None})
)
def test_the_most_frequent_is_scikit_learns(values):
    x = np.array(values, dtype=object)
    imputer = SimpleImputer(strategy="most_frequent", missing_values=None)
    expected = imputer.fit_transform(x[:, None])[:, 0].tolist()
    assert cleaned({"s": x}, Fill())["s"] == expected


def test_fill_other_types_and_what_it_leaves_alone():
    columns = {
        "day": [datetime(2009, 12, 1), None, datetime(2009, 12, 5), datetime(2009, 12, 3)],
        "stars": [5, 3, 3, None],
        "nothing": [None] * 4,
        "label": [None, 1, 0, 1],
    }
    table, report = Cleaning([Fill()], label="label").fit_transform(columns)
    assert cells(table)["day"][1] == datetime(2009, 12, 3)
    assert table.names == [*columns, "day missing", "stars missing"]
    assert cells(table)["label"] == [None, 1, 0, 1]
    assert report.lines[0].cells == {"day": 1, "stars": 1} and report.lines[0].rows == 2
    assert report.lines[0].note == "nothing left alone: no finite value"
    assert cleaned({"x": [5, 3, 5, 9, None]}, Fill(how="most frequent"))["x"][-1] == 5
    assert cleaned({"x": [np.inf, 3, 5, None]}, Fill("x"))["x"] == [np.inf, 3, 5, 4]
    cleaning = Cleaning([Fill()])
    cleaning.fit_transform({"flag": [True, False, True], "s": ["a", "b", "b"], "n": [2, 3, 5]})
    table, _ = cleaning.transform({"flag": [None, False], "s": [None, None], "n": [None, 7]})
    assert cells(table) == {"flag": [1, 0], "s": ["b", "b"], "n": [3, 7]}  # no new column


EVERYTHING = [
    DropDuplicates(),
    DropWhere("pages", ">", 1_000),
    DropMissing("id"),
    Categories("size", ["S", "M", "L"]),
    Clip("pages", iqr=1),
    Fill(["pages", "size"]),
]


def test_the_report_as_text():
    table, report = Cleaning(EVERYTHING, label="bought").fit_transform(VISITS)
    assert str(report).splitlines() == [
        "7 rows came, 4 are left",
        "rule                                rows  cells  columns",
        "drop repeated rows                     1",
        "drop where pages > 1000                1",
        "drop where id is missing               1",
        "invalid categories become missing      1      1  size 1",
        "clip beyond 1 interquartile ranges     0",
        "fill missing values                    2      3  pages 1, size 2",
    ]
    assert report.kept.tolist() == [0, 1, 3, 5]
    assert report.lines[-1] == Touched("fill missing values", 2, {"pages": 1, "size": 2}, "")
    assert cells(table)["size"] == ["S", "M", "M", "M"]


def test_a_cleaning_prints_as_the_call_that_made_it():
    assert repr(Cleaning([])) == "Cleaning([])"
    cleaning = Cleaning([DropWhere("pages", ">", 9), Fill("pages")], label="bought")
    assert eval(repr(cleaning)).label == "bought"
    assert repr(eval(repr(cleaning))) == repr(cleaning) and "indicator=True" in repr(cleaning)


def test_the_rows_kept_are_those_of_the_table_that_came():
    table, report = Cleaning(EVERYTHING).fit_transform(VISITS)
    assert table["day"].tolist() == [VISITS["day"][row] for row in report.kept]
    cleaning = Cleaning(EVERYTHING)
    cleaning.fit_transform(VISITS)
    assert cleaning.transform(VISITS)[1].kept.tolist() == list(range(7))


def test_a_row_alone_is_cleaned_as_in_its_table_and_other_columns_may_come_and_go():
    cleaning = Cleaning(EVERYTHING, label="bought")
    cleaning.fit_transform(VISITS)
    table = Table(VISITS).without("bought").with_columns({"extra": range(7)})
    whole, report = cleaning.transform(table)
    assert len(whole) == report.rows_after == 7
    for row in range(7):
        alone, _ = cleaning.transform(table.take([row]))
        assert cells(alone) == cells(whole.take([row]))
    assert cells(whole)["extra"] == list(range(7))
    assert len(cleaning.transform(table.take([]))[0]) == 0
    _, report = cleaning.transform(table.without("id"))
    assert report.lines[2].note == "not looked for: no column 'id'" and report.lines[2].rows == 0
    with pytest.raises(ValueError, match="no column 'size'; the table has 'id', 'pages'"):
        cleaning.transform(table.without("size"))
    with pytest.raises(ValueError, match="column 'pages', row 0: found 'many', expected a number"):
        cleaning.transform(table.take([0]).with_columns({"pages": ["many"]}))


def test_the_type_is_that_of_training():
    cleaning = Cleaning([Categories("code", ["85048", "79323P"])])
    cleaning.fit_transform({"code": ["85048", "79323P"]})
    assert cleaning.transform({"code": [85048]})[0]["code"].tolist() == ["85048"]
    assert cleaning.transform({"code": [None]})[0]["code"].tolist() == [None]


def test_the_rules_given_stay_as_they_are_and_can_be_used_again():
    rules = [Fill("x"), Clip("x", iqr=1)]
    before = [vars(rule).copy() for rule in deepcopy(rules)]
    first, second = Cleaning(rules), Cleaning(rules)
    first.fit_transform({"x": [2, 3, None]})
    second.fit_transform({"x": [200, 300, None]})
    assert [vars(rule) for rule in rules] == before
    assert cells(first.transform({"x": [None]})[0])["x"] == [2.5]
    assert cells(second.transform({"x": [None]})[0])["x"] == [250]


def test_it_travels_in_a_file():
    cleaning = Cleaning(EVERYTHING, label="bought")
    cleaning.fit_transform(VISITS)
    classes = {cls.__name__: cls for cls in (Cleaning, *RULES)}
    again = unpack(*pack(cleaning, classes), classes)
    table, report = cleaning.transform(VISITS)
    other, same = again.transform(VISITS)
    assert cells(other) == cells(table) and str(same) == str(report)


@pytest.mark.parametrize(
    "rules, error",
    [
        ([Clip("size", iqr=1)], "column 'size' is text, expected one of integer number"),
        ([Clip("nope", iqr=1)], "no column 'nope'; the table has 'id'"),
        ([Fill("bought")], "column 'bought' is the label, which rules leave alone"),
        ([DropWhere("pages", "<", "x")], "column 'pages' is number, and 'x' cannot be one of its"),
        ([DropWhere("size", "==", 3)], "column 'size' is text, and 3 cannot be one of its values"),
        ([DropWhere("day", "<", "soon")], "found 'soon', expected a date or time"),
        (
            [Categories("size", ["S", 3])],
            "column 'size' is text, and 3 cannot be one of its values",
        ),
        (
            [Categories("pages", other="?")],
            "column 'pages' is number, and '?' cannot be one of its",
        ),
        ([DropMissing("nope")], "no column 'nope'"),
        ([DropDuplicates("nope")], "no column 'nope'"),
        ([DropWhere("day", ">", "2000-01-01"), Fill()], "fill missing values: no row is left"),
        ([Fill("pages"), Fill("pages")], None),
        ([Fill("pages"), "fill"], "'fill' is no rule, such as Fill()"),
    ],
)
def test_a_rule_that_does_not_fit_is_one_clear_error(rules, error):
    if error is None:
        assert len(cleaned(VISITS, *rules)["pages"]) == 7
        return
    with pytest.raises((ValueError, TypeError), match=re.escape(error)):
        Cleaning(rules, label="bought").fit_transform(VISITS)


def test_other_errors():
    with pytest.raises(ValueError, match="the table already has a column 'x missing'"):
        Cleaning([Fill()]).fit_transform({"x": [2, None], "x missing": [3, 5]})
    with pytest.raises(ValueError, match="no column 'y'; the table has 'x'"):
        Cleaning([Fill()], label="y").fit_transform({"x": [2, None]})
    with pytest.raises(ValueError, match="has learned nothing; call fit_transform first"):
        Cleaning([Fill()]).transform({"x": [2]})
    for wrong, error in (
        (lambda: DropWhere("x", "=", 3), "found op '=', expected one of ==, !=, <"),
        (lambda: DropWhere("x", "contains", 3), "'contains' takes text, found 3"),
        (lambda: Clip("x"), "give either quantiles=(0.01, 0.99) or iqr=1.5"),
        (lambda: Clip("x", quantiles=(0.1, 0.9), iqr=1), "give either quantiles"),
        (lambda: Clip(quantiles=(0.9, 0.1)), "found (0.9, 0.1), expected 0 ≤ low < high ≤ 1"),
        (lambda: Clip(iqr=math.nan), "found iqr=nan, expected a finite number ≥ 0"),
        (lambda: Fill(how="mean"), "found 'mean', expected 'median' or 'most frequent'"),
    ):
        with pytest.raises((ValueError, TypeError), match=re.escape(error)):
            wrong()


NUMBERS = [0.0, -1.5, 1e308, -1e308, np.inf, -np.inf, np.nan]
COLUMN = st.one_of(
    st.lists(st.sampled_from(NUMBERS), min_size=5, max_size=5),
    st.lists(st.none() | st.integers(-(2**53), 2**53), min_size=5, max_size=5),
    st.lists(st.sampled_from([-(2**63), 0, 2**63 - 1]), min_size=5, max_size=5),
    st.lists(st.none() | st.booleans(), min_size=5, max_size=5),
    st.lists(st.none() | st.text(max_size=2), min_size=5, max_size=5),
    st.lists(st.none() | st.datetimes(), min_size=5, max_size=5),
)


@given(st.dictionaries(st.sampled_from("abcde"), COLUMN, min_size=1), st.integers(0, 5))
def test_any_table_is_cleaned_and_nothing_vanishes_unseen(columns, rows):
    table = Table(columns).take(range(rows))
    rules = [DropDuplicates(), Categories(table.names[0]), Clip(iqr=1.5), Fill()]
    if table.types[table.names[0]] == "datetime":
        rules.pop(1)
    cleaning = Cleaning(rules)
    try:
        new, report = cleaning.fit_transform(table)
    except ValueError as error:
        assert rows == 0 and "no row is left to learn from" in str(error)
        return
    assert len(new) == report.rows_after == rows - report.lines[0].rows
    left_alone = report.lines[-1].note
    for name, values in cells(new).items():
        assert None not in values or f"{name} left alone" in left_alone
    assert len(cleaning.transform(Table(columns))[0]) == 5


@pytest.mark.data
@pytest.mark.slow
def test_online_retail_counts_equal_an_independent_loop(nnrec_data):
    path = nnrec_data / "online_retail" / "online_retail_II_2009-2010.csv.gz"
    seen, counts = set(), dict.fromkeys(["repeated", "cancelled", "missing", "pieces", "price"], 0)
    alone = dict(counts)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            key = tuple(row.values())
            wrong = {
                "repeated": key in seen,
                "cancelled": row["Invoice"].startswith("C"),
                "missing": row["Customer ID"] == "",
                "pieces": int(row["Quantity"]) <= 0,
                "price": float(row["Price"]) <= 0,
            }
            seen.add(key)
            for name in wrong:
                alone[name] += wrong[name]
            if any(wrong.values()):
                counts[next(name for name in wrong if wrong[name])] += 1
    rules = [
        DropDuplicates(),
        DropWhere("Invoice", "starts with", "C"),
        DropMissing("Customer ID"),
        DropWhere("Quantity", "<=", 0),
        DropWhere("Price", "<=", 0),
    ]
    table = Table.read(path)
    clean, report = Cleaning(rules).fit_transform(table)
    assert [line.rows for line in report.lines] == list(counts.values())
    assert len(clean) == report.rows_after == 525_461 - sum(counts.values())
    assert [int(rule.matches(table).sum()) for rule in rules] == list(alone.values())
    assert alone["missing"] == 107_927
