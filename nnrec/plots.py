"""Every picture: each function returns a matplotlib Figure, made without a display.

A figure has one panel, so that a page can set figures side by side or below one another.  Colours
are Okabe and Ito's, which colour-blind readers can tell apart; a title says what is to be seen, the
axes name their units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nnrec.metrics import (
    average_precision,
    calibration,
    confusion_matrix,
    precision_recall_curve,
    roc_auc,
    roc_curve,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nnrec.metrics.ranking import RankingResult

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))  # apart without colour too


def panel(width: float = 5.2, height: float = 3.9) -> tuple[Figure, Axes]:
    """A figure of this size in inches, and its one panel."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_prop_cycle(color=COLOURS * len(DASHES), linestyle=DASHES * len(COLOURS))
    return figure, axes


def literal(name: Any) -> str:
    """A name as matplotlib shows it letter by letter, without reading $…$ as a formula; cut at 28.

    >>> literal("US$")
    'US\\\\$'
    """
    text = str(name)
    return (text if len(text) <= 28 else f"{text[:27]}…").replace("$", r"\$")


def learning_curve(history: Mapping[str, Sequence[float]], name: str = "loss") -> Figure:
    """One figure of the history over epochs, of training and validation; the best one marked.

    >>> figure = learning_curve({"loss": [0.5, 0.3], "val_loss": [0.6, 0.4]})
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['training', 'validation', 'best: 0.4000 in epoch 2']
    """
    if not any(history.get(key) for key in (name, f"val_{name}")):
        found = ", ".join(history) or "nothing"
        raise ValueError(f"learning_curve: the history holds {found}, expected {name!r}")
    figure, axes = panel()
    for key, label in ((name, "training"), (f"val_{name}", "validation")):
        values = history.get(key, ())
        if len(values):
            epochs = np.arange(1, len(values) + 1)
            axes.plot(epochs, values, marker="o", markersize=3, label=label)
    if len(held := history.get(f"val_{name}", ())):
        best = int(np.argmin(held) if "loss" in name else np.argmax(held))
        axes.plot(best + 1, held[best], "o", color=COLOURS[1], markersize=8, fillstyle="none")
        label = f"best: {held[best]:.4f} in epoch {best + 1}"
        axes.lines[-1].set_label(label)
    axes.set(xlabel="epoch", ylabel=name, title=f"{name} while training")
    axes.locator_params(axis="x", integer=True)
    axes.legend(frameon=False, fontsize=9)
    return figure


def roc(y_true: Any, scores: Mapping[str, Any], positive: Any = None) -> Figure:
    """The ROC curves of one or several models, by name, with the areas under them.

    >>> figure = roc([0, 1, 1, 0], {"model": [0.2, 0.9, 0.6, 0.7]})
    >>> figure.axes[0].get_xlabel(), figure.axes[0].lines[0].get_label()
    ('false positive rate', 'model  0.750')
    """
    figure, axes = panel()
    for name, score in scores.items():
        false, true, _ = roc_curve(y_true, score, positive=positive)
        area = roc_auc(y_true, score, positive=positive)
        axes.plot(false, true, label=f"{literal(name)}  {area:.3f}")
    axes.plot([0, 1], [0, 1], color="#999999", linestyle=":", label="by chance  0.500")
    axes.set(xlabel="false positive rate", ylabel="recall", title="ROC, with the area under it")
    axes.legend(frameon=False, loc="lower right", fontsize=9)
    return figure


def precision_recall(y_true: Any, scores: Mapping[str, Any], positive: Any = None) -> Figure:
    """Precision over recall for one or several models, by name, with the average precision.

    >>> figure = precision_recall([0, 1, 1, 0], {"model": [0.2, 0.9, 0.6, 0.7]})
    >>> figure.axes[0].lines[0].get_label()
    'model  0.833'
    """
    figure, axes = panel()
    for name, score in scores.items():
        precision, recall, _ = precision_recall_curve(y_true, score, positive=positive)
        mean = average_precision(y_true, score, positive=positive)
        label = f"{literal(name)}  {mean:.3f}"
        axes.plot(recall, precision, label=label, drawstyle="steps-post")
    axes.set(xlabel="recall", ylabel="precision", title="Precision and recall, with the average")
    axes.set(ylim=(0, 1.02))
    axes.legend(frameon=False, loc="lower left", fontsize=9)
    return figure


