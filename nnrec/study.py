"""A study: one table, one yes-or-no question; a model trained, judged on unseen rows, and told of.

The document's §3.2 and §4.3 in order: collect, clean, extract features, train, evaluate, with what
they leave out: equal rows never stand on two sides of the split, the threshold is chosen on the
validation part, the test part is used once, every figure has an interval and stands beside
baselines.  The command line's `demo`, `train` and `evaluate` are made of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np

from nnrec import metrics, plots
from nnrec.data import Categories, Cleaning, Clip, DropDuplicates, Fill, Table, equal_rows, split
from nnrec.data.columns import Array, factorize, missing, short, spelled
from nnrec.data.tables import grid
from nnrec.estimators import NeuralClassifier
from nnrec.metrics.classification import Metric
from nnrec.nn import AdamW
from nnrec.report import Report

RANKING: Mapping[str, Metric] = {
    "ROC AUC": metrics.roc_auc,
    "average precision": metrics.average_precision,
    "log loss": metrics.log_loss,
    "Brier score": metrics.brier,
}
DECIDING: Mapping[str, Metric] = {
    "accuracy": metrics.accuracy,
    "balanced accuracy": metrics.balanced_accuracy,
    "precision": metrics.precision,
    "recall": metrics.recall,
    "F1": metrics.f1,
    "MCC": metrics.matthews_corrcoef,
}
NETWORK, LOGISTIC, MAJORITY, TRUTH = "network", "logistic regression", "majority", "optimum"
ABOUT = {
    NETWORK: "the model of this report",
    LOGISTIC: "a network of one Dense layer on the same features",
    MAJORITY: "the training part's share of {positive} for every row",
    TRUTH: "the true probabilities: no model can rank better, but by luck",
}
LEAK = 0.99
"""A column that alone has this AUC is suspected to be known only after the fact."""


@dataclass
class Question:
    """Which rows of a table are to be told from the rest: those where `label` is `positive`.

    positive: as spelled in the table; None is the last of two values (True, 1, "yes").

    >>> orders = Table({"paid": ["no", "yes", None, "no"], "pieces": [1, 2, 3, 4]})
    >>> question = Question("paid")
    >>> X, y = question.of(orders)
    >>> print(question, "|", question.unlabelled, len(X), y)
    paid = yes | 1 3 [False  True False]
    """

    label: str
    positive: str | None = None
    unlabelled: int = field(default=0, init=False)

    def of(self, table: Table) -> tuple[Table, Array]:
        """The rows that have a label, without it, and whether theirs is the positive one."""
        codes, values = factorize(table[self.label])
        names = [spelled(value) for value in values.tolist()]
        some = ", ".join(map(short, names[:5])) + ", …" * (len(names) > 5)
        if self.positive is None:
            if len(names) != 2:
                raise ValueError(
                    f"label {self.label!r} has {len(names)} values ({some}), expected 2: "
                    "--positive VALUE asks for one of them"
                )
            order = np.argsort(values, kind="stable")
            self.positive = names[order[1]]
        same = [i for i, name in enumerate(names) if _said(name) == _said(self.positive)]
        if not same:
            raise ValueError(f"label {self.label!r} is never {self.positive!r}; it is {some}")
        y = codes == same[0]
        labelled = codes >= 0
        self.unlabelled = int(np.count_nonzero(~labelled))
        if y[labelled].all():
            raise ValueError(f"label {self.label!r} is {self.positive!r} in every row")
        return table.take(labelled).without(self.label), y[labelled]

    def warnings(self) -> list[str]:
        """What was left out, after `of`."""
        text = f"{self.unlabelled:,} rows have no {self.label!r} and were left out."
        return [text] if self.unlabelled else []

    def __str__(self) -> str:
        return f"{self.label} = {self.positive}"


def _said(value: str) -> str:
    """True is 1, as it becomes in a column beside a missing value; small letters are as good."""
    return {"true": "1", "false": "0"}.get(value.lower(), value)


class Forecast(NamedTuple):
    """Probabilities (n,) of the positive class, and from which on a row is called positive."""

    prob: Array
    threshold: float


@dataclass
class Evaluation:
    """How well forecasts of the same rows, by name, foretold y (n,) bool; the model's is first."""

    question: Question
    y: Array
    forecasts: dict[str, Forecast]
    importance: dict[str, tuple[float, float]] = field(default_factory=dict)
    resamples: int = 300

    @classmethod
    def of(cls, model: NeuralClassifier, question: Question, X: Table, y: Array) -> Self:
        """Of a fitted model on these rows."""
        forecast = Forecast(model.predict_proba(X)[:, 1], model.threshold_)
        importance = permutation_importance(model, X, y)
        return cls(question, y, {NETWORK: forecast}, importance)

    def value(self, metric: str, name: str = NETWORK) -> float:
        """One metric of one forecast."""
        function, estimate = self._metric(metric, name)
        return function(self.y, estimate)

    def interval(self, metric: str, name: str = NETWORK) -> metrics.Interval:
        """The same with its 95 % bootstrap interval, each class resampled for itself."""
        function, estimate = self._metric(metric, name)
        return metrics.bootstrap(function, self.y, estimate, n=self.resamples, stratify=True)

    def _metric(self, metric: str, name: str) -> tuple[Metric, Array]:
        prob, threshold = self.forecasts[name]
        if metric in RANKING:
            return RANKING[metric], prob
        return DECIDING[metric], prob >= threshold

    @property
    def achieved(self) -> float:
        """(AUC − ½) / (AUC of the true probabilities − ½), where those are known."""
        return (self.value("ROC AUC") - 0.5) / (self.value("ROC AUC", TRUTH) - 0.5)

    @cached_property
    def lines(self) -> list[list[str]]:
        """A header and a line a metric: the model's with its interval, the others' values."""
        others = list(self.forecasts)[1:]
        lines = [["", NETWORK, "95 % interval", *others]]
        for metric in (*RANKING, *DECIDING):
            value, low, high = self.interval(metric)
            cells = [f"{self.value(metric, name):.4f}" for name in others]
            lines.append([metric, f"{value:.4f}", f"{low:.4f} to {high:.4f}", *cells])
        thresholds = [f"{forecast.threshold:.3f}" for forecast in self.forecasts.values()]
        lines.append(["threshold", thresholds[0], "", *thresholds[1:]])
        return lines

    def __str__(self) -> str:
        return grid(self.lines, "<" + ">" * (len(self.lines[0]) - 1))

    def tell(self, page: Report) -> None:
        """Add the figures and the pictures to a page."""
        y, n, positives = self.y, len(self.y), int(self.y.sum())
        prob, threshold = self.forecasts[NETWORK]
        auc, ap = self.interval("ROC AUC"), self.interval("average precision")
        tiles = {
            "ROC AUC": (f"{auc.value:.3f}", f"95 %: {auc.low:.3f} to {auc.high:.3f}"),
            "average precision": (f"{ap.value:.3f}", f"by chance: {positives / n:.3f}"),
            "F1": (f"{self.value('F1'):.3f}", f"from probability {threshold:.3f} on"),
        }
        if TRUTH in self.forecasts:
            best = self.value("ROC AUC", TRUTH)
            about = f"(AUC − ½) / ({best:.3f} − ½)"
            tiles["of the achievable"] = (f"{self.achieved:.1%}", about)
        page.tiles(tiles)
        page.text(
            f"Of two rows, one with {self.question} and one without, the model gives the first "
            f"the higher probability in {auc.value:.1%} of all pairs. {n:,} rows were judged, "
            f"{positives:,} of them with {self.question} ({positives / n:.1%})."
        )
        header, *lines = self.lines
        page.table(header, lines)
        about = "; ".join(f"{name}: {ABOUT[name]}" for name in self.forecasts)
        page.text(f"{about.format(positive=self.question)}. Each decides at its own threshold.")
        curves = {name: f.prob for name, f in self.forecasts.items() if name != MAJORITY}
        pictures = {
            "How many of the rows sought are found, against false alarms": plots.roc(y, curves),
            "How many of the rows found are right, as more are found": plots.precision_recall(
                y, curves
            ),
            "Whether a predicted 30 % happens 30 % of the time": plots.reliability(y, prob),
            f"Decisions at the threshold {threshold:.3f}": plots.confusion(
                y, prob >= threshold, [False, True]
            ),
        }
        page.figures(pictures)
        if self.importance:
            means = {name: mean for name, (mean, _) in self.importance.items()}
            errors = {name: sd for name, (_, sd) in self.importance.items()}
            page.heading("Which columns matter")
            page.text(
                "How much AUC the model loses when one column's values are shuffled among these "
                "rows (mean and standard deviation of three shuffles). Columns that say the same "
                "share their worth, and each alone then looks small."
            )
            picture = plots.bars(means, errors, "Permutation importance", "loss of ROC AUC")
            page.figures({"A line through a bar's end is one standard deviation": picture})


