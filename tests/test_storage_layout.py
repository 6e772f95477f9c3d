"""The bytes of a file: arrays and JSON come back, the official reader agrees, reading is frugal.

Damaged files are in test_storage_fuzz.py.
"""

from __future__ import annotations

import json
import math
import os
import re
import reprlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from nnrec import storage
from nnrec.storage import FormatError, layout
from tests.messages import exactly
from tests.stored import (
    CHARACTERS,
    CLASSES,
    NAMES,
    NUMERIC,
    TEXTS,
    Chain,
    Fussy,
    Stranger,
    dense,
    same,
)

GOLDEN = Path(__file__).parent / "golden"
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(
    arrays=st.dictionaries(NAMES.filter(lambda name: name != "__metadata__"), NUMERIC, max_size=5),
    metadata=st.dictionaries(TEXTS, JSONS, max_size=4),
)
def test_round_trip_of_arrays_and_json(file, arrays, metadata):
    storage.write(file, arrays, metadata)
    found, found_metadata = storage.read(file)
    assert same(dict(sorted(arrays.items())), found)
    assert same(metadata, found_metadata)
    for array in found.values():
        assert array.flags.writeable and array.flags.owndata and array.flags.c_contiguous
    entries, header_metadata = storage.read_header(file)
    assert same(metadata, header_metadata)
    assert {k: (e.dtype, e.shape) for k, e in entries.items()} == {
        k: (a.dtype, a.shape) for k, a in found.items()
    }


@given(
    arrays=st.dictionaries(NAMES.filter(lambda name: name != "__metadata__"), NUMERIC, max_size=5)
)
def test_equal_input_gives_equal_bytes_and_all_is_aligned(file, arrays):
    storage.write(file, arrays, {"b": 1, "a": 2})
    first = file.read_bytes()
    storage.write(file, dict(reversed(arrays.items())), {"b": 1, "a": 2})
    assert file.read_bytes() == first
    start = 8 + int.from_bytes(first[:8], "little")
    assert start % 8 == 0
    assert all(e.begin % e.dtype.itemsize == 0 for e in storage.read_header(file)[0].values())
    header = json.loads(first[8:start])
    assert list(header) == sorted(header)


DTYPES = "BOOL, F16, F32, F64, I8, I16, I32, I64, U8, U16, U32, U64"
NO_NAME = "expected a name other than '__metadata__'"
NO_JSON = "expected a value of JSON"
SURROGATE = "the names and the metadata: 'utf-8' codec can't encode …"


def no_array(found):
    return f"array 'a': {found}; expected an array of {DTYPES}"


@pytest.mark.parametrize(
    ("arrays", "metadata", "error", "words"),
    [
        ({"a": [1.0]}, {}, TypeError, no_array("list")),
        ({"a": np.float64(1)}, {}, TypeError, no_array("float64")),
        ({"a": np.zeros(2, "c8")}, {}, TypeError, no_array("complex64")),
        ({"a": np.array(["x"])}, {}, TypeError, no_array("<U1")),
        ({"a": np.array([None])}, {}, TypeError, no_array("object")),
        ({"a": np.array(["x"], "T")}, {}, TypeError, no_array("StringDType()")),
        ({"a": np.ma.masked_array([1])}, {}, TypeError, no_array("int64")),
        ({"a": np.zeros(2, "M8[s]")}, {}, TypeError, no_array("datetime64[s]")),
        ({3: np.eye(2)}, {}, ValueError, f"array 3: {NO_NAME}"),
        ({"__metadata__": np.eye(2)}, {}, ValueError, f"array '__metadata__': {NO_NAME}"),
        ({"a\0b": np.eye(2)}, {}, ValueError,
         "{}: header key 'a\\x00b': a control character; expected a name without"),
        ({"\ud800": np.eye(2)}, {}, ValueError, SURROGATE),
        ({}, {"a": "\udfff"}, ValueError, SURROGATE),
        ({}, {"a": [0, (1, 2)]}, TypeError, f"metadata['a'][1]: tuple; {NO_JSON}"),
        ({}, {"a": {"b": {1: 2}}}, TypeError, "metadata['a']['b']: the key 1; expected a str"),
        ({}, {"a": math.nan}, ValueError, "metadata['a']: nan; expected a finite number"),
        ({}, {"a": -math.inf}, ValueError, "metadata['a']: -inf; expected a finite number"),
        ({}, {"a": np.float32(1)}, TypeError, f"metadata['a']: float32; {NO_JSON}"),
        ({}, {"a": Stranger()}, TypeError, f"metadata['a']: Stranger; {NO_JSON}"),
        ({}, {"a": 10**5000}, ValueError, "Exceeds the limit (4300 digits) for …"),
        ({}, {"a": ["x"] * 400_000}, ValueError, "{}: header key '__metadata__', 'json': "
         "so much JSON; expected less for the size of the file"),
    ],
)  # fmt: skip
def test_what_is_not_written(tmp_path, arrays, metadata, error, words):
    with pytest.raises(error, match=exactly(words.replace("{}", str(tmp_path / "f")))):
        storage.write(tmp_path / "f", arrays, metadata)
    assert not list(tmp_path.iterdir())


