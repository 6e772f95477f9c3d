"""Explanations: published numbers, every format read back, focus, rows."""

from __future__ import annotations

import copy
import html
import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from nnrec import nn
from nnrec.teach import Explanation, explain, trace
from nnrec.teach.explanations import FORMATS, document_network
from nnrec.teach.styles import MathML
from tests.traced import drawn, random_network

MINUS = str.maketrans("−", "-")


def mazur() -> nn.Network:
    """The 2-2-2 network of Matt Mazur's step by step example; W is (inputs, outputs)."""
    layers = [nn.Dense(2, 2), nn.Sigmoid(), nn.Dense(2, 2), nn.Sigmoid()]
    network = nn.Network(layers, nn.MSE(), dtype="float64", frozen=["*.b"])
    w_1, b_1 = [0.15, 0.25, 0.20, 0.30], [0.35, 0.35]  # w1 w3, w2 w4
    w_2, b_2 = [0.40, 0.50, 0.45, 0.55], [0.60, 0.60]  # w5 w7, w6 w8
    network.theta[:] = [*w_1, *b_1, *w_2, *b_2]
    return network


def test_mazurs_published_numbers() -> None:
    e = explain(mazur(), [[0.05, 0.10]], [[0.01, 0.99]], optimizer=nn.SGD(0.5), digits=9)
    text = str(e)
    assert re.search(r"^    E = 0\.298371109   ✓ 0\.298371109$", text, re.MULTILINE)
    published = {
        "W₁⁺[0,0]": "0.149780716",
        "W₁⁺[1,0]": "0.199561430",
        "W₁⁺[0,1]": "0.249751140",
        "W₁⁺[1,1]": "0.299502290",
        "W₂⁺[0,0]": "0.358916480",
        "W₂⁺[1,0]": "0.408666186",
        "W₂⁺[0,1]": "0.511301270",
        "W₂⁺[1,1]": "0.561370121",
    }
    for symbol, value in published.items():
        (line,) = [line for line in text.split("\n") if f"    {symbol} = " in line]
        shown = line.rpartition("   ✓ ")[0].rpartition(" = ")[2]
        assert float(shown) == pytest.approx(float(value), abs=5.1e-9)  # he prints 8 or 9 decimals
    assert "b₁⁺" not in text
    assert e.trace.ok


def test_the_documents_network_in_full() -> None:
    text = str(explain(*document_network()))
    for line in (
        " 1  z₁ = x W₁ + b₁   (dense_1: Dense(3, 4))",
        "    z₁[0,0] = 1.0000 · 0.1000 + 0.5000 · 0.4000 + (-1.0000) · (-0.3000) + 0.0000 = 0.6000"
        "   ✓ 0.6000",
        "    z₁ = [0.6000  0.1000  -0.2500  0.4000]",
        "    a₁[0,0] = 1 / (1 + exp(-0.6000)) = 0.6457   ✓ 0.6457",
        " 8  ∂E/∂z₂ = ∂E/∂a₂ ⊙ a₂ ⊙ (1 - a₂)   (sigmoid_2: Sigmoid())",
        "    ∂E/∂z₂ = [0.0881  -0.0551]",
        "11  ∂E/∂a₁ = ∂E/∂z₂ W₂ᵀ   (dense_2: Dense(4, 2))",
        "    ∂E/∂z₁ = [0.0091  0.0096  -0.0106  -0.0005]",
        "16  W₁⁺ = W₁ - 0.5 · ∂E/∂W₁   (dense_1: SGD(learning_rate=0.5))",
    ):
        assert line in text.split("\n"), line


def lines_of(e: Explanation) -> list[tuple[str, tuple[int, ...], Any, Any]]:
    """Name, place, value and check of each entry that is written out."""
    return [
        (shown.step.name, line.symbol[2], line)
        for _, steps in e.sections()
        for shown in steps
        for line in shown.lines
    ]


def plain_math(text: str) -> str:
    """The numbers of a piece of MathML, with fractions and powers of ten, as text."""
    text = re.sub(r"<mfrac><mn>(\d+)</mn><mn>(\d+)</mn></mfrac>", r"\1/\2", text)
    text = re.sub(r"<mo>×</mo><msup><mn>10</mn><mn>(.*?)</mn></msup>", r"e\1", text)
    return html.unescape(re.sub(r"<[^>]*>", "", text)).translate(MINUS)


def plain_latex(text: str) -> str:
    text = re.sub(r"\\tfrac\{(\d+)\}\{(\d+)\}", r"\1/\2", text)
    return re.sub(r" \\times 10\^\{(-?\d+)\}", r"e\1", text)