@dataclass
class Study:
    """A question put to a table: the parts of its rows, the model, and how well it does.

    parts: "train", "validation" and "test" → rows of X.  alone: column → its AUC alone.
    """

    question: Question
    X: Table
    y: Array
    parts: dict[str, Array]
    model: NeuralClassifier
    logistic: NeuralClassifier
    alone: dict[str, float] = field(default_factory=dict)
    evaluation: Evaluation = field(init=False)

    @classmethod
    def plan(
        cls,
        question: Question,
        table: Table,
        *,
        drop: Sequence[str] = (),
        group: str | None = None,
        time: str | None = None,
        epochs: int | None = None,
        seed: int = 0,
    ) -> Self:
        """Split the rows, 8 : 1 : 1, and choose the models; nothing is learned yet.

        group: a column, such as the customer's id, whose equal values stay on one side and which is
        no input.  time: a column by which training comes first and the test last.
        """
        if not set(table.names) - {question.label, group, *drop}:
            raise ValueError(f"no column is left beside {question.label!r} to learn from")
        X, y = question.of(table)
        for name in filter(None, (group, time)):
            if gaps := np.count_nonzero(missing(X[name])):
                found = f"missing in {gaps:,} of {len(X):,} rows"
                raise ValueError(f"column {name!r} is {found}, expected a value in each")
        if time is not None and X.types[time] in ("text", "boolean"):
            raise ValueError(f"column {time!r} is {X.types[time]}, expected datetime or number")
        ids = X[group] if group else equal_rows(X)
        choice = {"time": X[time]} if time else {"stratify": y, "groups": ids, "rng": seed}
        try:
            parts = split(X, **choice)
        except ValueError as error:
            found = f"{question} in {y.sum():,} of {len(y):,} rows"
            raise ValueError(f"{found}: {error}") from None
        for name, rows in parts.items():
            if len(set(y[rows].tolist())) < 2:
                which = "every" if y[rows].all() else "no"
                raise ValueError(f"the {name} part has {question} in {which} row; expected both")
        X = X.without(*drop, *([group] if group else ()))
        n = len(parts["train"])
        batch = 128 if n >= 10_000 else 32

        def classifier(hidden: Sequence[int], rate: float, decay: float, epochs: int) -> Any:
            return NeuralClassifier(
                hidden,
                epochs=epochs,
                batch_size=batch,
                optimizer=AdamW(rate, weight_decay=decay),
                early_stopping=max(4, epochs // 4),
                threshold="f1",
                cleaning=cleaning(X.take(parts["train"])),
                dtype="float32",
                random_state=seed,
            )

        def enough(steps: int) -> int:  # a small table needs more rounds, a baseline its best
            return max(10, steps * batch // n)

        model = classifier((128, 64, 32), 0.002, 0.5, epochs or enough(2_000))
        logistic = classifier((), 0.01, 0.01, enough(4_000))
        return cls(question, X, y, parts, model, logistic)

    def part(self, name: str) -> tuple[Table, Array]:
        """The rows of a part, and their y."""
        return self.X.take(self.parts[name]), self.y[self.parts[name]]

    def train(self) -> None:
        """Fit both models on the training part; thresholds by the validation part."""
        train, held = self.part("train"), self.part("validation")
        for model in (self.model, self.logistic):
            model.fit(*train, validation_data=held)
        self.alone = {name: auc_alone(name, *train, *held) for name in self.X.names}

    def judge(self, truth: Array | None = None) -> Evaluation:
        """Look at the test part, once.  truth: the true probabilities of all rows, if known."""
        X, y = self.part("test")
        self.evaluation = Evaluation.of(self.model, self.question, X, y)
        forecasts = self.evaluation.forecasts
        logistic, share = self.logistic, self.y[self.parts["train"]].mean()
        forecasts[LOGISTIC] = Forecast(logistic.predict_proba(X)[:, 1], logistic.threshold_)
        forecasts[MAJORITY] = Forecast(np.full(len(y), share), 0.5)
        if truth is not None:
            held = self.parts["validation"]
            threshold = metrics.best_threshold(self.y[held], truth[held])
            forecasts[TRUTH] = Forecast(truth[self.parts["test"]], threshold)
        return self.evaluation

    def warnings(self) -> list[str]:
        """What the reader should look into before believing the figures."""
        found = self.question.warnings()
        for name, area in self.alone.items():
            if area <= LEAK:
                continue
            found.append(
                f"Column {name!r} alone tells {self.question} from the rest (AUC {area:.4f}). Is "
                f"it known at the moment of prediction? If not, leave it out: --drop {name!r}."
            )
        return found

    def summary(self) -> str:
        """The parts of the rows, and how many are positive in each."""
        lines = [("part", "rows", str(self.question), "share")]
        for name, rows in self.parts.items():
            y = self.y[rows]
            lines.append((name, f"{len(y):,}", f"{y.sum():,}", f"{y.mean():.1%}"))
        return grid(lines, "<>>>")

    def figures(self) -> dict[str, Any]:
        """What goes into the model's file with it, as JSON values."""
        return {
            "label": self.question.label,
            "positive": self.question.positive,
            "rows": {name: len(rows) for name, rows in self.parts.items()},
            "test": {name: self.evaluation.value(name) for name in (*RANKING, *DECIDING)},
        }

    def tell(self, page: Report) -> None:
        """Add the whole study to a page."""
        for text in self.warnings():
            page.note(text)
        self.evaluation.tell(page)
        page.heading("Training")
        page.text(
            "The training part taught the model; the validation part chose the epoch, by its loss, "
            "and the threshold, by F1; the test part gave the figures above. Equal rows stand in "
            "one part."
        )
        page.listing(self.summary())
        curve = plots.learning_curve(self.model.histories_[0])
        page.figures({"Training loss is measured with dropout, validation loss without": curve})
        page.listing(self.model.networks_[0].summary())
        page.heading("Cleaning, learned from the training part")
        page.listing(str(self.model.cleaning_report_))
        page.heading("Features, learned from the training part")
        page.listing(str(self.model.features_))
        page.heading("Each column alone")
        page.text(
            "AUC on the validation part of a number by its size, of a text by its training rows' "
            "share of positives. One near 1 is too good to be true."
        )
        alone = sorted(self.alone.items(), key=lambda pair: -pair[1])
        page.table(["column", "AUC alone"], [[name, f"{area:.3f}"] for name, area in alone])


def cleaning(train: Table) -> Cleaning:
    """The rules for a table of which only types and categories are known.

    Repeated rows go; numbers far outside become the nearest bound; missing numbers and times the
    median, with an indicator; of a text column with few values, those that less than one row in a
    thousand has become missing, which features know as "unknown".

    >>> table = Table({"size": ["S", "M", "S", "M", "?"], "pieces": [1, 1, 2, 2, 2]})
    >>> print(cleaning(table).fit_transform(table)[1])
    5 rows came, 5 are left
    rule                                   rows  cells  columns
    drop repeated rows                        0
    invalid categories become missing         1      1  size 1
    clip beyond 20.0 interquartile ranges     0
    fill missing values with the median       0
    """
    rules: list[Any] = [DropDuplicates()]
    texts = [name for name, type_ in train.types.items() if type_ == "text"]
    if few := [name for name in texts if len(factorize(train[name])[1]) <= 100]:
        rules.append(Categories(few, min_count=max(2, len(train) // 1_000)))
    return Cleaning([*rules, Clip(iqr=20.0), Fill(how="median")])


def auc_alone(name: str, train: Table, y: Array, held: Table, y_held: Array) -> float:
    """How well one column alone ranks the held-out rows, in either direction, ½ to 1.

    >>> table = Table({"size": ["S", "L", None, "L"]})
    >>> auc_alone("size", table, np.array([0, 1, 0, 1]), table, np.array([0, 1, 0, 1]))
    1.0
    """
    column = held[name]
    if column.dtype.kind == "O":
        codes, values = factorize(train[name])
        counts = np.bincount(codes + 1, minlength=len(values) + 1)
        shares = (np.bincount(codes + 1, y, len(values) + 1) + y.mean()) / (counts + 1)
        score = dict(zip([None, *values.tolist()], shares.tolist()))
        column = np.array([score.get(value, y.mean()) for value in column.tolist()])
    order = np.where(missing(column), -np.inf, column.astype(np.float64))
    area = metrics.roc_auc(y_held, order)
    return max(area, 1 - area)


def permutation_importance(
    model: NeuralClassifier, X: Table, y: Array, repeats: int = 3, most: int = 4_000
) -> dict[str, tuple[float, float]]:
    """Column → mean and sd of the AUC lost when its values are shuffled (Breiman 2001, §10).

    On at most `most` rows of X, the same for every column.
    """
    rng = np.random.default_rng(0)
    rows = np.sort(rng.permutation(len(X))[:most])
    X, y = X.take(rows), y[rows]

    def area(table: Table) -> float:
        return metrics.roc_auc(y, model.predict_proba(table)[:, 1])

    whole, lost = area(X), {}
    for name in model.feature_names_in_.tolist():
        values = [X[name][rng.permutation(len(X))] for _ in range(repeats)]
        losses = [whole - area(X.with_columns({name: column})) for column in values]
        lost[name] = (float(np.mean(losses)), float(np.std(losses)))
    return lost
