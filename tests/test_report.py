"""The page: self-contained, safe with any text, the same each time."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

from nnrec.plots import bars, roc
from nnrec.report import Report

EVIL = "<script>alert('1')</script> & \"价格\" $x$"
VOID = {"meta", "link", "br"}


def page() -> Report:
    picture = bars({EVIL: 1.0, "价格 $a$": 2.0}, {}, EVIL, "US$")
    curve = roc([0, 1, 0, 1], {"model": [0.1, 0.4, 0.5, 0.9]})
    report = Report(EVIL).heading(EVIL).text(EVIL).note(EVIL).listing(EVIL)
    report.tiles({EVIL: (EVIL, EVIL)}).table([EVIL, "n"], [[EVIL, 1234], [0.123456, 2]])
    return report.figures({EVIL: picture, "ROC": curve}).figures({"ROC again": curve})


class Reader(HTMLParser):
    """Notes elements, attributes and text, and that each element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader


def test_the_page_is_well_formed_and_no_text_becomes_markup() -> None:
    reader = read(str(page()))
    assert not reader.open
    assert "script" not in {tag for tag, _ in reader.elements}
    assert reader.text.count(EVIL) >= 10  # title, h1, h2, p, p, pre, dl 3, table 2, figure
    assert "1,234" in reader.text and "0.1235" in reader.text


def test_the_page_asks_for_nothing() -> None:
    reader = read(str(page()))
    for tag, attributes in reader.elements:
        for name, value in attributes.items():
            if name.rpartition(":")[2] in ("href", "src", "action"):
                assert value is not None and value.startswith(("#", "data:")), (tag, value)
    assert not re.search(r"@import|url\((?!#)", str(page()))


def test_no_id_stands_twice_and_every_reference_resolves() -> None:
    text = str(page())
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(set(ids)) == len(ids) > 0
    used = re.findall(r'(?:href="#|url\(#)([^")]*)', text)
    assert set(used) <= set(ids) and used


def test_pictures_are_xml_with_a_name_and_the_readers_own_fonts() -> None:
    pictures = re.findall(r"<svg.*?</svg>", str(page()), re.DOTALL)
    assert len(pictures) == 3
    for picture in pictures:
        root = ElementTree.fromstring(picture)
        assert root.get("role") == "img" and root.get("aria-label")
    assert "价格 $a$" in read(pictures[0]).text


def test_the_same_page_twice_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        page().save(tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert (tmp_path / "a.html").read_bytes() == str(page()).encode("utf-8")
