"""Bytes: named arrays and JSON in one file of the safetensors layout, read without trust.

Eight bytes hold the length of a JSON header, which says of each array its dtype, shape and place;
then come the arrays, raw, little-endian and in C order, without gaps. The official reader reads
these files; a file of nnrec is told by its header's `__metadata__`. docs/file-format.md says all.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import secrets
import stat
from collections.abc import Iterable, Mapping
from itertools import accumulate
from reprlib import repr as short
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
JSON: TypeAlias = Any  # None, bool, int, finite float, str, list of JSON, dict of str to JSON
Path: TypeAlias = str | os.PathLike[str]

VERSION = "1"
DEPTH = 256  # levels of JSON
MARGIN = 16 * 2**20  # what reading may take beyond three times the file's size

DTYPES = {"BOOL": np.dtype("?"), "F16": np.dtype("<f2"), "F32": np.dtype("<f4")}
DTYPES |= {"F64": np.dtype("<f8"), "I8": np.dtype("i1"), "I16": np.dtype("<i2")}
DTYPES |= {"I32": np.dtype("<i4"), "I64": np.dtype("<i8"), "U8": np.dtype("u1")}
DTYPES |= {"U16": np.dtype("<u2"), "U32": np.dtype("<u4"), "U64": np.dtype("<u8")}
CODES = {dtype: code for code, dtype in DTYPES.items()}
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKET = re.compile(r"[][{}]")
# Every escape of JSON; group 1 is found where it is one half of a surrogate pair alone.
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F])|.)", re.DOTALL)


class FormatError(ValueError):
    """A file that breaks the format; says where, what was found and what was expected.

    >>> issubclass(FormatError, ValueError)
    True
    """


class Entry(NamedTuple):
    """What a header says of one array: dtype, shape, and where in the data it begins and ends."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


def write(path: Path, arrays: Mapping[str, Array], metadata: Mapping[str, JSON]) -> None:
    """Write named arrays and JSON to one file: the whole file, on the disk, or an error.

    The bytes go to a new file in the same directory, which then takes the place of the old one:
    whatever fails, the old file or the new one is whole. Of a symbolic link the target is replaced.
    A new file gets the usual mode, a replaced one keeps its own. Equal input gives equal bytes.
    TypeError or ValueError: what the format can't hold, by name, before anything is written;
    OSError: the file system's reason, with the path.

    >>> import tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "two.safetensors")
    >>> write(path, {"W": np.eye(2), "b": np.zeros(2, "f4")}, {"epochs": 10})
    >>> arrays, metadata = read(path)
    >>> arrays["b"], metadata
    (array([0., 0.], dtype=float32), {'epochs': 10})
    """
    file = os.fsdecode(path)
    header, data = _encode(file, arrays, dict(metadata))
    try:
        if file.endswith(("/", os.sep)):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        _replace(os.path.realpath(file), [header, *(_bytes(array) for array in data)])
    except OSError as error:
        raise OSError(error.errno, f"saving failed: {error.strerror}", file) from error


def _encode(
    file: str, arrays: Mapping[str, Array], metadata: dict[str, JSON]
) -> tuple[memoryview, list[Array]]:
    """The file's first bytes, and the arrays in their order there, little-endian."""
    for name, array in arrays.items():
        if not isinstance(name, str) or name == "__metadata__":
            raise ValueError(f"array {name!r}: expected a name other than '__metadata__'")
        if type(array) not in (np.ndarray, np.memmap) or little(array.dtype) not in CODES:
            found = getattr(array, "dtype", type(array).__name__)
            raise TypeError(f"array {name!r}: {found}; expected an array of {', '.join(DTYPES)}")
    _check_json(metadata, "metadata")
    texts = {"format": "nnrec", "version": VERSION, "json": _dumps(metadata)}
    header: dict[str, JSON] = {"__metadata__": texts}
    data, end = [], 0
    # Wide dtypes first, as the official writer does: all are aligned, without gaps.
    for name, array in sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0])):
        begin, end = end, end + array.nbytes
        dtype = little(array.dtype)
        offsets = [begin, end]
        header[name] = {"dtype": CODES[dtype], "shape": [*array.shape], "data_offsets": offsets}
        data.append(array.astype(dtype, copy=False))
    raw = utf8(_dumps(dict(sorted(header.items()))), "the names and the metadata")
    raw += b" " * (-len(raw) % 8)
    _decode(raw, 8 + len(raw) + end, file)  # what would not be read is not written
    return memoryview(len(raw).to_bytes(8, "little") + raw), data


