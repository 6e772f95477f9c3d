"""A variational autoencoder on histories: its gradient, checked; its ranking, beside strong ones.

The synthetic shop says what every customer truly likes, so beside popularity and EASE stands the
best that any model could have reached.
"""

import numpy as np

from nnrec import Interactions, Network, Recommender, check_gradients
from nnrec.data.holdouts import fraction_per_user
from nnrec.data.synthetic import shop
from nnrec.metrics.ranking import evaluate_ranking
from nnrec.recommend import AutoEncoder
from nnrec.recommend.autoencoder import Coder, EvidenceBound

made_up = shop(customers=1500, items=200, sessions=12_000)
log = Interactions.from_table(made_up.events, user="customer", item="item", time="time")
train, test, *_ = fraction_per_user(log, 0.2)

# The network whole: encoder, the draw of z, decoder, and the bound with its divergence.
some = train.csr()[:5]
network = Network(Coder(200, 11, 3, variational=True, skip=False), EvidenceBound(0.2), rng=0)
report = check_gradients(network, some, target=some)
print(report)
assert report.ok and report.error < 1e-12

model = AutoEncoder(hidden=100, dim=20, variational=True, epochs=40, learning_rate=0.005)
recommender = Recommender(model).fit(train)
judged = recommender.evaluate(test, n=10)
print(judged)

# What is true of the same customers, in the order of the log's ids.
row = {name: i for i, name in enumerate(made_up.customers["customer"])}
column = {name: i for i, name in enumerate(made_up.items["item"])}
customers = np.array([row[name] for name in log.users])
affinity = made_up.true_affinity(customers)[:, [column[name] for name in log.items]]
best = evaluate_ranking(affinity, test.csr(), seen=train.csr(), n=10)["ndcg@10"]
popular = judged.results["Popularity"]["ndcg@10"]
share = (judged["ndcg@10"] - popular) / (best - popular)
print(f"NDCG@10 of the truth {best:.4f}: the way from popularity to it is gone by {share:.0%}")
assert share > 0.5