def reliability(y_true: Any, prob: Any, positive: Any = None, bins: int = 10) -> Figure:
    """Calibration: the share of positives among rows of about equal predicted probability.

    >>> figure = reliability([0, 1, 1, 0], [0.2, 0.9, 0.6, 0.4])
    >>> figure.axes[0].get_xlabel()
    'predicted probability'
    """
    found = calibration(y_true, prob, positive=positive, bins=bins)
    figure, axes = panel()
    axes.plot([0, 1], [0, 1], color="#999999", linestyle=":", label="perfect")
    axes.plot(found.predicted, found.observed, zorder=2)
    size = 20 + 180 * found.weight / found.weight.max()
    axes.scatter(found.predicted, found.observed, size, zorder=3, label="rows, by their number")
    axes.set(xlabel="predicted probability", ylabel="share of positives", title="Calibration")
    axes.legend(frameon=False, loc="upper left", fontsize=9)
    return figure


def confusion(y_true: Any, y_pred: Any, labels: Sequence[Any]) -> Figure:
    """The confusion matrix, true classes down and predicted ones across, with each row's shares.

    >>> figure = confusion([0, 1, 1], [0, 1, 0], labels=[0, 1])
    >>> figure.axes[0].get_ylabel()
    'true'
    """
    counts = confusion_matrix(y_true, y_pred, labels=labels)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = panel()
    axes.grid(visible=False)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        text = f"{counts[row, column]:,.0f}\n{share:.1%} of the row"
        colour = "white" if share > 0.5 else "black"
        axes.text(column, row, text, ha="center", va="center", color=colour)
    ticks = range(len(labels))
    axes.set_xticks(ticks, [literal(label) for label in labels])
    axes.set_yticks(ticks, [literal(label) for label in labels])
    axes.set(xlabel="predicted", ylabel="true", title="Confusion matrix")
    return figure


def bars(values: Mapping[str, float], errors: Mapping[str, float], title: str, unit: str) -> Figure:
    """Horizontal bars with error bars, the largest on top: permutation importance, say.

    >>> figure = bars({"price": 0.2, "hour": 0.1}, {"price": 0.01, "hour": 0.02}, "Loss", "AUC")
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['hour', 'price']
    """
    names = sorted(values, key=lambda name: values[name])
    figure, axes = panel(height=max(2.2, 0.26 * len(names) + 1))
    spread = [errors.get(name, 0.0) for name in names]
    axes.barh(range(len(names)), [values[name] for name in names], xerr=spread, height=0.7)
    axes.set_yticks(range(len(names)), [literal(name) for name in names])
    axes.axvline(0, color="#333333", linewidth=0.8)
    axes.set(xlabel=unit, title=title)
    axes.grid(visible=False, axis="y")
    return figure


def by_length(results: Mapping[str, RankingResult], metric: str) -> Figure:
    """A ranking metric over the length of the list, for one or several models, by name.

    >>> from nnrec.metrics.ranking import evaluate_ranking
    >>> found = evaluate_ranking([[0.3, 0.2, 0.1]], [[0, 1, 0]], n=[1, 2])
    >>> by_length({"model": found}, "recall").axes[0].lines[0].get_ydata()
    array([0., 1.])
    """
    figure, axes = panel()
    for name, result in results.items():
        keys = [key.partition("@") for key in result.metrics]
        cuts = [int(n) for key, _, n in keys if key == metric]
        values = [result[f"{metric}@{cut}"] for cut in cuts]
        axes.plot(cuts, values, marker="o", markersize=3, label=literal(name))
    axes.set_xscale("log")
    axes.set_xticks(cuts, [str(cut) for cut in cuts])
    axes.minorticks_off()
    axes.set(xlabel="items on the list", ylabel=metric, title=f"{metric} by length", ylim=(0, None))
    axes.legend(frameon=False, fontsize=9)
    return figure


def exposure(results: Mapping[str, RankingResult], n: int) -> Figure:
    """The share of all places on lists of n that the most shown items take, with the coverage.

    >>> from nnrec.metrics.ranking import evaluate_ranking
    >>> found = evaluate_ranking([[0.3, 0.2], [0.1, 0.2]], [[0, 1], [0, 1]], n=1)
    >>> exposure({"model": found}, 1).axes[0].lines[0].get_ydata()
    array([0. , 0.5, 1. ])
    """
    figure, axes = panel()
    for name, result in results.items():
        lists, items = result.lists[:, :n], result.protocol.items
        counts = np.sort(np.bincount(lists[lists >= 0], minlength=items))[::-1]
        share = np.append(0, np.cumsum(counts)) / max(counts.sum(), 1)
        label = f"{literal(name)}  {result[f'coverage@{n}']:.1%} shown"
        axes.plot(np.linspace(0, 1, items + 1), share, label=label)
    axes.plot([0, 1], [0, 1], color="#999999", linestyle=":", label="all alike")
    axes.set(xlabel="share of the catalogue, most shown first", ylabel="share of all places")
    axes.set(title="Who gets the places")
    axes.legend(frameon=False, loc="lower right", fontsize=9)
    return figure
