"""Every picture: each function returns a matplotlib Figure, made without a display.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; a figure's title says what
is to be seen, its axes name their units.
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

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666")


def panels(count: int = 1, width: float = 5.2, height: float = 3.9) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels side by side, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * count, height), layout="constrained")
    axes = list(np.ravel(figure.subplots(1, count)))
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(color="#DDDDDD", linewidth=0.6)
        panel.set_axisbelow(True)
        panel.set_prop_cycle(color=COLOURS)
    return figure, axes


def learning_curves(history: Mapping[str, Sequence[float]]) -> Figure:
    """A panel a figure of the history: training and validation over epochs, the best one marked.

    >>> figure = learning_curves({"loss": [0.5, 0.3], "val_loss": [0.6, 0.4]})
    >>> [panel.get_ylabel() for panel in figure.axes]
    ['loss']
    """
    names = list(dict.fromkeys(name.removeprefix("val_") for name in history))
    if not names:
        raise ValueError("learning_curves: the history is empty, expected one epoch or more")
    figure, axes = panels(len(names))
    for panel, name in zip(axes, names):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            if key in history:
                values = history[key]
                epochs = np.arange(1, len(values) + 1)
                panel.plot(epochs, values, marker="o", markersize=3, label=label)
        if (held := history.get(f"val_{name}")) is not None:
            best = int(np.argmin(held) if "loss" in name else np.argmax(held))
            panel.annotate(
                f"{held[best]:.4g}",
                (best + 1, held[best]),
                (0, 8),
                textcoords="offset points",
                ha="center",
                fontsize=9,
                color=COLOURS[1],
            )
        panel.set(xlabel="epoch", ylabel=name, title=f"{name} while training")
        panel.locator_params(axis="x", integer=True)
        panel.legend(frameon=False)
    return figure


def roc(y_true: Any, scores: Mapping[str, Any], positive: Any = None) -> Figure:
    """ROC and precision-recall curves of one or several models, by name.

    >>> figure = roc([0, 1, 1, 0], {"model": [0.2, 0.9, 0.6, 0.7]})
    >>> [panel.get_xlabel() for panel in figure.axes]
    ['false positive rate', 'recall']
    """
    figure, (left, right) = panels(2)
    for name, score in scores.items():
        false, true, _ = roc_curve(y_true, score, positive=positive)
        area = roc_auc(y_true, score, positive=positive)
        left.plot(false, true, label=f"{name}  {area:.3f}")
        precision, recall, _ = precision_recall_curve(y_true, score, positive=positive)
        mean = average_precision(y_true, score, positive=positive)
        right.plot(recall, precision, drawstyle="steps-pre", label=f"{name}  {mean:.3f}")
    left.plot([0, 1], [0, 1], color="#999999", linestyle=":", label="by chance  0.500")
    left.set(xlabel="false positive rate", ylabel="recall", title="ROC, with the area under it")
    right.set(xlabel="recall", ylabel="precision", title="Precision and recall, with the average")
    right.set(ylim=(0, 1.02))
    left.legend(frameon=False, loc="lower right", fontsize=9)
    right.legend(frameon=False, loc="upper right", fontsize=9)
    return figure


def reliability(y_true: Any, prob: Any, positive: Any = None, bins: int = 10) -> Figure:
    """Calibration: the share of positives among rows of about equal predicted probability.

    >>> figure = reliability([0, 1, 1, 0], [0.2, 0.9, 0.6, 0.4])
    >>> figure.axes[0].get_xlabel()
    'predicted probability'
    """
    found = calibration(y_true, prob, positive=positive, bins=bins)
    figure, (panel,) = panels()
    panel.plot([0, 1], [0, 1], color="#999999", linestyle=":", label="perfect")
    panel.plot(found.predicted, found.observed, zorder=2)
    size = 20 + 180 * found.weight / found.weight.max()
    panel.scatter(found.predicted, found.observed, size, zorder=3, label="rows, by their number")
    panel.set(xlabel="predicted probability", ylabel="share of positives", title="Calibration")
    panel.legend(frameon=False, loc="upper left")
    return figure


def confusion(y_true: Any, y_pred: Any, labels: Sequence[Any]) -> Figure:
    """The confusion matrix, true classes down and predicted ones across, with each row's shares.

    >>> figure = confusion([0, 1, 1], [0, 1, 0], labels=[0, 1])
    >>> figure.axes[0].get_ylabel()
    'true'
    """
    counts = confusion_matrix(y_true, y_pred, labels=labels)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, (panel,) = panels()
    panel.grid(visible=False)
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        text = f"{counts[row, column]:,.0f}\n{share:.1%}"
        colour = "white" if share > 0.5 else "black"
        panel.text(column, row, text, ha="center", va="center", color=colour)
    ticks = range(len(labels))
    panel.set_xticks(ticks, [str(label) for label in labels])
    panel.set_yticks(ticks, [str(label) for label in labels])
    panel.set(xlabel="predicted", ylabel="true", title="Confusion matrix")
    return figure


def bars(values: Mapping[str, float], errors: Mapping[str, float], title: str, unit: str) -> Figure:
    """Horizontal bars with error bars, the largest on top: permutation importance, say.

    >>> figure = bars({"price": 0.2, "hour": 0.1}, {"price": 0.01, "hour": 0.02}, "Loss", "AUC")
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['hour', 'price']
    """
    names = sorted(values, key=lambda name: values[name])
    figure, (panel,) = panels(width=6.2, height=max(2.2, 0.28 * len(names) + 1))
    spread = [errors.get(name, 0.0) for name in names]
    panel.barh(names, [values[name] for name in names], xerr=spread, color=COLOURS[0], height=0.7)
    panel.axvline(0, color="#333333", linewidth=0.8)
    panel.set(xlabel=unit, title=title)
    panel.grid(visible=False, axis="y")
    return figure
