"""A study: what is asked, how rows are parted, what is said of the model."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from nnrec import metrics
from nnrec.data import Table, equal_rows
from nnrec.report import Report
from nnrec.study import (
    DECIDING,
    LOGISTIC,
    MAJORITY,
    NETWORK,
    RANKING,
    TRUTH,
    Evaluation,
    Forecast,
    Question,
    Study,
    auc_alone,
)

N = 1_009


def visits(rng: int = 0) -> tuple[Table, np.ndarray]:
    """A table of N rows and the true probabilities; every third row stands there twice or more."""
    draw = np.random.default_rng(rng)
    pages = draw.integers(1, 40, N)
    kind = np.array(["new", "old", "早"], dtype=object)[draw.integers(3, size=N)]
    prob = 1 / (1 + np.exp(-(pages - 25) / 4 - (kind == "old")))
    noise = draw.integers(5, size=N)
    table = Table({"pages": pages, "kind": kind, "noise": noise, "bought": draw.random(N) < prob})
    return table, prob


@pytest.fixture(scope="module")
def study() -> Study:
    table, prob = visits()
    study = Study.plan(Question("bought"), table)
    study.train()
    study.judge(prob)
    return study


@pytest.mark.parametrize(
    ("column", "positive", "chosen"),
    [
        ([False, True, True], None, "True"),
        ([0, 1, None], None, "1"),
        (["yes", "no", None], None, "yes"),
        (["yes", "no", None], "no", "no"),
        ([3, 5, 4, None], "5", "5"),
        ([0.5, 1.5, 1.5], None, "1.5"),
        ([False, True, True], "FALSE", "FALSE"),
        ([0, 1, None], "True", "True"),
    ],
)
def test_question_finds_its_rows(column: list, positive: str | None, chosen: str) -> None:
    question = Question("label", positive)
    X, y = question.of(Table({"label": column, "x": range(len(column))}))
    labelled = [i for i, value in enumerate(column) if value is not None]
    assert question.positive == chosen and str(question) == f"label = {chosen}"
    assert X["x"].tolist() == labelled and X.names == ["x"]
    same = {"FALSE": False, "True": True}.get(chosen, chosen)
    assert y.tolist() == [column[i] == same or str(column[i]) == chosen for i in labelled]
    assert question.unlabelled == len(column) - len(labelled)
    assert len(question.warnings()) == (question.unlabelled > 0)


@pytest.mark.parametrize(
    ("column", "positive", "said"),
    [
        (
            ["a", "b", "c"],
            None,
            "'label' has 3 values .'a', 'b', 'c'., expected 2: --positive VALUE",
        ),
        (["a", "a"], None, "has 1 values"),
        ([None, None], None, "has 0 values"),
        (["a", "b"], "z", "is never 'z'; it is 'a', 'b'"),
        (["a", "a"], "a", "is 'a' in every row"),
    ],
)
def test_question_without_an_answer(column: list, positive: str | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Question("label", positive).of(Table({"label": column}, {"label": "text"}))


def test_equal_rows_stand_in_one_part_and_shares_are_kept() -> None:
    table, _ = visits()
    study = Study.plan(Question("bought"), table)
    rows = np.concatenate(list(study.parts.values()))
    assert sorted(rows.tolist()) == list(range(N))
    ids = equal_rows(table.without("bought"))
    assert len(np.unique(ids)) < 0.7 * N, "there are equal rows"
    sides = [set(ids[rows].tolist()) for rows in study.parts.values()]
    assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]
    for rows in study.parts.values():
        assert study.y[rows].mean() == pytest.approx(study.y.mean(), abs=0.02)


def test_a_groups_rows_stand_in_one_part_and_it_is_no_input() -> None:
    table, _ = visits()
    customer = np.arange(N) % 97
    study = Study.plan(
        Question("bought"), table.with_columns({"customer": customer}), group="customer"
    )
    assert study.X.names == ["pages", "kind", "noise"]
    sides = [set(customer[rows].tolist()) for rows in study.parts.values()]
    assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]


def test_by_time_the_latest_rows_are_judged() -> None:
    table, _ = visits()
    day = np.random.default_rng(1).integers(300, size=N)
    study = Study.plan(
        Question("bought"), table.with_columns({"day": day}), time="day", drop=["noise"]
    )
    assert study.X.names == ["pages", "kind", "day"]
    train, validation, test = (day[rows] for rows in study.parts.values())
    assert train.max() < validation.min() and validation.max() < test.min()


def test_a_part_of_one_class_is_an_error() -> None:
    table, _ = visits()
    late = Table({"day": np.arange(N), "bought": np.arange(N) % 2 > np.arange(N) // 850})
    with pytest.raises(ValueError, match="test part has bought = True in no row"):
        Study.plan(Question("bought"), late, time="day")


def test_figures_are_the_metrics_of_the_test_part(study: Study) -> None:
    X, y = study.part("test")
    prob = study.model.predict_proba(X)[:, 1]
    evaluation = study.evaluation
    assert list(evaluation.forecasts) == [NETWORK, LOGISTIC, MAJORITY, TRUTH]
    for name, metric in RANKING.items():
        assert evaluation.value(name) == metric(y, prob)
    for name, metric in DECIDING.items():
        assert evaluation.value(name) == metric(y, study.model.predict(X))
    share = study.y[study.parts["train"]].mean()
    assert evaluation.value("Brier score", MAJORITY) == metrics.brier(y, np.full(len(y), share))
    assert evaluation.value("ROC AUC", MAJORITY) == 0.5
    best = evaluation.value("ROC AUC", TRUTH)
    _, prob = visits()
    assert best == metrics.roc_auc(y, prob[study.parts["test"]])
    assert evaluation.achieved == (evaluation.value("ROC AUC") - 0.5) / (best - 0.5)
    assert study.figures()["test"]["F1"] == evaluation.value("F1")
    for interval in map(evaluation.interval, ("ROC AUC", "F1")):
        assert interval.low < interval.value < interval.high


def test_thresholds_come_from_the_validation_part(study: Study) -> None:
    X, y = study.part("validation")
    for model in (study.model, study.logistic):
        prob = model.predict_proba(X)[:, 1]
        assert model.threshold_ == metrics.best_threshold(y, prob)
    assert study.logistic.networks_[0].summary().count("Dense") == 1


def test_the_logistic_baseline_is_as_good_as_scikit_learns(study: Study) -> None:
    train, y = study.part("train")
    X, held = study.part("test")
    cleaned, _ = study.logistic.cleaning_.transform(train)
    oracle = LogisticRegression().fit(study.logistic.features_.transform(cleaned), y)
    theirs = oracle.predict_proba(study.logistic.inputs(X))[:, 1]
    value = study.evaluation.value("log loss", LOGISTIC)
    assert value == pytest.approx(metrics.log_loss(held, theirs), rel=0.05)
    assert study.evaluation.value("log loss", MAJORITY) > 1.3 * value


def test_importance_tells_what_matters_from_noise(study: Study) -> None:
    importance = study.evaluation.importance
    assert list(importance) == ["pages", "kind", "noise"]
    assert importance["pages"][0] > 0.2 > 5 * abs(importance["noise"][0])


def test_a_column_that_gives_the_label_away_is_named() -> None:
    table, _ = visits()
    told = np.where(table["bought"], "paid", "open").astype(object)
    study = Study.plan(Question("bought"), table.with_columns({"status": told}), epochs=1)
    study.train()
    (text,) = study.warnings()
    assert "'status' alone" in text and "--drop 'status'" in text


@pytest.mark.parametrize(
    ("column", "area"),
    [
        ([1.0, 2.0, 3.0, 4.0], 1.0),
        ([4, 3, 2, 1], 1.0),  # in the other direction
        ([np.nan, np.nan, 3.0, 4.0], 1.0),
        ([True, False, True, False], 0.5),
        (["a", "b", "c", "d"], 1.0),  # on the rows it was learned from
        ([None, None, "x", "x"], 1.0),
        (np.array(["NaT", "NaT", "2020-01-01", "2020-01-02"], "datetime64[us]"), 1.0),
    ],
)
def test_auc_of_a_column_alone(column: list, area: float) -> None:
    table, y = Table({"x": column}), np.array([False, False, True, True])
    assert auc_alone("x", table, y, table, y) == area


def test_an_identifier_alone_says_nothing_of_other_rows() -> None:
    y = np.array([False, True, False, True])
    train, held = Table({"x": ["a", "b", "c", "d"]}), Table({"x": ["e", "f", "g", None]})
    assert auc_alone("x", train, y, held, y) == 0.5


def test_the_page_tells_it_all(study: Study) -> None:
    page = Report("Study")
    study.tell(page)
    text = str(page)
    assert text.count("<svg") == 6
    for name in (*RANKING, *DECIDING, *study.X.names, LOGISTIC, "drop repeated rows", "OneHot()"):
        assert name in text


def test_an_evaluation_of_the_model_alone_has_no_baselines() -> None:
    y = np.arange(20) % 3 == 0
    forecasts = {NETWORK: Forecast(np.linspace(0, 1, 20), 0.5)}
    evaluation = Evaluation(Question("a", "b"), y, forecasts)
    page = Report("Evaluation")
    evaluation.tell(page)
    assert "achievable" not in str(page) and "matter" not in str(page)
    assert str(evaluation).splitlines()[0].split() == ["network", "95", "%", "interval"]
