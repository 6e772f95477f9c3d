"""Objects as trees of JSON and arrays: what is packed comes back, a hostile tree is one error."""

from __future__ import annotations

import json
import math
from reprlib import repr as short

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nnrec import storage
from nnrec.storage import FormatError, layout, trees
from tests.messages import exactly
from tests.stored import (
    CHARACTERS,
    CLASSES,
    DTYPES,
    NUMERIC,
    SHAPES,
    TEXTS,
    Chain,
    Dense,
    Fussy,
    Stranger,
    dense,
    same,
)


def through_file(obj, path):
    tree, arrays = storage.pack(obj, CLASSES)
    storage.write(path, arrays, {"tree": tree})
    arrays, metadata = storage.read(path)
    return storage.unpack(metadata["tree"], arrays, CLASSES)


LETTERS = st.text(CHARACTERS.filter(lambda c: c != "\0"), max_size=1)  # NumPy drops a last NUL
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.binary(max_size=5)
    | st.sampled_from(DTYPES).map(np.dtype).flatmap(hnp.from_dtype)
    | st.sampled_from(DTYPES).map(np.dtype)
)  # fmt: skip
TIMES = [f"{kind}[{unit}]" for kind in ("M8", "m8") for unit in "Y M W D h m s ms us ns as".split()]
ARRAYS = (
    NUMERIC
    | hnp.arrays(st.sampled_from(TIMES).map(np.dtype), SHAPES)
    | hnp.arrays(st.sampled_from(["<U1", ">U3", "<U13"]), SHAPES, elements=LETTERS)
    | hnp.arrays(object, SHAPES, elements=TEXTS | st.none())
)  # fmt: skip
CSRS = st.builds(
    lambda dense, kind: kind(dense),
    hnp.arrays(
        st.sampled_from(["?", "f4", "f8", "i4", "u8"]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=7),
    ),
    st.sampled_from([scipy.sparse.csr_array, scipy.sparse.csr_matrix]),
)
KEYS = st.none() | st.booleans() | st.integers() | st.text(CHARACTERS) | st.binary()


def holders(inner):
    few = st.lists(inner, max_size=3)
    return (
        few
        | few.map(tuple)
        | st.dictionaries(TEXTS, inner, max_size=3)
        | st.dictionaries(KEYS | st.tuples(KEYS, KEYS), inner, max_size=3)
        | st.builds(
            dense, inner, inner, st.booleans(), st.dictionaries(st.sampled_from("Wb"), inner)
        )
        | st.builds(
            lambda layers, parts: Chain(*layers, **parts),
            few,
            st.dictionaries(st.sampled_from(["user", "item", "mlp"]), inner),
        )
    )


TREES = st.recursive(
    SCALARS
    | ARRAYS
    | CSRS
    | st.integers(0, 2**200).map(np.random.default_rng)
    | st.builds(lambda value, n: [value] * n, SCALARS, st.integers(253, 260)),
    holders,
    max_leaves=8,
)


@settings(max_examples=300)
@given(TREES)
def test_round_trip_of_objects(file, obj):
    found = through_file(obj, file)
    assert same(obj, found)


@given(TREES)
def test_packing_is_deterministic_and_copies_no_numbers(obj):
    tree, arrays = storage.pack(obj, CLASSES)
    again, arrays_again = storage.pack(obj, CLASSES)
    assert json.dumps(tree, allow_nan=False) == json.dumps(again) and same(arrays, arrays_again)
    if isinstance(obj, np.ndarray) and obj.dtype.kind in "biuf":
        assert arrays["model"] is obj


def test_long_lists_and_dicts_become_arrays(file):
    n = layout.DEPTH * 31 + 7
    ids = {
        "str": [f"u{i}" for i in range(n)],
        "some missing": [None if i % 3 else "中" for i in range(n)],
        "int": [i - 2**63 for i in range(n)],
        "float": [math.nan, -0.0, math.inf] * n,
        "bool": [True, False, False] * n,
        "tuple": tuple(range(n)),
        "index": {f"u{i}": i for i in range(n)},
        "mixed": [1, 2.0, "3", None, b"4", True, (5, "6")] * 300,
        "wide": [2**63] * 300,
        "wide and negative": [-(2**63) - 1] * 300,
    }
    tree, arrays = storage.pack(ids, {})
    assert len(json.dumps(tree)) < 40_000
    assert len(arrays) == 2 + 2 + 1 + 1 + 1 + 1 + 3
    assert same(through_file(ids, file), ids)


