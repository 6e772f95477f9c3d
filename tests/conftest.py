"""What every test can rely on: the data folder, a clean interpreter, the hypothesis profile, and
what is left out of a run, with its number in the summary."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import hypothesis
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = Path(find_spec("nnrec").submodule_search_locations[0])  # the nnrec under test
DATA = os.environ.get("NNREC_DATA")
LEFT_OUT = pytest.StashKey[list[str]]()
collect_ignore = ["benchmarks"]  # programs of minutes; they import one another and read NNREC_DATA
pytest.register_assert_rewrite("tests.specimens")

# Times are not what is tested, and a CI run can be repeated.
hypothesis.settings.register_profile(
    "nnrec", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True
)
hypothesis.settings.load_profile("nnrec")


@pytest.hookimpl(trylast=True)  # after -m and -k: only what would have run is counted
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the marked tests whose folder or libraries nobody has asked for."""
    how = {}
    if not DATA:
        how["data"] = "set NNREC_DATA to the folder of the data sets"
    if "oracle" not in config.option.markexpr:
        how["oracle"] = "pip install '.[oracles]' and pytest -m oracle"
    if "long" not in config.option.markexpr:
        how["long"] = "pytest -m long"
    lines = config.stash.setdefault(LEFT_OUT, [])
    for mark, hint in how.items():
        out = [item for item in items if item.get_closest_marker(mark)]
        if out:
            lines.append(f"{len(out)} {mark} tests deselected; to run them: {hint}")
            config.hook.pytest_deselected(items=out)
            items[:] = [item for item in items if not item.get_closest_marker(mark)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in terminalreporter.config.stash.get(LEFT_OUT, []):
        terminalreporter.write_line(line)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if DATA and item.get_closest_marker("data") and not Path(DATA).is_dir():
        pytest.fail(f"NNREC_DATA={DATA} is no folder", pytrace=False)


@pytest.fixture
def nnrec_data(request: pytest.FixtureRequest) -> Path:
    """The folder NNREC_DATA, for tests marked `data`; a file missing below it is a failure."""
    assert request.node.get_closest_marker("data"), "a test that reads data is marked `data`"
    return Path(DATA)


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., str]:
    """`python(*args)` runs a fresh interpreter, on the nnrec under test, in an empty folder.

    Warnings are errors there too. Returns what was printed; failing fails the test.
    """

    def run(*args: object) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", *map(str, args)],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(PACKAGE.parent), "MPLBACKEND": "Agg"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def one_line(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """`one_line()` is what a refused command has said: one line on stderr, nothing on stdout."""

    def said() -> str:
        out, err = capsys.readouterr()
        assert not out and err.count("\n") == 1
        return err

    return said


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A path for a file that the tests of a module write again and again."""
    return tmp_path_factory.mktemp("files") / "a file 中.safetensors"


@pytest.fixture(scope="module")
def strict_arithmetic() -> Iterator[None]:
    """Overflow, division by zero and invalid operations raise, in every test of a module."""
    with np.errstate(all="raise", under="ignore"):
        yield
