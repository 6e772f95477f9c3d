"""Lesson 7: factors by hand, then recommenders on a shop's views, ranked honestly.

docs/course/7-recommenders.md
"""

import numpy as np

from nnrec import MSE, SGD, Composite, Dot, Embedding, Interactions, Network, Recommender
from nnrec.data import leave_one_out
from nnrec.data.synthetic import shop
from nnrec.recommend import EASE, MatrixFactorization, NeuMF


class Product(Composite):
    """A predicted rating is p_u · q_i: ids (n,), (n,) to (n, 1)."""

    def __init__(self, users, items, dim):
        super().__init__(user=Embedding(users, dim), item=Embedding(items, dim), dot=Dot())

    def __call__(self, theta, users, items, rng=None):
        on = self.bind(theta, rng)
        p, back_p = on.user(users)
        q, back_q = on.item(items)
        s, back_s = on.dot(p, q)

        def back(ds, g):
            dp, dq = back_s(ds, g)
            return back_p(dp, g), back_q(dq, g)

        return s, back


# Four users, five items, thirteen opinions: liked (1) or not (−1).
u = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3])
i = np.array([0, 1, 3, 0, 1, 4, 2, 3, 4, 0, 2, 3, 4])
r = np.array([1, 1, -1, 1, 1, -1, 1, 1, 1, -1, 1, 1, 1.0])
net = Network(Product(4, 5, 2), MSE(), rng=0, dtype="float64")
net.theta *= 5  # tables begin near zero, where both gradients are small
P, Q = (table.copy() for table in net.parameters().values())

# By hand: e = p·q − r; each factor moves against e times the other, summed over its ratings.
for _ in range(400):
    e = (P[u] * Q[i]).sum(axis=1) - r
    dP, dQ = np.zeros_like(P), np.zeros_like(Q)
    np.add.at(dP, u, e[:, None] * Q[i] / len(r))
    np.add.at(dQ, i, e[:, None] * P[u] / len(r))
    P, Q = P - 0.3 * dP, Q - 0.3 * dQ
net.fit((u, i), r, optimizer=SGD(0.3), epochs=400, batch_size=len(r), verbose=0)
print(f"mean squared error of {len(r)} opinions: {np.mean(e**2):.4f}; all of them, predicted:")
print((P @ Q.T).round(1))
assert np.allclose(net.theta, [*P.ravel(), *Q.ravel()], rtol=1e-6) and np.mean(e**2) < 0.01
assert ((P @ Q.T)[[0, 1, 2, 2], [2, 2, 0, 1]] < 0).all()  # what nobody has said

# Views instead of ratings.  The last item of each customer is withheld; every item is ranked.
made_up = shop(customers=500, items=100, sessions=4_000, rng=0)
log = Interactions.from_table(made_up.events, user="customer", item="item", time="time")
train, test, *_ = leave_one_out(log)
models = [EASE(l2=100.0), MatrixFactorization(dim=16), NeuMF(dim=8, pretrain=True)]
ndcg = {}
for model in models:
    judged = Recommender(model).fit(train).evaluate(test, n=10)
    ndcg[type(model).__name__] = judged["ndcg@10"]
ndcg["Popularity"] = judged.results["Popularity"]["ndcg@10"]
print(f"\n{train}\nNDCG@10:", {name: round(value, 3) for name, value in ndcg.items()})
assert ndcg["EASE"] > 1.2 * ndcg["Popularity"] < 1.2 * ndcg["NeuMF"]

# The same model, each withheld item among some 20 drawn ones: looks better, says less.
print(judged)
drawn = np.random.default_rng(0).random((train.n_users, train.n_items)) < 0.2
among_few = Recommender(model).fit(train).evaluate(test, n=10, candidates=drawn)
full, sampled = judged["hit_rate@10"], among_few["hit_rate@10"]
print(f"hit rate at 10: {full:.3f} among all items, {sampled:.3f} among some 20 drawn")
assert sampled > 2 * full
