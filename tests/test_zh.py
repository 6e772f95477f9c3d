"""The Chinese pages say what the English ones say: the same code, equations, tests and links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHINESE = sorted(ROOT.glob("docs/zh/**/*.md"))
PAIRS = {
    "README.md": "docs/zh/README.md",
    "docs/equations.md": "docs/zh/equations.md",
    "docs/course/1-one-neuron.md": "docs/zh/course/1-one-neuron.md",
}
pairs = pytest.mark.parametrize(("english", "chinese"), PAIRS.items())


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def code(text: str) -> list[str]:
    """The blocks that run or are typed, without comments, which are in the page's language."""
    blocks = re.findall(r"^```(?:python|pycon|sh)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [re.sub(r" *# .*", "", block) for block in blocks]


def rows(text: str) -> list[list[str]]:
    found = [line.strip("|").split("|") for line in text.splitlines() if re.match(r"\| \d", line)]
    return [[cell.strip() for cell in row] for row in found]


def test_every_chinese_page_has_its_english_one() -> None:
    assert [path.relative_to(ROOT).as_posix() for path in CHINESE] == sorted(PAIRS.values())


@pairs
def test_code_is_the_same(english: str, chinese: str) -> None:
    assert code(read(chinese)) == code(read(english))


@pairs
def test_each_page_links_to_the_other(english: str, chinese: str) -> None:
    for here, there in ((english, chinese), (chinese, english)):
        links = re.findall(r"\[(?:中文|English)\]\(([^)]+)\)", read(here))
        assert [(ROOT / here).parent.joinpath(link).resolve() for link in links] == [ROOT / there]


@pairs
def test_sections_stand_in_the_same_order(english: str, chinese: str) -> None:
    def shape(text: str) -> list[int]:
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        return [len(hashes) for hashes in re.findall(r"^(#+) ", prose, re.MULTILINE)]

    if english != "README.md":  # the Chinese one is shorter
        assert shape(read(chinese)) == shape(read(english))


def test_equations_correspond_row_by_row() -> None:
    ours, theirs = rows(read("docs/zh/equations.md")), rows(read("docs/equations.md"))
    assert len(ours) == len(theirs) == 24
    for (*left, right, name, test), (*left_, right_, name_, test_) in zip(ours, theirs):
        assert [left, name, test] == [left_, name_, test_]  # number, section, as printed
        for signs in (r" ([⁰¹²³⁴⁵⁶⁷⁸⁹]+)", r"[A-Za-zŷδ]_\{?[\w−+]+", r"[α-ωΣ∂⊙ŷ½]", r"\d\.\d+"):
            assert re.findall(signs, right) == re.findall(signs, right_)


def test_errata_correspond_one_by_one() -> None:
    ours, theirs = (
        re.findall(r"^(\d+)\. |`(test_\d+_\w+)`", read(path).split("\n## ")[1], re.MULTILINE)
        for path in ("docs/zh/equations.md", "docs/equations.md")
    )
    assert ours == theirs and len(ours) == 24


def test_answers_of_the_first_lesson_have_the_same_numbers() -> None:
    english, chinese = (
        re.findall(r"\d+\.\d+", read(path).split("\n## ")[-1].split("```")[0])
        for path in ("docs/course/1-one-neuron.md", "docs/zh/course/1-one-neuron.md")
    )
    assert len(english) > 9 and sorted(chinese) == sorted(english)
