"""Diverse answers: of the hits of a query, those that do not repeat one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from jinavec.engine import check_k
from jinavec.errors import InvalidInput, brief
from jinavec.records import Hit
from jinavec.vectors import Float32, normalize


def diverse(
    hits: Sequence[Hit], vectors: Mapping[str, Float32], query: ArrayLike, k: int, relevance: float = 0.5
) -> list[Hit]:
    """Pick k of the hits one by one: each near to the query, and unlike those picked before it.

    Maximal marginal relevance (Carbonell and Goldstein, 1998): the next is the hit with the largest
    ``relevance * cos(hit, query) - (1 - relevance) * max(cos(hit, picked))``; the first is the nearest.

    Args:
        hits: the candidates, best first.
        vectors: their unit vectors (dimension,) by id; a hit without one was deleted meanwhile and is passed over.
        query: its vector (dimension,).
        k: the number to pick; fewer where there are fewer.
        relevance: from 0, most different, to 1, nearest.

    Raises:
        InvalidInput: a relevance outside [0, 1], or a k below 1.
    """
    if not isinstance(relevance, (int, float)) or not 0 <= relevance <= 1:
        raise InvalidInput(f"the weight of relevance against diversity goes from 0 to 1, not {brief(relevance)}")
    left = [hit for hit in hits if hit.record.id in vectors]
    wanted = min(check_k(k), len(left))
    if not left:
        return []
    rows = np.stack([vectors[hit.record.id] for hit in left]).astype(np.float64)
    nearness = rows @ normalize(query)
    likeness = np.full(len(left), -np.inf)
    gain = nearness.copy()  # of the first, nothing has to differ from
    picked: list[int] = []
    while len(picked) < wanted:
        gain[picked] = -np.inf
        picked.append(int(np.argmax(gain)))
        likeness = np.maximum(likeness, rows @ rows[picked[-1]])
        gain = relevance * nearness - (1 - relevance) * likeness
    return [left[number] for number in picked]
