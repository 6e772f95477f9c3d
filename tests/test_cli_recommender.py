"""The commands for a recommender: fit-recommender, recommend, evaluate, inspect."""

from __future__ import annotations

import csv
import filecmp
import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import nnrec
from nnrec.cli import ids, main
from nnrec.data.writing import write_csv
from nnrec.metrics.ranking import evaluate_ranking
from nnrec.ranking_study import CUTS, MODELS, RankingStudy, Standing, read_log
from tests.test_recommend_contract import planted_world, random_log


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events of numbered users and named items, two without a user, and a recommender of them."""
    folder = tmp_path_factory.mktemp("events")
    log = random_log()
    who = [float(user) for user in log.users[log.user_index]]
    columns = {"who": who, "what": [named(i) for i in log.items[log.item_index]], "at": log.times}
    extra = {"who": [None, None], "what": [named(1), named(2)], "at": [5000, 5001]}
    write_csv(folder / "log.csv", {name: [*columns[name], *extra[name]] for name in columns})
    write_csv(folder / "later.csv", {"who": [7, 7, 99], "what": [named(5), "鞋", "鞋"]})
    assert main(["fit-recommender", *on(folder)]) == 0
    return folder


def on(folder: Path, out: str = "out") -> list[str]:
    columns = ["--user", "who", "--item", "what", "--time", "at"]
    return [str(folder / "log.csv"), *columns, "--out", str(folder / out)]


def named(item: int) -> str:
    return f'茶 "{item}", Nº'


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_fit_recommender_says_what_it_did_and_writes_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit-recommender", *on(folder, "again")]) == 0
    out, err = capsys.readouterr()
    assert not err
    log = random_log()
    for text in (
        "Mind: 2 rows have no who or no what or no at and were left out.",
        f"Read: {log}.",
        "Withheld: the last item of each user.",
        "Mind: Only 31 users are in the test part",
        "The model: EDLAE(",
        "Popularity",
        "95 % interval",
        "ties pessimistic",
        "left out: nothing",
        "loaded again, and it answers the same",
    ):
        assert text in out, text
    for name in ("recommender.safetensors", "report.html"):
        assert filecmp.cmp(folder / "out" / name, folder / "again" / name, shallow=False)
    page = (folder / "out" / "report.html").read_text("utf-8")
    assert page.count("<svg") == 3 and "茶" in page and "Mind" not in page


@pytest.mark.slow
@pytest.mark.parametrize("model", [name for name in MODELS if name != "edlae"])
def test_every_model_can_be_asked_for(
    model: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit-recommender", *on(folder, model), "--model", model]) == 0
    assert repr(MODELS[model]()[0]).split("(")[0] in capsys.readouterr().out
    path = str(folder / model / "recommender.safetensors")
    assert main(["recommend", path, "--user", "7", "-n", "2"]) == 0
    assert len(rows_of(capsys.readouterr().out)) == 2
    assert main(["inspect", path]) == 0
    assert "columns: user who, item what, time at" in capsys.readouterr().out


def test_the_filed_recommender_knows_all_events(folder: Path) -> None:
    loaded = nnrec.load(folder / "out" / "recommender.safetensors")
    assert str(loaded.log) == str(random_log())
    assert loaded.users.ids == random_log().users.ids, "numbers that were floats are whole again"


def test_recommend_prints_csv_for_a_program(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = str(folder / "out" / "recommender.safetensors")
    loaded = nnrec.load(model)
    assert main(["recommend", model, "--user", "7,30", "-n", "3"]) == 0
    printed = capsys.readouterr().out
    lists, scores = loaded.recommend([7, 30], 3)
    found = rows_of(printed)
    assert [row["item"] for row in found] == [*lists[0], *lists[1]]
    assert [float(row["score"]) for row in found] == [*scores[0], *scores[1]]
    assert [(row["user"], row["rank"]) for row in found[2:4]] == [("7", "3"), ("30", "1")]
    monkeypatch.setattr(sys, "stdin", io.StringIO("7\n30\n"))
    argv = ["recommend", model, "--user", "@-", "-n", "3", "--out", str(folder / "lists.csv")]
    assert main(argv) == 0
    assert (folder / "lists.csv").read_text("utf-8") == printed
    (folder / "stock.txt").write_text(f"{named(5)}\r\n{named(3)}\n\nnothing\n", "utf-8")
    argv = ["recommend", model, "--history", "", "--among", f"@{folder / 'stock.txt'}"]
    assert main(argv) == 0
    found = rows_of(capsys.readouterr().out)
    assert {row["item"] for row in found} == {named(3), named(5)} and found[0]["user"] == ""
    quoted = '"' + named(5).replace('"', '""') + '"'
    for again, items in (([], 22), (["--again"], 23)):
        argv = ["recommend", model, "--history", quoted, "-n", "99", *again]
        assert main(argv) == 0
        assert len(rows_of(capsys.readouterr().out)) == items
    assert main([*argv, "--without", quoted]) == 0
    assert named(5) not in [row["item"] for row in rows_of(capsys.readouterr().out)]


def test_recommend_prints_a_table_for_people(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = str(folder / "out" / "recommender.safetensors")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert main(["recommend", model, "--user", "7", "-n", "1"]) == 0
    header, line = capsys.readouterr().out.splitlines()
    assert header.split() == ["user", "rank", "item", "score"] and line.startswith("7  ")


def test_evaluate_judges_a_recommender_on_later_events(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nnrec.save(
        nnrec.Recommender(nnrec.load(folder / "out" / "recommender.safetensors").model).fit(
            random_log().take(slice(0, 300))
        ),
        folder / "early.safetensors",
        metrics={"columns": {"user": "who", "item": "what"}},
    )
    log = random_log().take(slice(300, None))
    columns = {"who": log.users[log.user_index], "what": log.items[log.item_index]}
    write_csv(folder / "new.csv", columns)
    argv = ["evaluate", str(folder / "early.safetensors"), str(folder / "new.csv")]
    assert main([*argv, "--out", str(folder / "judged")]) == 0
    out = capsys.readouterr().out
    expected = nnrec.load(folder / "early.safetensors").evaluate(log)
    assert f"{expected['ndcg@10']:.4f}" in out and f"{expected.left_out['seen']} seen" in out
    assert "<svg" in (folder / "judged" / "report.html").read_text("utf-8")


def test_evaluate_meets_ids_by_their_spelling_and_counts_rows_without(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "out" / "recommender.safetensors"
    shop = nnrec.load(path)
    pairs = [(user, item) for user in (7, 30) for item in shop.recommend(user, n=2)[0]]
    users, items = map(list, zip(*pairs, ("A7", named(5)), (None, named(5))))
    write_csv(folder / "mixed.csv", {"who": users, "what": items})
    argv = ["evaluate", str(path), str(folder / "mixed.csv"), "--out", str(folder / "mixed")]
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "Mind: 1 rows have no who or no what and were left out." in out
    assert "; 2 users, " in out and "left out: 1 unknown user" in out


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["fit-recommender", "no.csv", "--user", "a", "--item", "b"], "no.csv: No such file"),
        (["fit-recommender", "log.csv", "--user", "x", "--item", "what"], "no column 'x'"),
        (["fit-recommender", "later.csv", "--user", "what", "--item", "at"], "no column 'at'"),
        (
            ["fit-recommender", "one.csv", "--user", "a", "--item", "b"],
            "no user has two different items",
        ),
        (["fit-recommender", "none.csv", "--user", "a", "--item", "b"], "expected at least one"),
        (["recommend", "out/recommender.safetensors", "--user", "7,nobody"], "'nobody'"),
        (["recommend", "out/recommender.safetensors", "--user", "7.0"], "unknown user '7.0'"),
        (["recommend", "out/recommender.safetensors", "--history", "鞋"], "unknown item '鞋'"),
        (["recommend", "out/recommender.safetensors", "--user", "7", "--among", "鞋"], "among"),
        (["recommend", "network", "--user", "7"], "no recommender"),
        (["recommend", "log.csv", "--user", "7"], "log.csv"),
        (
            ["evaluate", "out/recommender.safetensors", "log.csv"],
            "log.csv: evaluate: no event is left to judge",
        ),
        (["evaluate", "out/recommender.safetensors", "one.csv"], "no column 'who'"),
        (["evaluate", "bare", "log.csv"], "which names its columns"),
        (["evaluate", "out/recommender.safetensors", "codes.csv"], "'unknown user': 2"),
        (
            ["fit-recommender", "when.csv", "--user", "a", "--item", "b"],
            "when.csv: column 'a' holds times, such as",
        ),
        (
            ["fit-recommender", "when.csv", "--user", "b", "--item", "b", "--time", "c"],
            "times: found 'soon' in row 1, expected numbers or times",
        ),
    ],
)
def test_a_bad_input_is_one_line_and_1(
    argv: list[str], named: str, folder: Path, one_line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    Path("one.csv").write_text("a,b\n1,2\n3,2\n")
    Path("none.csv").write_text("a,b\n")
    Path("codes.csv").write_text("who,what\n007,x\n030,x\n")
    Path("when.csv").write_text("a,b,c\n2024-01-05,2,3\n2024-01-06,2,soon\n")
    nnrec.save(nnrec.Network([nnrec.Dense(2, 1)], nnrec.MSE(), rng=0), "network")
    nnrec.save(nnrec.load("out/recommender.safetensors"), "bare")
    assert main(argv) == 1
    line = one_line()
    assert line.startswith(f"nnrec {argv[0]}: ") and named in line


@pytest.mark.parametrize("command", ["fit-recommender", "evaluate"])
def test_a_locked_folder_is_said_before_the_work(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "locked")
    argv = on(folder, "locked")
    if command == "evaluate":
        model = str(folder / "out" / "recommender.safetensors")
        argv = [model, str(folder / "later.csv"), *argv[-2:]]
    assert main([command, *argv]) == 1
    out, err = capsys.readouterr()
    assert not out and "locked: Permission denied" in err


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["fit-recommender", "log.csv", "--user", "who"], "--item"),
        (["fit-recommender", "log.csv", "--user", "a", "--item", "b", "--model", "x"], "'x'"),
        (["recommend", "model"], "--history"),
        (["recommend", "model", "--user", "1", "--history", "2"], "--history"),
        (["recommend", "model", "--user", "@absent"], "absent"),
        (["recommend", "model", "--user", "1", "-n", "0"], "'0'"),
    ],
)
def test_wrong_usage_is_one_line_and_2(argv: list[str], named: str, one_line) -> None:
    with pytest.raises(SystemExit, match="^2$"):
        main(argv)
    assert named in one_line()


def test_ids_are_listed_as_csv_or_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "ids").write_bytes("\ufeff@x\r\n a,b \n\n".encode())
    assert ids(f"@{tmp_path / 'ids'}") == ["@x", " a,b "]
    assert ids('a,"b,""c""",') == ["a", 'b,"c"', ""]


