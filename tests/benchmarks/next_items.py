"""Amazon Beauty, the next item: two towers on ordered histories beside counting.

    NNREC_DATA=… python tests/benchmarks/next_items.py [--select] [NAME …]

The files of S3-Rec (Zhou et al., CIKM 2020): 22,363 users × 12,101 items, a user's items in the
order of time.  The last item of each user is the test and the one before it the validation; the
rest trains.  The whole catalogue is ranked but for what the user has had.  As in the published
runs nobody trains on validation items, but they stand in the histories that the test is predicted
from.  `--select` prints the figures on the validation items of everything that was tried; only the
chosen settings have seen the test.
"""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import runs
from scipy.sparse import csr_array

from nnrec.data import Interactions, leave_one_out, read_lists
from nnrec.data.histories import NextItems, unit_rows
from nnrec.metrics import evaluate_ranking
from nnrec.recommend import TwoTower

FOLDER = Path(os.environ["NNREC_DATA"], "s3rec_beauty")
TOWERS = (
    "TwoTower(loss='in_batch', batch_size=512, learning_rate=0.002, epochs=15, recency=0.8, "
    "dropout=0.5, rng=seed"
)
MODELS = {
    "Popularity": "Popularity()",
    "ItemKNN, cosine": "ItemKNN()",
    "TwoTower": f"{TOWERS})",
    "TwoTower with attributes": f"{TOWERS}, item_features=attributes)",
}
TRIED = {"TwoTower": [f"{TOWERS}, dim=128, hidden=256)"]}


def prepare(validate: bool):
    (log,) = read_lists(FOLDER / "Beauty.txt.gz")
    log.times = np.arange(len(log))  # a line is in the order of time
    before, test, *_ = leave_one_out(log)
    train, validation, *_ = leave_one_out(before)
    known, asked = (train, validation) if validate else (before, test)

    def judge(model):
        histories = known.csr()
        if isinstance(model, TwoTower):
            source = NextItems(known, None, model.window, model.recency)
            histories = source.histories(np.arange(known.n_users), source.starts[1:])
        result = evaluate_ranking(
            lambda users: model.score_histories(histories[users]),
            asked.csr(),
            seen=known.csr(),
            n=10,
        )
        return [result["hit_rate@10"], result["ndcg@10"]], result.protocol

    return train, judge, {"attributes": attributes(log)}


def attributes(log: Interactions) -> csr_array:
    """(n_items, attributes of 5 items or more) in the order of the log's ids, rows of length 1."""
    of_item = json.loads(gzip.decompress((FOLDER / "Beauty_item2attributes.json.gz").read_bytes()))
    cells = [(row, a) for row, item in enumerate(log.items) for a in of_item.get(str(item), ())]
    row, column = np.array(cells).T
    shape = (log.n_items, column.max() + 1)
    x = csr_array((np.ones(len(row), np.float32), (row, column)), shape=shape)
    return unit_rows(x[:, np.bincount(column) >= 5])


if __name__ == "__main__":
    runs.main(prepare, MODELS, TRIED, seeds=(0, 1, 2), figures=("HR@10", "NDCG@10"))
