"""Comparison: several models judged on the same test, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nnrec.metrics.ranking import RankingResult


@dataclass(frozen=True)
class Comparison:
    """`results` by name, the one that is judged first: `comparison["ndcg@10"]` is its; prints all.

    left_out: how many events of test could not be judged, by reason.  ValueError: results under
    different protocols, which can't be compared.

    >>> from nnrec.metrics.ranking import evaluate_ranking
    >>> good, bad = (evaluate_ranking([s], [[0, 1]], n=1) for s in ([0.0, 1.0], [1.0, 0.0]))
    >>> print(Comparison({"good": good, "bad": bad}, {"unknown item": 3}))
                                     good                  bad
    hit_rate@1                     1.0000               0.0000
    ...
    left out of test: 3 unknown item
    """

    results: Mapping[str, RankingResult]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        protocols = {name: result.protocol for name, result in self.results.items()}
        if len(set(protocols.values())) != 1:
            raise ValueError(f"expected results under one protocol, found {protocols}")

    @property
    def first(self) -> RankingResult:
        """The one that is judged."""
        return next(iter(self.results.values()))

    def __getitem__(self, metric: str) -> float:
        return self.first[metric]

    @property
    def unjudged(self) -> str:
        """What was left out of test, in words."""
        out = (f"{count:,} {reason}" for reason, count in self.left_out.items() if count)
        return ", ".join(out) or "nothing"

    def __str__(self) -> str:
        lines = [" " * 16 + "".join(f"{name:>21}" for name in self.results)]
        for metric in self.first.metrics:
            row = "".join(f"{result[metric]:>21.4f}" for result in self.results.values())
            lines.append(f"{metric:<16}{row}")
        return "\n".join([*lines, str(self.first.protocol), f"left out of test: {self.unjudged}"])
