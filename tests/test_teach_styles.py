"""How numbers, symbols and formulas are written."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from nnrec.teach.styles import Latex, Text, constant, decimals


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.125, 2, "0.12"),
        (-0.0, 3, "0.000"),
        (-0.0004, 3, "0.000"),
        (2.0, 0, "2"),
        (np.float32(0.5), 4, "0.5000"),
        (np.int64(7), 4, "7"),
        (True, 4, "1"),
        (Fraction(-1, 3), 4, "-1/3"),
        (1e7, 1, "1.0e+07"),
        (float("inf"), 2, "inf"),
    ],
)
def test_decimals(value: Any, digits: int, text: str) -> None:
    assert decimals(value, digits) == text


@pytest.mark.parametrize(
    ("name", "text", "latex"),
    [
        ("z_1", "z₁", "z_{1}"),
        ("∂W_12", "∂E/∂W₁₂", r"\frac{\partial E}{\partial W_{12}}"),
        ("∂W_1.2", "∂E/∂W₁⁽²⁾", r"\frac{\partial E}{\partial W_{1}}^{(2)}"),
        ("m[W_1]+", "m(W₁)⁺", "m_{W_{1}}^{+}"),
        ("E_1[rows(E_1)]+", "E₁[rows]⁺", r"E_{1}[\text{rows}]^{+}"),
        ("∂gain_1", "∂E/∂gain₁", r"\frac{\partial E}{\partial \mathrm{gain}_{1}}"),
    ],
)
def test_symbols(name: str, text: str, latex: str) -> None:
    assert Text().symbol(name) == text
    assert Latex().symbol(name) == latex


def test_negative_numbers_stand_in_parentheses() -> None:
    tree = (
        "sub",
        ("const", 1),
        ("mul", [("num", -2.0), ("pow", ("num", -3.0), ("const", 2))], "·"),
    )
    assert Text(1).show(tree) == "1 - (-2.0) · (-3.0)²"
    assert Latex(1).show(tree) == r"1 - \left(-2.0\right) \cdot \left(-3.0\right)^{2}"
    assert constant(1e-8) == "1e-08"
