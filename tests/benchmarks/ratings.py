"""MovieLens-100K, ratings: matrix factorisation with biases on the publisher's own split u1.

    NNREC_DATA=… python tests/benchmarks/ratings.py [--select] [NAME …]

80,000 ratings train (u1.base) and 20,000 test (u1.test): RMSE of predictions clipped to 1 … 5.
`--select` prints the RMSE of everything that was tried on a tenth of u1.base drawn at random, after
training on the rest; only the settings chosen by it have seen u1.test.
"""

import os
from pathlib import Path

import numpy as np
import runs

from nnrec.data import Interactions, align, read_movielens
from nnrec.metrics import rmse
from nnrec.recommend import MatrixFactorization

FOLDER = Path(os.environ["NNREC_DATA"], "ml-100k")
PLAIN = "dim=64, epochs=20, l2=0.1"
IMPLICIT = "implicit=True, dim=32, epochs=16, l2=0.12"
MODELS = {
    "biases and factors": f"Mean([seed], {PLAIN})",
    "and who rated what": f"Mean([seed], {IMPLICIT})",
    "and who rated what, mean of 5": f"Mean(range(5 * seed, 5 * seed + 5), {IMPLICIT})",
}
TRIED = {
    "biases and factors": [
        "Mean([seed], dim=16, epochs=20, l2=0.02)",
        *(f"Mean([seed], dim=64, epochs=20, l2={l2})" for l2 in (0.05, 0.08, 0.2)),
    ],
    "and who rated what": [
        *(f"Mean([seed], implicit=True, dim=64, epochs=16, l2={l2})" for l2 in (0.08, 0.12, 0.2)),
        "Mean([seed], implicit=True, dim=64, epochs=16, l2=0.12, batch_size=512)",
        "Mean([seed], implicit=True, dim=128, epochs=12, l2=0.12)",
    ],
}


class Mean:
    """The mean prediction of networks that differ in their seed alone."""

    def __init__(self, seeds, **settings):
        settings = {"loss": "squared", "learning_rate": 0.003} | settings
        self.models = [MatrixFactorization(rng=seed, **settings) for seed in seeds]

    def fit(self, train: Interactions) -> None:
        for model in self.models:
            model.fit(train)

    def predict(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        return np.mean([model.predict(users, items) for model in self.models], axis=0)


def prepare(validate: bool):
    paths = [FOLDER / name for name in ("u1.base.gz", "u1.test.gz")]
    train, test = align(*map(read_movielens, paths))
    if validate:
        held = np.isin(np.arange(len(train)), np.random.default_rng(0).permutation(80_000)[:8000])
        train, test = train.take(~held), train.take(held)

    def judge(model):
        predicted = np.clip(model.predict(test.user_index, test.item_index), 1, 5)
        return [rmse(test.values, predicted)], f"{len(test):,} ratings, predictions of 1 to 5"

    return train, judge, {"Mean": Mean}


if __name__ == "__main__":
    runs.main(prepare, MODELS, TRIED, seeds=(0, 1, 2), figures=("RMSE",))
