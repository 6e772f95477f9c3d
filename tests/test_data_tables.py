"""Tables: whatever has named columns, reading, and errors that say where."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnrec.data.columns import factorize
from nnrec.data.tables import Table, grid


def same(a, b) -> bool:
    """Equal arrays of one dtype; missing equals missing."""
    return (
        a.dtype == b.dtype and a.shape == b.shape and bool(np.all((a == b) | (a != a) & (b != b)))
    )


def written(folder: Path, text: str | bytes, name: str = "shop.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_columns_of_different_lengths_and_names_that_are_no_text():
    with pytest.raises(ValueError, match=re.escape("different lengths: {'a': 2, 'b': 3}")):
        Table({"a": [1, 2], "b": [1, 2, 3]})
    with pytest.raises(TypeError, match="column name 0: expected a str"):
        Table({0: [1, 2]})


def test_an_array_of_the_right_type_is_not_copied():
    for column in (np.arange(3), np.ones(3), np.ones(3, bool), np.array(["a", None], object)):
        assert np.shares_memory(Table({"x": column})["x"], column) or column.dtype == object


def test_take_without_with_columns():
    table = Table({"a": [2, 3, 5], "b": ["x", None, "z"]})
    assert table.take([2, 0, 2])["a"].tolist() == [5, 2, 5]
    assert table.take([-1])["b"].tolist() == ["z"]
    assert table.take([True, False, True])["b"].tolist() == ["x", "z"]
    assert table.take(slice(1, None)).types == {"a": "integer", "b": "text"}
    assert table.take([1]).types == {"a": "integer", "b": "text"}  # all missing, text still
    assert len(table.take([])) == 0
    assert table.without("a").names == ["b"]
    more = table.with_columns({"c": [True, False, True], "a": [0.5, 1, 2]})
    assert more.types == {"a": "number", "b": "text", "c": "boolean"}
    assert list(table) == ["a", "b"] and "a" in table and "c" not in table


@pytest.mark.parametrize(
    "wrong, error",
    [
        (lambda t: t["c"], "no column 'c'; the table has 'a', 'b'"),
        (lambda t: t.without("c"), "no column 'c'"),
        (lambda t: t.take([3]), "rows 3 … 3: the table has 3 rows"),
        (lambda t: t.take([True]), "a mask of 1 for a table of 3 rows"),
        (lambda t: t.take([0.5]), "rows: float64 of shape (1,); expected indices"),
        (lambda t: t.take(1), "rows: int64 of shape (); expected indices"),
        (lambda t: t.with_columns({"c": [1]}), "columns of 1 rows for a table of 3 rows"),
        (lambda t: t.cast({"c": "text"}), "types: no column 'c' among 'a', 'b'"),
        (
            lambda t: t.cast({"a": "str"}),
            "types: column 'a': found 'str', expected integer, number",
        ),
        (lambda t: t.cast({"b": "number"}), "column 'b', row 0: found 'x', expected a number"),
    ],
)
def test_a_wrong_call_is_one_clear_error(wrong, error):
    with pytest.raises((ValueError, TypeError), match=re.escape(error)):
        wrong(Table({"a": [2, 3, 5], "b": ["x", None, "z"]}))


def test_of_takes_mappings_record_arrays_and_tables():
    table = Table({"n": [2, 3], "s": ["a", "b"]})
    records = np.rec.fromarrays([[2, 3], ["a", "b"]], names=["n", "s"])
    for other in (table, {"n": [2, 3], "s": ["a", "b"]}, records, np.asarray(records)):
        other = Table.of(other)
        assert other.types == table.types
        assert all(same(other[name], table[name]) for name in table)
    assert Table.of(table) is table
    with pytest.raises(TypeError, match="found list, expected something with named columns"):
        Table.of([[1, 2], [3, 4]])
    with pytest.raises(TypeError, match="found ndarray, expected something with named columns"):
        Table.of(np.zeros((3, 2)))


FRAME = {
    "n": [2, 3, 5],
    "gap": [2, None, 5],
    "x": [0.5, None, 2.5],
    "flag": [True, False, True],
    "maybe": [True, None, False],
    "text": ["a", None, "ç"],
    "time": [datetime(2009, 12, 1, 7, 45), None, datetime(2010, 1, 2)],
    "zone": [datetime(2009, 12, 1, 7, 45, tzinfo=UTC)] * 3,
    "day": [date(2009, 12, 1), date(2010, 1, 2), None],
}


def frames():
    polars = pytest.importorskip("polars", reason="polars is not installed")
    yield (frame := polars.DataFrame(FRAME))
    yield frame.lazy()  # through narwhals
    pytest.importorskip("narwhals", reason="narwhals is not installed")
    import narwhals

    yield narwhals.from_native(frame)
    yield pytest.importorskip("pyarrow", reason="pyarrow is not installed").table(FRAME)
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    yield pandas.DataFrame(FRAME)
    yield pandas.DataFrame(FRAME).convert_dtypes()
    yield pandas.DataFrame(FRAME).convert_dtypes(dtype_backend="pyarrow")


@pytest.mark.oracle
def test_every_kind_of_data_frame_gives_the_same_table():
    expected = Table(FRAME)
    for frame in frames():
        table = Table.of(frame)
        assert table.names == expected.names
        for name in table:
            assert same(table[name], expected[name]), (type(frame), name, table[name])


@pytest.mark.oracle
def test_categories_of_data_frames_are_text_and_nested_columns_an_error():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    polars = pytest.importorskip("polars", reason="polars is not installed")
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    for frame in (
        pandas.DataFrame({"c": pandas.Categorical(["a", None, "a"])}),
        polars.DataFrame({"c": ["a", None, "a"]}, schema={"c": polars.Categorical}),
        arrow.table({"c": arrow.array(["a", None, "a"]).dictionary_encode()}),
    ):
        assert Table.of(frame)["c"].tolist() == ["a", None, "a"]
    for frame in (
        pandas.DataFrame({"c": [[1], [2]]}),
        polars.DataFrame({"c": [[1], [2]]}),
        arrow.table({"c": [[1], [2]]}),
    ):
        with pytest.raises(ValueError, match="column 'c'"):
            Table.of(frame)
    for frame in (polars.DataFrame, arrow.table):
        with pytest.raises(
            ValueError, match="'c', row 1: found 9007199254740993, expected at most"
        ):
            Table.of(frame({"c": [None, 2**53 + 1]}))
    twice = pandas.DataFrame([[1, 2]], columns=["c", "c"])
    with pytest.raises(ValueError, match="column name 'c' stands 2 times"):
        Table.of(twice)


@pytest.mark.oracle
def test_parquet(tmp_path):
    polars = pytest.importorskip("polars", reason="polars is not installed")
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    polars.DataFrame(FRAME).write_parquet(tmp_path / "shop.parquet")
    table = Table.read(tmp_path / "shop.parquet", types={"n": "text"})
    assert table["n"].tolist() == ["2", "3", "5"]
    assert all(same(table[name], Table(FRAME)[name]) for name in table.names[1:])
    path = written(tmp_path, "not parquet", "wrong.parquet")
    with pytest.raises(ValueError, match=r"wrong\.parquet: found no Parquet file"):
        Table.read(path)


def test_read_csv_types_missing_values_and_describe(tmp_path):
    path = written(
        tmp_path,
        "\ufeffid,code,price,sold,day,名前\r\n"
        '3,007,2.5,TRUE,2009-12-01,"杯, 大"\r\n'
        '\r\n5,008,NA,false,,"two\nlines"\r\n'
        "7, null ,1e2,True,2010-01-02,杯\r\n",
    )
    table = Table.read(path)
    assert table["id"].tolist() == [3, 5, 7]
    assert table["code"].tolist() == ["007", "008", None]
    assert same(table["price"], np.array([2.5, np.nan, 100.0]))
    assert table["sold"].tolist() == [True, False, True]
    assert same(table["day"], np.array(["2009-12-01", "NaT", "2010-01-02"], "M8[us]"))
    assert table["名前"].tolist() == ["杯, 大", "two\nlines", "杯"]
    assert str(table).splitlines() == [
        "3 rows × 6 columns",
        "column  type      missing  distinct  values",
        "id      integer         0         3  3 … 7, median 5",
        "code    text            1         2  '007' 1, '008' 1",
        "price   number          1         2  2.5 … 100, median 2.5",
        "sold    boolean         0         2  True 2, False 1",
        "day     datetime        1         2  2009-12-01 00:00:00 … 2010-01-02 00:00:00, "
        "median 2009-12-01 00:00:00",
        "名前    text            0         3  '杯, 大' 1, 'two\\nlines' 1, '杯' 1",
    ]
    assert repr(table) == "Table(3 rows: 'id', 'code', 'price', 'sold', 'day', '名前')"
    assert Table.read(path, missing=["2.5"])["price"].tolist() == [None, "NA", "1e2"]
    table = Table.read(path, types={"id": "text", "code": "number", "sold": "text"})
    assert table["id"].tolist() == ["3", "5", "7"]
    assert same(table["code"], np.array([7, 8, np.nan]))
    assert table["sold"].tolist() == ["TRUE", "false", "True"]


def test_read_other_delimiters_encodings_and_gzip(tmp_path):
    expected = {"a": ["é"], "b": ["x,y;z"]}
    for name, delimiter in (
        ("t.tsv", "\t"),
        ("semi.csv", ";"),
        ("tab.csv", "\t"),
        ("bar.csv", "|"),
    ):
        text = f'a{delimiter}b\né{delimiter}"x,y;z"\n'
        table = Table.read(written(tmp_path, text, name))
        assert {name: table[name].tolist() for name in table} == expected
        path = written(tmp_path, gzip.compress(text.encode("utf-16")), f"{name}.gz")
        table = Table.read(path, encoding="utf-16")
        assert {name: table[name].tolist() for name in table} == expected
    path = written(tmp_path, "a:b\né:x,y;z", "t.data")
    table = Table.read(path, delimiter=":")
    assert {name: table[name].tolist() for name in table} == expected
    table = Table.read(written(tmp_path, 'a;b\n1;2\n"c,d"\n'), delimiter=",")
    assert table["a;b"].tolist() == ["1;2", "c,d"]
    assert Table.read(written(tmp_path, ",b\n3,4\n")).names == ["column_1", "b"]
    table = Table.read(written(tmp_path, 'only\n""\nx\n\n'))  # blank lines are no rows
    assert table["only"].tolist() == [None, "x"]


WRONG = {
    "ragged, short": ("a,b,c\n1,2,3\n4,5\n", "line 3, column 'c': found 2 fields, expected 3"),
    "ragged, long": ("a,b\n1,2\n\n4,5,6\n", "line 4, column 'b': found 3 fields, expected 2"),
    "latin-1": (
        b"a,b\n1,2\n3,caf\xe9\n",
        "line 3, column 'b': found byte 0xe9, expected utf-8; is",
    ),
    "latin-1 first": (b"a,b\n\xe9,2\n", "line 2, column 'a': found byte 0xe9"),
    "latin-1 header": (b"a,b\xe9\n1,2\n", "line 1, column 'b?': found byte 0xe9"),
    "latin-1 in an open quote": (
        b'a,b\n1,"' + b"x" * 140_000 + b"\xe9",
        "shop.csv, line 2: found byte 0xe9",
    ),
    "utf-16": ("a,b\n1,2\n".encode("utf-16"), "is it encoding='utf-16'?"),
    "NUL": (b"a,b\n1,2\n3,x\0\n", "line 3, column 'b': found a NUL byte, expected text"),
    "twice": (
        "a,b,a\n1,2,3\n",
        "line 1, column 'a': found this name in the places [1, 3], expected",
    ),
    "empty": ("", "shop.csv: found an empty file, expected a line of column names"),
    "blank": ("\n\r\n", "shop.csv: found an empty file, expected a line of column names"),
    "header": ("a,b\n", "shop.csv: found a header and no rows, expected at least one"),
    "unclosed": (
        'a,b\n1,"x\ny"\n3,"4\n5,6\n',
        "line 4, column 'b': found the end of the file inside quotes, expected a closing quote",
    ),
    "unclosed, long": (
        'a,b\n1,2\n"3,4\n' + "5,6\n" * 40_000,
        "line 3, column 'a': found a field that is too long, expected a closing quote",
    ),
    "stray": (
        'a,b\n1,"5"" screen"\n"2","5" screen"\n',
        "line 3, column 'b': found text behind a closing quote, expected a closing quote, then ','",
    ),
    "quote in header": ('a,"b\n1,2\n', "line 1, column 'b"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_cannot_be_read_is_one_error_with_its_place(name, tmp_path):
    content, error = WRONG[name]
    path = written(tmp_path, content)
    with pytest.raises(ValueError, match=re.escape(error)) as caught:
        Table.read(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options, error",
    [
        (
            {"types": {"b": "integer"}},
            "line 4, column 'b': found 'x', expected an integer of 64 bits",
        ),
        ({"types": {"c": "integer"}}, "shop.csv: types: no column 'c' among 'a', 'b'"),
        ({"types": {"b": "int"}}, "shop.csv: types: column 'b': found 'int', expected integer, n"),
        ({"types": {"b": "boolean"}}, "line 2, column 'b': found '2', expected true or false"),
        ({"types": {"b": "datetime"}}, "line 2, column 'b': found '2', expected a date or time"),
        ({"types": {"b": "%d.%m.%Y"}}, "found '2', expected a time written as '%d.%m.%Y'"),
        ({"delimiter": "::"}, "shop.csv: found delimiter '::', expected one character"),
        ({"delimiter": ";"}, "line 2, column 'a,b': found 1 fields, expected 1"),
        ({"encoding": "utf-99"}, "shop.csv: unknown encoding: utf-99"),
    ],
)
def test_an_option_that_does_not_fit(options, error, tmp_path):
    path = written(tmp_path, 'a,b\n"one\nrow",2\n3,x\n')
    if options == {"delimiter": ";"}:
        path = written(tmp_path, "a,b\n1,2;3\n")
        error = "line 2, column 'a,b': found 2 fields, expected 1 between ';'"
    with pytest.raises(ValueError, match=re.escape(error)):
        Table.read(path, **options)


def test_ambiguous_dates_and_other_files(tmp_path):
    path = written(tmp_path, "day\n1/2/2009\n3/4/2009\n")
    with pytest.raises(
        ValueError, match="line 2, column 'day': found '1/2/2009', expected a date w"
    ):
        Table.read(path, types={"day": "datetime"})
    times = Table.read(path, types={"day": "%m/%d/%Y"})["day"]
    assert same(times, np.array(["2009-01-02", "2009-03-04"], "M8[us]"))
    with pytest.raises(
        ValueError, match=r"shop\.xlsx: expected \.csv, \.tsv or \.parquet, or a de"
    ):
        Table.read(written(tmp_path, "", "shop.xlsx"))
    with pytest.raises(ValueError, match=r"shop\.csv\.gz: found no whole gzip file"):
        Table.read(written(tmp_path, gzip.compress(b"a\n1\n")[:-5], "shop.csv.gz"))
    with pytest.raises(FileNotFoundError, match="absent"):
        Table.read(tmp_path / "absent.csv")


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=7)
NAMES = st.lists(TEXT.filter(str.strip), min_size=2, max_size=5, unique=True)


@given(st.data())
def test_what_the_csv_module_writes_comes_back(tmp_path_factory, data):
    names = data.draw(NAMES)
    rows = data.draw(st.lists(st.tuples(*[TEXT] * len(names)), min_size=1, max_size=7))
    text = io.StringIO(newline="")
    csv.writer(text).writerows([names, *rows])
    path = written(tmp_path_factory.getbasetemp(), text.getvalue())
    table = Table.read(path, types=dict.fromkeys(names, "text"), missing=())
    assert table.names == names
    assert list(zip(*(table[name].tolist() for name in names))) == rows


@given(st.lists(st.tuples(TEXT, TEXT), min_size=2, max_size=11), st.data())
def test_errors_name_the_physical_line(tmp_path_factory, rows, data):
    bad = data.draw(st.integers(0, len(rows) - 1))
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(["n", "a", "b"])
    for i, row in enumerate(rows):
        if i == bad:
            line = 1 + len(re.findall("\r\n|\r|\n", text.getvalue()))
        writer.writerow(["3" if i != bad else "three", *row])
    path = written(tmp_path_factory.getbasetemp(), text.getvalue())
    expected = re.escape(f"line {line}, column 'n': found 'three', expected an integer")
    with pytest.raises(ValueError, match=expected):
        Table.read(path, types={"n": "integer"})


@given(
    st.binary(max_size=40)
    | st.text(st.sampled_from('ab1.,;"\n\r \t-/:é0'), max_size=40).map(str.encode)
)
def test_any_bytes_are_a_table_or_one_error_that_names_the_file(tmp_path_factory, content):
    path = written(tmp_path_factory.getbasetemp(), content)
    try:
        table = Table.read(path)
    except ValueError as error:
        assert str(error).startswith(str(path)) and error.__cause__ is None
    else:
        assert len(table) > 0 and str(table)
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        if table.names != [content.decode("utf-8-sig")]:
            assert len(table) == sum(map(bool, reader)) - 1


def test_many_categories(tmp_path):
    path = written(tmp_path, "id\n" + "".join(f"c{i}\n" for i in range(100_003)))
    table = Table.read(path)
    assert len(set(table["id"].tolist())) == 100_003
    assert "100,003" in str(table)


def test_a_long_file_has_its_error_in_the_right_line(tmp_path):
    path = written(tmp_path, "a,b\n" + "1,2\n" * 7_001 + "3\n")
    with pytest.raises(ValueError, match="line 7003, column 'b': found 1 fields, expected 2"):
        Table.read(path)
    path = written(tmp_path, "a,b\n" + "1,2\n" * 7_001 + "3,4,\n")
    with pytest.raises(ValueError, match="line 7003, column 'b': found 3 fields, expected 2"):
        Table.read(path)


def test_grid_counts_wide_characters_as_two():
    assert grid([("杯", "1"), ("abc", "22")], "<>") == "杯    1\nabc  22"


@pytest.mark.data
@pytest.mark.slow
def test_online_retail_reads_as_an_independent_loop_does(nnrec_data):
    path = nnrec_data / "online_retail" / "online_retail_II_2009-2010.csv.gz"
    table = Table.read(path)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(table) == len(rows) == 525_461
    assert list(table.types.values()) == (
        "text text text integer datetime number number text".split()
    )
    assert table["Quantity"].tolist() == [int(row["Quantity"]) for row in rows]
    assert table["Price"].tolist() == [float(row["Price"]) for row in rows]
    assert table["Invoice"].tolist() == [row["Invoice"] for row in rows]
    missing = Counter(name for row in rows for name, value in row.items() if value == "")
    codes = {name: factorize(table[name])[0] for name in table}
    assert missing == {n: int((c < 0).sum()) for n, c in codes.items() if (c < 0).any()}
    assert missing["Customer ID"] == 107_927


@pytest.mark.data
def test_online_shoppers_types(nnrec_data):
    table = Table.read(nnrec_data / "online_shoppers" / "online_shoppers_intention.csv")
    types = {"Month": "text", "VisitorType": "text", "Weekend": "boolean", "Revenue": "boolean"}
    numbers = [name for name in table if table.types[name] in ("integer", "number")]
    assert {name: table.types[name] for name in table if name not in numbers} == types
    assert len(table) == 12_330 and int(table["Revenue"].sum()) == 1_908
