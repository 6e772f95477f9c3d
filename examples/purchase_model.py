"""Lesson 6: a purchase model on the synthetic shop, and four ways to fool oneself.

docs/course/6-generalisation.md
"""

import numpy as np

from nnrec import Adam, NeuralClassifier
from nnrec.data import equal_rows, split
from nnrec.data.synthetic import shop
from nnrec.metrics import accuracy, best_threshold, f1, log_loss, roc_auc

made_up = shop(customers=500, items=100, sessions=2000, rng=0)
data = made_up.sessions
X, y = data.without("purchase"), data["purchase"]
parts = split(data, {"train": 0.6, "valid": 0.2, "test": 0.2}, stratify=y, rng=0)
train, valid, test = parts.values()


def trained(table=X, rows=train, **settings):
    usual = {"hidden": (64, 64), "epochs": 30, "batch_size": 64, "validation_split": 0.2}
    settings = usual | {"optimizer": Adam(0.004), "random_state": 0} | settings
    return NeuralClassifier(**settings).fit(table.take(rows), y[rows])


def chances(model, rows, table=X):
    return model.predict_proba(table.take(rows))[:, 1]


# 1. The error on what was learned is no error.
print(f"{'':<16} epochs   log loss on train   on test   AUC on test")
loss = {}
ways = {"30 epochs": {}, "dropout 0.4": {"dropout": 0.4}, "early stopping": {"early_stopping": 4}}
for name, settings in ways.items():
    model = trained(**settings)
    seen, unseen = (log_loss(y[rows], chances(model, rows)) for rows in (train, test))
    area, epochs = roc_auc(y[test], chances(model, test)), len(model.histories_[0]["loss"])
    print(f"{name:<16} {epochs:>6} {seen:>16.3f} {unseen:>11.3f} {area:>12.3f}")
    loss[name] = seen, unseen
assert loss["30 epochs"][0] < loss["early stopping"][0]  # better on what it has seen …
assert loss["30 epochs"][1] > loss["early stopping"][1] + 0.05  # … and worse on what it has not
best = roc_auc(y[test], made_up.probability[test])
floor = log_loss(y[test], made_up.probability[test])
print(f"the true probabilities: {floor:>32.3f} {best:>12.3f}")

# 2. A column that is known only afterwards.
mails = np.random.default_rng(0).poisson(np.where(y, 2.0, 0.1))
leaky = X.with_columns({"mails_after": mails})
area = roc_auc(y[test], chances(trained(leaky, early_stopping=4), test, leaky))
print(f"\nwith the number of mails sent afterwards: AUC {area:.3f}, above the best possible")
assert area > best

# 3. Rows that stand on both sides of the split.
five_times = np.tile(np.arange(600), 5)
for name, groups in (("at random", None), ("equal rows together", equal_rows(X.take(five_times)))):
    sides = split(X.take(five_times), {"train": 0.8, "test": 0.2}, groups=groups, rng=0)
    learn, judge = (five_times[rows] for rows in sides.values())
    area = roc_auc(y[judge], chances(trained(rows=learn), judge))
    print(f"600 sessions, each five times, split {name}: AUC {area:.3f}")
    assert (area > 0.95) == (groups is None)

# 4. A threshold of 0.5, and accuracy.  The threshold is chosen on validation rows.
threshold = best_threshold(y[valid], chances(model, valid), f1)
p = chances(model, test)
print(f"\n{y.mean():.1%} buy: who says 'nobody' has an accuracy of {1 - y[test].mean():.3f}")
for limit in (0.5, threshold):
    figures = f"accuracy {accuracy(y[test], p >= limit):.3f}, F1 {f1(y[test], p >= limit):.3f}"
    print(f"threshold {limit:.3f}: {figures}")
assert f1(y[test], p >= threshold) > f1(y[test], p >= 0.5)
