"""What the subcommands for a recommender do: functions that print, and return the exit code."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnrec.data.columns import spelled
from nnrec.data.tables import about, grid
from nnrec.data.writing import make_folder, write_csv

if TYPE_CHECKING:
    from nnrec.data.interactions import Ids, Interactions
    from nnrec.ranking_study import RankingStudy
    from nnrec.report import Report


def fit_recommender(file: str, model: str | None, out: Path, seed: int, **named: str | None) -> int:
    """Choose, judge and file a recommender for a user's event log; named: user, …: columns."""
    from nnrec.ranking_study import RankingStudy

    columns = {name: column for name, column in named.items() if column}
    with about(file):
        log, page, mind = opened(file, columns, Path(file).name)
        study = RankingStudy.plan(log, model, seed=seed)
    make_folder(out)
    print(mind, end="")
    compete(study)
    path = shelve(study, out, columns)
    study.tell(page, {})
    page.save(out / "report.html")
    print(f"{out / 'report.html'}: figures and pictures.")
    print(f"\nGo on: nnrec recommend {path} --user {shlex.quote(spelled(log.users[0]))}")
    return 0


def opened(file: str, columns: dict[str, str], title: str) -> tuple[Interactions, Report, str]:
    """The log in a file; a page that notes, and a line that says, what was left out of it."""
    from nnrec.data import Table
    from nnrec.ranking_study import read_log
    from nnrec.report import Report

    page, (log, left_out) = Report(f"What next? {title}"), read_log(Table.read(file), **columns)
    text = f"{left_out:,} rows have no {' or no '.join(columns.values())} and were left out."
    if left_out:
        page.note(text)
    return log, page, f"Mind: {text}\n" * bool(left_out)


def compete(study: RankingStudy, truth: Any = None) -> None:
    """Train and judge a recommender, and print each step."""
    print(f"Read: {study.log}.\nWithheld: {study.withheld}.\n{study.summary()}\n")
    for text in study.warnings():
        print(f"Mind: {text}\n")
    watched = [model for model in study.candidates if hasattr(model, "verbose")]
    for model in watched:
        model.verbose = int(sys.stderr.isatty())
    study.train()
    for model in watched:
        model.verbose = 0  # not into the file
    print(f"The model: {study.recommender.model!r}, its settings chosen on a part of train.\n")
    print(f"On what was withheld, which played no part in training:\n{study.judge(truth)}\n")


def shelve(study: RankingStudy, out: Path, columns: dict[str, str]) -> Path:
    """Write the recommender, and see that it recommends the same after loading."""
    from nnrec import load, save

    path, recommender = out / "recommender.safetensors", study.finish()
    save(recommender, path, metrics={"columns": columns} | study.figures())
    some = recommender.users.ids[:100]
    if load(path).recommend(some)[0] != recommender.recommend(some)[0]:
        raise ValueError(f"{path}: the loaded recommender answers otherwise than the saved one")
    print(f"{path}: learned from all events, saved, loaded again, and it answers the same.")
    return path


def recommend(
    model: str,
    user: list[str] | None,
    history: list[str] | None,
    among: list[str] | None,
    without: list[str],
    n: int,
    again: bool,
    out: Path | None,
) -> int:
    """Print what to recommend: for people a table, for programs CSV."""
    from nnrec import Recommender, load

    shop = load(model)
    if not isinstance(shop, Recommender):
        raise ValueError(f"{model}: no recommender; `nnrec inspect` says what it is")
    asked = None if user is None else as_known(shop.users, user)
    rules: Any = {"among": among and as_known(shop.items, among)}
    rules["history"] = None if history is None else [as_known(shop.items, history)]
    rules["without"] = as_known(shop.items, without)
    lists, scores = shop.recommend(asked, n, exclude_seen=not again, **rules)
    whose = [""] if user is None else user
    rows = [
        (name, rank, spelled(item), score)
        for name, items, values in zip(whose, lists, scores)
        for rank, (item, score) in enumerate(zip(items, values.tolist()), 1)
    ]
    header = ["user", "rank", "item", "score"]
    if out is None and sys.stdout.isatty():
        cells = [[who, str(rank), item, f"{score:.4g}"] for who, rank, item, score in rows]
        print(grid([header, *cells], "<><>"))
    else:
        write_csv(out or sys.stdout, dict(zip(header, [*zip(*rows)] or [()] * 4)))
    return 0


def as_known(ids: Ids, said: Iterable[str]) -> list[Any]:
    """Ids as the log has them, numbers too, from how they are spelled; unknown ones as they are."""
    spellings = {spelled(id): id for id in ids}
    return [spellings.get(text, text) for text in said]


def judge(model: str, file: str, out: Path) -> int:
    """A filed recommender on later events."""
    from nnrec import load
    from nnrec.data.interactions import Ids
    from nnrec.files import describe
    from nnrec.ranking_study import CUTS, Standing

    told, shop = describe(model)["metrics"], load(model)
    if "columns" not in told:
        raise ValueError(f"{model}: not a file of `nnrec fit-recommender`, which names its columns")
    columns = {name: told["columns"][name] for name in ("user", "item")}
    with about(file):
        log, page, mind = opened(file, columns, f"{Path(model).name} on {Path(file).name}")
        make_folder(out)
        # One code with a letter makes text of all numbers in a file: ids meet by their spelling.
        log.users, log.items = (
            Ids(as_known(known, map(spelled, ids)))
            for known, ids in ((shop.users, log.users), (shop.items, log.items))
        )
        standing = Standing(shop.evaluate(log, n=CUTS))
    print(f"{mind}{log}\n\n{standing}")
    standing.tell(page)
    page.save(out / "report.html")
    print(f"\nFigures and pictures: {out / 'report.html'}")
    return 0