def test_256_entries_are_not_long():
    for n, tags in (256, []), (257, ["$list", "$dict"]):
        values = [7] * n, {f"{i}": i for i in range(n)}
        assert [next(iter(storage.pack(v, {})[0])) for v in values if tags] == tags
        assert tags or [storage.pack(v, {}) for v in values] == [(v, {}) for v in values]


def test_arrays_are_named_by_their_path_each_once():
    layer = Dense(3)
    layer.W = layer.b = np.eye(3)
    tree, arrays = storage.pack({"a.b": layer, "a": {"b": layer}, "x\n": np.eye(1)}, CLASSES, "net")
    assert list(arrays) == ["net.a.b.W", "net.a.b.b", "net.a.b.W'", "net.a.b.b'", "net.x_"]
    found = storage.unpack(tree, arrays, CLASSES)
    assert same(found["a.b"], layer) and same(found["a"]["b"], layer)


def test_what_is_not_learned_is_not_stored():
    layer = Dense(3)
    layer.b, layer.cache = 1, Stranger()
    tree, _ = storage.pack(Chain(layer), CLASSES)
    assert tree["arguments"]["layers"]["$tuple"][0]["learned"] == {"b": 1}
    found = storage.unpack(tree, {}, CLASSES).layers[0]
    assert found.b == 1 and not hasattr(found, "W") and not hasattr(found, "cache")


class Ready:
    learned = ("theta",)

    def __init__(self, size):
        self.size, self.theta = size, np.zeros(size, "f4")


def test_learned_array_fits_the_one_that_the_constructor_makes():
    ready = Ready(5)
    ready.theta += np.arange(5)
    tree, arrays = storage.pack(ready, {"Ready": Ready})
    assert same(storage.unpack(tree, arrays, {"Ready": Ready}).theta, ready.theta)
    made = "an array of shape (5,) and float32"
    for wrong in np.zeros(3, "f4"), np.zeros((5, 1), "f4"), np.zeros(5):
        found = f"model.theta: an array of shape {wrong.shape} and {wrong.dtype}"
        with pytest.raises(FormatError, match=exactly(f"{found}; expected {made}")):
            storage.unpack(tree, {"model.theta": wrong}, {"Ready": Ready})
    tree["learned"]["theta"] = [0.0] * 5
    with pytest.raises(FormatError, match=exactly(f"model.theta: list; expected {made}")):
        storage.unpack(tree, arrays, {"Ready": Ready})


def test_argument_that_a_file_lacks_takes_its_default():
    tree = {"$object": "Dense", "arguments": {"inputs": 3}, "learned": {}}
    assert storage.unpack(tree, {}, CLASSES).outputs == 2


Renamed = type("Renamed", (), {"__init__": lambda self, size: None})


NO_CHARACTER = "a number that is no character; expected UTF-32"
TEXT_OR_NONE = "model holds 1; expected str and None in an object array"


SEED_OF_5 = np.random.SeedSequence(1, pool_size=5)


def foreign(path, name):
    return (
        f"{path} is a {name}, which can't stand in a file; a class of your own must be passed: "
        f"classes={{'{name}': {name}}}"
    )


def array_of(path, dtype):
    return f"{path} is an array of {dtype}, which a file can't hold"


def generator(bits, path="model"):
    return f"{path}: Generator({bits}), not as numpy.random.default_rng makes one"


