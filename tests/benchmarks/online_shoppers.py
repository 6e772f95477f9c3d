"""Online Shoppers, purchase or not: nnrec beside scikit-learn in the same folds.

    NNREC_DATA=… OPENBLAS_NUM_THREADS=1 python tests/benchmarks/online_shoppers.py [--seed 1]

UCI 468 (Sakar & Kastro 2018), label `Revenue`.  Stratified folds in which rows that are equal in
all features stay together; everything (features, hyper-parameters, thresholds) is learned inside
the fold's training part.  Mean ± sd over the folds, with and without `PageValues`, which is derived
from transactions.  AUC, AP and accuracy (at 0.5) are those of a model of the whole training part.
F1's threshold is the best on the predictions for that part's own three grouped, stratified folds,
each predicted by a model of the other two; the same for every method.

nnrec's settings were chosen by folds of the first fold's training part under seed 0; figures of
several settings on seed 0's test folds had been seen before.  The default is therefore seed 1,
whose folds were first looked at with the settings as they are.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OrdinalEncoder

from nnrec import AdamW, Features, NeuralClassifier, Table
from nnrec.data import Log, OneHot, Thermometer, equal_rows, folds
from nnrec.metrics import accuracy, average_precision, best_threshold, f1, roc_auc

CATEGORIES = ["Month", "OperatingSystems", "Browser", "Region", "TrafficType"]
CATEGORIES += ["VisitorType", "Weekend"]
GRID = [
    {"learning_rate": rate, "max_leaf_nodes": leaves, "max_iter": rounds, "l2_regularization": l2}
    for rate, rounds in ((0.03, 200), (0.06, 100))
    for leaves in (7, 15)
    for l2 in (1.0, 10.0)
]
FIGURES = ("AUC", "AP", "F1", "accuracy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1, help="of the folds and of every model")
    arguments = parser.parse_args()
    path = Path(os.environ["NNREC_DATA"], "online_shoppers", "online_shoppers_intention.csv")
    table = Table.read(path)
    y = table["Revenue"].astype(int)
    for without in ([], ["PageValues"]):
        X = table.without("Revenue", *without)
        print(f"\n{'without PageValues' if without else 'all columns'}, {len(y):,} rows")
        print("| model | " + " | ".join(FIGURES) + " | s |\n|---|---|---|---|---|---|")
        compare(X, y, arguments.folds, arguments.seed)


def compare(X: Table, y: np.ndarray, k: int, seed: int) -> None:
    """Print the table of one set of columns."""
    methods = {
        "nnrec, 5 networks": lambda X, y: network(seed),
        "HistGradientBoosting, tuned": lambda X, y: boosting(seed, **best_of_grid(X, y, seed)),
        "HistGradientBoosting, default": lambda X, y: boosting(seed),
        "LogisticRegression": lambda X, y: logistic,
    }
    groups = equal_rows(X)
    results: dict[str, np.ndarray] = {}
    for name, choose in methods.items():
        began, rows = time.perf_counter(), []
        for train, test in folds(len(y), k, stratify=y, groups=groups, rng=seed):
            method = choose(X.take(train), y[train])
            p = method(X.take(train), y[train], X.take(test))
            inner = out_of_fold(method, X.take(train), y[train], seed)
            guess = p >= best_threshold(y[train], inner, f1)
            quality = roc_auc(y[test], p), average_precision(y[test], p)
            rows.append((*quality, f1(y[test], guess * 1), accuracy(y[test], (p >= 0.5) * 1)))
        results[name] = np.array(rows)
        cells = [f"{m:.4f} ± {s:.4f}" for m, s in zip(*mean_and_sd(results[name]))]
        seconds = time.perf_counter() - began
        print(f"| {name} | " + " | ".join(cells) + f" | {seconds:.0f} |", flush=True)
    ours, *others = results.values()
    for name, theirs in zip(list(results)[1:], others):
        mean, sd = mean_and_sd(ours - theirs)
        print(f"AUC above {name}, paired: {mean[0]:+.4f} ± {sd[0]:.4f}")


def mean_and_sd(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return values.mean(axis=0), values.std(axis=0, ddof=1)


def out_of_fold(method, X: Table, y: np.ndarray, seed: int) -> np.ndarray:
    """Each row's probability by a model that was not trained on it."""
    p = np.empty(len(y))
    for train, test in folds(len(y), 3, stratify=y, groups=equal_rows(X), rng=seed):
        p[test] = method(X.take(train), y[train], X.take(test))
    return p


def network(seed: int):
    def predict(X: Table, y: np.ndarray, rows: Table) -> np.ndarray:
        numeric = [name for name in X.names if name not in CATEGORIES]
        encodings = {name: [Log(clip=5.0), Thermometer(6)] for name in numeric}
        model = NeuralClassifier(
            hidden=(128, 64),
            dropout=0.5,
            epochs=20,
            batch_size=128,
            optimizer=AdamW(0.002, weight_decay=0.5),
            ensemble=5,
            features=Features(encodings | {name: OneHot() for name in CATEGORIES}),
            dtype="float32",
            random_state=seed,
        )
        return model.fit(X, y).predict_proba(rows)[:, 1]

    return predict


def boosting(seed: int, **settings):
    """Gradient boosting with its own treatment of categories."""

    def predict(X: Table, y: np.ndarray, rows: Table) -> np.ndarray:
        codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
        codes.fit(np.column_stack([X[name].astype(str) for name in CATEGORIES]))

        def as_matrix(table: Table) -> np.ndarray:
            words = np.column_stack([table[name].astype(str) for name in CATEGORIES])
            numeric = [table[name] for name in table.names if name not in CATEGORIES]
            return np.column_stack([*numeric, codes.transform(words)])

        width = len(X.names)
        model = HistGradientBoostingClassifier(
            categorical_features=range(width - len(CATEGORIES), width),
            random_state=seed,
            **settings,
        )
        return model.fit(as_matrix(X), y).predict_proba(as_matrix(rows))[:, 1]

    return predict


def best_of_grid(X: Table, y: np.ndarray, seed: int) -> dict:
    """The settings of `GRID` with the best AUC in three folds of the training part."""
    areas = [roc_auc(y, out_of_fold(boosting(seed, **one), X, y, seed)) for one in GRID]
    return GRID[int(np.argmax(areas))]


def logistic(X: Table, y: np.ndarray, rows: Table) -> np.ndarray:
    """Logistic regression on standardised logarithms and one-hot categories."""
    encodings = {name: Log(clip=5.0) for name in X.names if name not in CATEGORIES}
    features = Features(encodings | {name: OneHot() for name in CATEGORIES}).fit(X)
    model = LogisticRegression(max_iter=1000).fit(features.transform(X), y)
    return model.predict_proba(features.transform(rows))[:, 1]


if __name__ == "__main__":
    main()