def test_depth_of_metadata(file):
    deep: list = []
    for _ in range(254):
        deep = [deep]
    storage.write(file, {}, {"a": deep})  # 256 levels
    assert storage.read(file)[1] == {"a": deep}
    with pytest.raises(ValueError, match="'json': nested too deeply; expected at most 256"):
        storage.write(file, {}, {"a": [deep]})
    loop: dict = {}
    loop["a"] = loop
    path = ("metadata" + 40 * "['a']")[:80]
    words = f"{path}…: more than 256 levels; does it hold itself?"
    with pytest.raises(ValueError, match=exactly(words)):
        storage.write(file, {}, loop)
    loop = {"a": []}
    loop["a"].append(loop["a"])
    with pytest.raises(ValueError, match="more than 256 levels; does it hold itself"):
        storage.write(file, {}, loop)


def test_write_takes_any_layout_of_memory(file):
    arrays = {
        "big-endian": np.arange(7, dtype=">i4"), "transposed": np.arange(6.0).reshape(2, 3).T,
        "strided": np.arange(11.0)[::-2], "broadcast": np.broadcast_to(np.float32(3), (3, 5)),
    }  # fmt: skip
    storage.write(file, arrays, {})
    assert same(storage.read(file)[0], dict(sorted(arrays.items())))


def test_writing_copies_no_array_that_is_as_the_file_wants_it():
    arrays = {"a": np.arange(7), "b": np.eye(3, dtype="<f4")}
    _, data = layout._encode("f", arrays, {})
    assert data[0] is arrays["a"] and data[1] is arrays["b"]


GOLDEN_OBJECT = {
    "json": [None, True, -3, 2.5, "中", {}],
    "tagged": (math.nan, -math.inf, b"\x00\xff", {1: "one", None: (2,)}, np.dtype("f4")),
    "scalars": [np.float32(0.1), np.int8(-7), np.datetime64("2024-02-29T12:00", "us")],
    "arrays": {
        code: np.array([[0, 1, 2], [3, 5, 7]], dtype).astype(dtype)
        for code, dtype in layout.DTYPES.items()
    },
    "times": np.array(["2024-02-29", "NaT"], "M8[D]"),
    "words": np.array(["a", "", "中文"]),
    "texts": np.array(["a", None, "", "中文"], object),
    "long": [f"u{i}" for i in range(257)],
    "csr": scipy.sparse.csr_array(np.array([[0.0, 1, 0], [2, 0, 3]])),
    "rng": np.random.default_rng(7),
    "layers": Chain(dense(3, 2, True, {"W": np.arange(6.0).reshape(3, 2)}), user=Fussy(3)),
}


def test_golden_file_of_version_1(file):
    """Files of version 1 stay readable, and as long as that is the version, stay the same."""
    golden = GOLDEN / "storage-1.safetensors"
    arrays, metadata = storage.read(golden)
    assert same(storage.unpack(metadata["tree"], arrays, CLASSES), GOLDEN_OBJECT)
    tree, arrays = storage.pack(GOLDEN_OBJECT, CLASSES)
    storage.write(file, arrays, {"tree": tree})
    assert file.read_bytes() == golden.read_bytes()


@pytest.mark.oracle
@given(arrays=st.dictionaries(st.text(CHARACTERS), NUMERIC, max_size=5))
def test_official_reader_and_writer_agree(file, arrays):
    official = pytest.importorskip("safetensors.numpy", reason="needs safetensors")
    arrays = {k: v for k, v in arrays.items() if not layout.CONTROL.search(k)}
    storage.write(file, arrays, {"a": ["中", 1]})
    assert same(dict(sorted(official.load_file(file).items())), dict(sorted(arrays.items())))
    arrays = {k: np.ascontiguousarray(v).astype(layout.little(v.dtype)) for k, v in arrays.items()}
    official.save_file(arrays, file, metadata={"format": "np", "note": "[1]"})
    found, metadata = storage.read(file)
    assert same(dict(sorted(found.items())), dict(sorted(arrays.items())))
    assert metadata == {"format": "np", "note": "[1]"}


