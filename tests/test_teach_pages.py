"""Explanations as pages: whole, loading nothing, with figures that tell the trace's numbers."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from nnrec import nn
from nnrec.teach import MISTAKES, explain
from nnrec.teach.explanations import document_network
from nnrec.teach.styles import decimals
from tests.traced import drawn


class Page(HTMLParser):
    """The tags of a page, which must close in order, and what it would load."""

    void = {"meta", "link", "circle", "line", "rect", "polyline", "br"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "srcset", "action")]
        assert not [k for k, _ in attrs if k.startswith("on")]
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(page: str) -> Page:
    parser = Page()
    parser.feed(page)
    parser.close()
    assert not parser.open
    return parser


@pytest.mark.parametrize("name", [None, "siamese", "NeuMF, logits, L2", "CSR input and target"])
def test_the_page_is_whole_and_loads_nothing(name: str | None) -> None:
    if name is None:
        network, x, y = document_network()
    else:
        network, x, y, _ = drawn(name)
    page = explain(network, x, y, format="html").to("html")
    found = parsed(page)
    assert found.links == ["data:,"]
    assert "script" not in found.tags
    assert not re.search(r"https?:|url\(|@import|nan", page)
    assert found.tags.count("math") > 40
    assert name or found.tags.count("svg") == 3


def test_the_page_says_when_a_check_fails() -> None:
    network, x, y = document_network()
    wrong = explain(MISTAKES["bias-forgotten"].plant(network), x, y)
    assert "✗ WRONG: complex step" in str(wrong)
    page = wrong.to("html")
    assert "2 checks FAIL" in page
    assert 'class="verdict wrong"' in page
    assert "every check agrees" in explain(network, x, y).to("html")


def test_names_can_not_become_markup() -> None:
    class Angle(nn.Layer):
        def __init__(self, word: str = "<b>&") -> None:
            self.word = word

        def __call__(self, theta: Any, x: Any, rng: Any = None) -> Any:
            return x, lambda dy, g: dy

        def __repr__(self) -> str:
            return f"Angle({self.word!r})"

    network = nn.Network([nn.Dense(1, 1), Angle()], nn.MSE(), dtype="float64")
    page = explain(network, [[1.0]], [1.0]).to("html")
    assert "<b>&" not in page
    parsed(page)


def test_figures_tell_the_traces_numbers() -> None:
    e = explain(*document_network())
    page = e.to("html")
    texts = [
        html.unescape(t).replace("−", "-") for t in re.findall(r"<text[^>]*>(.*?)</text>", page)
    ]
    for name in ("x", "a_1", "a_2"):
        for value in e.trace.values[name].ravel():
            assert f"{value:.3f}" in texts
    for w, d in zip(e.trace.values["W_1"].ravel(), e.trace.values["∂W_1"].ravel()):
        assert f"{w:.3f}" in texts
        assert f"∂ {decimals(d, 4)}" in texts
    network, x, y = document_network()
    value, g = network.loss_and_grad(x, y)
    stepped = network.loss_and_grad(x, y, theta=network.theta - 0.5 * g)[0]
    assert f"E = {value:.4f}" in texts
    assert f"E = {stepped:.4f}" in texts
    assert f"should lower E by {0.5 * (g @ g):.4f}; it does by {value - stepped:.4f}." in page
    (tangent,) = re.findall(r'points="([^"]*)" class="tangent"', page)
    (curve,) = re.findall(r'points="([^"]*)" class="curve"', page)
    straight, bent = (
        [tuple(map(float, p.split(","))) for p in c.split()] for c in (tangent, curve)
    )
    assert straight[0] == bent[0] and len(straight) > 9
    slopes = np.diff(straight, axis=0)
    np.testing.assert_allclose(slopes, np.broadcast_to(slopes[0], slopes.shape), atol=0.21)
    assert all(y >= z for (_, y), (_, z) in zip(straight, bent)), "E is convex here"
    assert f"{np.sqrt(np.mean(e.trace.values['∂z_1'] ** 2)):.2e}" in texts


def test_each_weight_stands_on_its_own_line_in_the_colour_of_its_sign() -> None:
    e = explain(*document_network())
    weights = [*e.trace.values["W_1"].ravel(), *e.trace.values["W_2"].ravel()]
    ends = r'<line x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)" class="(plus|minus)"'
    label = r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="middle" class="halo">(.*?)</text>'
    lines, labels = (re.findall(pattern, e.to("html")) for pattern in (ends, label))
    assert len(lines) == len(labels) == len(weights)
    for w, (*corners, sign), (x, y, words) in zip(weights, lines, labels):
        x1, y1, x2, y2 = map(float, corners)
        assert sign == ("minus" if w < 0 else "plus") and words.replace("−", "-") == f"{w:.3f}"
        on_it = y1 + (y2 - y1) * (float(x) - x1) / (x2 - x1)
        assert abs(float(y) + 2 - on_it) < 0.3 and x1 < float(x) < x2


def test_a_notebook_shows_it() -> None:
    e = explain(*document_network())
    frame = e._repr_html_()
    assert frame.startswith("<iframe srcdoc=")
    assert html.unescape(re.search(r'srcdoc="(.*?)" style', frame, re.DOTALL)[1]) == e.to("html")
    assert e._repr_markdown_().count("$$") % 2 == 0
    assert r"\begin{bmatrix}" in e._repr_markdown_()
