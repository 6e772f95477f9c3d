"""What the document's §5 does not say, in figures: runs document_section_5.py, then goes on.

Intervals, imbalance, a suspect column, equal rows and the order of time; docs/tutorial.md tells
what they mean.
"""

import numpy as np
from document_section_5 import X, data, model, predictions, test, train, y

from nnrec import NeuralClassifier
from nnrec.data import equal_rows, split
from nnrec.metrics import bootstrap, f1, log_loss, recall, roc_auc

bought = y[test]


def area(prob: np.ndarray) -> str:
    return f"AUC {bootstrap(roc_auc, bought, prob, n=1000, stratify=True)}"


print(f"\n{len(train)} rows to learn from, {len(test)} to judge on, {bought.sum()} buyers")
print(f"buyers: {y.mean():.1%}; nobody buys: accuracy {1 - bought.mean():.3f}")
print("model:", area(predictions))

# Weights against imbalance.
weighted = NeuralClassifier(**model.get_params()).set_params(class_weight="balanced")
p = weighted.fit(X.take(train), y[train]).predict_proba(X.take(test))[:, 1]
print(f"balanced: {area(p)}, recall at 0.5 {recall(bought, p >= 0.5):.3f}", end=", ")
print(f"mean probability {p.mean():.3f}, log loss {log_loss(bought, p):.3f}")

# A column that may not be known in time.
pages = X["PageValues"]
shares = " and ".join(f"{y[rows].mean():.1%}" for rows in (pages > 0, pages == 0))
print(f"PageValues > 0: {(pages > 0).sum()} sessions; buyers among them and the others: {shares}")
print(f"PageValues alone: AUC {roc_auc(y, pages):.3f}, F1 {f1(y, pages > 0):.3f}")
fewer = X.without("PageValues")
blind = NeuralClassifier(**model.get_params()).fit(fewer.take(train), y[train])
p = blind.predict_proba(fewer.take(test))[:, 1]
print(f"without it: {area(p)}, F1 {f1(bought, p >= blind.threshold_):.3f}")

# Equal rows on both sides of a random split.
ids, seen = equal_rows(data), []
for seed in range(20):
    sides = split(data, {"train": 0.8, "test": 0.2}, rng=seed)
    seen.append(np.isin(ids[sides["test"]], ids[sides["train"]]).sum())
copies = len(ids) - len(np.unique(ids))
print(f"{copies} copies; test rows seen: {np.mean(seen):.0f} ({min(seen)} to {max(seen)})")

# The last rows are another season.
last = len(y) * 9 // 10
months = " and ".join(sorted(set(data["Month"][last:])))
print(f"last tenth: {months}, {y[last:].mean():.1%} buyers; before: {y[:last].mean():.1%}")

assert copies == 125 and roc_auc(bought, p) < roc_auc(bought, predictions) - 0.1
