"""Strict mode: requests keep within the limits of a collection, or the error names the limit and what to do."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models
from tests.support.edge_server import QdrantServer
from tests.support.edge_strict import CLOUD

from jinavec import Contract, Encoder, ModelProfile, Record, open_engine
from jinavec.engine import Engine
from jinavec.errors import EngineError, InvalidInput
from jinavec.vectors import normalize

PROFILE = ModelProfile(name="strict", width=64, dimensions=(64, 16))
CONTRACT = Contract.of(PROFILE)
RECORDS = [
    Record(f"id {n}", f"text {n}", {"n": n, "topic": "ab"[n % 2], "day": f"2024-05-{n + 1:02}"}) for n in range(30)
]
VECTORS = normalize(np.random.default_rng(3).standard_normal((30, 64)))
DECLARED = {"payload_indexes": {"n": "integer", "topic": "keyword", "day": "datetime"}}


@contextmanager
def opened(limits: dict[str, Any], **options: Any) -> Generator[tuple[QdrantServer, Engine]]:
    with QdrantServer(strict={**CLOUD, **limits}) as server:
        with open_engine(f"qdrant:{server.url}/notes", contract=CONTRACT, options=options) as index:
            yield server, index


ADAPTED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "no exact search": ({"search_allow_exact": False}, {}),
    "oversampling": ({"search_max_oversampling": 1.2}, {"preset": "binary"}),
    "hnsw_ef": ({"search_max_hnsw_ef": 40}, {"recall": 0.99}),
    "queries in a request": ({"search_max_batchsize": 3}, {}),
    "points in a request": ({"upsert_max_batchsize": 7}, {}),
    "points read in a minute": ({"read_rate_limit": 20}, DECLARED),
    "points written in a minute": ({"write_rate_limit": 5}, {}),
    "hits": ({"max_query_limit": 12}, {}),
    "hits of a Matryoshka collection": ({"max_query_limit": 12}, {"matryoshka": 16}),
    "conditions": ({"filter_max_conditions": 2}, DECLARED),
    "all at once": (
        {
            "search_allow_exact": False,
            "search_max_oversampling": 1.0,
            "search_max_hnsw_ef": 32,
            "search_max_batchsize": 1,
            "upsert_max_batchsize": 1,
            "max_query_limit": 10,
            "filter_max_conditions": 2,
            "max_payload_index_count": 11,
        },
        DECLARED,
    ),
}


@pytest.mark.parametrize("case", ADAPTED)
@pytest.mark.filterwarnings("ignore:.*may be out of reach of the preset")
def test_requests_keep_within_the_limits(case: str) -> None:
    limits, options = ADAPTED[case]
    if limits.keys() - models.StrictModeConfig.model_fields:
        pytest.skip("this qdrant-client does not know the limit")
    with opened(limits, **options) as (_, index):
        assert index.add(RECORDS, VECTORS) == 30
        assert index.count() == index.info()["records"] == 30
        found = index.search_batch(VECTORS[:5], 10, {"n": {"gte": 0, "lt": 20}})
        assert [hits[0].record for hits in found] == RECORDS[:5]
        assert index.search(VECTORS[4], 10, {"topic": "a"})[0].record == RECORDS[4]
        assert index.get([record.id for record in RECORDS]) == RECORDS
        assert sum(len(page) for page in index.iterate(filter={"n": {"lt": 25}})) == 25
        assert index.delete(filter={"n": {"lt": 15}}) == 15
        assert index.count() == 15


def test_an_ingest_keeps_within_them_too() -> None:
    encoder = Encoder.load("lexical", dimension=64)
    limits = {"upsert_max_batchsize": 9, "write_rate_limit": 10, "read_rate_limit": 10, "search_allow_exact": False}
    with QdrantServer(strict={**CLOUD, **limits}) as server:
        with open_engine(f"qdrant:{server.url}/notes", encoder=encoder) as index:
            assert index.ingest(RECORDS).added == 30
            assert index.ingest(RECORDS).unchanged == 30


NAMED: list[tuple[dict[str, Any], dict[str, Any], Callable[[Engine], object], str]] = [
    (
        {"search_allow_exact": False},
        {"preset": "exact"},
        lambda index: index.search(VECTORS[0]),
        "another preset than 'exact'",
    ),
    ({"max_query_limit": 9}, {}, lambda index: index.search(VECTORS[0]), "k=10 is more than the 9 .*max_query_limit"),
    (
        {"filter_max_conditions": 2},
        {},
        lambda index: index.search(VECTORS[0], filter={"n": {"gt": 3}}),
        "payload_indexes, which makes filters shorter .filter_max_conditions",
    ),
    (
        {"condition_max_size": 2},
        {},
        lambda index: index.search(VECTORS[0], filter={"n": {"in": [1, 2, 3]}}),
        "fewer values .condition_max_size",
    ),
    (
        {},
        {},
        lambda index: index.search(
            VECTORS[0], filter={"topic": {"gt": "a long string that needs more links than have one"}}
        ),
        "name the field in payload_indexes",
    ),
]


@pytest.mark.parametrize(("limits", "options", "use", "words"), NAMED)
def test_what_cannot_be_fitted_names_the_limit(
    limits: dict[str, Any], options: dict[str, Any], use: Any, words: str
) -> None:
    with opened(limits, **options) as (_, index):
        index.add(RECORDS, VECTORS)
        with pytest.raises((EngineError, InvalidInput), match=words):
            use(index)


def test_too_many_payload_indexes_leave_no_collection() -> None:
    with QdrantServer(strict={**CLOUD, "max_payload_index_count": 3}) as server:
        with pytest.raises(EngineError, match="fewer payload_indexes .max_payload_index_count"):
            open_engine(f"qdrant:{server.url}/notes", contract=CONTRACT)
        assert not server.collections


def test_other_tools_filter_on_declared_fields() -> None:
    with opened({}, **DECLARED, tenant_field="who") as (server, index):
        index.add([Record("a", "", {"n": 5, "topic": "x", "day": "2024-05-01", "who": "me"})], VECTORS[:1])
        client = QdrantClient(url=server.url, check_compatibility=False)
        conditions: list[Any] = [
            models.FieldCondition(key="metadata.n", range=models.Range(gt=4)),
            models.FieldCondition(key="metadata.topic", match=models.MatchValue(value="x")),
            models.FieldCondition(key="metadata.who", match=models.MatchValue(value="me")),
            models.FieldCondition.model_validate({"key": "metadata.day", "range": {"gte": "2024-04-30"}}),
        ]
        points, _ = client.scroll("notes", scroll_filter=models.Filter(must=conditions))
        assert len(points) == 1
        client.close()


def test_what_only_qdrant_reads_is_not_sent_back() -> None:
    with opened({}) as (server, index):
        index.add(RECORDS, VECTORS)
        index.search(VECTORS[0])
        index.get("id 1")
        next(index.iterate())
    for body in (*server.sent("POST .*/points$")[-1:], *server.sent("points/scroll")):
        assert body["with_payload"] == {"exclude": ["jinavec.terms", "jinavec.order"]}
    assert server.sent("query/batch")[0]["searches"][0]["with_payload"] == {
        "exclude": ["jinavec.terms", "jinavec.order"]
    }
