"""What is asked of Elasticsearch: kNN, BM25, and retrievers that fuse both; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from jinavec_integrations.elasticsearch.filters import Query
from jinavec_integrations.elasticsearch.mapping import OVERSAMPLE, Layout

MOST = 10_000
"""The most hits that Elasticsearch returns, and the most candidates that it considers."""
_CANDIDATES = 400
"""The least number of candidates a search looks at."""


def nearest(
    layout: Layout,
    vector: list[float] | list[int],
    k: int,
    condition: Query | None = None,
    *,
    candidates: int | None = None,
    oversample: float | None = None,
) -> dict[str, Any]:
    """Return a ``knn`` section over the indexed vector field of a layout.

    Args:
        layout: how the index keeps vectors.
        vector: the query, as ``convert.query_vector`` gives it.
        k: the number of hits.
        condition: the query of a filter, applied before the search.
        candidates: looked at in each shard; by default four for each hit, and at least 400.
        oversample: of quantized storage, how many times k are scored again by the raw vectors.
    """
    section: dict[str, Any] = {
        "field": layout.names.bits if layout.storage == "bit" else layout.names.vector,
        "query_vector": vector,
        "k": k,
        "num_candidates": min(MOST, max(k, candidates or max(_CANDIDATES, 4 * k))),
    }
    if (default := OVERSAMPLE.get(layout.storage)) is not None:
        section["rescore_vector"] = {"oversample": oversample or default}
    if condition is not None:
        section["filter"] = condition
    return section


def among(field: str, vector: list[float], k: int, ids: list[str]) -> dict[str, Any]:
    """Return a ``knn`` section that scores a few documents exactly by the float vectors of a field."""
    return {"field": field, "query_vector": vector, "k": k, "num_candidates": k, "filter": {"ids": {"values": ids}}}


def bit_candidates(k: int, dimension: int) -> int:
    """Return how many hits by Hamming distance are scored again for the best k.

    Forty for each result at 1024 bits, and at least 400; more where fewer bits say less about the order.
    """
    return min(MOST, math.ceil(max(400, 40 * k) * max(1, 1024 / dimension)))


def words(field: str, text: str, condition: Query | None = None) -> dict[str, Any]:
    """Return a query of a field by the words of a text (BM25)."""
    matching: dict[str, Any] = {"match": {field: text}}
    return matching if condition is None else {"bool": {"must": [matching], "filter": [condition]}}


def rrf(knn: Mapping[str, Any], query: Mapping[str, Any], window: int, constant: int) -> dict[str, Any]:
    """Return a retriever that fuses by reciprocal rank."""
    return {
        "rrf": {
            "retrievers": [{"standard": {"query": query}}, {"knn": knn}],
            "rank_constant": constant,
            "rank_window_size": window,
        }
    }


def linear(knn: Mapping[str, Any], query: Mapping[str, Any], window: int, weight: float) -> dict[str, Any]:
    """Return a retriever that adds both scores, each scaled to [0, 1], with a weight for the vectors."""
    return {
        "linear": {
            "retrievers": [
                {"retriever": {"standard": {"query": query}}, "weight": 1 - weight, "normalizer": "minmax"},
                {"retriever": {"knn": knn}, "weight": weight, "normalizer": "minmax"},
            ],
            "rank_window_size": window,
        }
    }
