"""Damaged files: always one FormatError that says where, or exactly what the bytes say.

A seeded mutator that knows the format changes valid files. The tests run some thousands; the whole
count, in children under a limit of memory and time, is run by

    python tests/test_storage_fuzz.py --count 1000000
"""

from __future__ import annotations

import argparse
import ast
import collections
import contextlib
import json
import multiprocessing
import os
import random
import re
import resource
import signal
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from nnrec import storage
from nnrec.storage import FormatError, layout, trees

SEED = 20_240_229
NUMBERS = [
    0,
    1,
    2,
    3,
    7,
    8,
    9,
    -1,
    -8,
    63,
    64,
    2**31,
    2**32 - 1,
    2**53,
    2**62,
    2**63,
    2**64,
    10**40,
]
VALUES = [
    "true", "null", "1.0", "-0.0", "[]", "{}", '"é"', '"\\ud83d\\ude00"', '"\\u0000"',
    '{"$float":"nan"}', '{"$array":"model.W"}', '{"$tuple":3}', '{"$eval":"1"}',
    '{"$tuple":[1,{"$bytes":"00"}]}', '{"$dict":[[1],2],"values":[3,4]}',
    '{"$dict":[1,1.0],"values":[3,4]}', '{"$object":"system","arguments":{},"learned":{}}',
    "[" * 300 + "]" * 300, "[" * 66 + "]" * 66, '{"a":' * 70 + "1" + "}" * 70,
]  # fmt: skip
WRONG = [
    "1e999", "NaN", "Infinity", "9" * 5000, '"', '"\\ud800"', '"\\udc00\\ud800"', "\\", "\x00",
    '{"a":1,"a":2}', "[" * 100_000, "[" + "[]," * 250_000 + "1]", " ", "\n", "x", ",", "[", "}",
]  # fmt: skip


class Layer:
    learned = ("W", "ids")

    def __init__(self, inputs, *sizes, rate=0.5, **parts):
        if inputs == 3:
            self.W = np.zeros((3, 2))
        self.inputs, self.sizes, self.rate, self.parts = inputs, sizes, rate, parts


CLASSES = {"Layer": Layer}


def seeds(folder: Path) -> list[bytes]:
    """Valid files: all kinds of values, arrays alone, another writer's, and an empty one."""
    layer = Layer(3, 2, 5, rate=float("inf"), user=Layer(7), item=None)
    layer.W = np.arange(6.0).reshape(3, 2)
    layer.ids = {"u1": 0, 2: 1, None: 2, b"x": 3, (1, "a"): 4}
    values = [
        np.array([True, False]), np.array(["a", "中文"]), np.array(["é", None, "", "bc"], object),
        np.array(["2024-02-29", "NaT"], "M8[us]"), np.float32(0.5), np.dtype("i4"), ["中"] * 257,
        scipy.sparse.csr_array(np.array([[0, 1.5, 0], [2, 0, 3]])), np.random.default_rng(3),
        scipy.sparse.csr_matrix((5, 2), dtype="f4"), list(range(257)),
    ]  # fmt: skip
    tree, packed = storage.pack({"layer": layer, "values": values}, CLASSES)
    plain = {
        "W": np.ones((3, 5), "f4"), "b": np.zeros(5, "f2"), "n": np.array(7),
        "none": np.zeros((0, 3)), "flags": np.ones(3, "?"), "bytes": np.arange(11, dtype="u1"),
    }  # fmt: skip
    files = []
    for arrays, metadata in (packed, {"tree": tree}), (plain, {"a": [1, 2.5, "中"]}), ({}, {}):
        storage.write(folder / "seed", arrays, metadata)
        files.append((folder / "seed").read_bytes())
    header = (
        b'{"x":{"dtype":"I16","shape":[2,2],"data_offsets":[3,11]},"__metadata__":{"format":"np"}'
    )
    header += b',"y":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}}   '
    return [*files, len(header).to_bytes(8, "little") + header + b"\0\1\0" + b"\1" * 8]


