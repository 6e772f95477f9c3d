"""Neural collaborative filtering on MovieLens-1M (He et al., WWW 2017): a small NeuMF, briefly.

NNREC_DATA names the folder that holds ncf-ml-1m/, the paper's own split: the last film of each of
6,040 users against 99 that were drawn for him.  The paper's network is larger and trains longer
(HR@10 .730, NDCG@10 .447); docs/results.md has ours of that size.
"""

import os
import time
from pathlib import Path

from nnrec.data import read_ncf
from nnrec.recommend import EASE, NeuMF, Popularity, evaluate

if "NNREC_DATA" not in os.environ:
    raise SystemExit("skipped: NNREC_DATA does not name the folder that holds ncf-ml-1m")
folder = Path(os.environ["NNREC_DATA"], "ncf-ml-1m")
names = "ml-1m.train.pairs.gz", "ml-1m.test.rating", "ml-1m.test.negative.gz"
train, test, candidates, duplicates = read_ncf(*(folder / name for name in names))
print(f"{train}\n{duplicates} test films stood among their own rivals and were taken out there\n")

found = {}
for model in (Popularity(), EASE(l2=1320.0), NeuMF(dim=16, negatives=4, epochs=3, dropout=0.1)):
    began = time.process_time()
    model.fit(train)
    seconds = time.process_time() - began
    result = evaluate(model, train, test, candidates=candidates, n=10)
    name = type(model).__name__
    found[name] = result["hit_rate@10"]
    figures = f"HR@10 {found[name]:.4f}   NDCG@10 {result['ndcg@10']:.4f}"
    print(f"{name:<12}{figures}   {seconds:5.1f} s")
print(f"\n{result.protocol}")

assert duplicates == 156
assert round(found["Popularity"], 4) == 0.4531 and round(found["EASE"], 4) == 0.7192
assert found["NeuMF"] > found["Popularity"] + 0.1  # EASE, in a closed form, stays ahead
