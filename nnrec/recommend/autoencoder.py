"""Autoencoders on histories: denoising, variational (multinomial likelihood), or tied by cosine.

x = a user's items, some of them dropped, scaled to length 1      (the noise; a batch source)
denoising      h = tanh(x W₁ + b₁),  logits = h W₂ + b₂            (Wu et al., WSDM 2016)
variational    μ, ln σ² from h,  z = μ + σ ε,  logits from z        (Liang et al., WWW 2018)
tied           logits = cos(x E, E_j) / τ, one table for both sides (cf. SimpleX, CIKM 2021)

E = mean over users of −Σ_j x_j ln softmax(logits)_j + β KL(N(μ, σ²) ‖ N(0, 1))
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnrec import nn
from nnrec.data.histories import Noisy, unit_rows
from nnrec.data.interactions import Interactions
from nnrec.data.sampling import in_batch_shift
from nnrec.nn.layers import Array, Result, Rng
from nnrec.recommend.network_model import NetworkModel
from nnrec.recommend.scoring import check_fitted
from nnrec.recommend.two_tower import Product


class Sample(nn.Layer):
    """z = μ + σ ε, ε ~ N(0, 1), in training; z = μ otherwise: m (n, 2 d) is [μ | ln σ²], z (n, d).

    dμ = dz,  d ln σ² = dz · ε σ / 2.  The trick that lets a gradient pass a draw (Kingma & Welling
    2014, section 2.4).
    """

    def __call__(self, theta: Array, m: Array, rng: Rng = None) -> Result:
        mean, log_variance = np.split(m, 2, axis=1)
        if rng is None:
            return mean, lambda dz, g: np.concatenate([dz, np.zeros_like(dz)], axis=1)
        noise = rng.normal(size=mean.shape).astype(mean.real.dtype)
        shift = np.exp(log_variance / 2) * noise

        def back(dz: Array, g: Array) -> Array:
            return np.concatenate([dz, dz * shift / 2], axis=1)

        return mean + shift, back


class Coder(nn.Composite):
    """Logits (n, items) from CSR histories (n, items); a variational one gives [μ | ln σ²] too."""

    def __init__(self, items: int, hidden: int, dim: int, variational: bool, skip: bool):
        self.items, self.hidden, self.dim = items, hidden, dim
        self.variational, self.skip = variational, skip
        encoder = [nn.Dense(items, hidden), nn.Tanh(), *[nn.Dense(hidden, 2 * dim)] * variational]
        parts: dict[str, nn.Layer] = {"encoder": nn.Sequential(encoder)}
        if variational:
            parts |= {"sample": Sample(), "wide": nn.Sequential([nn.Dense(dim, hidden), nn.Tanh()])}
        parts["decoder"] = nn.Dense(hidden, items)
        if skip:
            parts |= {"linear": nn.Dense(items, items, "zeros"), "add": nn.Add()}
        super().__init__(**parts)

    def __call__(self, theta: Array, x: Any, rng: Rng = None) -> Result:
        on = self.bind(theta, rng)
        m, back_m = on.encoder(x)
        h = m
        if self.variational:
            z, back_z = on.sample(m)
            h, back_h = on.wide(z)
        y, back_y = on.decoder(h)
        if self.skip:
            direct, back_direct = on.linear(x)
            y, back_add = on.add(y, direct)

        def back(dy: Any, g: Array) -> None:
            dy, dm = dy if self.variational else (dy, 0)
            if self.skip:
                dy, d_direct = back_add(dy, g)
                back_direct(d_direct, g)
            dh = back_y(dy, g)
            back_m(back_z(back_h(dh, g), g) + dm if self.variational else dh, g)

        return ((y, m) if self.variational else y), back


class Unit(nn.Layer):
    """y = x / |x| row by row, rows of zeros stay:  dx = (dy − y (y · dy)) / |x|."""

    def __call__(self, theta: Array, x: Array, rng: Rng = None) -> Result:
        length = np.sqrt((x * x).sum(axis=1, keepdims=True))
        length = np.where(length == 0, 1, length)
        y = x / length
        return y, lambda dy, g: (dy - y * (y * dy).sum(axis=1, keepdims=True)) / length


class Tied(nn.Composite):
    """Logits cos(x E, E_j) / τ + shift_j (n, m) of the m different items in the cells of CSR x.

    x (n, items) holds a batch's histories, dropped items as zeros.  The one table E (items, dim)
    serves twice, and dE is the sum of what comes from either side.
    """

    def __init__(self, items: int, dim: int, temperature: float, shift: Any):
        self.items, self.dim, self.temperature, self.shift = items, dim, temperature, shift
        table = nn.Embedding(items, dim, nn.Normal(0.1 / dim**0.5))
        super().__init__(item=table, unit=Unit(), product=Product())

    def __call__(self, theta: Array, x: Any, rng: Rng = None) -> Result:
        on, ids = self.bind(theta, rng), np.unique(x.indices)
        x = x[:, ids]
        e, back_e = on.item(ids)
        u, back_u = on.unit(x @ e)
        v, back_v = on.unit(e)
        y, back_y = on.product(u / self.temperature, v)

        def back(dy: Array, g: Array) -> None:
            du, dv = back_y(dy, g)
            back_e(back_v(dv, g) + x.T @ back_u(du / self.temperature, g), g)

        return y + self.shift[ids].astype(y.real.dtype), back

    def rows(self, x: Any) -> dict[str, Array]:
        return self.part_rows("item", np.unique(x.indices))


class EvidenceBound(nn.Loss):
    """−Σ_j t_j ln softmax(y)_j + β ½ Σ_k (μ_k² + σ_k² − 1 − ln σ_k²), the mean over rows.

    pred (logits, [μ | ln σ²]); dμ = β μ / n,  d ln σ² = β (σ² − 1) / 2n.
    """

    def __init__(self, beta: float):
        self.beta = beta

    def inverse_link(self, pred: tuple[Array, Array]) -> Array:
        return nn.SoftmaxCrossEntropy().inverse_link(pred[0])

    def __call__(self, pred: tuple[Array, Array], target: Any, weight: Any = None) -> Any:
        y, m = pred
        value, dy = nn.SoftmaxCrossEntropy()(y, target, weight)
        mean, log_variance = np.split(m, 2, axis=1)
        variance = np.exp(log_variance)
        divergence = (mean * mean + variance - 1 - log_variance).sum(axis=1) / 2
        dm = np.concatenate([mean, (variance - 1) / 2], axis=1)
        apart, dm = self.average(divergence, dm, weight)
        return value + self.beta * apart, (dy, dm * self.beta)


class AutoEncoder(NetworkModel):
    """Rebuilds whole histories from thinned ones; folds in new users.

    hidden: units of the hidden layer; dim: of the variational code or the tied table.  dropout: the
    share of a history that is dropped.  beta: the weight of the divergence.  skip: a linear layer
    from input to output beside the network.  temperature: τ > 0 makes it the tied one, trained on
    the items of each batch, logits shifted as `TwoTower`'s are.

    >>> log = Interactions.from_columns([1, 1, 2, 2, 3, 3], ["a", "b", "a", "b", "c", "d"])
    >>> model = AutoEncoder(hidden=8, epochs=300, batch_size=3).fit(log)
    >>> sorted(model.score_histories(log.csr()[[2]]).argsort()[0, 2:].tolist())
    [2, 3]
    """

    learned = ("network", "histories")

    def __init__(
        self,
        hidden: int = 600,
        dim: int = 200,
        variational: bool = False,
        skip: bool = False,
        dropout: float = 0.5,
        beta: float = 0.2,
        temperature: float = 0.0,
        l2: float = 0.0,
        epochs: int = 50,
        batch_size: int = 256,
        learning_rate: float = 0.003,
        rng: Any = 0,
        verbose: int = 0,
    ):
        self.hidden, self.dim, self.variational, self.skip = hidden, dim, variational, skip
        self.dropout, self.beta, self.l2, self.epochs = dropout, beta, l2, epochs
        self.batch_size, self.learning_rate = batch_size, learning_rate
        self.temperature, self.rng, self.verbose = temperature, rng, verbose
        self.check_arguments()
        if temperature and (variational or skip):
            raise ValueError(f"{self!r}: temperature > 0 takes neither variational nor skip")

    def assemble(self, interactions: Interactions) -> tuple[nn.Network, Any, int]:
        self.histories, items = interactions.csr(), interactions.n_items
        rows, tied = int(np.count_nonzero(np.diff(self.histories.indptr))), self.temperature > 0
        coder: nn.Layer = Coder(items, self.hidden, self.dim, self.variational, self.skip)
        if tied:
            share = np.bincount(self.histories.indices, minlength=items) / rows
            shift = in_batch_shift(share, self.batch_size)
            coder = Tied(items, self.dim, self.temperature, shift)
        loss = EvidenceBound(self.beta) if self.variational else nn.SoftmaxCrossEntropy()
        network = nn.Network(coder, loss, rng=self.rng, penalty=nn.L2(self.l2) if self.l2 else ())
        if tied:
            network.parameters()["item.E"][share == 0] = 0  # no direction by chance, cosine 0
        source = Noisy(self.histories, self.dropout, self.batch_size, tied)
        return network, source, rows

    def score_all(self, users: Any) -> Array:
        check_fitted(self, "network")
        return self.score_histories(self.histories[np.asarray(users)])

    def score_histories(self, histories: Any) -> Array:
        check_fitted(self, "network")
        x = self.network.inputs(unit_rows(histories))
        if self.temperature:
            E = self.network.parameters()["item.E"]
            scores, length = Unit()(E, x[0] @ E)[0] @ E.T, np.sqrt(np.vecdot(E, E))
            return np.asarray(np.divide(scores, np.where(length == 0, 1, length), out=scores))
        scores, _ = self.network.layer(self.network.theta, *x)
        return np.asarray(scores[0] if self.variational else scores)
