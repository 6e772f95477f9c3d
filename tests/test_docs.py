"""The pages run. On each page the ```python blocks are executed in order in one namespace, and the
```pycon blocks are doctests in it; code that is not to run is marked otherwise. Links resolve."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

import nnrec

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
BLOCK = re.compile(r"^```(python|pycon)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def run(page: Path) -> None:
    """Run the blocks of a page; a traceback and a failed doctest give the page's own lines."""
    text = page.read_text(encoding="utf-8")
    namespace: dict[str, object] = {"__name__": page.stem}
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for block in BLOCK.finditer(text):
        kind, code = block.groups()
        line = text.count("\n", 0, block.start(2))
        if kind == "python":
            exec(compile("\n" * line + code, str(page), "exec", dont_inherit=True), namespace)
        else:
            examples = doctest.DocTestParser().get_examples(code)
            test = doctest.DocTest(examples, namespace, page.name, str(page), line, code)
            said: list[str] = []
            runner = doctest.DocTestRunner(optionflags=flags, verbose=False)
            outcome = runner.run(test, out=said.append, clear_globs=False)
            assert outcome.attempted and not outcome.failed, "".join(said)
            namespace.update(test.globs)


@pytest.mark.parametrize("page", [p for p in PAGES if BLOCK.search(p.read_text("utf-8"))], ids=name)
def test_code_on_the_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    run(page)


def test_the_readme_makes_forty_different_sheets_with_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run(ROOT / "README.md")
    assert "σ(z) stands where σ′(z) must" in capsys.readouterr().out, "the mistake by its name"
    pages = {path.stem: path.read_text("utf-8") for path in tmp_path.glob("sheets/*.html")}
    assert len(pages) == 80
    for part in ("", "-key"):  # by their numbers, not by their titles
        numbers = {
            tuple(re.findall(r"<mn>(.*?)</mn>", pages[f"backprop-{i:02}{part}"]))
            for i in range(1, 41)
        }
        assert len(numbers) == 40
    for i in range(1, 41):
        sheet, key = pages[f"backprop-{i:02}"], pages[f"backprop-{i:02}-key"]
        assert 'class="blank"' in sheet and 'class="blank"' not in key


def test_code_that_fails_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Text.\n\n```python\nx = 2\n```\n\n```pycon\n>>> x + 1\n4\n```\n")
    with pytest.raises(AssertionError, match="line 8, in page.md"):
        run(page)
    page.write_text("```python\nassert False\n```\n")
    with pytest.raises(AssertionError):
        run(page)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_between_pages_resolve(page: Path) -> None:
    source = Path(nnrec.__file__).parents[1]  # where nnrec/ is, when it is not beside the pages
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", prose):
        path = (page.parent / target).resolve()
        inside = path.relative_to(ROOT)
        assert path.exists() or (source / inside).exists(), f"{name(page)} links to {target}"
