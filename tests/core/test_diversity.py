"""Maximal marginal relevance, against its definition word by word."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinavec import Hit, Record
from jinavec.diversity import diverse
from jinavec.errors import InvalidInput
from jinavec.vectors import Float32, normalize


def draw(seed: int, count: int, width: int = 16) -> tuple[Float32, list[Hit], dict[str, Float32]]:
    """Return a query, its hits, best first, and their vectors; some of them nearly alike."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((3, width))
    rows = normalize(centres[random.integers(0, 3, count)] + 0.3 * random.standard_normal((count, width)))
    query = normalize(centres[0] + random.standard_normal(width))
    nearness = rows @ query
    order = np.argsort(-nearness)
    hits = [Hit(Record(str(number)), float(nearness[number])) for number in order]
    return query, hits, {str(number): row for number, row in enumerate(rows)}


def define(query: Float32, hits: list[Hit], vectors: dict[str, Float32], k: int, relevance: float) -> list[str]:
    """Pick as the definition says."""
    rows = {id: vector.astype(np.float64) for id, vector in vectors.items()}
    left, picked = [hit.record.id for hit in hits], list[str]()
    while left and len(picked) < k:
        gains = [
            relevance * (rows[id] @ query)
            - (1 - relevance) * max((rows[id] @ rows[other] for other in picked), default=0.0)
            if picked
            else rows[id] @ query
            for id in left
        ]
        picked.append(left.pop(int(np.argmax(gains))))
    return picked


def ids(hits: list[Hit]) -> list[str]:
    return [hit.record.id for hit in hits]


@given(seed=st.integers(0, 10**6), count=st.integers(0, 30), k=st.integers(1, 12), relevance=st.floats(0, 1))
def test_it_picks_what_the_definition_picks(seed: int, count: int, k: int, relevance: float) -> None:
    query, hits, vectors = draw(seed, count)
    picked = diverse(hits, vectors, query, k, relevance)
    assert ids(picked) == define(query, hits, vectors, k, relevance)
    assert len(picked) == min(k, count)
    assert all(hit in hits for hit in picked)  # as they were, scores and all


def test_all_for_nearness_is_the_order_of_the_hits() -> None:
    query, hits, vectors = draw(1, 20)
    assert diverse(hits, vectors, query * 3, 7, 1) == hits[:7]


def test_of_equal_vectors_one_is_enough() -> None:
    query, hits, vectors = draw(2, 8)
    twin = Hit(Record("twin"), hits[0].score)
    picked = diverse([hits[0], twin, *hits[1:]], vectors | {"twin": vectors[hits[0].record.id]}, query, 8, 0.3)
    assert picked[0] == hits[0] and picked[1] != twin


def test_what_was_deleted_meanwhile_is_passed_over() -> None:
    query, hits, vectors = draw(3, 6)
    del vectors[hits[0].record.id]
    assert hits[0] not in diverse(hits, vectors, query, 6)
    assert diverse(hits, {}, query, 6) == []


@pytest.mark.parametrize("relevance", [-0.1, 1.1, float("nan"), "0.5", None])
def test_weights_outside_0_to_1_are_refused(relevance: Any) -> None:
    query, hits, vectors = draw(4, 3)
    with pytest.raises(InvalidInput, match="from 0 to 1"):
        diverse(hits, vectors, query, 2, relevance)


@pytest.mark.parametrize("k", [0, -1, True, 1.5])
def test_a_k_that_is_no_number_of_hits_is_refused(k: Any) -> None:
    query, hits, vectors = draw(5, 3)
    with pytest.raises(InvalidInput, match="k must be"):
        diverse(hits, vectors, query, k)
