"""Every example is short, asserts its result and runs; those that read data sets do so with
NNREC_DATA."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

EXAMPLES = sorted(Path(__file__).parents[1].glob("examples/*.py"))


def reads_data(path: Path) -> bool:
    return "NNREC_DATA" in path.read_text(encoding="utf-8")


def test_each_example_is_linked_from_a_page() -> None:
    pages = "".join(page.read_text("utf-8") for page in EXAMPLES[0].parents[1].glob("docs/**/*.md"))
    assert not [path.name for path in EXAMPLES if f"examples/{path.name})" not in pages]


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