@pytest.mark.parametrize(
    ("obj", "error", "words"),
    [
        (Stranger(), TypeError, foreign("model", "Stranger")),
        (Chain(1, 2, Stranger()), TypeError, foreign("model.layers[2]", "Stranger")),
        (Chain(mlp=[Stranger]), TypeError, foreign("model.parts.mlp[0]", "type")),
        ({"f": len}, TypeError, foreign("model.f", "builtin_function_or_method")),
        ([{1, 2}], TypeError, foreign("model[0]", "set")),
        (np.zeros(2, "c16"), TypeError, array_of("model", "complex128")),
        ([np.complex64(1)], TypeError, array_of("model[0]", "complex64")),
        (np.zeros(2, "S3"), TypeError, array_of("model", "|S3")),
        (np.zeros(2, "f4,i4"), TypeError, array_of("model", "[('f0', '<f4'), ('f1', '<i4')]")),
        (np.zeros(2, "M8"), TypeError, array_of("model", "datetime64")),
        (np.zeros(2, "M8[7D]"), TypeError, array_of("model", "datetime64[7D]")),
        (np.zeros(2, np.dtypes.StringDType()), TypeError, array_of("model", "StringDType()")),
        (np.array([1, "a"], object), TypeError, TEXT_OR_NONE),
        (np.array(["a", "\ud800"], object), ValueError, "model: …"),
        (np.array(["a", "\ud800"]), ValueError, f"model: {NO_CHARACTER}"),
        (np.ma.masked_array([1, 2]), TypeError, foreign("model", "MaskedArray")),
        (np.str_, TypeError, foreign("model", "type")),
        (scipy.sparse.csc_array(np.eye(2)), TypeError, foreign("model", "csc_array")),
        (np.random.Generator(np.random.MT19937(1)), TypeError, generator("MT19937")),
        (np.random.default_rng(SEED_OF_5), TypeError, generator("PCG64")),
        ({"r": np.random.default_rng(SEED_OF_5)}, TypeError, generator("PCG64", "model.r")),
        ((Stranger(),), TypeError, foreign("model[0]", "Stranger")),
        ({1: Stranger()}, TypeError, foreign("model.values[0]", "Stranger")),
        ({(Stranger(),): 1}, TypeError, foreign("model.keys[0][0]", "Stranger")),
        ([0] * 256 + [Stranger()], TypeError, foreign("model[256]", "Stranger")),
        (dense(3, 2, True, {"b": Stranger()}), TypeError, foreign("model.b", "Stranger")),
        ([np.array(["a\ud800"])], ValueError, f"model[0]: {NO_CHARACTER}"),
        ([np.array([1], object)], TypeError, TEXT_OR_NONE.replace("model", "model[0]")),
    ],
)  # fmt: skip
def test_what_no_file_can_hold(obj, error, words):
    with pytest.raises(error, match=exactly(words)):
        storage.pack(obj, CLASSES)


def test_class_must_keep_its_arguments():
    obj = Renamed(3)
    words = "model: Renamed keeps no attribute 'size' for its argument"
    with pytest.raises(TypeError, match=exactly(words)):
        storage.pack(obj, {"Renamed": Renamed})


def test_object_in_itself_and_at_the_deepest_level(file):
    loop: list = []
    loop.append(loop)
    with pytest.raises(ValueError, match=exactly(deep("[0]") + "; does it hold itself?")):
        storage.pack(loop, {})
    wraps = [(64, lambda x: [x]), (64, lambda x: (x,)), (64, lambda x: {1: x}), (64, Fussy)]
    for levels, wrap in [*wraps, (32, lambda x: Chain(user=x))]:
        tree = nested(wrap, levels)
        assert same(through_file(tree, file), tree)
        with pytest.raises(ValueError, match="more than 64 levels"):
            storage.pack(wrap(tree), CLASSES)


def nested(wrap, levels, tree=0):
    for _ in range(levels):
        tree = wrap(tree)
    return tree


def deep(step):
    return f"{('model' + 40 * step)[:80]}…: more than 64 levels"


def fussy(tree):
    return {"$object": "Fussy", "arguments": {"size": tree}, "learned": {}}


