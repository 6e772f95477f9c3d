"""The document's §5, step by step, with nnrec in Keras's place, on a real shop's sessions.

NNREC_DATA names the folder that holds online_shoppers/ (UCI 468, Sakar & Kastro 2018): 12,330
sessions, `Revenue` says which ended in a purchase. docs/tutorial.md walks through this program.
"""

import os
import tempfile
from pathlib import Path

from nnrec import Adam, NeuralClassifier, Table, load, save
from nnrec.data import equal_rows, split
from nnrec.metrics import accuracy, f1, recall, roc_auc

# §5.2.1  Load the data, set a fifth aside for the test; equal rows are kept on one side.
path = Path(os.environ["NNREC_DATA"], "online_shoppers", "online_shoppers_intention.csv")
data = Table.read(path)
X, y = data.without("Revenue"), data["Revenue"]
parts = split(data, {"train": 0.8, "test": 0.2}, stratify=y, groups=equal_rows(X), rng=42)
train, test = parts["train"], parts["test"]

# §5.2.2  Three hidden layers with dropout; scaling and one-hot columns are part of the model.
model = NeuralClassifier(
    hidden=(128, 64, 32),
    activation="relu",
    dropout=0.2,
    optimizer=Adam(0.001),
    decay=False,
    epochs=10,
    batch_size=32,
    validation_split=0.1,
    threshold="f1",  # chosen on the held-out tenth; 0.5 is the document's
    random_state=42,
)

# §5.2.3  Train.
model.fit(X.take(train), y[train])
print(model.features_, model.histories_[0], sep="\n\n")

# §5.2.4  Evaluate on the rows that were set aside.
figures = model.evaluate(X.take(test), y[test])
print("\ntest:", {name: round(value, 4) for name, value in figures.items()})

# §5.2.5  Save, load, predict: the file holds the features' statistics too.
with tempfile.TemporaryDirectory() as folder:
    file = Path(folder, "ecommerce_recommendation_model.safetensors")
    save(model, file)
    loaded = load(file)
predictions = loaded.predict_proba(X.take(test))[:, 1]
assert (predictions == model.predict_proba(X.take(test))[:, 1]).all()

# §5.4.1  Labels from probabilities: at the document's 0.5, and at the threshold chosen above.
for threshold in (0.5, loaded.threshold_):
    found = predictions >= threshold
    figures = {metric.__name__: metric(y[test], found) for metric in (accuracy, recall, f1)}
    print(f"from {threshold:.3f} on:", {name: round(v, 4) for name, v in figures.items()})

# §5.4.2  A visitor as the shop sees one: raw columns, in any order, with what is missing missing.
known = {"Month": ["Nov"], "ProductRelated": [12], "PageValues": [20.0]}
visitor = {name: known.get(name, [None]) for name in X.names}
print(f"this visitor: {loaded.predict_proba(visitor)[0, 1]:.2f}")

assert roc_auc(y[test], predictions) > 0.9
assert f1(y[test], loaded.predict(X.take(test))) > 0.6
