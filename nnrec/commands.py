"""What each subcommand of `nnrec` does: a function that prints, and returns the exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnrec.data.tables import about
from nnrec.data.writing import make_folder, write_csv
from nnrec.recommending import compete, judge, shelve

if TYPE_CHECKING:
    from nnrec.data import Table
    from nnrec.data.dirt import Ledger
    from nnrec.estimators import NeuralClassifier
    from nnrec.nn import Network
    from nnrec.study import Question, Study


def demo(out: Path, seed: int) -> int:
    """The main job on a synthetic shop: 0 if both models come near enough to what is achievable."""
    from nnrec.data import Table
    from nnrec.data.dirt import plant_dirt
    from nnrec.data.synthetic import shop
    from nnrec.ranking_study import RankingStudy, read_log
    from nnrec.report import Report
    from nnrec.study import Question, Study

    make_folder(out)
    made_up = shop(sessions=120_000, rng=seed)
    dirty, ledger = plant_dirt(made_up.sessions, rng=seed)
    write_csv(out / "sessions.csv", {name: dirty[name] for name in dirty})
    print("A made-up shop, 1: will this visit end in a purchase? Sessions, spoilt as real ones.\n")
    study = Study.plan(Question("purchase"), Table.read(out / "sessions.csv"), seed=seed)
    carry_out(study, truth=made_up.probability[ledger.source])
    print_dirt(study, ledger)
    model = file_away(study, out)

    print("\nA made-up shop, 2: what may this customer like? Who viewed what, and when.\n")
    views = made_up.events.take(made_up.events["event"] == "view")
    write_csv(out / "views.csv", {name: views[name] for name in ("customer", "item", "time")})
    log, _ = read_log(Table.read(out / "views.csv"), "customer", "item", time="time")
    ranking = RankingStudy.plan(log, "blend", share=0.2, seed=seed)
    people, goods = made_up.customers["customer"].tolist(), made_up.items["item"].tolist()
    who, what = (list(map(at.index, ids)) for at, ids in ((people, log.users), (goods, log.items)))
    compete(ranking, lambda users: made_up.true_affinity(np.array(who)[users])[:, what])
    shelf = shelve(ranking, out, {"user": "customer", "item": "item", "time": "time"})

    bought, liked = study.evaluation.achieved, ranking.standing.achieved
    outcome = (
        f"The model reaches {bought:.1%} of what is achievable; the goal is 97 %.",
        f"The recommender reaches {liked:.1%} of what is achievable; the goal is 88 %.",
    )
    page = Report("A made-up shop").text(" ".join(outcome))
    page.heading("Will this visit end in a purchase?")
    study.tell(page)
    page.heading("What may this customer like?")
    ranking.tell(page, dict(zip(goods, made_up.items["title"].tolist())))
    page.save(out / "report.html")
    print(f"{out / 'report.html'}: figures and pictures of both.\n")
    print("\n".join(outcome))
    print(f"Go on: nnrec inspect {model}")
    print(f"       nnrec train {out / 'sessions.csv'} --label purchase")
    print(f"       nnrec recommend {shelf} --user {people[0]}")
    return 0 if bought >= 0.97 and liked >= 0.88 else 1


def print_dirt(study: Study, ledger: Ledger) -> None:
    """The dirt planted in the training part, and how much of it the cleaning found."""
    train = set(study.parts["train"].tolist())
    types = study.X.types
    numbers = {name: rows for name, rows in ledger.missing.items() if types[name] != "text"}
    print("Dirt in the training part, planted and found:")
    kinds = ("repeated rows", "invalid categories", "outliers", "missing numbers and times")
    planted = ({"": ledger.duplicates}, ledger.invalid, ledger.outliers, numbers)
    for kind, columns, line in zip(kinds, planted, study.model.cleaning_report_.lines):
        n = sum(row in train for rows in columns.values() for row in rows.tolist())
        print(f"  {kind}: {n:,} and {sum(line.cells.values()) or line.rows:,}")
    print()


def train(file: str, label: str, positive: str | None, out: Path, **choices: Any) -> int:
    """Train on a user's table; drop, group, time, epochs and seed as `Study.plan` takes them."""
    from nnrec.data import Table
    from nnrec.report import Report
    from nnrec.study import Question, Study

    with about(file):
        study = Study.plan(Question(label, positive), Table.read(file), **choices)
        make_folder(out)
        carry_out(study)
    path = file_away(study, out)
    page = Report(f"{study.question}? {Path(file).name}")
    study.tell(page)
    page.save(out / "report.html")
    print(f"{out / 'report.html'}: figures and pictures.")
    print(f"\nGo on: nnrec predict {path} FILE")
    return 0


