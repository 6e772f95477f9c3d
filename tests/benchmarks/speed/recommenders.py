"""Training steps of recommenders on MovieLens-1M: NeuMF, also with a huge table, and autoencoder.

The batches are drawn once and are the same for all; a round is one pass over them, by Adam(0.001).
NNREC_DATA names the folder that holds `ncf-ml-1m`.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.speed.classifier import Contestant

DIM = 64


def log() -> Any:
    """The training part of the split of He et al., WWW 2017."""
    from nnrec.data.formats import read_ncf

    folder = Path(os.environ["NNREC_DATA"]) / "ncf-ml-1m"
    names = ("ml-1m.train.pairs.gz", "ml-1m.test.rating", "ml-1m.test.negative.gz")
    return read_ncf(*(folder / name for name in names))[0]


class Pairs:
    """Batches of (users, items) with labels, a fifth of them positive.

    `users` beyond the log's own: a table of so many rows, over which the log's users are spread.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        known, rng = log(), np.random.default_rng(0)
        n, steps = settings["batch"], settings["steps"]
        events = rng.choice(len(known), n * steps)
        labels = (rng.random(n * steps) < 0.2).astype(np.float32)
        items = rng.integers(0, known.n_items, n * steps)
        items = np.where(labels, known.item_index[events], items)
        self.n_users, self.n_items = settings.get("users", known.n_users), known.n_items
        users = known.user_index[events] * (self.n_users // known.n_users)
        self.batches = [
            (users[i : i + n], items[i : i + n], labels[i : i + n, None])
            for i in range(0, n * steps, n)
        ]


def neumf(settings: dict[str, Any]) -> Contestant:
    from nnrec import Adam, Network, SigmoidCrossEntropy
    from nnrec.recommend.neumf import Fusion

    job, adam = Pairs(settings), Adam(0.001)
    layer = Fusion(job.n_users, job.n_items, DIM, dropout=0.0)
    net, losses = Network(layer, SigmoidCrossEntropy(), rng=0), [0.0]

    def source(rng: Any) -> Any:
        return (((users, items), labels) for users, items, labels in job.batches)

    def work() -> int:
        before = adam.steps
        losses[0] = net.fit(source, optimizer=adam, verbose=0)["loss"][0]
        return adam.steps - before

    return work, lambda: {"loss": losses[0]}


def neumf_own_tables(settings: dict[str, Any]) -> Contestant:
    """The same steps with a table of the log's own users."""
    return neumf({name: value for name, value in settings.items() if name != "users"})


def neumf_bare(settings: dict[str, Any]) -> Contestant:
    """The products of the tower, 4d-2d-d, and of the output, each forward and back."""
    rng, n = np.random.default_rng(0), settings["batch"]
    sizes = ((4 * DIM, 2 * DIM), (2 * DIM, DIM), (2 * DIM, 1))
    parts = [
        tuple(rng.normal(size=s).astype(np.float32) for s in ((n, a), (a, b), (n, b)))
        for a, b in sizes
    ]

    def work() -> int:
        for _ in range(settings["steps"]):
            for x, w, dy in parts:
                x @ w
                x.T @ dy
                dy @ w.T
        return int(settings["steps"])

    return work, dict


def neumf_torch(settings: dict[str, Any], sparse: bool = True) -> Contestant:
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    job = Pairs(settings)

    def table(count: int, dim: int) -> Any:
        made = torch.nn.Embedding(count, dim, sparse=sparse)
        with torch.no_grad():
            made.weight.normal_(0, 0.05)
        return made

    p, q = table(job.n_users, DIM), table(job.n_items, DIM)
    tower_p, tower_q = table(job.n_users, 2 * DIM), table(job.n_items, 2 * DIM)
    linear, relu = torch.nn.Linear, torch.nn.ReLU()
    tower = torch.nn.Sequential(linear(4 * DIM, 2 * DIM), relu, linear(2 * DIM, DIM), relu)
    out = linear(2 * DIM, 1)
    tables = [t.weight for t in (p, q, tower_p, tower_q)]
    dense = [*tower.parameters(), *out.parameters()]
    if sparse:
        optimizers: Any = [
            torch.optim.SparseAdam(tables, 0.001),
            torch.optim.Adam(dense, 0.001, fused=True),
        ]
    else:
        optimizers = [torch.optim.Adam([*tables, *dense], 0.001, fused=True)]
    loss = torch.nn.BCEWithLogitsLoss()
    batches = [tuple(map(torch.from_numpy, batch)) for batch in job.batches]
    losses = [0.0]

    def work() -> int:
        total = 0.0
        for users, items, labels in batches:
            for optimizer in optimizers:
                optimizer.zero_grad()
            h = tower(torch.cat([tower_p(users), tower_q(items)], 1))
            value = loss(out(torch.cat([p(users) * q(items), h], 1)), labels)
            value.backward()
            for optimizer in optimizers:
                optimizer.step()
            total += value.item()
        losses[0] = total / len(batches)
        return len(batches)

    return work, lambda: {"loss": losses[0]}


def neumf_torch_dense(settings: dict[str, Any]) -> Contestant:
    """Dense gradients of the tables, and fused Adam over all of them."""
    return neumf_torch(settings, sparse=False)


@cache
def thinned(batch: int) -> list[tuple[Any, Any]]:
    """The users' histories as (half of them at length 1, all of them), CSR, batch by batch."""
    from nnrec.data.histories import Noisy

    return list(Noisy(log().csr().astype(np.float32), 0.5, batch)(0))


def autoencoder(settings: dict[str, Any]) -> Contestant:
    from nnrec import Adam, Network, SoftmaxCrossEntropy
    from nnrec.recommend.autoencoder import Coder

    batches, adam = thinned(settings["batch"]), Adam(0.001)
    layer = Coder(batches[0][0].shape[1], settings["hidden"], 1, variational=False, skip=False)
    net, losses = Network(layer, SoftmaxCrossEntropy(), rng=0), [0.0]

    def work() -> int:
        before = adam.steps
        losses[0] = net.fit(lambda rng: batches, optimizer=adam, verbose=0)["loss"][0]
        return adam.steps - before

    return work, lambda: {"loss": losses[0]}


def autoencoder_bare(settings: dict[str, Any]) -> Contestant:
    """The three dense products of the decoder; those of the encoder are sparse."""
    items, hidden = thinned(settings["batch"])[0][0].shape[1], settings["hidden"]
    rng = np.random.default_rng(0)
    w = rng.normal(size=(hidden, items)).astype(np.float32)

    def work() -> int:
        for x, _ in thinned(settings["batch"]):
            h = np.ones((x.shape[0], hidden), np.float32)
            dy = h @ w
            h.T @ dy
            dy @ w.T
        return len(thinned(settings["batch"]))

    return work, dict


def autoencoder_torch(settings: dict[str, Any], sparse: bool = True) -> Contestant:
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    items, hidden = thinned(settings["batch"])[0][0].shape[1], settings["hidden"]
    encoder, decoder = torch.nn.Linear(items, hidden), torch.nn.Linear(hidden, items)
    for part in (encoder, decoder):
        torch.nn.init.xavier_uniform_(part.weight)
        torch.nn.init.zeros_(part.bias)
    w = torch.nn.Parameter(encoder.weight.detach().T.contiguous())
    adam = torch.optim.Adam([w, encoder.bias, *decoder.parameters()], 0.001, fused=True)
    batches, losses = [], [0.0]
    for x, target in thinned(settings["batch"]):
        at = torch.from_numpy(np.stack(x.nonzero()))
        made = torch.sparse_coo_tensor(at, torch.from_numpy(x.data[x.data != 0]), x.shape)
        batches.append((made.coalesce() if sparse else made.to_dense(), target))

    def work() -> int:
        total = rows = 0.0
        for x, target in batches:
            adam.zero_grad()
            h = torch.tanh((torch.sparse.mm(x, w) if sparse else x @ w) + encoder.bias)
            t = torch.from_numpy(target.toarray())
            value = -(t * torch.log_softmax(decoder(h), 1)).sum(1).mean()
            value.backward()
            adam.step()
            total, rows = total + value.item() * len(t), rows + len(t)
        losses[0] = total / rows
        return len(batches)

    return work, lambda: {"loss": losses[0]}


def autoencoder_torch_dense(settings: dict[str, Any]) -> Contestant:
    """With dense input."""
    return autoencoder_torch(settings, sparse=False)
