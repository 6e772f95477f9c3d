"""The command line: `nnrec check`, and how it answers wrong usage."""

from __future__ import annotations

import subprocess
import sys

import pytest

import nnrec
from nnrec.cli import main
from nnrec.teach import MISTAKES, SPECIMENS, breaches, planting, specimens


@pytest.mark.slow
def test_check_prints_every_gradient_and_every_mistake(python) -> None:
    printed = python("-m", "nnrec", "check", "--seed", "3")
    lines = printed.splitlines()
    assert all(any(line.startswith(name) for line in lines) for name in [*SPECIMENS, *MISTAKES])
    assert lines[-1].startswith("All well: ")
    assert f"{len(MISTAKES)} of {len(MISTAKES)} mistakes rejected" in lines[-1]
    assert max(map(len, lines)) <= 100
    assert printed.isascii(), "no colours, and nothing that a terminal may lack"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two specimens and two mistakes."""
    for catalogue, kept in ((SPECIMENS, ("Dense", "MSE")), (MISTAKES, ("bias-averaged",))):
        for name in [name for name in catalogue if name not in kept]:
            monkeypatch.delitem(catalogue, name)


@pytest.mark.usefixtures("few")
def test_all_well_is_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    out = capsys.readouterr().out
    assert "All well: 8 of 8 checks of 2 gradients passed; 1 of 1 mistakes rejected" in out


@pytest.mark.usefixtures("few")
def test_a_wrong_gradient_is_1_and_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = MISTAKES["bias-averaged"]
    right = SPECIMENS["Dense"]
    bad = specimens.Specimen(
        "layer", "Dense", lambda *a: (wrong.plant(right.draw(*a)[0]), right.draw(*a)[1]), False
    )
    monkeypatch.setitem(SPECIMENS, "Dense", bad)
    assert main(["check"]) == 1
    out = capsys.readouterr().out
    assert out.count("WRONG") >= 3 + 3 and "worst: b[" in out  # in the table, and below
    assert "FAILED: 4 of 7 checks of 2 gradients passed" in out


@pytest.mark.usefixtures("few")
def test_an_accepted_mistake_is_1_and_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    harmless = planting.Mistake(
        "harmless",
        "Nothing",
        "Nothing is wrong.",
        {nnrec.Dense: lambda call: call.forward()},
        contract=True,
        suits=breaches.has_parameters,
    )
    monkeypatch.setitem(MISTAKES, "harmless", harmless)
    assert main(["check"]) == 1
    out = capsys.readouterr().out
    assert "ACCEPTED: Dense" in out and "FAILED: 8 of 8" in out and "1 of 2 mistakes" in out


def test_a_mistake_that_shows_nowhere_is_1(
    few: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = planting.Mistake("nowhere", "Nothing", "Nothing is wrong.", {})
    monkeypatch.setitem(MISTAKES, "nowhere", nowhere)
    assert main(["check"]) == 1
    assert "shows nowhere" in capsys.readouterr().out


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for argv, expected in (
        (["--version"], f"nnrec {nnrec.__version__}\n"),
        (["--help"], "check"),
        (["check", "--help"], "--seed N"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(argv)
        assert stopped.value.code == 0
        assert expected in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["chekc"], "chekc"),
        ([], "COMMAND"),
        (["check", "--seed", "x"], "'x'"),
        (["check", "--seed", "-1"], "-1"),
        (["check", "--speed", "1"], "--speed"),
    ],
)
def test_wrong_usage_is_one_line_and_2(argv: list[str], named: str, one_line) -> None:
    with pytest.raises(SystemExit, match="^2$"):
        main(argv)
    assert named in one_line()


def test_a_reader_that_leaves_early_gets_no_traceback() -> None:
    command = f"{sys.executable} -m nnrec check --seed 1 | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert done.stdout.count("\n") == 1 and not done.stderr