# The mutator: JSON is changed as text between its tokens, so that nothing is repaired on the way.

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null|[][{}:,]|\s+')
VALUE = re.compile(r'("(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null)(?!:)')
INNERMOST = re.compile(r"\[[^][{}]*\]|\{[^][{}]*\}")


def change_json(rng: random.Random, text: str) -> str:
    """JSON with one value or token replaced, repeated, dropped or exchanged with another."""
    spans = [m.span() for m in rng.choice([TOKEN] + [VALUE, INNERMOST] * 4).finditer(text)]
    (a, b), (c, d) = sorted(rng.choices(spans or [(0, len(text))], k=2))
    one, other = text[a:b], text[c:d]
    match rng.randrange(9):
        case 0 | 1:
            one = str(rng.choice(NUMBERS))
        case 2 | 3:
            one = rng.choice(VALUES)
        case 4 if re.fullmatch("-?[0-9]{1,40}", one):
            one = str(int(one) + rng.choice([-8, -1, 1, 8]))
        case 5:
            one = rng.choice([*WRONG, "", one * 2] + [one + "," + one] * 40)
        case _ if b <= c:
            return text[:a] + other + text[b:c] + one + text[d:]
    return text[:a] + one + text[b:]


ENTRY = re.compile(
    r'"([^"]*)":\{"dtype":"(\w+)","shape":\[([\d,]*)\],"data_offsets":\[(\d{1,40}),(\d{1,40})\]\},?'
)


def change_entry(rng: random.Random, text: str) -> str:
    """A header with one entry twice, away, or with another name, dtype, shape, place or field."""
    entries = [*ENTRY.finditer(text)]
    if not entries:
        return change_metadata(rng, text)
    entry = rng.choice(entries)
    name, dtype, shape, begin, end = entry[1], entry[2], entry[3], int(entry[4]), int(entry[5])
    number = rng.choice(NUMBERS)
    step = rng.choice([1, 8, end - begin, number])
    more = ""
    match rng.randrange(9):
        case 0:
            return text[: entry.start()] + text[entry.end() :]
        case 1:
            return text[: entry.start()] + entry[0].removesuffix(",") + "," + text[entry.start() :]
        case 2:
            dtype = rng.choice(["F32", "F99", "BF16", "BOOL", "U32", "I64", "U8"])
        case 3:
            shape = f"{shape},{number}".removeprefix(",")
        case 4:
            huge = f"{2 ** rng.randrange(70)},{2 ** rng.randrange(70)}"
            shape = rng.choice([f"0,{number}", huge, f"{2**62},4,0"])
        case 5:
            shape = ",".join(["1"] * rng.choice([1, 64, 65, 1000]))
        case 6:
            places = [(begin + step, end + step), (begin, end + step), (end, begin)]
            begin, end = rng.choice([*places, (0, end - begin)])
        case 7:
            name = rng.choice([r"\u0000", r"\n", r"\ud800", "x", "中"]) + name
        case 8:
            more = ',"more":1'
    fields = f'"dtype":"{dtype}","shape":[{shape}],"data_offsets":[{begin},{end}]{more}'
    comma = "," if entry[0].endswith(",") else ""
    return text[: entry.start()] + f'"{name}":{{{fields}}}{comma}' + text[entry.end() :]


FIXED = re.compile('"(nnrec|1|format|version|json|__metadata__)"')


def change_metadata(rng: random.Random, text: str) -> str:
    """A header whose JSON in a string is changed, or a word of what stands around it."""
    match = re.search(r'"json":("(?:[^"\\]|\\.)*")', text)
    fixed = [found.span() for found in FIXED.finditer(text)] or [(0, 1)]
    if not match or rng.random() < 0.1:
        a, b = rng.choice(fixed)
        words = ['"x"', '"2"', '"json"', '"format"', rng.choice(VALUES)][
            : 4 + (text[b : b + 1] != ":")
        ]
        return text[:a] + rng.choice(words) + text[b:]
    try:
        inner = json.loads(match[1])
    except ValueError:
        return change_json(rng, text)
    for _ in range(rng.choice([1, 1, 2])):
        inner = change_json(rng, inner)
    changed = json.dumps(inner, ensure_ascii=rng.random() < 0.1)
    return text[: match.start(1)] + changed + text[match.end() :]


