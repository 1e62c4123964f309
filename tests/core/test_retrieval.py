"""Post-filters against the ranking of all records; MMR against its definition, word by word."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinavec import Contract, Engine, Hit, ModelProfile, Record, open_engine
from jinavec.errors import InvalidInput
from jinavec.retrieval import mmr, search_post_filtered
from jinavec.vectors import Float32, normalize

QUERY = np.eye(1, 16)[0]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Three hundred records with the numbers 0 to 299, every other one even."""
    contract = Contract.of(ModelProfile(name="tests", width=16))
    with open_engine(f"faiss:{tmp_path / 'index'}", contract=contract) as engine:
        records = [Record(str(number), "", {"even": number % 2 == 0}) for number in range(300)]
        engine.add(records, np.random.default_rng(0).standard_normal((300, 16)))
        yield engine


@pytest.mark.parametrize("k", [1, 7, 200, 1000])
@pytest.mark.parametrize("tenths", [0, 1, 10])
def test_the_best_that_pass_come_in_the_order_of_the_search(engine: Engine, k: int, tenths: int) -> None:
    def passes(record: Record) -> bool:
        return int(record.id) % 10 < tenths

    ranked = [hit for hit in engine.search(QUERY, 300) if passes(hit.record)]
    assert search_post_filtered(engine, QUERY, k, post_filter=passes) == ranked[:k]
    even = [hit for hit in ranked if hit.record.metadata["even"]]
    assert search_post_filtered(engine, QUERY, k, {"even": True}, passes) == even[:k]


def test_without_a_function_it_is_the_search(engine: Engine) -> None:
    assert search_post_filtered(engine, QUERY, 5, {"even": False}) == engine.search(QUERY, 5, {"even": False})


def test_only_records_that_pass_the_filter_are_shown_to_the_function(engine: Engine) -> None:
    seen: set[bool] = set()

    def note(record: Record) -> bool:
        seen.add(record.metadata["even"])
        return False

    assert search_post_filtered(engine, QUERY, 5, {"even": True}, note) == []
    assert seen == {True}


def test_a_k_below_one_is_refused(engine: Engine) -> None:
    with pytest.raises(InvalidInput, match="k must be"):
        search_post_filtered(engine, QUERY, 0, post_filter=lambda record: True)


# MMR


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


def define(query: Float32, hits: list[Hit], vectors: dict[str, Float32], k: int, lambda_mult: float) -> list[str]:
    """Pick as the definition says."""
    rows = {id: vector.astype(np.float64) for id, vector in vectors.items()}
    left, picked = [hit.record.id for hit in hits], list[str]()
    while left and len(picked) < k:
        gains = [
            lambda_mult * (rows[id] @ query)
            - (1 - lambda_mult) * max((rows[id] @ rows[other] for other in picked), default=0.0)
            if picked
            else rows[id] @ query
            for id in left
        ]
        picked.append(left.pop(int(np.argmax(gains))))
    return picked


def ids(hits: list[Hit]) -> list[str]:
    return [hit.record.id for hit in hits]


@given(seed=st.integers(0, 10**6), count=st.integers(0, 30), k=st.integers(1, 12), lambda_mult=st.floats(0, 1))
def test_it_picks_what_the_definition_picks(seed: int, count: int, k: int, lambda_mult: float) -> None:
    query, hits, vectors = draw(seed, count)
    picked = mmr(hits, vectors, query, k, lambda_mult)
    assert ids(picked) == define(query, hits, vectors, k, lambda_mult)
    assert len(picked) == min(k, count)
    assert all(hit in hits for hit in picked)  # as they were, scores and all


def test_all_for_nearness_is_the_order_of_the_hits() -> None:
    query, hits, vectors = draw(1, 20)
    assert mmr(hits, vectors, query * 3, 7, 1) == hits[:7]


def test_of_equal_vectors_one_is_enough() -> None:
    query, hits, vectors = draw(2, 8)
    twin = Hit(Record("twin"), hits[0].score)
    picked = mmr([hits[0], twin, *hits[1:]], vectors | {"twin": vectors[hits[0].record.id]}, query, 8, 0.3)
    assert picked[0] == hits[0] and picked[1] != twin


def test_what_was_deleted_meanwhile_is_passed_over() -> None:
    query, hits, vectors = draw(3, 6)
    del vectors[hits[0].record.id]
    assert hits[0] not in mmr(hits, vectors, query, 6)
    assert mmr(hits, {}, query, 6) == []


@pytest.mark.parametrize("lambda_mult", [-0.1, 1.1, float("nan"), "0.5", None])
def test_weights_outside_0_to_1_are_refused(lambda_mult: Any) -> None:
    query, hits, vectors = draw(4, 3)
    with pytest.raises(InvalidInput, match="from 0 to 1"):
        mmr(hits, vectors, query, 2, lambda_mult)


@pytest.mark.parametrize("k", [0, -1, True, 1.5])
def test_a_k_that_is_no_number_of_hits_is_refused(k: Any) -> None:
    query, hits, vectors = draw(5, 3)
    with pytest.raises(InvalidInput, match="k must be"):
        mmr(hits, vectors, query, k)
