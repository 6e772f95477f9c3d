"""The commands of the main job: demo, train, evaluate, predict, inspect."""

from __future__ import annotations

import csv
import filecmp
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nnrec
from nnrec.cli import main
from nnrec.data import Table
from nnrec.data.dirt import plant_dirt
from nnrec.data.synthetic import shop
from nnrec.data.writing import write_csv

FILES = ("model.safetensors", "predictions.csv", "report.html")


def small(**_: object):
    return shop(customers=97, items=31, sessions=1_009, rng=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a shop's dirty table, five rows without a label, and a model of it in out/."""
    folder = tmp_path_factory.mktemp("shop")
    table, _ = plant_dirt(small().sessions, missing=0.01, rng=3)
    columns = {name: table[name] for name in table.names}
    label = columns["purchase"].astype(object)
    label[[2, 3, 5, 7, 11]] = None
    visit = np.array([f"v{i}" for i in range(len(table))], dtype=object)
    write_csv(folder / "shop.csv", {"visit": visit, **columns, "purchase": label})
    arguments = ["--label", "purchase", "--drop", "visit", "--epochs", "2"]
    out = ["--out", str(folder / "out")]
    assert main(["train", str(folder / "shop.csv"), *arguments, *out]) == 0
    return folder


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.slow
def test_train_says_what_it_did_and_writes_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["train", str(folder / "shop.csv"), "--label", "purchase", "--drop", "visit"]
    assert main([*argv, "--epochs", "2", "--out", str(folder / "again")]) == 0
    out, err = capsys.readouterr()
    assert not err, "nothing but the answer when nobody watches"
    for text in (
        "rows × 13 columns",
        "5 rows have no 'purchase' and were left out",
        "The question: purchase = 1",
        "drop repeated rows",
        "Thermometer()",
        "logistic regression",
        "majority",
        "95 % interval",
        "loaded again",
    ):
        assert text in out
    assert not re.search(r"\d\.\d+ s\b|\d\d:\d\d:\d\d", out.partition("The question")[2])
    for name in FILES:
        assert filecmp.cmp(folder / "out" / name, folder / "again" / name, shallow=False)


def test_predictions_are_those_of_the_loaded_model(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(folder / "out" / "model.safetensors")
    argv = ["predict", model, str(folder / "shop.csv"), "--keep", "visit", "category"]
    assert main(argv) == 0
    out, err = capsys.readouterr()
    assert not err
    found = rows_of(out)
    loaded, table = nnrec.load(model), Table.read(folder / "shop.csv")
    prob = loaded.predict_proba(table)[:, 1]
    assert [float(row["probability"]) for row in found] == prob.tolist()
    assert [row["predicted"] == "True" for row in found] == (prob >= loaded.threshold_).tolist()
    assert [row["row"] for row in found] == [str(i) for i in range(1, len(table) + 1)]
    assert [row["visit"] for row in found] == table["visit"].tolist()
    assert [row["category"] or None for row in found] == table["category"].tolist()
    assert main([*argv, "--out", str(folder / "out.csv")]) == 0
    assert (folder / "out.csv").read_text("utf-8") == out
    tested = rows_of((folder / "out" / "predictions.csv").read_text("utf-8"))
    labelled = [row for row, label in zip(found, table["purchase"]) if label == label]
    for row in tested:
        assert row["probability"] == labelled[int(row["row"]) - 1]["probability"]


def test_predict_takes_other_columns_and_needs_those_it_learned_from(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(folder / "out" / "model.safetensors")
    table = Table.read(folder / "shop.csv").take([0, 1, 4])
    new = table.without("purchase", "visit").with_columns(
        {"region": ["火星"] * 3, "extra": [1] * 3}
    )
    write_csv(folder / "new.csv", {name: new[name] for name in reversed(new.names)})
    assert main(["predict", model, str(folder / "new.csv")]) == 0
    assert len(rows_of(capsys.readouterr().out)) == 3
    few = new.without("region")
    write_csv(folder / "few.csv", {name: few[name] for name in few.names})
    assert main(["predict", model, str(folder / "few.csv")]) == 1
    out, err = capsys.readouterr()
    assert not out and "'region'" in err and err.count("\n") == 1


def test_explain_shows_a_row_as_the_model_sees_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = str(folder / "out" / "model.safetensors"), str(folder / "shop.csv")
    argv = ["explain", model, "--data", data]
    assert main([*argv, "--row", "17", "--digits", "6", "--format", "latex"]) == 0
    whole = capsys.readouterr().out
    table = Table.read(data)
    at = table.take([16])
    prob = nnrec.load(model).predict_proba(at)[0, 1]
    loss = -np.log(prob if at["purchase"][0] else 1 - prob)
    assert re.search(rf"^E &= {loss:.6f} &&", whole, re.MULTILINE)
    assert rf"\begin{{bmatrix}}{at['purchase'][0]:.6f}\end{{bmatrix}}" in whole, "its y"
    assert main([*argv, "--row", "3"]) == 1
    assert "row 3 has no 'purchase', so it has no loss" in capsys.readouterr().err
    assert main([*argv, "--row", str(len(table) + 1)]) == 1
    assert f"expected 1 to {len(table):,}" in capsys.readouterr().err
    for alone in (["explain", model], ["explain", "--data", data]):
        assert main(alone) == 1
        assert "MODEL and --data FILE go together" in capsys.readouterr().err


@pytest.mark.slow
def test_evaluate_measures_another_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = str(folder / "out" / "model.safetensors"), folder / "judged"
    assert main(["evaluate", model, str(folder / "shop.csv"), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    table = Table.read(folder / "shop.csv")
    known = table.take([label == label for label in table["purchase"].astype(float)])
    area = nnrec.load(model).evaluate(known, known["purchase"].astype(bool))["roc_auc"]
    assert f"{area:.4f}" in printed and "5 rows have no 'purchase'" in printed
    assert "<svg" in (out / "report.html").read_text("utf-8")


def test_inspect_shows_question_figures_and_features(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(folder / "out" / "model.safetensors")]) == 0
    out = capsys.readouterr().out
    for text in ("NeuralClassifier", f"nnrec {nnrec.__version__}", "label: purchase\npositive: 1"):
        assert text in out
    assert "ROC AUC" in out and "OneHot(" in out and "3: Dense(inputs=" in out
    assert "hidden=(" in out and "model.classes_: " in out and "$" not in out


def test_inspect_and_predict_of_another_kind_of_model(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "network.safetensors"
    nnrec.save(nnrec.Network([nnrec.Dense(2, 1)], nnrec.MSE(), rng=0), path)
    assert main(["inspect", str(path)]) == 0
    assert "Dense(inputs=2, outputs=1" in capsys.readouterr().out
    assert main(["predict", str(path), str(folder / "shop.csv")]) == 1
    assert "not a model of `nnrec train`" in capsys.readouterr().err


@pytest.mark.slow
def test_a_table_is_read_as_the_training_rows_were(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    versions = ["1.0", "2.0", "beta"] * 67
    rows = [f"{v},{i * 7 % 199},{'yes' if v == '1.0' else 'no'}" for i, v in enumerate(versions)]
    (tmp_path / "train.csv").write_text("\n".join(["version,n,b", *rows]))
    (tmp_path / "new.csv").write_text("version,n,y,b\n1.0,97,why,?\n2.0,97,not,?\n")
    argv = ["train", str(tmp_path / "train.csv"), "--label", "b", "--out", str(tmp_path)]
    assert main([*argv, "--epochs", "40"]) == 0
    capsys.readouterr()
    model = str(tmp_path / "model.safetensors")
    assert main(["predict", model, str(tmp_path / "new.csv")]) == 0
    first, second = (float(row["probability"]) for row in rows_of(capsys.readouterr().out))
    assert first > 0.9 > 0.1 > second, "1.0 is no number here"


@pytest.mark.slow
def test_positive_asks_for_one_of_many_values(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["train", str(folder / "shop.csv"), "--label", "category", "--epochs", "1"]
    argv += ["--drop", "visit", "--positive", "books", "--out", str(folder / "books")]
    assert main(argv) == 0
    assert "The question: category = books" in capsys.readouterr().out
    model = str(folder / "books" / "model.safetensors")
    assert main(["evaluate", model, str(folder / "shop.csv"), "--out", str(folder / "b")]) == 0
    assert "with category = books" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["train", "absent.csv", "--label", "x"], "absent.csv: No such file"),
        (["train", "shop.csv", "--label", "x"], "shop.csv: no column 'x'"),
        (["train", "shop.csv", "--label", "category", "--positive", " x"], "never ' x'; it is '"),
        (["train", "few.csv", "--label", "b"], "few.csv: b = yes in 2 of 4 rows: 'test'"),
        (["train", "few.csv", "--label", "b", "--drop", *"acd"], "no column is left beside 'b'"),
        (["train", "few.csv", "--label", "b", "--group", "c"], "'c' is missing in 1 of 4 rows"),
        (["train", "few.csv", "--label", "b", "--time", "d"], "'d' is text, expected datetime"),
        (["train", "few.csv", "--label", "b", "--time", "c"], "'c' is missing in 1 of 4 rows"),
        (["train", "shop.csv", "--label", "category"], "--positive VALUE"),
        (["train", "shop.csv", "--label", "category", "--positive", "x"], "is never 'x'"),
        (["train", "shop.csv", "--label", "purchase", "--drop", "x"], "no column 'x'"),
        (["train", "shop.csv", "--label", "purchase", "--group", "x"], "no column 'x'"),
        (["train", "shop.csv", "--label", "purchase", "--out", "shop.csv"], "shop.csv: File"),
        (["train", "bad.csv", "--label", "a"], "bad.csv, line 2, column 'b'"),
        (["evaluate", "out/model.safetensors", "bad.csv"], "bad.csv, line 2"),
        (
            ["evaluate", "out/model.safetensors", "few.csv"],
            "few.csv: no column 'purchase'; the table has 'a'",
        ),
        (["predict", "out/model.safetensors", "few.csv"], "few.csv: no column '"),
        (
            ["predict", "out/model.safetensors", "typo.csv"],
            "typo.csv, line 3, column 'minutes': found 'long', expected a number",
        ),
        (["predict", "out/model.safetensors", "row.csv", "--keep", "row"], "--keep 'row'"),
        (["predict", "shop.csv", "shop.csv"], "shop.csv"),
        (["predict", "out/model.safetensors", "shop.csv", "--keep", "x"], "no column 'x'"),
        (["inspect", "absent"], "No such file"),
        (["train", "shop.csv", "--label", "purchase", "--out", "locked"], "locked: Permission"),
        (["evaluate", "out/model.safetensors", "shop.csv", "--out", "locked"], "locked: Perm"),
        (["demo", "--out", "locked"], "locked: Permission"),
    ],
)
def test_a_bad_input_is_one_line_and_1(
    argv: list[str], named: str, folder: Path, one_line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "locked").mkdir(exist_ok=True)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "locked")
    (folder / "bad.csv").write_text("a,b\n1,2,3\n")
    (folder / "few.csv").write_text("a,b,c,d\n1,yes,1,x\n2,no,,x\n3,yes,1,x\n4,no,2,x\n")
    lines = (folder / "shop.csv").read_text("utf-8").splitlines()
    place = lines[0].split(",").index("minutes")
    cells = [line.split(",") for line in lines[:3]]
    cells[2][place] = "long"
    (folder / "typo.csv").write_text("\n".join(map(",".join, cells)), "utf-8")
    (folder / "row.csv").write_text("\n".join(["row," + lines[0], "1," + lines[1]]), "utf-8")
    assert main(argv) == 1
    line = one_line()
    assert line.startswith(f"nnrec {argv[0]}: ") and named in line


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["train", "shop.csv"], "--label"),
        (["train", "shop.csv", "--label", "a", "--time", "b", "--group", "c"], "--group"),
        (["train", "shop.csv", "--label", "a", "--epochs", "0"], "'0'"),
        (["demo", "--seed", "-1"], "-1"),
        (["predict", "model"], "FILE"),
        (["evaluate"], "MODEL"),
    ],
)
def test_wrong_usage_is_one_line_and_2(argv: list[str], named: str, one_line) -> None:
    with pytest.raises(SystemExit, match="^2$"):
        main(argv)
    assert named in one_line()


