"""Pictures: what is drawn is what was computed."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as oracle

from nnrec import plots
from nnrec.metrics.ranking import evaluate_ranking

RNG = np.random.default_rng(7)
Y = RNG.random(101) < 0.3
SCORE = np.round(np.clip(0.3 * Y + RNG.random(101) / 2, 0, 1), 2)  # with ties


def test_learning_curve_draws_both_parts_and_marks_the_best_epoch() -> None:
    history = {"loss": [0.5, 0.3, 0.2], "val_loss": [0.6, 0.4, 0.45], "val_auc": [0.7, 0.9, 0.8]}
    training, validation, best = plots.learning_curve(history).axes[0].lines
    assert training.get_ydata().tolist() == history["loss"]
    assert validation.get_ydata().tolist() == history["val_loss"]
    assert (best.get_xdata().item(), best.get_ydata().item()) == (2, 0.4)
    *_, best = plots.learning_curve(history, "auc").axes[0].lines
    assert best.get_ydata().item() == 0.9, "of an AUC the largest is best"
    with pytest.raises(ValueError, match="loss, val_loss, val_auc, expected 'recall'"):
        plots.learning_curve(history, "recall")
    with pytest.raises(ValueError, match="nothing"):
        plots.learning_curve({})


def test_roc_is_scikit_learns_curve() -> None:
    line, chance = plots.roc(Y, {"model": SCORE}).axes[0].lines
    false, true, _ = oracle.roc_curve(Y, SCORE, drop_intermediate=False)
    assert np.allclose(line.get_xdata(), false) and np.allclose(line.get_ydata(), true)
    assert line.get_label() == f"model  {oracle.roc_auc_score(Y, SCORE):.3f}"
    assert chance.get_linestyle() == ":"


def test_the_area_under_the_drawn_steps_is_the_average_precision() -> None:
    (line,) = plots.precision_recall(Y, {"model": SCORE}).axes[0].lines
    area = oracle.average_precision_score(Y, SCORE)
    assert line.get_label() == f"model  {area:.3f}"
    path = line.get_path()  # points; the drawing style makes steps of them
    assert line.get_drawstyle() == "steps-post"
    x, y = path.vertices.T
    assert np.sum(-np.diff(x) * y[:-1]) == pytest.approx(area)


def test_each_of_many_models_has_a_line_of_its_own() -> None:
    lines = plots.roc(Y, {str(i): SCORE for i in range(7)}).axes[0].lines[:-1]
    looks = {(line.get_color(), str(line.get_linestyle())) for line in lines}
    assert len(looks) == len(lines) == 7


def test_reliability_shows_bins_by_their_size() -> None:
    prob = np.repeat([0.05, 0.95], [30, 10])
    axes = plots.reliability(np.arange(40) >= 31, prob).axes[0]
    (points,) = axes.collections
    assert np.allclose(points.get_offsets(), [[0.05, 0], [0.95, 0.9]])
    assert points.get_sizes().tolist() == [200, 80]


def test_confusion_shows_counts_and_shares_and_any_label() -> None:
    true, pred = ["是", "是", "a$b$", "是"], ["是", "a$b$", "a$b$", "是"]
    axes = plots.confusion(true, pred, ["a$b$", "是"]).axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["1\n100.0% of the row", "0\n0.0% of the row"] + [
        "1\n33.3% of the row",
        "2\n66.7% of the row",
    ]
    assert [label.get_text() for label in axes.get_xticklabels()] == [r"a\$b\$", "是"]


def test_bars_stand_in_order_with_errors_and_long_names_cut() -> None:
    axes = plots.bars({"b": 1.0, "a" * 40: 3.0, "c": -1.0}, {"b": 0.5}, "Title", "unit").axes[0]
    assert [bar.get_width() for bar in axes.patches] == [-1.0, 1.0, 3.0]
    assert axes.get_yticklabels()[-1].get_text() == "a" * 27 + "…"
    assert axes.get_xlabel() == "unit"


def test_ranking_curves_and_exposure_are_the_results() -> None:
    scores = np.tile(np.arange(7.0), (5, 1)) + RNG.random((5, 7))
    found = evaluate_ranking(scores, np.eye(5, 7), n=(1, 3, 5))
    (line,) = plots.by_length({"model": found}, "recall").axes[0].lines
    assert line.get_xdata().tolist() == [1, 3, 5]
    assert line.get_ydata().tolist() == [found[f"recall@{n}"] for n in (1, 3, 5)]
    line, even = plots.exposure({"model": found}, 3).axes[0].lines
    assert np.trapezoid(line.get_ydata(), line.get_xdata()) == pytest.approx(
        (1 + found["gini@3"]) / 2
    ), "twice the area above the diagonal is the Gini coefficient"
    assert line.get_label() == f"model  {found['coverage@3']:.1%} shown"
