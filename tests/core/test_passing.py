from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from jinavec import Contract, Engine, ModelProfile, Record, open_engine
from jinavec.errors import InvalidInput
from jinavec.passing import search_passing

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

    ranked = engine.search(QUERY, 300)
    assert search_passing(engine, QUERY, k, passes=passes) == [hit for hit in ranked if passes(hit.record)][:k]
    even = [hit for hit in ranked if passes(hit.record) and hit.record.metadata["even"]]
    assert search_passing(engine, QUERY, k, {"even": True}, passes) == even[:k]


def test_without_a_function_it_is_the_search(engine: Engine) -> None:
    assert search_passing(engine, QUERY, 5, {"even": False}) == engine.search(QUERY, 5, {"even": False})


def test_only_records_that_pass_the_filter_are_shown_to_the_function(engine: Engine) -> None:
    seen: set[bool] = set()

    def note(record: Record) -> bool:
        seen.add(record.metadata["even"])
        return False

    assert search_passing(engine, QUERY, 5, {"even": True}, note) == []
    assert seen == {True}


def test_a_k_below_one_is_refused(engine: Engine) -> None:
    with pytest.raises(InvalidInput, match="k must be"):
        search_passing(engine, QUERY, 0, passes=lambda record: True)