NO_WIDTH = ": model: a str array without characters; expected one at least"
LENGTH = ": a length of a text that its bytes don't have"
LENGTHS = ": texts of other lengths than the 4 bytes they have"
KINDS = "; expected one of the kinds of the format"
HOSTILE = {
    "unknown kind": ({"$eval": "1"}, KINDS),
    "two kinds": ({"$float": "nan", "$array": "f"}, KINDS),
    "field too many": ({"$array": "f", "shape": [3]}, KINDS),
    "float": ({"$float": "1.5"}, KINDS),
    "bytes": ({"$bytes": "0x"}, ": …"),
    "tuple": ({"$tuple": 3}, "model: 3; expected a list"),
    "no such array": ({"$array": "x"}, ": the array 'x' is not in the file, or stands there twice"),
    "twice": (
        [{"$array": "f"}, {"$array": "f"}],
        "model[1]: {'$array': 'f'}: the array 'f' is not in the file, or stands there twice",
    ),
    "list": (
        {"$list": {"$array": "2d"}},
        "model: {'$array': '2d'}; expected an array of 1 dimensions",
    ),
    "list of list": ({"$list": [1]}, KINDS),
    "list of times": ({"$list": {"$time": "i", "dtype": "datetime64[s]"}}, KINDS),
    "scalar": (
        {"$scalar": {"$array": "f"}},
        "model: {'$array': 'f'}; expected an array of 0 dimensions",
    ),
    "dtype": ({"$dtype": "f4"}, "model: 'f4'; expected an array of 1 dimensions"),
    "time": ({"$time": "i", "dtype": "datetime64"}, KINDS),
    "time of floats": (
        {"$time": "f", "dtype": "datetime64[us]"},
        ": the array 'f' of float64; expected <i8",
    ),
    "str": ({"$str": "i"}, ": the array 'i' of int64; expected <u4"),
    "str of no width": ({"$str": "u4 empty"}, NO_WIDTH),
    "str of 0 dimensions": ({"$str": "u4 0d"}, NO_WIDTH),
    "surrogate": ({"$str": "u4 surrogate"}, f": model: {NO_CHARACTER}"),
    "beyond unicode": ({"$str": "u4 big"}, f": model: {NO_CHARACTER}"),
    "text": ({"$text": "i", "lengths": "u1"}, ": the array 'i' of int64; expected u1"),
    "lengths": ({"$text": "u1", "lengths": "f"}, ": the array 'f' of float64; expected <i8"),
    "text too short": ({"$text": "u1", "lengths": "1 2"}, LENGTHS),
    "text too long": ({"$text": "u1", "lengths": "2 3"}, LENGTHS),
    "text of 2 dimensions": ({"$text": "u1 2d", "lengths": "2 2"}, LENGTHS),
    "negative length": ({"$text": "u1", "lengths": "-2 4"}, LENGTH),
    "sum that overflows": ({"$text": "u1", "lengths": "huge"}, LENGTH),
    "cut in a character": ({"$text": "u1", "lengths": "2 2"}, ": …"),
    "dict": ({"$dict": [1], "values": []}, ": …"),
    "dict of a value too many": ({"$dict": [1], "values": [2, 3]}, ": …"),
    "dict of a key twice": ({"$dict": [1, True], "values": [1, 2]}, ": a key twice"),
    "key that has no hash": ({"$dict": [[1]], "values": [1]}, ": …"),
    "class": (
        {"$object": "os.system", "arguments": {}, "learned": {}},
        "model: the class 'os.system'; expected one of Dense, Chain, Fussy. "
        "A class of your own must be passed: classes={'os.system': …}",
    ),
    "argument": (
        {"$object": "Dense", "arguments": {"x": 1}, "learned": {}},
        "model: 'x'; expected what a Dense has",
    ),
    "no argument": ({"$object": "Dense", "arguments": {}, "learned": {}}, ": …"),
    "learned": (
        {"$object": "Dense", "arguments": {"inputs": 1}, "learned": {"__class__": 1}},
        "model: '__class__'; expected what a Dense has",
    ),
    "refusal": (
        {"$object": "Fussy", "arguments": {"size": -1}, "learned": {}},
        ": size is negative",
    ),
    "parts": ({"$object": "Chain", "arguments": {"parts": [1]}, "learned": {}}, ": …"),
    "rng": ({"$rng": {}, "entropy": 1, "n_children_spawned": 0, "spawn_key": []}, ": …"),
    "rng of great memory": (
        {"$rng": {}, "entropy": 1, "n_children_spawned": 0, "pool_size": 2**40},
        KINDS,
    ),
    "in a tuple": ({"$tuple": [0, {"$x": 1}]}, "model[1]: {'$x': 1}" + KINDS),
    "in a dict": ({"a" * 50: {"$x": 1}}, f"model.{'a' * 40}: {{'$x': 1}}{KINDS}"),
    "in the keys": ({"$dict": [{"$x": 1}], "values": [0]}, "model.keys[0]: {'$x': 1}" + KINDS),
    "in the values": ({"$dict": [0], "values": [{"$x": 1}]}, "model.values[0]: {'$x': 1}" + KINDS),
    "keys that are no list": ({"$dict": 3, "values": []}, "model.keys: 3; expected a list"),
    "values that are no list": ({"$dict": [], "values": {}}, "model.values: {}; expected a list"),
    "in a list": ({"$list": {"$array": 3}}, "model: {'$array': 3}" + KINDS),
    "in a scalar": ({"$scalar": {"$x": 1}}, "model: {'$x': 1}" + KINDS),
    "in a dtype": ({"$dtype": {"$x": 1}}, "model: {'$x': 1}" + KINDS),
    "in a seed": (
        {"$rng": {}, "entropy": {"$x": 1}, "n_children_spawned": 0, "spawn_key": []},
        "model: {'$x': 1}" + KINDS,
    ),
    "in an argument": (
        {"$object": "Fussy", "arguments": {"size": [{"$x": 1}]}, "learned": {}},
        "model.size[0]: {'$x': 1}" + KINDS,
    ),
    "in what is learned": (
        {"$object": "Dense", "arguments": {"inputs": 1}, "learned": {"W": {"$x": 1}}},
        "model.W: {'$x': 1}" + KINDS,
    ),
    "65 lists": (nested(lambda tree: [tree], 65), deep("[0]")),
    "65 objects of JSON": (nested(lambda tree: {"x": tree}, 65), deep(".x")),
    "65 tuples": (nested(lambda tree: {"$tuple": [tree]}, 65), deep("[0]")),
    "65 dicts": (nested(lambda t: {"$dict": [1], "values": [t]}, 65), deep(".values[0]")),
    "65 objects": (nested(fussy, 65), deep(".size")),
    "65 learned": (
        nested(lambda t: {"$object": "Dense", "arguments": {"inputs": 1}, "learned": {"W": t}}, 65),
        deep(".W"),
    ),
    "65 lists around and in a scalar": (
        nested(lambda tree: [tree], 40, {"$scalar": nested(lambda tree: [tree], 25)}),
        deep("[0]"),
    ),
    "65 lists around and in a seed": (
        nested(
            lambda tree: [tree],
            40,
            {
                "$rng": {},
                "entropy": nested(lambda tree: [tree], 25),
                "n_children_spawned": 0,
                "spawn_key": [],
            },
        ),
        deep("[0]"),
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_tree_that_pack_did_not_write(case):
    tree, words = HOSTILE[case]
    arrays = {
        "f": np.zeros(3), "2d": np.eye(2), "i": np.arange(3),
        "u1": np.frombuffer("é中".encode()[1:], "u1"),
        "u1 2d": np.zeros((2, 2), "u1"), "u4 empty": np.zeros((3, 0), "u4"),
        "u4 0d": np.array(3, "u4"), "u4 surrogate": np.array([[0xDFFF]], "u4"),
        "u4 big": np.array([[0x110000]], "u4"), "1 2": np.array([1, 2]), "2 2": np.array([2, 2]),
        "2 3": np.array([2, 3]), "-2 4": np.array([-2, 4]), "huge": np.array([2**62] * 4 + [4]),
    }  # fmt: skip
    message = words if words.startswith("model") else f"model: {short(tree)}{words}"
    with pytest.raises(FormatError, match=exactly(message)):
        storage.unpack(tree, arrays, CLASSES)


RIGHT = {
    "kind": "csr_array", "shape": [2, 3], "data": np.ones(3), "indices": np.array([0, 2, 1]),
    "indptr": np.array([0, 2, 3]),
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "csc_array"}, {"kind": "random"}, {"shape": [1, 3]}, {"shape": [3, 3]},
        {"shape": [2, 2]}, {"shape": [2, -3]}, {"shape": [2, True]},
        {"data": np.ones(2)}, {"data": np.ones((3, 1))},
        {"indices": np.array([0, 3, 1])}, {"indices": np.array([0, -1, 1])},
        {"indices": np.array([0.0, 2, 1])}, {"indices": np.array([0, 2, 1], "u8")},
        {"indices": np.array([[0, 2, 1]])},
        {"indptr": np.array([1, 2, 3])}, {"indptr": np.array([0, 4, 3])},
        {"indptr": np.array([0, 2, 4])}, {"indptr": np.array([0, 3])},
        {"indptr": np.array([], "i8")}, {"indptr": np.array([], "i8"), "shape": [-1, 3]},
        {"shape": [2, -1], "data": np.ones(0), "indices": np.array([], "i8"),
         "indptr": np.zeros(3, "i8")},
    ],
)  # fmt: skip
def test_csr_matrix_that_is_none(change):
    def unpack(kind, shape, **arrays):
        tree = {"$csr": kind, "shape": shape, **{name: name for name in arrays}}
        return storage.unpack(tree, arrays, {})

    right = unpack(**RIGHT)
    assert same(right.toarray(), np.array([[1.0, 0, 1], [0, 1, 0]]))
    assert same(unpack(**RIGHT | {"indptr": np.array([0, 2, 3], "i4")}).toarray(), right.toarray())
    with pytest.raises(
        FormatError, match=r"\Amodel: \{'\$csr': .*\}: parts that make no CSR matrix\Z"
    ):
        unpack(**RIGHT | change)


