"""The benchmark of speed: that it counts, compares and names what is missing; never how fast."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.benchmarks.speed.rows import ROWS, needs, same_lists, same_loss
from tests.benchmarks.speed.table import markdown, seconds

ROOT = Path(__file__).parents[1]


def speed(out: Path, *arguments: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.speed", "--out", out, *arguments],
        cwd=ROOT,
        env=os.environ | {"NNREC_DATA": "not read here"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads((out / "speed.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_one_row_is_measured_and_stored(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n## The table\n\nold\n", encoding="utf-8")
    options = ("--row", "rows", "--batch", "64", "--rounds", "3", "--page", str(page))
    [line] = speed(tmp_path, *options, "--clock", "cpu")["lines"]
    assert line["steps"] == 64 and list(line["contestants"]) == ["nnrec", "bare"]
    for figures in line["contestants"].values():
        assert len(figures["cpu"]["rounds"]) == len(figures["wall"]["rounds"]) == 3
        assert 10 < figures["peak"] < 1000 and figures["versions"]["numpy"]
    ours = line["contestants"]["nnrec"]
    assert ours["wall"]["nnrec / this"] == ours["wall"]["best nnrec / best"] == 1
    assert 0 < ours["outcome"]["loss"] < 1
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Page\n\n## The table\n") and "**nnrec**" in text and "old" not in text
    assert (tmp_path / "speed.png").stat().st_size > 1000


@pytest.mark.slow
def test_a_peer_that_is_not_installed_is_named(tmp_path: Path) -> None:
    lines = speed(tmp_path, "--row", "ranking", "--peers", "implicit", "--rounds", "1")["lines"]
    absent = find_spec("implicit") is None
    assert [line["missing"] for line in lines] == [["implicit"] * absent] * len(lines)
    assert ("not installed" in (tmp_path / "speed.md").read_text(encoding="utf-8")) == absent


def test_who_learns_less_does_not_count() -> None:
    same_loss({"nnrec": {"loss": 0.31}, "jax": {"loss": 0.3}, "bare": {}})
    same_loss({"nnrec": {"loss": 0.3}, "sklearn": {"loss": 0.4}})
    with pytest.raises(AssertionError, match=r"0\.35"):
        same_loss({"nnrec": {"loss": 0.35}, "jax": {"loss": 0.3}, "bare": {}})
    with pytest.raises(AssertionError, match=r"0\.35"):
        same_loss({"nnrec": {"loss": 0.35}, "sklearn": {"loss": 0.3}})
    same_lists({"nnrec": {"sum": 1e5}, "torch": {"sum": 1e5 + 1}, "bare": {}})
    with pytest.raises(AssertionError):
        same_lists({"nnrec": {"sum": 1e5}, "torch": {"sum": 1e5 + 100}})


def test_rows_name_contestants_that_exist() -> None:
    for row in ROWS:
        assert row.ours in row.contestants
        if row.module:
            source = (ROOT / f"tests/benchmarks/speed/{row.module}.py").read_text(encoding="utf-8")
            assert all(f"\ndef {name}(" in source for name in row.contestants), row.name
    assert needs("keras_jax") == ["jax", "keras"] and needs("keras") == ["keras", "tensorflow"]
    assert needs("bare") == needs("nnrec") == []


def test_times_print_in_the_unit_that_suits_them() -> None:
    assert [seconds(t) for t in (0.25, 2.5e-4, 1234.0)] == ["250 ms", "250 µs", "1,234 s"]
    assert markdown([], "cpu") == ""