def carry_out(study: Study, truth: Any = None) -> None:
    """Train and judge, and print each step."""
    print(f"Read: {study.X.describe()}\n")
    print(f"The question: {study.question}.\n{study.summary()}\n")
    study.model.verbose = int(sys.stderr.isatty())
    study.train()
    print(f"Cleaning, learned from the training part: {study.model.cleaning_report_}\n")
    print(f"Features: {study.model.features_}\n")
    for text in study.warnings():
        print(f"Mind: {text}\n")
    print(f"{study.model.networks_[0].summary()}\n")
    print(f"Training:\n{study.model.histories_[0]}\n")
    print(f"On the test part, which played no part in training:\n{study.judge(truth)}\n")


def file_away(study: Study, out: Path) -> Path:
    """Write the model, and the test part's predictions by the model as loaded."""
    from nnrec import load, save

    path = out / "model.safetensors"
    save(study.model, path, metrics=study.figures())
    test, _ = study.part("test")
    forecast = predictions(load(path), test, study.parts["test"] + 1)
    if (forecast["probability"] != study.model.predict_proba(test)[:, 1]).any():
        raise ValueError(f"{path}: the loaded model predicts other bits than the saved one")
    write_csv(out / "predictions.csv", forecast)
    print(f"{path}: saved, loaded again, and it predicts the same bits for {len(test):,} rows.")
    print(f"{out / 'predictions.csv'}: those predictions.")
    return path


def evaluate(model: str, file: str, out: Path) -> int:
    """Judge a filed model on a labelled table, or a recommender on later events."""
    from nnrec.files import describe
    from nnrec.report import Report
    from nnrec.study import Evaluation

    if describe(model)["class"] == "Recommender":
        return judge(model, file, out)
    classifier, question = trained(model)
    with about(file):
        X, y = question.of(read(file, classifier))
        make_folder(out)
        evaluation = Evaluation.of(classifier, question, X, y)
    page = Report(f"{question}? {Path(model).name} on {Path(file).name}")
    for text in question.warnings():
        print(f"Mind: {text}\n")
        page.note(text)
    print(f"{len(y):,} rows, {y.sum():,} with {question}\n\n{evaluation}")
    evaluation.tell(page)
    page.save(out / "report.html")
    print(f"\nFigures and pictures: {out / 'report.html'}")
    return 0


def predict(model: str, file: str, out: Path | None, keep: list[str]) -> int:
    """Write each row's probability, as CSV."""
    classifier, question = trained(model)
    with about(file):
        table = read(file, classifier)
        forecast = predictions(classifier, table, range(1, len(table) + 1))
        for name in keep:
            if name in forecast:
                raise ValueError(f"--keep {name!r}: a column of the predictions has this name")
        kept = {name: table[name] for name in keep}
    write_csv(out or sys.stdout, forecast | kept)
    if out:
        print(f"{out}: {len(table):,} rows; the probability is that of {question}")
    return 0


