"""Writing where the file system fails, is full, forbids or is shared: the old file or the new."""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from nnrec import storage
from nnrec.storage import layout
from tests.messages import exactly
from tests.stored import same

ROOT = Path(storage.__file__).parents[2]


class Failing:
    """Counts the calls of the file system and makes one of them fail, after or before its work."""

    def __init__(self, monkeypatch, at: int, code: int, short_writes: bool = False):
        self.calls: list[str] = []
        for name in ("stat", "open", "chmod", "write", "fsync", "close", "replace"):
            real = getattr(os, name)

            def call(*args, name=name, real=real, **kwargs):
                self.calls.append(name)
                if len(self.calls) == at:
                    if name == "close":
                        real(*args)  # closed it is, whatever close says
                    raise OSError(code, os.strerror(code))
                if name == "write" and short_writes:
                    args = (args[0], args[1][:5])
                return real(*args, **kwargs)

            monkeypatch.setattr(layout.os, name, call)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EINTR, errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("old", [True, False])
def test_file_system_that_fails_at_any_call(tmp_path, monkeypatch, code, old):
    path = tmp_path / "f"
    new = {"a": np.arange(7), "b": np.ones(3, "?")}
    storage.write(path, new, {"x": 1})
    whole = path.read_bytes()
    with monkeypatch.context() as patch:
        calls = Failing(patch, 0, code).calls
        storage.write(path, new, {"x": 1})
    assert {*calls} == {"stat", "open", "chmod", "write", "fsync", "close", "replace"}
    for at in range(1, len(calls) + 1):
        path.unlink()
        if old:
            path.write_bytes(b"old")
        with monkeypatch.context() as patch:
            failing = Failing(patch, at, code)
            if not old and at > len(calls) - 2:
                break  # without an old file there are fewer calls
            with pytest.raises(OSError, match="saving failed: ") as caught:
                storage.write(path, new, {"x": 1})
        assert caught.value.errno == code and caught.value.filename == str(path)
        replaced = "replace" in failing.calls[:-1]
        left = contents(tmp_path)
        assert left == ({"f": whole} if replaced else {"f": b"old"} if old else {}), failing.calls
        path.touch()


def test_writes_that_are_cut_short_go_on(tmp_path, monkeypatch):
    Failing(monkeypatch, 0, 0, short_writes=True)
    arrays = {"a": np.arange(101), "empty": np.zeros((0, 3))}
    storage.write(tmp_path / "f", arrays, {})
    assert same(storage.read(tmp_path / "f")[0], arrays)


FULL_DISK = """
import errno, os, sys
import numpy as np
from nnrec import storage
os.chdir(sys.argv[1])
storage.write("f", {"a": np.arange(101)}, {})
try:
    storage.write("f", {"a": np.arange(100_003)}, {})
except OSError as error:
    assert error.errno == errno.ENOSPC
    print(error)
assert os.listdir() == ["f"]
np.testing.assert_array_equal(storage.read("f")[0]["a"], np.arange(101), strict=True)
"""


