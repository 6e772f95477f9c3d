"""A new customer: recommendations from what is in the basket, without training again.

The synthetic shop's views train the model on nine customers in ten; the others arrive later and
are known by part of what they looked at.  Who has seen nothing gets what is popular.
"""

import tempfile
from pathlib import Path

import nnrec
from nnrec import Interactions, Recommender
from nnrec.data.holdouts import held_out_users
from nnrec.data.synthetic import shop
from nnrec.recommend import EASE

made_up = shop(customers=1500, items=200, sessions=12_000)
log = Interactions.from_table(made_up.events, user="customer", item="item", time="time")
train, test, fold_in, _ = held_out_users(log, share=0.1, test_share=0.3)
print(f"train: {train}")

recommender = Recommender(EASE(l2=100.0)).fit(train)
judged = recommender.evaluate(test, fold_in=fold_in, n=10)
print(judged)
assert judged["ndcg@10"] > 1.5 * judged.results["Popularity"]["ndcg@10"]

# One of the newcomers, item by item; what is out of stock or in the basket is not shown.
newcomer = fold_in.user_index == fold_in.user_index[0]
basket = list(dict.fromkeys(fold_in.items[fold_in.item_index[newcomer]]))[-4:]
items, scores = recommender.recommend(history=basket, n=3, without=basket)
print(f"who looked at {', '.join(basket)} may like {', '.join(items)}")
because, parts = recommender.explain(None, items[0], history=basket)
print(f"{items[0]}, because of {because[0]}: {parts[0]:.3f} of a score of {scores[0]:.3f}")
assert abs(parts.sum() - scores[0]) < 1e-5

popular, users = recommender.recommend(history=[], n=3)
print(f"who looked at nothing gets {', '.join(popular)}, seen by {users.astype(int)} customers")

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "shop.safetensors"
    nnrec.save(recommender, path, metrics={"ndcg@10": judged["ndcg@10"]})
    again = nnrec.load(path).recommend(history=basket, n=3, without=basket)[0]
print(f"the file of the model says the same: {', '.join(again)}")
assert again == items

# Tomorrow he is a customer like any other: the model is fitted again to all that is known then.
bought = Interactions.from_columns(["he"] * 5, [*basket, items[0]], times=log.times[-5:])
recommender.partial_fit(bought)
print(f"tomorrow he is shown {', '.join(recommender.recommend('he', n=3)[0])}")
assert items[0] not in recommender.recommend("he", n=200)[0]