def change_bytes(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    match rng.randrange(6):
        case 0:
            return data[:at]
        case 1:
            return data + bytes(rng.randrange(1, 17))
        case 2:
            return data[:at] + rng.randbytes(rng.randrange(1, 9)) + data[at:]
        case 3:
            return data[:at] + data[at + rng.randrange(1, 9) :]
        case 4:
            return data[:at] + rng.randbytes(1) + data[at + 1 :]
        case _:
            value = rng.choice([0, 1, 255, 127, 128])
            return data[: at & ~7] + bytes([value] * 8) + data[(at & ~7) + 8 :]


def mutant(rng: random.Random, files: list[bytes]) -> bytes:
    """A valid file with one to three changes."""
    data = rng.choice([files[0], *files])
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if len(data) > 50_000:
            break
        start = 8 + int.from_bytes(data[:8], "little")
        kind = rng.randrange(16)
        if kind == 0 or len(data) < 8:
            data = change_bytes(rng, data)
        elif kind == 1 and len(data) > start:  # in the arrays
            at = rng.randrange(start, len(data))
            data = data[:at] + change_bytes(rng, data[at:])[: len(data) - at].ljust(len(data) - at)
        elif kind == 2:
            length = rng.choice([start - 8 + rng.randrange(-9, 9), *NUMBERS, 2**64 - 1])
            data = (length % 2**64).to_bytes(8, "little") + data[8:]
        else:
            try:
                text = data[8:start].decode()
            except UnicodeDecodeError:
                continue
            change = change_json if kind == 3 else change_entry if kind < 8 else change_metadata
            header = change(rng, text).encode(errors="surrogatepass")
            if rng.random() < 0.02:
                header = header[:-1] + b"\xff}"
            data = len(header).to_bytes(8, "little") + header + data[start:]
    return data


def check(path: Path, data: bytes) -> Exception | None:
    """The FormatError of a file of these bytes, or None where it was read, and rightly."""
    path.unlink(missing_ok=True)  # to cut a file short can take long
    path.write_bytes(data)
    try:
        arrays, metadata = storage.read(path)
    except FormatError as error:
        assert re.match(r".*?: (byte \d+|header|header key .*|array .*): ", str(error), re.DOTALL)
        assert str(error).startswith(str(path)) and len(str(error)) < 1000
        return error
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    texts = header.pop("__metadata__", {})
    assert metadata == (json.loads(texts["json"]) if texts.get("format") == "nnrec" else texts)
    assert list(arrays) == list(header)
    for name, array in arrays.items():
        begin, end = (8 + length + offset for offset in header[name]["data_offsets"])
        assert array.tobytes() == data[begin:end] and array.flags.owndata and array.flags.writeable
        assert layout.DTYPES[header[name]["dtype"]] == array.dtype
        assert header[name]["shape"] == list(array.shape)
    entries, header_metadata = storage.read_header(path)
    assert {k: e.shape for k, e in entries.items()} == {k: a.shape for k, a in arrays.items()}
    assert header_metadata == metadata
    if "tree" not in metadata:
        return None
    try:
        obj = storage.unpack(metadata["tree"], arrays, CLASSES)
    except FormatError as error:
        assert str(error).startswith("model") and len(str(error)) < 5000
        assert not isinstance(error.__cause__, (MemoryError, RecursionError, SystemError))
        return error
    tree, packed = storage.pack(obj, CLASSES)  # whatever is accepted can be written again
    storage.write(path, packed, {"tree": tree})
    return None


def places(error: BaseException | None) -> list[tuple[str, int]]:
    """File and line of the statements that raised the error and its causes."""
    found = []
    while error is not None:
        trace = error.__traceback__
        while trace.tb_next:
            trace = trace.tb_next
        found.append((Path(trace.tb_frame.f_code.co_filename).name, trace.tb_lineno))
        error = error.__cause__
    return found or [("accepted", 0)]


def fuzz(
    path: Path, files: list[bytes], numbers: range, limit=contextlib.nullcontext
) -> collections.Counter[tuple[str, int]]:
    """Check the mutants of these numbers within limits; count where they ended."""
    ends: collections.Counter[tuple[str, int]] = collections.Counter()
    for number in numbers:
        data = mutant(random.Random(f"{SEED} {number}"), files)
        try:
            with limit(len(data)):
                error = check(path, data)
        except BaseException:
            print(f"mutant {number}: {data[:3000]!r}", file=sys.stderr)
            raise
        ends.update(places(error))
    return ends


def raises() -> set[tuple[str, int]]:
    """File and line of every error of the reader that a file of a mutant can reach."""
    found = set()
    for module in layout, trees:
        source = Path(module.__file__).read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Raise) and "FormatError" in ast.dump(node):
                if not re.search("meanwhile|a shorter one", ast.dump(node)):
                    found.add((Path(module.__file__).name, node.lineno))
    return found


