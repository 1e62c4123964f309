"""Retrieval beyond nearest neighbors: post-filters in Python, and maximal marginal relevance (MMR)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from jinavec.engine import Engine, check_k
from jinavec.errors import InvalidInput, brief
from jinavec.filters import FilterDict
from jinavec.records import Hit, Record
from jinavec.vectors import Float32, normalize

PostFilter = Callable[[Record], bool]
"""A condition that the engine cannot evaluate: a function of the record."""

_MORE = 4
"""How many times as many hits to ask for, where too few pass the post-filter."""


def search_post_filtered(
    engine: Engine,
    query: ArrayLike,
    k: int,
    filter: FilterDict | None = None,
    post_filter: PostFilter | None = None,
) -> list[Hit]:
    """Return the k best records that pass a filter and a post-filter, best first; fewer where fewer pass.

    The engine applies ``filter`` before the search. ``post_filter`` sees the nearest records, and more of them until
    enough pass: the fewer pass, the longer it takes.

    Raises:
        InvalidVectors, InvalidFilter, InvalidInput: a query, filter or k that cannot be used.
    """
    if post_filter is None:
        return engine.search(query, k, filter)
    wanted = k = check_k(k)
    while True:
        hits = engine.search(query, wanted, filter)
        passing = [hit for hit in hits if post_filter(hit.record)]
        if len(passing) >= k or len(hits) < wanted:
            return passing[:k]
        wanted *= _MORE


def mmr(
    hits: Sequence[Hit], vectors: Mapping[str, Float32], query: ArrayLike, k: int, lambda_mult: float = 0.5
) -> list[Hit]:
    """Re-rank hits by maximal marginal relevance: each near to the query, and unlike those picked before it.

    After Carbonell and Goldstein, 1998: the next is the hit with the largest
    ``lambda_mult * cos(hit, query) - (1 - lambda_mult) * max(cos(hit, picked))``; the first is the nearest.

    Args:
        hits: the candidates, best first.
        vectors: their unit vectors (dimension,) by id; a hit without one was deleted meanwhile and is skipped.
        query: its vector (dimension,).
        k: the number to pick; fewer where there are fewer.
        lambda_mult: from 0, most diverse, to 1, most relevant.

    Raises:
        InvalidInput: a lambda_mult outside [0, 1], or a k below 1.
    """
    if not isinstance(lambda_mult, (int, float)) or not 0 <= lambda_mult <= 1:
        raise InvalidInput(f"the MMR weight lambda_mult must be from 0 to 1, not {brief(lambda_mult)}")
    left = [hit for hit in hits if hit.record.id in vectors]
    wanted = min(check_k(k), len(left))
    if not left:
        return []
    rows = np.stack([vectors[hit.record.id] for hit in left]).astype(np.float64)
    relevance = rows @ normalize(query)
    redundancy = np.full(len(left), -np.inf)
    gain = relevance.copy()  # nothing is picked yet that the first could repeat
    picked: list[int] = []
    while len(picked) < wanted:
        gain[picked] = -np.inf
        picked.append(int(np.argmax(gain)))
        redundancy = np.maximum(redundancy, rows @ rows[picked[-1]])
        gain = lambda_mult * relevance - (1 - lambda_mult) * redundancy
    return [left[number] for number in picked]
