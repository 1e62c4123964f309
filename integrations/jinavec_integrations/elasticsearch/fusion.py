"""Fusion: one ranking made of two, as the retrievers rrf and linear do it; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

Fusion = Literal["rrf", "linear"]
RANK_CONSTANT = 60
"""Cormack, Clarke and Büttcher (2009), "Reciprocal Rank Fusion outperforms Condorcet"; Elasticsearch's default."""


def rrf(rankings: Sequence[Sequence[str]], constant: int = RANK_CONSTANT) -> dict[str, float]:
    """Return the sum of 1 / (constant + rank) by id, best first; ranks count from 1."""
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, id in enumerate(ranking, 1):
            scores[id] = scores.get(id, 0.0) + 1 / (constant + rank)
    return _best_first(scores)


def linear(scored: Sequence[Mapping[str, float]], weights: Sequence[float]) -> dict[str, float]:
    """Return the weighted sum of scores by id, each list scaled to [0, 1] by its own extremes, best first.

    As in Elasticsearch's minmax, equal scores all become 1, and what a list lacks adds nothing.
    """
    scores: dict[str, float] = {}
    for by_id, weight in zip(scored, weights, strict=True):
        low, high = min(by_id.values(), default=0.0), max(by_id.values(), default=0.0)
        for id, score in by_id.items():
            scaled = (score - low) / (high - low) if high > low else 1.0
            scores[id] = scores.get(id, 0.0) + weight * scaled
    return _best_first(scores)


def _best_first(scores: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(scores.items(), key=lambda item: -item[1]))