@pytest.mark.parametrize("command", ["demo", "train", "evaluate", "predict", "inspect"])
def test_help_reads_well(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert f"usage: nnrec {command}" in out and max(map(len, out.splitlines())) <= 80


def test_a_warning_is_one_line_on_stderr(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import warnings

    from nnrec import cli

    def warn() -> int:
        warnings.simplefilter("always")
        warnings.warn("look\nhere", stacklevel=1)
        return 0

    assert cli.answer(warn, {}) == 0
    assert capsys.readouterr().err == "nnrec warn: warning: look here\n"


def test_interrupted_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    from nnrec import cli

    def stop() -> int:
        raise KeyboardInterrupt

    assert cli.answer(stop, {}) == 130
    assert capsys.readouterr().err == "nnrec stop: interrupted\n"


def test_one_thread_is_asked_for_before_numpy_is_there() -> None:
    code = (
        "import os, sys; from nnrec.cli import main; assert 'numpy' not in sys.modules\n"
        "try: main(['--version'])\n"
        "except SystemExit: assert os.environ['OPENBLAS_NUM_THREADS'] == '1'"
    )
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    environment["PYTHONPATH"] = str(Path(nnrec.__file__).parents[1])
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_a_full_disk_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nnrec import cli

    def write() -> int:
        raise OSError(28, "No space left on device")

    assert cli.answer(write, {}) == 1
    assert capsys.readouterr().err == "nnrec write: standard output: No space left on device\n"


@pytest.mark.slow
def test_demo_tells_the_whole_story_twice_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnrec.data.synthetic.shop", small)
    monkeypatch.delenv("DISPLAY", raising=False)
    printed = []
    for name in ("a", "b"):
        monkeypatch.chdir(tmp_path)
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert main(["demo"]) == 1, "a thousand visits don't teach enough"
        out, err = capsys.readouterr()
        assert not err
        printed.append(out)
    assert printed[0] == printed[1]
    for name in (*FILES, "sessions.csv", "views.csv", "recommender.safetensors"):
        a, b = (tmp_path / run / "nnrec-demo" / name for run in ("a", "b"))
        assert filecmp.cmp(a, b, shallow=False), name
    found = dict(re.findall(r"^  ([a-z ]+): ([\d,]+ and [\d,]+)$", printed[0], re.MULTILINE))
    assert set(found) == {
        "repeated rows",
        "invalid categories",
        "outliers",
        "missing numbers and times",
    }
    for kind in ("repeated rows", "missing numbers and times"):
        planted, cleaned = found[kind].split(" and ")
        assert planted == cleaned
    for who, goal in (("model", 97), ("recommender", 88)):
        assert re.search(rf"The {who} reaches -?[\d.]+% of .* the goal is {goal} %", printed[0])
    assert "optimum" in printed[0].partition("2: what may")[2], "the true preferences stand beside"
    page = (tmp_path / "a" / "nnrec-demo" / "report.html").read_text("utf-8")
    assert page.count("<svg") == 9 and "新款 Żakiet" in page.partition("would be shown")[2]


@pytest.mark.slow
def test_demo_is_0_where_the_goal_is_reached(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnrec.data.synthetic.shop", small)
    monkeypatch.setattr("nnrec.study.Evaluation.achieved", 0.97)
    for liked, code in ((0.88, 0), (0.87, 1)):
        monkeypatch.setattr("nnrec.ranking_study.Standing.achieved", liked)
        assert main(["demo", "--out", str(tmp_path)]) == code
        out = capsys.readouterr().out
        assert "model reaches 97.0%" in out and f"recommender reaches {liked:.1%}" in out


@pytest.mark.slow
def test_a_reader_that_leaves_early_and_a_terminal_without_chinese(folder: Path) -> None:
    argv = [sys.executable, "-m", "nnrec", "train", "shop.csv", "--label", "purchase"]
    environment = os.environ | {
        "PYTHONPATH": str(Path(nnrec.__file__).parents[1]),
        "PYTHONIOENCODING": "ascii",
        "MPLBACKEND": "TkAgg",  # no display is asked for
    }
    command = " ".join([*argv, "--drop", "visit", "--epochs", "1", "--out", "ascii"])
    for tail in ("", " | head -n 1"):
        done = subprocess.run(
            ["sh", "-c", command + tail],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            encoding="ascii",
        )
        assert done.returncode == 0 and not done.stderr, done.stderr
    assert done.stdout.count("\n") == 1


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    columns = {
        "text": np.array(["a,b", 'say "hi"', "两\n行", None], dtype=object),
        "number": np.array([0.1, np.nan, 1e300, -3.0]),
        "time": np.array(["2024-02-29T23:59:59", "NaT", "1970-01-01", "2000-01-01"], "M8[us]"),
        "yes": np.array([True, False, True, True]),
        "id": np.array([1, -2, 3, 2**60]),
    }
    write_csv(tmp_path / "t.csv", columns)
    table = Table.read(tmp_path / "t.csv")
    assert table.names == list(columns)
    for name, column in columns.items():
        assert table[name].dtype == column.dtype
        np.testing.assert_array_equal(table[name], column)