@pytest.mark.parametrize("command", ["fit-recommender", "recommend"])
def test_help_reads_well(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main([command, "--help"])
    out = capsys.readouterr().out
    assert f"usage: nnrec {command}" in out and max(map(len, out.splitlines())) <= 80
    assert command == "recommend" or all(name in out for name in MODELS)


def test_the_study_withholds_chooses_and_judges_apart() -> None:
    train, test = planted_world()
    log = nnrec.data.concatenate(train, test)
    study = RankingStudy.plan(log, "ease", share=0.2, seed=3)
    kept, withheld, *_ = study.parts
    assert not np.isin(withheld.pairs(), kept.pairs()).any() and len(kept) + len(withheld) == 431
    assert "20% of each user's items" in study.withheld
    study.train()
    assert study.recommender.log is kept
    truth = np.eye(3)  # each block of users likes its block of items
    user = np.searchsorted([29, 46], log.users.ids, side="right")
    item = np.searchsorted([7, 12], log.items.ids, side="right")
    standing = study.judge(lambda users: truth[user[users]][:, item])
    assert list(standing.comparison.results) == ["EASE", "Popularity", "optimum"]
    assert standing.achieved > 0.9 and study.finish().log is log
    with pytest.raises(ValueError, match="no user has two different items"):
        RankingStudy.plan(nnrec.Interactions.from_columns([1, 2], ["a", "a"]))


def test_settings_are_those_that_do_best_on_a_part_of_train() -> None:
    log = random_log()
    study = RankingStudy.plan(log, "knn")
    tried = []
    for candidate in study.candidates:
        fit = candidate.fit
        candidate.fit = lambda part, fit=fit: tried.append(part) or fit(part)
    study.train()
    test = set(study.parts.test.pairs())
    assert len(tried) == len(study.candidates) + 1 and tried[-1] is study.parts.train
    assert all(len(part) < len(tried[-1]) for part in tried[:-1])
    assert not any(test & set(part.pairs()) for part in tried), "the test part is used once"


def test_intervals_are_those_of_a_mean() -> None:
    scores, truth = np.array([[2.0, 1, 0]] * 5), np.eye(3)[[0, 1, 2, 0, 0]]
    results = {
        name: evaluate_ranking(sign * scores, truth, n=CUTS, popularity=np.ones(3))
        for name, sign in (("Ours", 1), ("Other", -1))
    }
    standing = Standing(nnrec.metrics.comparison.Comparison(results))
    own, other = (result.per_user["ndcg@10"] for result in results.values())
    assert standing.error("ndcg@10", "Ours") == pytest.approx(1.96 * own.std(ddof=1) / 5**0.5)
    gap = own - other
    half = 1.96 * gap.std(ddof=1) / 5**0.5
    assert standing.gaps[1][1:] == [
        f"{gap.mean():+.4f}",
        f"{gap.mean() - half:+.4f} to {gap.mean() + half:+.4f}",
    ]


def test_numbers_are_whole_ids_where_they_are_exact() -> None:
    for given, expected in (
        ([7.0, np.nan, 8.0], [7, 8]),
        ([7.0, np.nan, 8.5], [7.0, 8.5]),
        ([7.0, np.inf, 8.0], [7.0, np.inf, 8.0]),
        ([1e30, 2e30, np.nan], [1e30, 2e30]),
    ):
        table = nnrec.Table.of({"u": given, "i": list("abc")})
        users = read_log(table, "u", "i")[0].users.ids
        assert users == expected and list(map(type, users)) == list(map(type, expected))


def test_values_weigh_events_for_ials_and_are_said_to_be_idle_elsewhere() -> None:
    table = {"u": [1, 1, 2, 2, 3], "i": list("ababa"), "w": [1.0, 5.0, 2.0, 1.0, np.nan]}
    log, left_out = read_log(nnrec.Table.of(table), "u", "i", value="w", time=None)
    assert left_out == 1 and log.values.tolist() == [1, 5, 2, 1]
    assert RankingStudy.plan(log, "ials").candidates[0].weights == "values"
    assert any("Values weigh nothing" in text for text in RankingStudy.plan(log).warnings())
