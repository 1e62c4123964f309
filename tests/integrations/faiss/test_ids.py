"""Ids of any Unicode, however long: each is a record of its own, through every door."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jinavec import Record
from jinavec.errors import InvalidInput, InvalidRecord
from jinavec_integrations.faiss import BinaryIndex

from .child import CONTRACT, vector

IDS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), min_size=1, unique=True)


@given(ids=IDS)
@example(["é", "e\u0301", "\u212b", "\u00c5", "A\u030a"])  # equal to the eye, and after normalisation
@example(["\0", "a", "a\0", "a\0b", "\0a", "a\0\0"])
@example(["x" * 100_000, "x" * 99_999, "\U0010ffff" * 25_000])
@example(["1", "01", "1.0", "1 ", " 1", "\u0661", "\uff11", "NULL", "null", "\ufeff1", "\u202e1", "\uffff"])
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_ids_of_any_unicode(index: BinaryIndex, ids: list[str]) -> None:
    index.delete(index.ids())
    index.add([Record(id, id, {"id": id}) for id in ids], [vector(str(number), 1) for number in range(len(ids))])
    assert index.ids() == ids
    assert [record.id for record in index.get(ids)] == ids
    assert set(index.vectors(ids)) == set(ids)
    assert index.reconstruct(ids).shape == (len(ids), 2)
    for number, id in enumerate(ids):
        assert index.get(id) == Record(id, id, {"id": id})
        assert index.search(vector(str(number), 1), 1, {"id": id})[0].record.id == id
    index.verify()
    assert index.delete(ids[0]) == 1
    assert index.get(ids[0]) is None
    assert index.ids() == ids[1:]
    other_form = [unicodedata.normalize(form, id) for id in ids for form in ("NFC", "NFD", "NFKC")]
    assert index.delete(set(other_form) - set(ids)) == 0
    with BinaryIndex.open(index.folder) as again:
        assert again.ids() == ids[1:]


@pytest.mark.parametrize("id", ["", "\ud800", "a\udfff", None, 3, b"a"])
def test_ids_that_are_none(index: BinaryIndex, id: str) -> None:
    with pytest.raises(InvalidRecord):
        Record(id)
    if isinstance(id, str):
        assert index.get(id) is None
        assert index.delete(id) == 0
        assert index.vectors([id]) == {}
        with pytest.raises(InvalidInput, match="no record"):
            index.reconstruct(id)


@pytest.mark.parametrize("k", [0, -1, 1.0, True, None, "3"])
def test_k_that_is_none(index: BinaryIndex, k: int) -> None:
    with pytest.raises(InvalidInput, match="k must be a whole number of at least 1"):
        index.search(vector("1", 1), k)
    with pytest.raises(InvalidInput, match="k must be a whole number of at least 1"):
        index.search_batch([vector("1", 1)], k)


def test_an_empty_index_answers(index: BinaryIndex) -> None:
    for k in (1, 10**12):
        assert index.search(vector("1", 1), k) == []
        assert index.search(vector("1", 1), k, {"a": 1}) == []
        assert index.search_batch([vector("1", 1)] * 3, k) == [[], [], []]
    assert index.search_batch(np.empty((0, 12))) == []
    assert index.range_search(vector("1", 1), 12) == []
    assert (index.count(), index.ids(), index.get(["1"]), index.delete(["1"]), len(index)) == (0, [], [], 0, 0)
    assert index.add([], np.empty((0, CONTRACT.dimension))) == 0
    index.verify()