def inspect(model: str) -> int:
    """Print what a model file says of itself, whatever it is of; no array is read."""
    from nnrec.files import describe

    found = describe(model)
    lines = ["{class}, {bytes:,} bytes, {parameters:,} parameters".format_map(found)]
    told = {"written by": found["provenance"], "checkpoint": found["checkpoint"]}
    for name, values in (told | found["metrics"]).items():
        parts = values.items() if isinstance(values, dict) else [("", values)]
        words = (f" {k}".rstrip() + f" {v:{'.4g' * isinstance(v, float)}}" for k, v in parts)
        lines += [f"{name}:{','.join(words)}"] if parts else []
    lines += [*found["outline"], *(f"{name}: {of}" for name, of in found["arrays"].items())]
    for line in lines:  # a terminal would obey a file's control characters
        print("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line))
    return 0


def trained(model: str) -> tuple[NeuralClassifier, Question]:
    """The classifier of a file of `nnrec train`, and the question it answers."""
    from nnrec import NeuralClassifier, load
    from nnrec.files import describe
    from nnrec.study import Question

    classifier, told = load(model), describe(model)["metrics"]
    if not isinstance(classifier, NeuralClassifier) or "positive" not in told:
        raise ValueError(f"{model}: not a model of `nnrec train`; `nnrec inspect` says what it is")
    return classifier, Question(told["label"], told["positive"])


def read(file: str, classifier: NeuralClassifier) -> Table:
    """The table, each column of its type in training: there "1.0" beside "beta" is no number."""
    from nnrec.data import Table

    table, learned = Table.read(file), classifier.cleaning_
    if learned is None:
        return table
    inputs = set(table.names) - {learned.label}
    known = {name: type_ for name, type_ in learned.types.items() if name in inputs}
    same = all(table.types[name] == type_ for name, type_ in known.items())
    return table if same else Table.read(file, types=known)


def predictions(classifier: NeuralClassifier, table: Table, rows: Iterable[int]) -> dict[str, Any]:
    """The columns of a file of predictions; rows are counted from 1."""
    prob = classifier.predict_proba(table)[:, 1]
    return {"row": rows, "probability": prob, "predicted": prob >= classifier.threshold_}


def check(seed: int) -> int:
    """Print the table of gradient checks and that of planted mistakes."""
    from nnrec.teach import MISTAKES, SPECIMENS

    wrong, checks, methods = [], 0, ("complex", "exact", "central", "taylor")
    print("The error of each gradient by each method, relative to the norm of the whole gradient")
    print("(taylor: 2 - slope of the remainder); exact, in fractions, must be 0.")
    for kind in dict.fromkeys(specimen.kind for specimen in SPECIMENS.values()):
        print(f"\n{kind:<30}" + "".join(f"{method:>10}" for method in methods))
        for specimen in (s for s in SPECIMENS.values() if s.kind == kind):
            cells = []
            for method in methods:
                if method not in specimen.methods:
                    cells.append("-")
                    continue
                report = specimen.case(seed).check(method)
                checks += 1
                cells.append(f"{report.error:.1e}" if report.error else "0")
                if not report:
                    wrong.append(str(report))
                    cells[-1] = "WRONG"
            print(f"{specimen.name:<30}" + "".join(f"{cell:>10}" for cell in cells))

    missed, planted = [], 0
    print(
        "\nEach mistake planted wherever it changes a gradient or breaks the contract of a layer:"
    )
    print("how often it is rejected, the smallest error by complex, and how often by the contract.")
    print(f"\n{'mistake':<30}{'rejected':>10}{'error':>10}{'contract':>10}")
    for mistake in MISTAKES.values():
        cases = [(s.name, s.case(seed).plant(mistake)) for s in SPECIMENS.values()]
        reports = {name: case.check("complex") for name, case in cases if case}
        accepted = [name for name, report in reports.items() if report]
        by_contract = sum(bool(report.violations) for report in reports.values())
        errors = [r.error for r in reports.values() if not r and not r.violations]
        rejected = f"{len(reports) - len(accepted)} of {len(reports):>2}"
        error = f"{min(errors):.1e}" if errors else "-"
        print(f"{mistake.name:<30}{rejected:>10}{error:>10}{by_contract or '-':>10}")
        planted += len(reports)
        if accepted or not reports:
            missed.append(mistake.name)
            print(f"  ACCEPTED: {', '.join(accepted)}" if accepted else "  shows nowhere")

    print()
    for text in wrong:
        print(f"{text}\n")
    right = f"{checks - len(wrong)} of {checks} checks of {len(SPECIMENS)} gradients passed"
    found = f"{len(MISTAKES) - len(missed)} of {len(MISTAKES)} mistakes rejected"
    print(f"{'FAILED' if wrong or missed else 'All well'}: {right}; {found} ({planted} cases).")
    return 1 if wrong or missed else 0


def explain(
    model: str | None, data: str | None, row: int, label: list[str], out: Path | None, **how: Any
) -> int:
    """Print a network at work, or write it to a file; how: format, focus and digits."""
    from nnrec.teach import explain
    from nnrec.teach.explanations import document_network

    if (model is None) != (data is None):
        raise ValueError("MODEL and --data FILE go together: a network, and what to show it")
    example = filed_example(model, data, row, label) if model and data else document_network()
    explanation = explain(*example, **how)
    if out:
        explanation.save(out)
        print(f"{out}: a step of training, as {explanation.format}")
    else:
        print(explanation)
    return 0 if explanation.trace.ok else 1


def filed_example(model: str, data: str, row: int, label: list[str]) -> tuple[Network, Any, Any]:
    """The network of a file, of an ensemble the first, and a row of a table as its x and y."""
    from nnrec import Network, Table, load
    from nnrec.data.columns import missing

    network, table = load(model), Table.read(data)
    if row > len(table):
        raise ValueError(f"{data}: row {row}, expected 1 to {len(table):,}")
    if isinstance(network, Network):
        names = label or table.names[-1:]
        one, rest = table.take([row - 1]), table.without(*names).names
        if text := [name for name in table.names if one[name].dtype.kind not in "biuf"]:
            raise ValueError(f"{data}: {text[0]!r} holds no numbers, which a Network takes")
        y = np.column_stack([one[name] for name in names])
        if network.layer.takes_ids:
            return network, tuple(one[name] for name in rest), y
        x = np.column_stack([one[name] for name in rest]).astype(float)
        return network, x, y[:, 0] if network.loss.takes_labels and len(names) == 1 else y
    classifier, question = trained(model)
    X, y = question.of(table)
    at = np.flatnonzero(~missing(table[question.label])) == row - 1
    if not at.any():
        raise ValueError(f"{data}: row {row} has no {question.label!r}, so it has no loss")
    return classifier.networks_[0], classifier.inputs(X.take(at)), y[at].astype(float)


def exercise(kind: str, seeds: range, out: Path, format: str, **settings: Any) -> int:
    """Write a sheet and its key for each seed; settings: difficulty and fractions."""
    from nnrec.teach import exercise

    for seed in seeds:
        exercise(kind, seed, **settings).save(out, format)
    print(f"{out}: {len(seeds)} sheets, each with its key, as {format}")
    return 0
