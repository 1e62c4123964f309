"""Collections of version 1, as jinavec 0.1 made them, open, search, filter and take writes, and stay as they are."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models
from tests.support.edge_server import QdrantServer

from jinavec import Contract, ModelProfile, Record, open_engine
from jinavec.errors import ContractMismatch, InvalidInput
from jinavec.vectors import normalize
from jinavec_integrations.qdrant.convert import NAMESPACE

CONTRACT = Contract.of(ModelProfile(name="first", width=16, dimensions=(16, 8)))
VECTORS = normalize(np.random.default_rng(6).standard_normal((4, 16)))
RECORDS = [
    Record("a", "one", {"n": 1, "topic": "cats", "tags": ["x", "y"]}),
    Record("b", "two", {"n": 2.5, "topic": "dogs", "even": True}),
    Record("c", "three", {"n": 2**60, "a.b": "odd name"}),
]
INNER: list[dict[str, Any]] = [
    {
        "id": "a",
        "terms": ['["n", 1]', '["topic", "cats"]', '["tags", "x"]', '["tags", "y"]'],
        "order": {
            "number": {"n": [{"c0": 1.0}]},
            "string": {
                "topic": [{"c0": 112545005094063.0}],
                "tags": [{"c0": 135659742059897.0}, {"c0": 136780896952954.0}],
            },
        },
    },
    {
        "id": "b",
        "terms": ['["n", 2.5]', '["topic", "dogs"]', '["even", true]'],
        "order": {"number": {"n": [{"c0": 2.5}]}, "string": {"topic": [{"c0": 113727013903025.0}]}},
    },
    {
        "id": "c",
        "terms": ['["n", 1152921504606846976]', '["a.b", "odd name"]'],
        "order": {
            "number": {"n": [{"c0": 1000000000000000.0, "c1": 10720266.0, "c2": 3654025216.0}]},
            "string": {"x-612e62": [{"c0": 126011674175020.0, "c1": 123772010217172.0}]},
        },
        "exact": '{"n": 1152921504606846976, "a.b": "odd name"}',
    },
]
"""What 0.1 stored beside text and metadata."""


def make(client: QdrantClient, name: str, *, short: int | None) -> None:
    """Make a collection with the calls of 0.1."""
    manifest: dict[str, Any] = {
        "version": 1,
        "contract": CONTRACT.to_json(),
        "encoder": None,
        "preset": "scalar",
        "matryoshka": short,
        "vector": "" if short is None else "full",
        "ids": "uuid5",
    }
    params = models.VectorParams(size=16, distance=models.Distance.COSINE)
    both = {"full": params, "short": models.VectorParams(size=8, distance=models.Distance.COSINE)}
    client.create_collection(name, params if short is None else both, metadata={"jinavec": manifest})
    client.create_payload_index(name, "jinavec.terms", models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD))
    key = "jinavec.order.number.n[].c0"
    client.create_payload_index(name, key, models.FloatIndexParams(type=models.FloatIndexType.FLOAT))
    payloads = [
        {"text": record.text, "metadata": dict(record.metadata), "jinavec": inner}
        for record, inner in zip(RECORDS, INNER, strict=True)
    ]
    named: Any = VECTORS[:3].tolist()
    if short is not None:
        named = {"full": named, "short": normalize(VECTORS[:3, :short]).tolist()}
    ids: list[Any] = [str(uuid.uuid5(NAMESPACE, record.id)) for record in RECORDS]
    client.upsert(name, models.Batch(ids=ids, vectors=named, payloads=payloads))


@pytest.fixture(params=[None, 8], ids=["plain", "matryoshka"])
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    with QdrantServer() as server:
        client = QdrantClient(url=server.url, check_compatibility=False)
        make(client, "old", short=request.param)
        client.close()
        yield f"qdrant:{server.url}/old"


def test_it_opens_and_searches(target: str) -> None:
    with open_engine(target) as index:
        assert index.contract == CONTRACT
        assert index.get(["a", "b", "c"]) == RECORDS
        assert [hit.record for hit in index.search(VECTORS[1], 1)] == [RECORDS[1]]
        assert {record.id for page in index.iterate(2, vectors=True) for record in page} == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ({"topic": "cats"}, {"a"}),
        ({"even": True}, {"b"}),
        ({"a.b": "odd name"}, {"c"}),
        ({"tags": "y"}, {"a"}),
        ({"topic": {"gt": "cats"}}, {"b"}),
        ({"n": {"gte": 1, "lt": 3}}, {"a", "b"}),
        ({"n": {"ne": 1}}, {"b", "c"}),
    ],
)
def test_it_is_filtered(target: str, question: Any, expected: set[str]) -> None:
    with open_engine(target) as index:
        assert {hit.record.id for hit in index.search(VECTORS[0], 10, question)} == expected


def test_it_takes_writes_in_its_own_form(target: str) -> None:
    new = Record("d", "four", {"n": 4, "topic": "eels"})
    with open_engine(target, contract=CONTRACT) as index:
        index.add([new, Record("a", "newer", {"n": 1, "topic": "cats"})], VECTORS[2:])
        assert [hit.record for hit in index.search(VECTORS[2], 9, {"n": {"gt": 3}, "topic": {"gt": "dogs"}})] == [new]
        assert index.get("a") == Record("a", "newer", {"n": 1, "topic": "cats"})
        assert index.delete(["b", "d"]) == 2
    url, _, name = target.removeprefix("qdrant:").rpartition("/")
    client = QdrantClient(url=url, check_compatibility=False)
    (point,) = client.retrieve(name, [str(uuid.uuid5(NAMESPACE, "a"))])
    assert point.payload == {
        "text": "newer",
        "metadata": {"n": 1, "topic": "cats"},
        "jinavec": {
            "id": "a",
            "terms": ['["n", 1]', '["topic", "cats"]'],
            "order": {"number": {"n": [{"c0": 1}]}, "string": {"topic": [{"c0": 112545005094063}]}},
        },
    }
    client.close()


def test_another_contract_and_later_options_are_refused(target: str) -> None:
    with pytest.raises(ContractMismatch):
        open_engine(target, contract=Contract.of(ModelProfile(name="other", width=16)))
    with pytest.raises(InvalidInput, match="was made with payload_indexes=None"):
        open_engine(target, options={"payload_indexes": {"n": "float"}})