@pytest.mark.parametrize(("columns", "words"), [(3.0, KINDS), (2**63, "")])
def test_csr_matrix_of_columns_that_cannot_be(columns, words):
    tree = {"$csr": "csr_array", "shape": [2, columns], **{part: part for part in trees._CSR}}
    arrays = {part: RIGHT[part] for part in trees._CSR}
    with pytest.raises(FormatError, match=rf"\Amodel: \{{'\$csr': .*{words}"):
        storage.unpack(tree, arrays, {})


@pytest.mark.parametrize("kind", [scipy.sparse.csr_array, scipy.sparse.csr_matrix])
@pytest.mark.parametrize(
    "dense", [np.zeros((0, 3)), np.zeros((3, 0)), np.zeros((0, 0)), np.zeros((5, 1)), np.eye(1),
              np.array([[0, 0, 0], [1, 0, 2], [0, 0, 0], [0, 3, 0]], "i4")],
)  # fmt: skip
def test_csr_matrices_of_few(file, kind, dense):
    assert same(through_file(kind(dense), file), kind(dense))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 3), object), np.array(None, object), np.array(["", None, "中"], object),
        np.array(["\U0010ffff", "\ud7ff", "\ue000"]), np.zeros((3, 0), "U2"),
        np.array([["a", "b", "c"], ["d", "e", "f"]], order="F"),
        np.array([["2024", "NaT"], ["1970", "2000"]], "M8[D]").T,
        np.array([["a", None], ["b", ""]], object).T,
    ],
)  # fmt: skip
def test_arrays_of_texts_and_times(file, array):
    assert same(through_file(array, file), array)


def test_texts_and_times_are_not_copied_either():
    for array in np.array(["a", "中文"]), np.array(["2024", "NaT"], "M8[D]"):
        (stored,) = storage.pack(array, {})[1].values()
        assert np.shares_memory(stored, array)


def test_generator_of_a_long_seed(file):
    rng = np.random.default_rng(list(range(257)))
    assert [*storage.pack(rng, {})[1]] == ["model.entropy"]
    assert same(through_file(rng, file), rng)