@pytest.mark.oracle
def test_official_reader_reads_the_golden_file():
    official = pytest.importorskip("safetensors", reason="needs safetensors")
    with official.safe_open(GOLDEN / "storage-1.safetensors", "np") as opened:
        texts = opened.metadata()
        arrays = {name: opened.get_tensor(name) for name in opened.keys()}
    assert texts["format"] == "nnrec" and texts["version"] == "1"
    tree = json.loads(texts["json"])["tree"]
    assert same(storage.unpack(tree, arrays, CLASSES), GOLDEN_OBJECT)


PATTERNS = {
    "lists": lambda n: "[" + ",".join(["[]"] * n) + "]",
    "dicts": lambda n: "[" + ",".join(["{}"] * n) + "]",
    "dicts of one": lambda n: "[" + ",".join(['{"":0}'] * n) + "]",
    "other dicts of one": lambda n: "[" + ",".join(f'{{"{i:x}":[]}}' for i in range(n)) + "]",
    "keys": lambda n: "{" + ",".join(f'"{i:x}":0' for i in range(n)) + "}",
    "keys of lists": lambda n: "{" + ",".join(f'"{i:x}":[9]' for i in range(n)) + "}",
    "strings": lambda n: "[" + ",".join(f'"{i:x}"' for i in range(n)) + "]",
    "wide strings": lambda n: "[" + ",".join(['"中"'] * n) + ',"😀"]',
    "one wide string": lambda n: '["' + "x" * 9 * n + '😀"]',
    "escapes": lambda n: '["' + "\\u4e2d" * n + '"]',
    "numbers": lambda n: "[" + ",".join(["999"] * n) + "]",
    "floats": lambda n: "[" + ",".join(["1e9"] * n) + "]",
    "spaces": lambda n: "[" + " " * 7 * n + "]",
    "deep": lambda n: "[" * n,
    "brackets in a string": lambda n: '["' + "[" * 9 * n + '"]',
}


