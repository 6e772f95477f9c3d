"""Every example is short, asserts its result and runs; those that read data sets do so with
NNREC_DATA."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

EXAMPLES = sorted(Path(__file__).parents[1].glob("examples/*.py"))


def reads_data(path: Path) -> bool:
    return "NNREC_DATA" in path.read_text(encoding="utf-8")


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_is_short_and_asserts_its_result(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) < 80
    assert ast.get_docstring(tree), "its first lines say what it shows"
    assert any(isinstance(node, ast.Assert) for node in ast.walk(tree))


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.name, marks=[pytest.mark.data] if reads_data(path) else [])
        for path in EXAMPLES
    ],
)
def test_example_runs(path: Path, python) -> None:
    assert python(path).strip(), "an example prints what it found"
