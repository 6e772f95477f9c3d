"""Gowalla, LightGCN's split: full ranking of 40,981 places for 29,858 people.

    NNREC_DATA=… python tests/benchmarks/gowalla.py [--select] [NAME …]

Recall@20 (hits over all of a user's test places) and NDCG@20 on the published test file, one seed.
`--select` prints, for 4,000 users, the figures of the settings that were tried on a validation part
of train.  Along a line of the file new items have rising numbers up to the last eighth, as if it
stood in the order of time with a random part of it put behind.  A random part of train judges
otherwise than the test; the fifth before that eighth, which is held out, judges alike.
"""

import os
from pathlib import Path

import numpy as np
import runs

from nnrec.data import read_lists
from nnrec.recommend import evaluate

FOLDER = Path(os.environ["NNREC_DATA"], "gowalla")
TIED = "temperature=0.1, learning_rate=0.005, rng=seed"
MODELS = {
    "Popularity": "Popularity()",
    "ItemKNN, cosine": "ItemKNN()",
    "IALS": "IALS(dim=128, l2=0.01, unobserved=0.015, epochs=6, rng=seed)",
    "AutoEncoder, tied": f"AutoEncoder(dim=512, dropout=0.1, epochs=16, {TIED})",
}
SMALL = ((0.0015, 0.015), (0.005, 0.015), (0.02, 0.015), (0.003, 0.004), (0.01, 0.004))
TRIED = {
    "AutoEncoder, tied": [
        f"AutoEncoder(dim={dim}, dropout={dropout}, epochs={epochs}, {TIED})"
        for dim, dropout, epochs in ((256, 0.2, 12), (256, 0.0, 8), (512, 0.2, 12))
    ],
    "IALS": [f"IALS(dim=64, l2={l2}, unobserved={a}, epochs=6, rng=seed)" for l2, a in SMALL],
    "TwoTower": [
        "TwoTower(dim=64, hidden=64, loss='in_batch', batch_size=4096, epochs=4, window=100, "
        "learning_rate=0.004, rng=seed)"
    ],
}


def prepare(validate: bool):
    train, test = read_lists(FOLDER / "train.txt.gz", FOLDER / "test.txt.gz")
    users = np.arange(train.n_users)
    if validate:
        user, ends = train.user_index, np.cumsum(np.bincount(train.user_index))
        n = np.bincount(user)[user]
        left = ends[user] - np.arange(len(train))
        held = (left > np.rint(n / 8)) & (left <= np.rint(n / 8) + np.rint(n / 5))
        train, test = train.take(~held), train.take(held)
        users = np.random.default_rng(0).permutation(users)[:4000]

    def judge(model):
        result = evaluate(model, train, test, n=20, users=users)
        return [result["recall@20"], result["ndcg@20"]], result.protocol

    return train, judge, {}


if __name__ == "__main__":
    runs.main(prepare, MODELS, TRIED, seeds=(0,), figures=("Recall@20", "NDCG@20"))