def read_back(format: str, page: str) -> list[tuple[str, str]]:
    """The value and the check of every entry written out, as a reader of the page finds them."""
    if format == "text":
        return re.findall(r"^    \S.* = (\S+)   [✓✗] (\S+)$", page, re.MULTILINE)
    if format == "html":
        found = re.findall(r'<div class="scroll">(.*?)<span class="check.*?">(.*?)</span>', page)
        pairs = [(plain_math(a).rpartition("=")[2], plain_math(b).split()[1]) for a, b in found]
        return [(a.strip(), b) for a, b in pairs]
    line = r"^.*? ?&= (?:.* = )?(.*?) && \\(?:checkmark|times)\\; (.*?)(?: \\\\)?$"
    found = re.findall(line, page, re.MULTILINE)
    return [(plain_latex(a), plain_latex(b)) for a, b in found]


def value_of(text: str) -> Any:
    return Fraction(text) if "/" in text else float(text)


def in_matrices(format: str, page: str) -> list[float]:
    """The decimal numbers of all matrices, as they stand on the page."""
    if format == "text":
        rows = re.findall(r"\[((?: *-?\d+\.\d+(?:e\+\d+)?)+)\]", page)
        return [float(text) for row in rows for text in row.split()]
    if format == "html":
        tables = re.findall(r"<mtable>(.*?)</mtable>", page)
        cells = [plain_math(cell) for table in tables for cell in table.split("<mtd>")]
    else:
        tables = re.findall(r"\\begin\{bmatrix\}(.*?)\\end\{bmatrix\}", plain_latex(page))
        cells = [cell for table in tables for cell in re.split(r" & | \\\\ ", table)]
    return [float(cell) for cell in cells if "." in cell]


def assert_matrices_read_back(e: Explanation, format: str, page: str) -> None:
    arrays = [value[1] for _, _, value in e.given()]
    arrays += [shown.value[1] for _, steps in e.sections() for shown in steps if shown.value]
    real = [float(x) for array in arrays if array.dtype.kind == "f" for x in array.flat]
    found = in_matrices(format, page)
    assert len(found) == len(real), format
    allowed = np.where(np.abs(real) < 1e7, 0.5000001, np.abs(real)) * 10.0**-e.digits
    assert (np.abs(np.subtract(found, real)) <= allowed).all()


def assert_reads_back(e: Explanation, matrices: bool = False) -> int:
    expected = [
        (e.trace.values[name][at], e.trace.step(name).check[at])
        for name, at, line in lines_of(e)
        if line.check is not None
    ]
    exact = e.trace.dtype == "fraction"
    for format in FORMATS:
        page = e.to(format)
        if matrices:
            assert_matrices_read_back(e, format, page)
        pairs = read_back(format, page)
        assert len(pairs) == len(expected), format
        for shown, real in zip(pairs, expected):
            for text, value in zip(shown, real):
                if exact or np.asarray(value).dtype.kind in "iub":
                    assert Fraction(text) == value
                elif abs(value) < 1e7:
                    assert re.fullmatch(rf"-?\d+\.\d{{{e.digits}}}" if e.digits else r"-?\d+", text)
                    assert abs(float(text) - value) <= 0.5000001 * 10.0**-e.digits
                else:
                    assert float(text) == pytest.approx(float(value), rel=10.0**-e.digits)
    return len(expected)


@pytest.mark.parametrize("digits", [1, 4, 9])
def test_numbers_read_back_from_every_format(digits: int) -> None:
    assert assert_reads_back(explain(*document_network(), digits=digits, entries=99)) > 80


@pytest.mark.parametrize(
    "name",
    ["siamese", "NeuMF, logits, L2", "LayerNorm, Dropout", "two outputs", "CSR input and target"],
)
def test_numbers_of_other_networks_read_back(name: str) -> None:
    network, x, y, weight = drawn(name)
    assert assert_reads_back(explain(network, x, y, nn.Adam(0.1), weight=weight, rng=1)) > 20


def test_fractions_read_back() -> None:
    network = nn.Network([nn.Dense(2, 3), nn.ReLU(), nn.Dense(3, 1)], nn.MSE(), dtype="float64")
    network.theta[:] = np.arange(-5, 8) / 10
    e = explain(network, [[0.5, -0.3]], [0.7], exact=True, entries=9)
    assert "= 3/20" in str(e)
    assert_reads_back(e)


def test_large_numbers_are_in_powers_of_ten() -> None:
    network = nn.Network(nn.Dense(1, 1), nn.MSE(), dtype="float64")
    network.theta[:] = 3e12, 0
    e = explain(network, [[2.0]], [1.0])
    assert "6.0000e+12" in str(e)
    assert r"6.0000 \times 10^{12}" in e.to("latex")
    assert_reads_back(e)


