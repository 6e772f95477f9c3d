"""What a ranking result, its protocol and a comparison of several print."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nnrec.metrics.comparison import Comparison
from nnrec.metrics.ranking import Protocol, RankingResult, evaluate_ranking
from tests.messages import exactly

FULL = Protocol(
    users=1234, users_without_positives=5678, without_positives="skip", items=91011, masked=12131,
    candidates=None, ties="expected", denominator="attainable",
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({}, "full ranking of 91,011 items; 1,234 users, 5,678 without positives (skipped); "
         "12,131 seen pairs masked; ties expected; recall, F1 and MAP over attainable items"),
        ({"candidates": 99.96, "without_positives": "zero"},
         "sampled ranking: 99.96 candidates a user beside positives; 1,234 users, 5,678 without "
         "positives (counted as 0); 12,131 seen pairs masked; ties expected; recall, F1 and MAP "
         "over attainable items"),
    ],
)  # fmt: skip
def test_protocol_says_all(change, text: str) -> None:
    assert str(replace(FULL, **change)) == text


def test_result_prints_a_table_of_all_metrics() -> None:
    metrics = {"hit_rate@1": 0.5, "hit_rate@10": 0.75, "auc": 0.25, "gini@1": 1 / 3, "gini@10": 1.0}
    result = RankingResult(metrics, {}, np.arange(2), np.zeros((2, 1)), protocol=FULL)
    assert str(result).splitlines() == [
        "                            @1       @10",
        "hit_rate                0.5000    0.7500",
        "auc                     0.2500",
        "gini                    0.3333    1.0000",
        str(FULL),
    ]
    assert result["gini@10"] == 1.0
    one = replace(result, metrics={"auc": 0.5, "mrr@7": 0.25})
    assert str(one).splitlines()[:3] == [
        "                            @7",
        "auc                     0.5000",
        "mrr                     0.2500",
    ]


def test_comparison_prints_the_results_side_by_side() -> None:
    first, second = (
        RankingResult({"a@1": a, "b": b}, {}, np.arange(2), np.zeros((2, 1)), protocol=FULL)
        for a, b in ((0.5, 0.25), (2 / 3, 12.0))
    )
    pair = Comparison({"one": first, "two": second}, {"no item": 1234, "none": 0, "late": 2})
    assert pair["a@1"] == 0.5 and pair["b"] == 0.25
    assert str(pair).splitlines() == [
        "                                  one                  two",
        "a@1                            0.5000               0.6667",
        "b                              0.2500              12.0000",
        str(FULL),
        "left out of test: 1,234 no item, 2 late",
    ]
    assert str(Comparison({"one": first})).splitlines()[-1] == "left out of test: nothing"
    other = replace(second, protocol=replace(FULL, masked=7))
    protocols = {"one": FULL, "two": other.protocol}
    words = f"expected results under one protocol, found {protocols}"
    with pytest.raises(ValueError, match=exactly(words)):
        Comparison({"one": first, "two": other})
    with pytest.raises(ValueError, match=exactly("expected results under one protocol, found {}")):
        Comparison({})


def test_the_protocol_is_printed() -> None:
    scores, truth = np.array([[3.0, 2.0, 1.0]]), np.array([[0, 1, 0]])
    text = str(evaluate_ranking(scores, truth, seen=[[1, 0, 0]], n=[1, 2], auc=True))
    assert "ndcg                    1.0000    1.0000" in text
    assert "auc                     1.0000\n" in text
    assert text.splitlines()[-1] == (
        "full ranking of 3 items; 1 users, 0 without positives (skipped); 1 seen pairs masked; "
        "ties pessimistic; recall, F1 and MAP over relevant items"
    )