def _dumps(value: JSON) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def little(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The same dtype in a file's byte order."""
    return dtype.newbyteorder("<") if dtype.kind in "biufmMU" else dtype  # StringDType refuses


def utf8(text: str, where: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{where}: {error}; expected text that UTF-8 can spell") from None


def _bytes(array: Array) -> memoryview:
    return array.ravel().view(np.uint8).data


def _check_json(value: JSON, path: str, depth: int = 0) -> None:
    """Refuse what Python's writer would change in silence: tuples, keys that are no str, NaN."""
    if depth > DEPTH:
        raise ValueError(f"{path[:80]}…: more than {DEPTH} levels; does it hold itself?")
    if isinstance(value, dict):
        for key, part in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{path}: the key {key!r}; expected a str")
            _check_json(part, f"{path}[{key!r}]", depth + 1)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            _check_json(part, f"{path}[{index}]", depth + 1)
    elif value is not None and not isinstance(value, (bool, int, float, str)):
        raise TypeError(f"{path}: {type(value).__name__}; expected a value of JSON")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{path}: {value}; expected a finite number")


def _replace(target: str, chunks: Iterable[memoryview]) -> None:
    """Put a file of these bytes at `target` durably, or leave what is there."""
    mode = stat.S_IMODE(_regular(target).st_mode) if os.path.lexists(target) else None
    folder = os.path.dirname(target)
    temporary = os.path.join(folder, f".nnrec-{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    handle = os.open(temporary, flags, 0o666)
    try:
        try:
            if mode is not None:
                os.chmod(temporary, mode)
            for chunk in chunks:
                while chunk:
                    chunk = chunk[os.write(handle, chunk) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(temporary, target)
    except BaseException:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise
    if os.name == "posix":  # elsewhere a directory can't be opened
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _regular(path: str) -> os.stat_result:
    found = os.stat(path)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):  # to open a pipe would be to wait for its other end
        raise OSError(errno.EINVAL, "Not a regular file")
    return found


def read(path: Path) -> tuple[dict[str, Array], dict[str, JSON]]:
    """The arrays and the metadata of a file of `write`, or of another writer of safetensors.

    The header is checked whole before anything is allocated for an array; reading takes at most
    three times the file's size and 16 MiB. The arrays own their memory and are writable. Another
    writer's metadata comes as it stands, a dict of str to str. FormatError: anything wrong.

    >>> read(__file__)
    Traceback (most recent call last):
    nnrec.storage.layout.FormatError: ...: byte 0: a header of ... bytes in a file of ...
    """
    file = os.fsdecode(path)
    with _open(file) as source:
        entries, metadata, start = _read_header(source, file)
        arrays = {}
        for name, entry in entries.items():
            array = arrays[name] = np.empty(entry.shape, entry.dtype)
            source.seek(start + entry.begin)
            if source.readinto(_bytes(array)) != array.nbytes:  # type: ignore[attr-defined]
                raise FormatError(f"{file}: array {short(name)}: the file became shorter meanwhile")
            if entry.dtype == bool and array.view(np.uint8).max(initial=0) > 1:
                raise FormatError(f"{file}: array {short(name)}: BOOL other than 0 and 1")
    return arrays, metadata


def read_header(path: Path) -> tuple[dict[str, Entry], dict[str, JSON]]:
    """What `read` returns, with an `Entry` in place of each array: no array is read.

    >>> import tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "one.safetensors")
    >>> write(path, {"W": np.eye(2)}, {})
    >>> read_header(path)
    ({'W': Entry(dtype=dtype('float64'), shape=(2, 2), begin=0, end=32)}, {})
    """
    file = os.fsdecode(path)
    with _open(file) as source:
        return _read_header(source, file)[:2]


def _open(file: str) -> BinaryIO:
    try:
        _regular(file)
        return open(file, "rb")
    except OSError as error:
        raise OSError(error.errno, f"reading failed: {error.strerror}", file) from error


def _read_header(source: BinaryIO, file: str) -> tuple[dict[str, Entry], dict[str, JSON], int]:
    size = os.fstat(source.fileno()).st_size
    length = int.from_bytes(source.read(8), "little")
    if size < 8 or length > size - 8:
        raise FormatError(f"{file}: byte 0: a header of {length} bytes in a file of {size} bytes")
    return (*_decode(source.read(length), size, file), 8 + length)


def _decode(raw: bytes, size: int, file: str) -> tuple[dict[str, Entry], dict[str, JSON]]:
    """Read the header of a file of `size` bytes and check all that can be known from it."""
    start = 8 + len(raw)
    # The arrays will take what they take in the file; 1 MiB is for the rest of reading.
    room = 3 * size + MARGIN - 2**20 - (size - start)
    if _copies(raw) * len(raw) > room:
        raise FormatError(f"{file}: byte 0: a header of {len(raw)} bytes; expected a shorter one")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"{file}: byte {8 + error.start}: expected UTF-8") from None
    if not text.startswith("{"):
        raise FormatError(f"{file}: byte 8: {short(text[:1])}; expected '{{'")
    header, room = _parse(text, f"{file}: header", room)
    texts = header.pop("__metadata__", {})
    entries = {name: _entry(name, spec, file) for name, spec in header.items()}
    at = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1][2:]):
        if entry.begin != at:
            where = f"{file}: header key {short(name)}"
            raise FormatError(f"{where}: its data begins at {entry.begin}; expected {at}")
        at = entry.end
    if at != size - start:
        found = f"{size - start} bytes of data; expected {short(at)} as the header says"
        raise FormatError(f"{file}: byte {start}: {found}")
    return entries, _metadata(texts, f"{file}: header key '__metadata__'", room)


