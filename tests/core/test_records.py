from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinavec import Hit, Record
from jinavec.errors import IndexDamaged, InvalidRecord
from jinavec.records import stored_record

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.text(min_size=1), st.text(), st.dictionaries(st.text(), json_values, max_size=4))
def test_a_record_keeps_what_it_is_given(id: str, text: str, metadata: dict[str, Any]) -> None:
    record = Record(id=id, text=text, metadata=metadata)
    assert (record.id, record.text, record.metadata) == (id, text, metadata)
    assert json.loads(record.metadata_json()) == metadata


def test_text_and_metadata_are_empty_by_default() -> None:
    assert Record("a") == Record(id="a", text="", metadata={})
    assert Record("a").metadata_json() == "{}"


def test_a_record_cannot_be_reassigned() -> None:
    record: Any = Record("a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.id = "b"


def test_any_mapping_is_metadata() -> None:
    assert Record("a", "", MappingProxyType({"kind": "ä"})).metadata_json() == '{"kind": "ä"}'


@pytest.mark.parametrize("id", ["", None, 3, b"a", ["a"], "\ud800"])
def test_bad_ids_are_refused(id: Any) -> None:
    with pytest.raises(InvalidRecord) as refusal:
        Record(id=id)
    assert repr(id) in str(refusal.value)


@pytest.mark.parametrize("text", [None, 3, b"text", ["text"], "half \udfff", b"x" * 10**6, np.ones((50, 3))])
def test_bad_texts_are_refused_in_one_short_line(text: Any) -> None:
    with pytest.raises(InvalidRecord, match="'a'") as refusal:
        Record(id="a", text=text)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize("metadata", [None, [], [("kind", "x")], "kind=x", 3])
def test_metadata_that_is_no_mapping_is_refused(metadata: Any) -> None:
    with pytest.raises(InvalidRecord, match="'a'.*mapping"):
        Record(id="a", metadata=metadata)


def circle() -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    metadata["self"] = metadata
    return metadata


@pytest.mark.parametrize(
    "metadata",
    [
        {"score": float("nan")},
        {"score": [float("inf")]},
        {"when": object()},
        {"tags": {"a", "b"}},
        {"bytes": b"a"},
        {"number": np.float32(1)},
        {1: "a"},
        {"inner": {1: "a"}},
        {"inner": [{None: "a"}]},
        {"half": "\ud800"},
        {"\ud800": "half"},
        circle(),
    ],
)
def test_metadata_that_is_not_json_is_refused(metadata: Any) -> None:
    record = Record(id="a", metadata=metadata)
    with pytest.raises(InvalidRecord, match="'a': metadata is not JSON") as refusal:
        record.metadata_json()
    assert "\n" not in str(refusal.value)


def test_a_stored_record_is_as_any_other_and_parsed_when_it_is_looked_at() -> None:
    plain = Record("a", "text", {"n": [1, {"b": None}]})
    uses: list[Callable[[Record], Any]] = [
        lambda record: record,
        repr,
        lambda record: record.metadata_json(),
        dataclasses.asdict,
        lambda record: dataclasses.replace(record, text="other"),
        copy.deepcopy,
        lambda record: pickle.loads(pickle.dumps(record)),
        lambda record: hasattr(record, "other"),
        type,
    ]
    for use in uses:
        assert use(stored_record("a", "text", plain.metadata_json())) == use(plain)
    looked_at = stored_record("a", "text", "{}")
    assert looked_at.metadata is looked_at.metadata


@pytest.mark.parametrize("text", ["{", "[1]", "", "[" * 100_000, '{"a": 1} x'])
def test_stored_metadata_that_are_none(text: str) -> None:
    record = stored_record("a", "text", text)
    assert (record.id, record.text) == ("a", "text")
    with pytest.raises(IndexDamaged, match="'a'"):
        _ = record.metadata


def test_a_hit_is_a_record_and_its_score() -> None:
    hit = Hit(Record("a", "text", {"kind": "x"}), 0.5)
    assert (hit.record.id, hit.score) == ("a", 0.5)
    assert hit == Hit(record=Record("a", "text", {"kind": "x"}), score=0.5)
    frozen: Any = hit
    with pytest.raises(dataclasses.FrozenInstanceError):
        frozen.score = 1.0


@pytest.mark.parametrize("depth", [2, 100, 101, 102, 900, 100_000])
def test_metadata_may_have_a_hundred_levels(depth: int) -> None:
    value: Any = 1
    for level in range(depth - 1):
        value = [value] if level % 2 else {"a": value}
    record = Record("a", "", {"m": value})
    if depth <= 100:
        assert json.loads(record.metadata_json()) == {"m": value}
    else:
        with pytest.raises(InvalidRecord, match="record 'a': .*nested deeper than 100 levels"):
            record.metadata_json()
