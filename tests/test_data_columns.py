"""Columns: the five types, spellings, casts, factors."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrec.data.columns import factorize, parse, spelled, to_column
from nnrec.data.tables import Table
from tests.test_data_tables import TEXT, same

NAT = np.datetime64("NaT")


@pytest.mark.parametrize(
    "values, type_, expected",
    [
        ([3, 5], "integer", np.array([3, 5])),
        ([3, None], "number", np.array([3.0, np.nan])),
        ([3, 2.5, float("nan")], "number", np.array([3.0, 2.5, np.nan])),
        ([Decimal("2.5"), 1], "number", np.array([2.5, 1.0])),
        ([True, False], "boolean", np.array([True, False])),
        ([True, None], "number", np.array([1.0, np.nan])),
        (["a", None, "é"], "text", np.array(["a", None, "é"], dtype=object)),
        ([np.str_("a"), "b"], "text", np.array(["a", "b"], dtype=object)),
        ([None, None], "number", np.array([np.nan, np.nan])),
        ([], "number", np.array([], dtype=float)),
        (np.array([None, None]), "text", np.array([None, None])),
        ([Decimal("Infinity"), 10**30], "number", np.array([np.inf, 1e30])),
        ([date(2009, 12, 1), None], "datetime", np.array(["2009-12-01", "NaT"], "M8[us]")),
        (
            [datetime(2009, 12, 1, 7, tzinfo=timezone(timedelta(hours=2)))],
            "datetime",
            np.array(["2009-12-01T05"], "M8[us]"),
        ),
        (np.array([1, 2], dtype=np.uint8), "integer", np.array([1, 2])),
        (np.array([0.5], dtype=np.float32), "number", np.array([0.5])),
        (np.array(["a", "b"]), "text", np.array(["a", "b"], dtype=object)),
        (
            np.array(["2009-12", "NaT"], "M8[M]"),
            "datetime",
            np.array(["2009-12-01", NAT], "M8[us]"),
        ),
        (np.ma.array([3, 5], mask=[False, True]), "number", np.array([3.0, np.nan])),
        ((i for i in (3, 5)), "integer", np.array([3, 5])),
    ],
)
def test_values_become_one_of_five_types(values, type_, expected):
    table = Table({"x": values})
    assert table.types == {"x": type_}
    assert same(table["x"], expected)


@pytest.mark.parametrize(
    "values, error",
    [
        (
            [1, "a"],
            "column 'x', row 1: found 'a', expected the type integer, as in the rows before",
        ),
        ([None, "a", 2.5], "column 'x', row 2: found 2.5, expected the type text, as in the rows"),
        ([True, 7], "column 'x', row 1: found 7, expected the type boolean, as in the rows before"),
        ([1, [2]], "column 'x', row 1: found [2], expected one of the types integer, number"),
        ([b"a"], "column 'x', row 0: found b'a', expected one of the types"),
        (
            [1, 2**63],
            "column 'x', row 1: found 9223372036854775808, expected an integer of 64 bits",
        ),
        ([None, 2**53 + 1], "row 1: found 9007199254740993, expected at most 2**53"),
        ([0.5, 10**400], "row 1: found 1000"),
        ([Decimal("1e400")], "row 0: found 1E+400, expected a number that float64 can hold"),
        (np.array([2**63], dtype=np.uint64), "column 'x': found uint64"),
        (np.zeros((3, 2)), "column 'x': found an array of shape (3, 2), expected one dimension"),
        (np.array([1j]), "column 'x': found complex128, expected integers, numbers, booleans"),
        (np.array([1], "m8[s]"), "column 'x': found timedelta64[s], expected"),
        (np.array(["300000-01-01"], "M8[D]"), "row 0: found '300000-01-01', expected a time that"),
        ("abc", "column 'x': found 'abc', expected a column of values"),
        (7, "column 'x': found 7, expected a column of values"),
    ],
)
def test_values_of_no_type_are_an_error_that_names_column_and_row(values, error):
    with pytest.raises((ValueError, TypeError), match=re.escape(error)):
        Table({"ok": ["b"], "x": values})


@pytest.mark.parametrize(
    "values, type_, expected",
    [
        ([3.0, np.nan, 0.1], "text", ["3", None, "0.1"]),
        ([True, False], "text", ["True", "False"]),
        ([3, 5], "text", ["3", "5"]),
        (["3", " 5.0", None], "integer", [3.0, 5.0, None]),
        ([3.0, 5.0], "integer", [3, 5]),
        ([0, 1, 1], "boolean", [False, True, True]),
        (["yes", "N"], "boolean", [True, False]),
        ([True, None], "boolean", [1.0, None]),
        ([True, False], "number", [1.0, 0.0]),
        (["007", None], "number", [7.0, None]),
        ([85048, "79323P", None, 2.0], "text", ["85048", "79323P", None, "2"]),
        (["31/12/09"], "%d/%m/%y", [datetime(2009, 12, 31)]),
        ([np.nan], "text", [None]),
    ],
)
def test_cast(values, type_, expected):
    column = Table.of({"x": values}, types={"x": type_})["x"]
    assert [None if v != v else v for v in column.tolist()] == expected


@given(st.lists(st.none() | st.floats(width=32) | st.integers(-(2**53), 2**53)))
def test_a_cast_to_text_and_back_changes_nothing(values):
    table = Table({"x": values}).cast({"x": "number"})
    assert same(table.cast({"x": "text"}).cast({"x": "number"})["x"], table["x"])


@given(st.lists(st.sampled_from(["a", "b", "ç", ""]) | st.none(), max_size=13))
def test_factorize_text(values):
    codes, distinct = factorize(to_column(values, "text"))
    assert [None if c < 0 else distinct[c] for c in codes] == values
    assert distinct.tolist() == list(dict.fromkeys(v for v in values if v is not None))


@given(st.lists(st.sampled_from([2.5, -1.0, np.inf, np.nan]), max_size=13))
def test_factorize_numbers(values):
    codes, distinct = factorize(to_column(values, "number"))
    assert distinct.tolist() == sorted({v for v in values if v == v})
    assert same(np.append(distinct, np.nan)[codes], np.array(values, dtype=float))


@pytest.mark.parametrize(
    "words, type_",
    [
        (["1", "-2", "+3", "0", " 5 "], "integer"),
        (["1", None], "number"),
        (["1", "2.5", "-1e3", ".5", "inf"], "number"),
        (["1", "2,5"], "text"),
        (["1_000"], "text"),
        (["1e400"], "text"),
        (["007", "8"], "text"),
        (["007", "8.5"], "text"),
        (["9223372036854775807"], "integer"),
        (["9223372036854775808"], "text"),
        (["9007199254740993", None], "text"),
        (["True", "FALSE", "true"], "boolean"),
        (["yes", "no"], "text"),
        (["TRUE", None], "number"),
        (["2009-12-01", "2009-12-01 07:45:00"], "datetime"),
        (["2009-12-01T07:45:00.125Z", "2009-12-01 07:45+02:00"], "datetime"),
        (["2009/12/1 7:45", "2010.1.2"], "datetime"),
        (["2009年12月1日"], "datetime"),
        (["1.12.2009 07:45"], "datetime"),
        (["12/13/2010 8:26", "12/1/2010 9:00"], "datetime"),
        (["12/1/2010", "11/2/2010"], "text"),
        (["12/13/2010", "13/12/2010"], "text"),
        (["2009-13-01"], "text"),
        (["2009-12-01", "soon"], "text"),
        ([None, None], "number"),
        (["a", "1"], "text"),
    ],
)
def test_inferred_types(words, type_):
    assert Table({"x": parse(words)}).types["x"] == type_


@pytest.mark.parametrize(
    "word, type_, time",
    [
        ("2009-12-01T07:45:00.125Z", None, "2009-12-01T07:45:00.125"),
        ("2009-12-01 01:45+02:00", None, "2009-11-30T23:45"),
        ("2009/2/1 7:45", None, "2009-02-01T07:45"),
        ("2009年2月1日 7:45", None, "2009-02-01T07:45"),
        ("1.2.2009", None, "2009-02-01"),
        ("13/2/2009 7:45:03", None, "2009-02-13T07:45:03"),
        ("2/13/2009", None, "2009-02-13"),
        ("2/1/2009 7:45 PM", "%d/%m/%Y %I:%M %p", "2009-01-02T19:45"),
    ],
)
def test_datetimes(word, type_, time):
    assert parse([word], type_)[0] == np.datetime64(time, "us")


@given(st.lists(st.datetimes() | st.none(), min_size=1))
def test_iso_datetimes_come_back(times):
    words = [time and str(time) for time in times]
    assert same(parse(words, "datetime"), np.array(times, dtype="M8[us]"))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_integers_come_back(values):
    assert same(parse(list(map(str, values))), np.array(values, dtype=np.int64))


@given(st.lists(st.floats(allow_nan=False), min_size=1))
def test_numbers_come_back(values):
    assert same(parse(list(map(repr, values)), "number"), np.array(values))
    assert [float(spelled(value)) for value in values] == values


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), TEXT, st.datetimes(), st.just([1]),
    st.binary(max_size=2), st.complex_numbers(), st.timedeltas(), st.just(np.datetime64("NaT")),
    st.decimals(), st.fractions(),
)  # fmt: skip


@given(st.dictionaries(TEXT, st.lists(VALUES, max_size=4), max_size=3))
def test_any_values_are_a_table_or_one_error_that_names_the_column(columns):
    try:
        table = Table.of(columns)
    except ValueError as error:
        assert "column" in str(error) and error.__cause__ is None
    else:
        assert {len(values) for values in columns.values()} <= {len(table)}
        assert str(table)


def test_values_are_shown_short_and_spelled_short():
    assert str(Table({"x": ["ab" * 50]})).splitlines()[-1].endswith(f" '{'ab' * 18}a…' 1")
    assert [spelled(value) for value in (2.0**53, 1e300, np.inf)] == [str(2**53), "1e+300", "inf"]