def check_random_networks(seeds: range, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROWS", "COLUMNS"):  # nothing is elided
        monkeypatch.setattr(f"nnrec.teach.styles.{name}", 99)
    for seed in seeds:
        network, x, y, weight = random_network(seed)
        e = explain(network, x, y, weight=weight, rng=seed, digits=1 + seed % 6, entries=3)
        assert_reads_back(e, matrices=True)


@pytest.mark.slow
def test_random_networks_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    check_random_networks(range(20), monkeypatch)


@pytest.mark.long
def test_two_hundred_random_networks_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    check_random_networks(range(200), monkeypatch)


def test_nothing_changes() -> None:
    network, x, y = document_network()
    optimizer = nn.Adam(0.1)
    optimizer.step(network.theta.copy(), network.theta)
    before = copy.deepcopy((network.theta, optimizer.state_dict()))
    explain(network, x, y, optimizer, "html")
    np.testing.assert_equal((network.theta, optimizer.state_dict()), before)


def symbols_shown(e: Explanation) -> set[str]:
    return {name for name, _, _ in lines_of(e)}


def test_focus_on_a_neuron() -> None:
    e = explain(*document_network(), focus="dense_1[2]")
    assert symbols_shown(e) == {"z_1", "∂z_1", "∂W_1", "∂b_1", "W_1+", "b_1+"}
    assert {at[-1] for _, at, _ in lines_of(e)} == {2}
    assert "\nW₁ =" not in str(e)


def test_focus_on_a_weight_a_parameter_and_a_part() -> None:
    weight = explain(*document_network(), focus="dense_1.W[2, 1]")
    assert [(name, at) for name, at, _ in lines_of(weight)] == [("∂W_1", (2, 1)), ("W_1+", (2, 1))]
    assert symbols_shown(explain(*document_network(), focus="dense_2.b")) == {"∂b_2", "b_2+"}
    part = symbols_shown(explain(*document_network(), focus="sigmoid_1"))
    assert part == {"a_1", "∂a_1", "∂z_1"}


@pytest.mark.parametrize(
    ("focus", "message"),
    [
        ("dense_3", r"focus='dense_3', expected one of dense_1, sigmoid_1, .*dense_1\.W"),
        ("dense_1[4]", "dense_1 has 4 outputs"),
        ("dense_1[0,1]", "dense_1 has 4 outputs"),
        ("dense_1.W[3,0]", r"dense_1.W has shape \(3, 4\)"),
        ("dense_1.W[1]", r"dense_1.W has shape \(3, 4\)"),
        ("dense_1[-1]", "expected one of"),
        ("", "expected one of"),
    ],
)
def test_a_focus_that_is_not_there_is_an_error(focus: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        explain(*document_network(), focus=focus)


def test_a_row_is_explained_as_if_it_were_alone() -> None:
    network, x, y, weight = drawn("NeuMF, logits, L2")
    one = explain(network, x, y, row=5, weight=weight).trace
    alone = trace(network, tuple(a[5:6] for a in x), y[5:6], weight=weight[5:6])
    assert one.to_json() == alone.to_json()
    with pytest.raises(ValueError, match="row=13, expected a whole number from 0 to 12"):
        explain(network, x, y, row=13)
    with pytest.raises(ValueError, match="row=-1"):
        explain(network, x, y, row=-1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "pdf"}, "format='pdf', expected one of text, markdown, latex, html"),
        ({"digits": -1}, "digits=-1"),
        ({"entries": 0.5}, "entries=0.5"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        explain(*document_network(), **arguments)


def test_large_matrices_and_long_sums_are_cut_short() -> None:
    network = nn.Network(nn.Dense(31, 23), nn.MSE(), rng=0, dtype="float64")
    text = str(explain(network, np.ones((1, 31)), np.zeros((1, 23)), entries=2))
    assert "… (26 more)" in text
    (line,) = [line for line in text.split("\n") if line.startswith("    z₁[0,0] = ")]
    assert line.count(" · ") == 31 - 26
    assert "    … 21 more" in text
    assert max(map(len, text.split("\n"))) < 250
    assert text.count("⋮") > 8


def test_latex_braces_and_environments_match() -> None:
    for name in ("siamese", "NeuMF, logits, L2", "LayerNorm, Dropout"):
        network, x, y, weight = drawn(name)
        text = explain(network, x, y, nn.Adam(0.1), weight=weight, format="latex").to("latex")
        bare = re.sub(r"\\[{}]", "", text)
        assert bare.count("{") == bare.count("}")
        assert text.count(r"\left(") == text.count(r"\right)")
        assert re.findall(r"\\begin\{(\w+)\}", text).count("aligned") == text.count(
            r"\end{aligned}"
        )


def test_mathml_writes_fractions_and_powers() -> None:
    style = MathML(2)
    assert style.show(("num", Fraction(-1, 3))) == (
        "<mrow><mo>−</mo><mfrac><mn>1</mn><mn>3</mn></mfrac></mrow>"
    )
    assert plain_math(style.show(("num", -2e9))) == "-2.00e9"