def _entry(name: str, spec: JSON, file: str) -> Entry:
    where = f"{file}: header key {short(name)}"
    if CONTROL.search(name):
        raise FormatError(f"{where}: a control character; expected a name without")
    match spec:
        case {"dtype": str(code), "shape": [*dims], "data_offsets": [begin, end]} if len(spec) == 3:
            numbers = [*dims, begin, end]
        case _:
            raise FormatError(f"{where}: {short(spec)}; expected dtype, shape, data_offsets")
    if any(type(number) is not int or number < 0 for number in numbers):
        raise FormatError(f"{where}: {short(spec)}; expected whole numbers, none negative")
    if code not in DTYPES:
        raise FormatError(f"{where}: dtype {short(code)}; expected one of {', '.join(DTYPES)}")
    width = DTYPES[code].itemsize
    # NumPy multiplies the dimensions that are not zero, even where one is.
    if len(dims) > 64 or math.prod(dim for dim in dims if dim) * width >= 2**63:
        raise FormatError(f"{where}: shape {short(dims)}; expected one that an array can have")
    if (expected := math.prod(dims) * width) != end - begin:
        found = f"data_offsets {short([begin, end])}; expected {expected} bytes"
        raise FormatError(f"{where}: {found} for {code} of shape {short(dims)}")
    return Entry(DTYPES[code], tuple(dims), begin, end)


def _metadata(texts: JSON, where: str, room: int) -> dict[str, JSON]:
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise FormatError(f"{where}: {short(texts)}; expected strings by name")
    if texts.get("format") != "nnrec":
        return texts
    if texts.get("version") != VERSION:
        found = short(texts.get("version"))
        raise FormatError(f"{where}: version {found}; expected {VERSION!r}, or a newer nnrec")
    if sorted(texts) != ["format", "json", "version"]:
        raise FormatError(f"{where}: {short([*texts])}; expected format, version, json")
    metadata, _ = _parse(texts["json"], f"{where}, 'json'", room)
    if not isinstance(metadata, dict):
        raise FormatError(f"{where}, 'json': {short(metadata)}; expected an object")
    return metadata


def _parse(text: str, where: str, room: int) -> tuple[JSON, int]:
    """The value of a JSON text that takes at most `room` bytes of memory; and the room it leaves.

    Python's parser alone takes keys twice, NaN, 1e999 as infinity, half a surrogate pair, 30 bytes
    of memory for one of `[[],[],…`, and the whole stack for `[[[[…`.
    """
    bare = _STRING.sub("", text)
    room -= 160 * (bare.count("{") + bare.count(":")) + 64 * bare.count("[")
    room -= 72 * bare.count(",") + _copies(text) * len(text)
    if room < 0:
        raise FormatError(f"{where}: so much JSON; expected less for the size of the file")
    steps = (1 if mark in "[{" else -1 for mark in _BRACKET.findall(bare))
    if max(accumulate(steps, initial=0)) > DEPTH:
        raise FormatError(f"{where}: nested too deeply; expected at most {DEPTH} levels")
    del bare
    try:
        if any(escape[1] for escape in _ESCAPE.finditer(text)):
            raise ValueError("half a surrogate pair")
        return _DECODER.decode(text), room
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where}: {error}; expected JSON") from None


def _copies(text: str | bytes) -> int:
    """Bytes of memory for a byte of text: where one is not ASCII, Python may take four for all."""
    return 4 if text.isascii() else 9


def _object(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    found: dict[str, JSON] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {short(key)} twice")
        found[key] = value
    return found


def _float(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{short(text)} is no finite number")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_float)