def test_full_disk(tmp_path):
    """A tmpfs of 64 KiB, which only a child with a mount namespace of its own sees."""
    refusals = []
    for right in (["--mount"], ["--mount", "--user", "--map-root-user"]):
        mounted = 'mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"'
        there = ["env", "unshare", *right, "sh", "-c", mounted, tmp_path]
        tried = subprocess.run([*there, "true"], capture_output=True, text=True)
        if tried.returncode == 0:
            break
        refusals.append(" ".join(tried.stderr.split()))
    else:
        pytest.skip(
            "needs the right to mount a tmpfs, as root or in a user namespace; found: "
            + "; ".join(refusals)
            + " (test_file_system_that_fails_at_any_call injects ENOSPC at every call)"
        )
    child = [*there, sys.executable, "-c", FULL_DISK, tmp_path]
    done = subprocess.run(child, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search("saving failed: No space left on device: .*f", done.stdout)


def test_directory_that_may_not_be_written():
    old, root = {"a": np.arange(101)}, os.geteuid() == 0
    with tempfile.TemporaryDirectory() as name:  # below a directory that anybody may enter
        path = Path(name) / "f"
        storage.write(path, old, {})
        os.chmod(name, 0o555)
        if root:
            os.seteuid(65_534)  # who may do no more than the modes say
        try:
            for there in (path, Path(name) / "new"):
                with pytest.raises(PermissionError, match="saving failed: Permission denied: .*/"):
                    storage.write(there, {"a": np.arange(7)}, {})
        finally:
            if root:
                os.seteuid(0)
            os.chmod(name, 0o755)
        assert [*contents(Path(name))] == ["f"] and same(storage.read(path)[0], old)


def test_interruption_leaves_no_temporary_file(tmp_path, monkeypatch):
    def interrupt(handle):
        (temporary,) = contents(tmp_path).keys() - {"f"}  # in the same directory
        assert re.fullmatch(r"\.nnrec-[0-9a-f]{16}\.tmp", temporary)
        raise KeyboardInterrupt

    monkeypatch.setattr(layout.os, "fsync", interrupt)
    (tmp_path / "f").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        storage.write(tmp_path / "f", {}, {})
    assert contents(tmp_path) == {"f": b"old"}


def test_file_of_the_temporary_name_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(layout.secrets, "token_hex", lambda size: "3")
    (tmp_path / ".nnrec-3.tmp").write_bytes(b"another's")
    with pytest.raises(FileExistsError, match="saving failed: File exists"):
        storage.write(tmp_path / "f", {}, {})
    assert contents(tmp_path) == {".nnrec-3.tmp": b"another's"}


def test_order_of_calls(tmp_path, monkeypatch):
    calls = Failing(monkeypatch, 0, 0).calls
    storage.write(tmp_path / "f", {"a": np.eye(2)}, {})
    assert calls == (
        ["open", "write", "write", "fsync", "close", "replace", "open", "fsync", "close"]
    )


WRITER = """
import sys
import numpy as np
from nnrec import storage
path, value = sys.argv[1], int(sys.argv[2])
for _ in range(150):
    storage.write(path, {"a": np.full(20_011, value)}, {"value": value})
"""


def test_two_processes_that_save_to_one_path(tmp_path):
    path = tmp_path / "f"
    storage.write(path, {"a": np.full(20_011, 3)}, {"value": 3})
    root = Path(storage.__file__).parents[2]
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, path, str(value)], cwd=root)
        for value in (5, 7)
    ]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        arrays, metadata = storage.read(path)
        assert (arrays["a"] == metadata["value"]).all()
        seen.add(metadata["value"])
    assert [writer.returncode for writer in writers] == [0, 0]
    assert {5, 7} <= seen
    assert list(contents(tmp_path)) == ["f"]


@pytest.mark.parametrize(("mask", "mode"), [(0o027, 0o640), (0o000, 0o666)])
def test_modes(tmp_path, mask, mode):
    mask = os.umask(mask)
    try:
        path = tmp_path / "f"
        storage.write(path, {}, {})
        assert stat.S_IMODE(path.stat().st_mode) == mode
        path.chmod(0o604)
        storage.write(path, {}, {})
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
    finally:
        os.umask(mask)


def test_symbolic_links_stay(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to("there/f")
    for value in (1, 2):  # first to nothing, then to a file
        storage.write(link, {}, {"value": value})
        assert link.is_symlink() and storage.read(tmp_path / "there" / "f")[1] == {"value": value}
    assert [*contents(tmp_path / "there")] == ["f"]
    link.unlink()
    link.symlink_to("link")
    with pytest.raises(OSError, match="saving failed: .*link") as caught:
        storage.write(link, {}, {})
    assert caught.value.errno == errno.ELOOP
    with pytest.raises(OSError, match="reading failed: ") as caught:
        storage.read(link)
    assert caught.value.errno == errno.ELOOP


NOT_REGULAR = {errno.EINVAL: "Not a regular file"}


@pytest.mark.parametrize(
    ("path", "writing", "reading"),
    [
        ("{}", errno.EISDIR, errno.EISDIR), ("{}/", errno.EISDIR, errno.EISDIR),
        (".", errno.EISDIR, errno.EISDIR), ("", errno.EISDIR, errno.ENOENT),
        ("new/", errno.EISDIR, errno.ENOENT), ("sub/f", errno.ENOENT, errno.ENOENT),
        ("f/g", errno.ENOTDIR, errno.ENOTDIR), ("pipe", errno.EINVAL, errno.EINVAL),
        ("/dev/null", errno.EINVAL, errno.EINVAL),
    ],
)  # fmt: skip
def test_paths_that_are_no_files(tmp_path, monkeypatch, path, writing, reading):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").touch()
    os.mkfifo("pipe")
    path = path.format(tmp_path)
    for use, verb, code in (
        (lambda path: storage.write(path, {}, {}), "saving", writing),
        (storage.read, "reading", reading),
        (storage.read_header, "reading", reading),
    ):
        words = f"{verb} failed: {NOT_REGULAR.get(code) or os.strerror(code)}"
        with pytest.raises(OSError, match=exactly(f"[Errno {code}] {words}: {path!r}")):
            use(path)
    assert {path.name for path in tmp_path.iterdir()} == {"f", "pipe"}