def layout_of(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


@pytest.mark.slow
@pytest.mark.parametrize("where", ["header", "json"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_reading_takes_three_times_the_file_and_16_mib_at_most(tmp_path, pattern, where):
    accepted = refused = 0
    for n in (2 ** np.arange(12, 20.5, 0.5)).astype(int).tolist():
        text = PATTERNS[pattern](n)
        if where == "json":
            texts = {"format": "nnrec", "version": "1", "json": f'{{"a":{text}}}'}
            header = json.dumps({"__metadata__": texts}, ensure_ascii=False)
        else:
            header = f'{{"__metadata__":{text}}}'
        (tmp_path / "f").write_bytes(layout_of(header.encode()))
        size = (tmp_path / "f").stat().st_size
        del text, header
        tracemalloc.start()
        try:
            storage.read(tmp_path / "f")
            accepted += 1
        except FormatError as error:
            allowed = not re.search("so much JSON|shorter one|nested", str(error))
            accepted, refused = accepted + allowed, refused + (not allowed)
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak <= 3 * size + 16 * 2**20, f"{peak} bytes for a file of {size}"
        if refused:
            break
    assert accepted or pattern == "deep"
    assert refused or pattern in ("spaces", "brackets in a string", "escapes")


def test_header_that_is_too_long_is_not_decoded(tmp_path):
    (tmp_path / "f").write_bytes(layout_of(b'{"__metadata__":{"a":"' + b"x" * 3_000_017 + b'"}}'))
    assert len(storage.read(tmp_path / "f")[1]["a"]) == 3_000_017
    (tmp_path / "f").write_bytes(
        layout_of(b'{"__metadata__":{"a":"' + b"\xff" * 3_000_017 + b'"}}')
    )
    with pytest.raises(FormatError, match="byte 0: a header of 3000042 bytes; expected a shorter"):
        storage.read(tmp_path / "f")


@pytest.mark.parametrize("shape", [(0,), (2**24,)])
def test_memory_of_many_and_of_large_arrays(tmp_path, shape):
    count = 5003 if shape == (0,) else 1
    storage.write(tmp_path / "f", {f"{i}": np.zeros(shape, "u1") for i in range(count)}, {})
    tracemalloc.start()
    arrays, _ = storage.read(tmp_path / "f")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(arrays) == count and peak <= (2**20 + 2**24)


def test_file_that_gets_shorter_while_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "f"
    storage.write(path, {"a": np.arange(10_007)}, {})
    real = layout._read_header

    def truncate(source, file):
        found = real(source, file)
        os.truncate(path, 10_007)
        return found

    monkeypatch.setattr(layout, "_read_header", truncate)
    words = f"{path}: array 'a': the file became shorter meanwhile"
    with pytest.raises(FormatError, match=exactly(words)):
        storage.read(path)


@pytest.mark.parametrize(
    ("shape", "dtype"), [([0, 2**63 - 1], "U8"), ([2**60 - 1, 0], "F64"), ([0] + [1] * 63, "I16")]
)
def test_largest_shapes(tmp_path, shape, dtype):
    entry = {"dtype": dtype, "shape": shape, "data_offsets": [0, 0]}
    (tmp_path / "f").write_bytes(layout_of(json.dumps({"a": entry}).encode()))
    assert storage.read(tmp_path / "f")[0]["a"].shape == tuple(shape)
    entry["shape"] = [size + (size > 1) for size in shape] if len(shape) == 2 else [*shape, 1]
    (tmp_path / "f").write_bytes(layout_of(json.dumps({"a": entry}).encode()))
    shown = reprlib.repr(entry["shape"])
    words = f"{tmp_path / 'f'}: header key 'a': shape {shown}; expected one that an array can have"
    with pytest.raises(FormatError, match=exactly(words)):
        storage.read(tmp_path / "f")


METADATA = "header key '__metadata__'"
WHOLE = "; expected whole numbers, none negative"
SPEC = "; expected dtype, shape, data_offsets"


def entry(offsets, name="a"):
    return f'{{"{name}":{{"dtype":"U8","shape":[1],"data_offsets":{offsets}}}}}'


def nnrec(text, version="1"):
    """The header of a file of nnrec with this text of JSON."""
    texts = {"format": "nnrec", "version": version, "json": text}
    return json.dumps({"__metadata__": texts})


@pytest.mark.parametrize(
    ("header", "data", "words"),
    [
        ("", 0, "byte 8: ''; expected '{'"),
        ("[1]", 0, "byte 8: '['; expected '{'"),
        ("{", 0, "header: Expecting …"),
        (b'{"\xff', 0, "byte 10: expected UTF-8"),
        ('{"a":1,"a":1}', 0, "header: the key 'a' twice; expected JSON"),
        ('{"a":1e999}', 0, "header: '1e999' is no finite number; expected JSON"),
        ('{"a":NaN}', 0, "header: 'NaN' is no finite number; expected JSON"),
        (r'{"a":"\udc00"}', 0, "header: half a surrogate pair; expected JSON"),
        ('{"a":%s}' % ("[" * 256 + "]" * 256), 0,
         "header: nested too deeply; expected at most 256 levels"),
        ('{"a":[[],%s]}' % ("[" * 255 + "]" * 255), 0,
         "header: nested too deeply; expected at most 256 levels"),
        ('{"a":3}', 0, f"header key 'a': 3{SPEC}"),
        ('{"a":{"dtype":"U8","shape":[1]}}', 0,
         f"header key 'a': {{'dtype': 'U8', 'shape': [1]}}{SPEC}"),
        (entry("[0]"), 1,
         f"header key 'a': {{'data_offsets': [0], 'dtype': 'U8', 'shape': [1]}}{SPEC}"),
        (entry('[0,1],"b":1'), 1, "header key 'a': {'b': 1, …"),
        ('{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}', 1,
         f"header key 'a': {{'data_offsets': [0, 1], 'dtype': 'U8', 'shape': [1.0]}}{WHOLE}"),
        ('{"a":{"dtype":"U8","shape":[true],"data_offsets":[0,1]}}', 1,
         f"header key 'a': {{'data_offsets': [0, 1], 'dtype': 'U8', 'shape': [True]}}{WHOLE}"),
        ('{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}', 1,
         f"header key 'a': {{'data_offsets': [0, 1], 'dtype': 'U8', 'shape': [-1]}}{WHOLE}"),
        ('{"a":{"dtype":"F8","shape":[1],"data_offsets":[0,1]}}', 1,
         f"header key 'a': dtype 'F8'; expected one of {DTYPES}"),
        ('{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,7]}}', 7,
         "header key 'a': data_offsets [0, 7]; expected 24 bytes for F32 of shape [2, 3]"),
        (entry("[0,1]", "a\x7f"), 1,
         r"header key 'a\x7f': a control character; expected a name without"),
        (entry("[1,2]"), 2,
         "header key 'a': its data begins at 1; expected 0"),
        (entry("[0,1]", "b")[:-1] + "," + entry("[0,1]", "a")[1:], 1,
         "header key 'a': its data begins at 0; expected 1"),
        (entry("[0,1]"), 3,
         "byte 61: 3 bytes of data; expected 1 as the header says"),
        (entry("[0,1]"), 0,
         "byte 61: 0 bytes of data; expected 1 as the header says"),
        ('{"__metadata__":[1]}', 0, f"{METADATA}: [1]; expected strings by name"),
        ('{"__metadata__":{"a":1}}', 0, f"{METADATA}: {{'a': 1}}; expected strings by name"),
        ('{"__metadata__":{"format":"nnrec"}}', 0,
         f"{METADATA}: version None; expected '1', or a newer nnrec"),
        (nnrec("{}", "2"), 0, f"{METADATA}: version '2'; expected '1', or a newer nnrec"),
        ('{"__metadata__":{"format":"nnrec","version":"1"}}', 0,
         f"{METADATA}: ['format', 'version']; expected format, version, json"),
        (nnrec("[1]"), 0, f"{METADATA}, 'json': [1]; expected an object"),
        (nnrec("{"), 0, f"{METADATA}, 'json': Expecting …"),
        (nnrec("[" * 257 + "]" * 257), 0,
         f"{METADATA}, 'json': nested too deeply; expected at most 256 levels"),
    ],
)  # fmt: skip
def test_header_that_contradicts_the_format_or_the_file(tmp_path, header, data, words):
    header = header if isinstance(header, bytes) else header.encode()
    (tmp_path / "f").write_bytes(layout_of(header, b"\0" * data))
    for read in storage.read, storage.read_header:
        with pytest.raises(FormatError, match=exactly(f"{tmp_path / 'f'}: {words}")):
            read(tmp_path / "f")


@pytest.mark.parametrize(
    ("content", "length"), [(b"", 0), (b"\7" + b"\0" * 6, 7), (b"\1" + b"\0" * 7, 1)]
)
def test_file_that_is_shorter_than_its_header(tmp_path, content, length):
    (tmp_path / "f").write_bytes(content)
    words = f"byte 0: a header of {length} bytes in a file of {len(content)} bytes"
    with pytest.raises(FormatError, match=exactly(f"{tmp_path / 'f'}: {words}")):
        storage.read(tmp_path / "f")


@pytest.mark.parametrize(
    ("text", "cost"),
    [
        ("1", 4), ('"é"', 9 * 3), ("[]", 64 + 4 * 2), ("{}", 160 + 4 * 2),
        ('{"a":[1,2]}', 160 * 2 + 64 + 72 + 4 * 11), (r'["[{:,\"[{:,"]', 64 + 4 * 14),
        ('{"a":{"b":"é"},"c":[[],[]]}', 160 * 5 + 64 * 3 + 72 * 2 + 9 * 27),
    ],
)  # fmt: skip
def test_room_that_json_takes(text, cost):
    assert layout._parse(text, "x", cost + 3) == (json.loads(text), 3)
    assert layout._parse(text, "x", cost) == (json.loads(text), 0)
    with pytest.raises(FormatError, match="x: so much JSON; expected less for the size of the f"):
        layout._parse(text, "x", cost - 1)


@pytest.mark.parametrize(("character", "copies"), [(b" ", 4), (b"\xff", 9)])
@pytest.mark.parametrize("data", [0, 7])
def test_longest_header_that_is_decoded(character, copies, data):
    """Bytes times copies ≤ three times the file and 15 MiB, less the data."""
    longest = (3 * 8 + 2 * data + 15 * 2**20) // (copies - 3)
    for length, words in (
        (longest, "byte 8: ' '; expected '{'" if copies == 4 else "byte 8: expected UTF-8"),
        (longest + 1, f"byte 0: a header of {longest + 1} bytes; expected a shorter one"),
    ):
        with pytest.raises(FormatError, match=exactly(f"f: {words}")):
            layout._decode(character * length, 8 + length + data, "f")


def test_bool_is_0_or_1(tmp_path):
    header = b'{"a":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}}'
    (tmp_path / "f").write_bytes(layout_of(header, b"\0\1\1"))
    assert same(storage.read(tmp_path / "f")[0]["a"], np.array([False, True, True]))
    (tmp_path / "f").write_bytes(layout_of(header, b"\0\1\2"))
    words = f"{tmp_path / 'f'}: array 'a': BOOL other than 0 and 1"
    with pytest.raises(FormatError, match=exactly(words)):
        storage.read(tmp_path / "f")
