"""The command line: `nnrec exercise`."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnrec.cli import main
from nnrec.teach import exercise
from nnrec.teach.kinds import KINDS


def test_sheets_and_keys_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "sheets"
    command = ["exercise", "update", "--seeds", "9-11", "--difficulty", "2", "--out", str(out)]
    assert main([*command, "--format", "markdown"]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        f"update-{seed:02}{part}.md" for seed in (9, 10, 11) for part in ("-key", "")
    ]
    assert "3 sheets" in capsys.readouterr().out
    sheet = exercise("update", 10, difficulty=2)
    assert (out / "update-10.md").read_text("utf-8") == sheet.sheet()
    assert (out / "update-10-key.md").read_text("utf-8") == sheet.key()


def test_every_kind_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["exercise", "--help"])
    assert ", ".join(KINDS) in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["updates"], "updates"),
        (["update", "--seeds", "3-1"], "3-1"),
        (["update", "--seeds", "x"], "'x'"),
        (["update", "--difficulty", "4"], "4"),
        (["update", "--format", "pdf"], "pdf"),
    ],
)
def test_wrong_usage_is_one_line_and_2(argv: list[str], named: str, one_line) -> None:
    with pytest.raises(SystemExit, match="^2$"):
        main(["exercise", *argv])
    assert named in one_line()