def test_mutants(tmp_path):
    ends = fuzz(tmp_path / "f", seeds(tmp_path), range(601))
    assert ends["accepted", 0] > 20 and len(ends) > 20


@pytest.mark.slow
def test_more_mutants_reach_every_error_of_the_reader(tmp_path):
    ends = fuzz(tmp_path / "f", seeds(tmp_path), range(10_007))
    assert not raises() - {*ends}


def test_every_truncation_and_every_bit_of_a_small_file(tmp_path):
    path = tmp_path / "f"
    storage.write(path, {"a": np.arange(3, dtype="u1"), "b": np.ones(1, "?")}, {"x": 1})
    whole = path.read_bytes()
    for n in range(len(whole)):
        assert check(path, whole[:n]), n
    assert check(path, whole + b"\0")
    for n in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[n // 8] ^= 1 << n % 8
        check(path, bytes(flipped))


@contextlib.contextmanager
def limits(size: int):
    """Three times the file and 16 MiB of memory beyond what is there now; and ten seconds."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    memory = pages * resource.getpagesize() + 3 * size + layout.MARGIN
    resource.setrlimit(resource.RLIMIT_AS, (memory, resource.RLIM_INFINITY))
    signal.alarm(10)  # ends the process
    yield
    signal.alarm(0)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def child(task: tuple[Path, list[bytes], range]) -> collections.Counter[tuple[str, int]]:
    folder, files, numbers = task
    return fuzz(folder / str(os.getpid()), files, numbers, limits)


def main() -> None:
    parser = argparse.ArgumentParser(description="Read many damaged files.")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--dir", help="where the files are written; best in memory")
    arguments = parser.parse_args()
    count, first = arguments.count, arguments.first
    ends: collections.Counter[tuple[str, int]] = collections.Counter()
    with tempfile.TemporaryDirectory(dir=arguments.dir) as name:
        folder, step = Path(name), 5000
        files = seeds(folder)
        tasks = [
            (folder, files, range(at, min(at + step, first + count)))
            for at in range(first, first + count, step)
        ]
        with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
            for number, found in enumerate(pool.map(child, tasks), 1):
                ends.update(found)
                print(f"\r{number * step} of {count}", end="", file=sys.stderr, flush=True)
    print(f"\n{count} files, {ends['accepted', 0]} of them read as what they say; errors:")
    for (file, line), times in sorted(ends.items()):
        print(f"{times:9} {file}:{line}")
    print("never raised:", sorted(raises() - {*ends}) or "none")


if __name__ == "__main__":
    main()
