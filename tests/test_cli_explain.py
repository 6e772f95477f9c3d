"""The command line: `nnrec explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nnrec import nn, save
from nnrec.cli import main
from nnrec.teach import explain
from nnrec.teach.explanations import document_network


def test_the_documents_network(capsys: Any, tmp_path: Path) -> None:
    assert main(["explain"]) == 0
    said = capsys.readouterr().out
    assert said == str(explain(*document_network())) + "\n"
    out = tmp_path / "page.html"
    assert main(["explain", "--format", "html", "--digits", "6", "--out", str(out)]) == 0
    page = explain(*document_network(), format="html", digits=6)
    assert out.read_text("utf-8") == str(page) + "\n"
    assert main(["explain", "--focus", "dense_1[2]"]) == 0
    assert "z₁[0,2]" in capsys.readouterr().out
    assert main(["explain", "--focus", "dense_9"]) == 1
    assert "expected one of dense_1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("layers", "loss", "header", "labels", "x", "y"),
    [
        ([nn.Dense(3, 2)], nn.MSE(), "a,b,c,t,u", ["t", "u"], [[2.5, -1.0, 4.0]], [[7.0, 8.0]]),
        ([nn.Dense(4, 1)], nn.MSE(), "a,b,c,t,u", [], [[2.5, -1.0, 4.0, 7.0]], [[8.0]]),
        ([nn.Dense(4, 11)], nn.SoftmaxCrossEntropy(), "t,a,b,c,u", ["u"], [[2.5, -1, 4, 7]], [8]),
    ],
)
def test_a_filed_network(
    layers: Any, loss: Any, header: str, labels: list[str], x: Any, y: Any, tmp_path: Path
) -> None:
    network = nn.Network(layers, loss, rng=0)
    save(network, tmp_path / "model")
    (tmp_path / "data.csv").write_text(f"{header}\n1,1,1,1,1\n2.5,-1,4,7,8\n", "utf-8")
    argv = ["explain", str(tmp_path / "model"), "--data", str(tmp_path / "data.csv"), "--row", "2"]
    out = tmp_path / "page.txt"
    assert main([*argv, *(["--label", *labels] if labels else []), "--out", str(out)]) == 0
    assert out.read_text("utf-8") == str(explain(network, x, y)) + "\n"


def test_a_network_of_ids(tmp_path: Path, capsys: Any) -> None:
    network = nn.Network([nn.Embedding(5, 3), nn.Dense(3, 1)], nn.MSE(), rng=0)
    save(network, tmp_path / "model")
    data = tmp_path / "data.csv"
    argv = ["explain", str(tmp_path / "model"), "--data", str(data)]
    data.write_text("item,stars\n4,2.5\n", "utf-8")
    assert main(argv) == 0
    assert capsys.readouterr().out == str(explain(network, [4], [2.5])) + "\n"
    data.write_text("item,stars\npot,2.5\n", "utf-8")
    for more, message in (([], "'item' holds no numbers"), (["--label", "s"], "no column 's'")):
        assert main([*argv, *more]) == 1
        assert message in capsys.readouterr().err
