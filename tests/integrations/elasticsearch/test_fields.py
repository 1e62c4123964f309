"""Metadata as fields of the server's own types, indexes of 0.1, and indexes of other tools, on a server."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jinavec import Contract, Encoder, ModelProfile, Record, open_engine
from jinavec.errors import EngineError, InvalidInput
from jinavec.filters import match, parse_filter
from jinavec.vectors import normalize

pytest.importorskip("elasticsearch")
from tests.support.elasticsearch_server import client

from jinavec_integrations.elasticsearch import ElasticsearchIndex
from jinavec_integrations.elasticsearch.fields import MOST
from jinavec_integrations.elasticsearch.filters import terms

pytestmark = pytest.mark.elasticsearch

CONTRACT = Contract.of(ModelProfile(name="fields", width=64))
VECTORS = normalize(np.random.default_rng(5).standard_normal((60, 64)))
METADATA: list[dict[str, Any]] = [
    {"topic": "cats", "year": 2019, "done": True, "day": "2024-05-01", "tags": ["a", "b"]},
    {"topic": "dogs", "year": 2021.5, "done": False, "day": "2024-06-01", "tags": []},
    {"topic": 7, "year": "2019", "done": "yes", "day": "some day", "tags": [1, "a", None]},
    {"topic": {"deep": [1]}, "year": 2**70, "done": None, "day": True, "a.b": "x", "": 1, "*": [[1]]},
    {"topic": ["cats", 7], "year": -0.0, "x" * 200: 1, "day": "y" * 2000},
]
FILTERS: list[dict[str, Any]] = [
    {"topic": "cats"}, {"topic": 7}, {"topic": {"ne": "cats"}}, {"year": {"gte": 2019}}, {"year": "2019"}, {"year": 0},
    {"year": {"lt": 2**80}}, {"year": {"gt": 10**400}}, {"year": {"lte": 10**400}}, {"done": True}, {"done": "yes"},
    {"day": {"gte": "2024-05-15"}}, {"day": "2024-05-01"}, {"day": True}, {"tags": {"in": ["b", 1]}}, {"a.b": "x"},
    {"*": 1}, {"day": "y" * 2000}, {"x" * 200: 1}, {"not": {"tags": "a"}}, {"unknown": 1},
]  # fmt: skip


def name(target: str) -> str:
    return target.rpartition("/")[2]


def opened(target: str, **options: Any) -> ElasticsearchIndex:
    engine = open_engine(target, contract=CONTRACT, options=options or None)
    assert isinstance(engine, ElasticsearchIndex)
    return engine


def check(engine: ElasticsearchIndex, records: list[Record]) -> None:
    """Records come back as they are, and every filter finds what it means."""
    assert engine.get([record.id for record in records]) == records
    for asked in FILTERS:
        found = {hit.record.id for hit in engine.search(VECTORS[0], 100, asked)}
        assert found == {record.id for record in records if match(parse_filter(asked), record.metadata)}, asked


@pytest.mark.parametrize("order", [1, -1])
def test_metadata_of_mixed_types_lose_nothing_in_any_order(target: str, order: int) -> None:
    records = [Record(f"r{n}", f"text {n}", metadata) for n, metadata in enumerate(METADATA)][::order]
    with opened(target) as engine:
        for record, vector in zip(records, VECTORS, strict=False):  # each decides about what those before left open
            engine.add([record], vector[None])
        check(engine, records)
    with open_engine(target) as again:
        assert isinstance(again, ElasticsearchIndex)
        check(again, records)


def test_other_tools_filter_sort_and_count(target: str) -> None:
    with opened(target) as engine:
        engine.ingest([Record(f"r{n}", "", METADATA[n % 2]) for n in range(20)], VECTORS[:20])
    with client() as server:
        fields = server.indices.get_mapping(index=name(target))[name(target)]["mappings"]["properties"]["metadata"]
        types = {field: mapped["type"] for field, mapped in fields["properties"].items()}
        assert types == {"topic": "keyword", "year": "double", "done": "boolean", "day": "date", "tags": "keyword"}
        answer = server.search(
            index=name(target),
            size=3,
            query={
                "bool": {"filter": [{"term": {"metadata.done": True}}, {"range": {"metadata.day": {"lt": "2024-06"}}}]}
            },
            sort=[{"metadata.year": "desc"}],
            aggs={"topics": {"terms": {"field": "metadata.topic"}}},
        )
        assert answer["hits"]["total"]["value"] == 10
        assert answer["aggregations"]["topics"]["buckets"] == [{"key": "cats", "doc_count": 10}]
        source = answer["hits"]["hits"][0]["_source"]
    assert source["metadata"] == METADATA[0] and "filter" not in source and "original" not in source


def test_ever_new_names_do_not_fill_the_mapping(target: str) -> None:
    records = [Record(f"r{n}", "", {f"key {n} {k}": k for k in range(20)}) for n in range(50)]
    with opened(target) as engine:
        assert engine.ingest(records, VECTORS[:50], batch_size=10).added == 50
        assert [hit.record.id for hit in engine.search(VECTORS[0], 5, {"key 49 3": 3})] == ["r49"]
        assert engine.get("r49") == records[49]
    with client() as server:
        mapping = server.indices.get_mapping(index=name(target))[name(target)]["mappings"]
    assert len(mapping["properties"]["metadata"]["properties"]) == MOST


OLD_FIELDS: dict[str, Any] = {
    "id": {"type": "keyword", "index": False, "doc_values": False},
    "text": {"type": "text"},
    "metadata": {"type": "object", "enabled": False},
    "filter": {"type": "keyword", "doc_values": False},
    "vector": {
        "type": "dense_vector",
        "dims": 64,
        "element_type": "float",
        "index": True,
        "similarity": "cosine",
        "index_options": {
            "type": "bbq_hnsw", "m": 16, "ef_construction": 100, "rescore_vector": {"oversample": 3.0}
        },
    },
}  # fmt: skip


def test_an_index_of_0_1_opens_is_searched_and_takes_writes(target: str) -> None:
    layout = {"storage": "bbq_hnsw", "rescore": None, "m": 16, "ef_construction": 100}
    meta = {"jinavec": {"version": 1, "contract": CONTRACT.to_json(), "encoder": None, "layout": layout}}
    records = [Record(f"r{n}", f"text {n}", metadata) for n, metadata in enumerate(METADATA)]
    with client() as server:
        server.indices.create(index=name(target), mappings={"dynamic": False, "_meta": meta, "properties": OLD_FIELDS})
        for record, vector in zip(records[:3], VECTORS, strict=False):
            source = {
                "text": record.text,
                "metadata": dict(record.metadata),
                "filter": terms(record.metadata),
                "vector": vector.tolist(),
            }
            server.index(index=name(target), id=record.id, document=source, refresh=True)
        with opened(target) as engine:
            check(engine, records[:3])
            engine.add(records[3:], VECTORS[3:5])
            check(engine, records)
            assert engine.delete(filter={"topic": "dogs"}) == 1
            assert [len(page) for page in engine.iterate(vectors=True)] == [4]
        after = server.indices.get_mapping(index=name(target))[name(target)]["mappings"]
        assert after["_meta"] == meta and after["properties"].keys() == OLD_FIELDS.keys()


def test_names_and_analyzer_are_chosen(target: str) -> None:
    encoder = Encoder.load("lexical", dimension=64)
    options = {
        "text_field": "content.body", "vector_field": "embedding", "metadata_field": "meta", "analyzer": "whitespace"
    }  # fmt: skip
    with open_engine(target, encoder=encoder, options=options) as engine:
        assert isinstance(engine, ElasticsearchIndex)
        engine.add([Record("a", "Die Häuser am Hafen", {"n": 1}), Record("b", "Ein Schiff", {"n": 2})])
        assert engine.hybrid("Häuser", 1, weight=0, fusion="linear")[0].record.id == "a"
        assert [hit.record.id for hit in engine.search("Schiff", 2, {"n": {"gt": 1}})] == ["b"]
        with client() as server:
            mapping = server.indices.get_mapping(index=name(target))[name(target)]["mappings"]["properties"]
    assert mapping["content"]["properties"]["body"] == {"type": "text", "analyzer": "whitespace"}
    assert mapping["embedding"]["dims"] == 64 and mapping["meta"]["properties"]["n"]["type"] == "double"
    with pytest.raises(InvalidInput, match="has no analyzer"):
        open_engine(f"{target}-other", encoder=encoder, options={"analyzer": "of nobody"})
    with pytest.raises(InvalidInput, match="analyzer 'whitespace', not 'french'"):
        open_engine(target, options={"analyzer": "french"})
    with open_engine(target) as again:  # the names are remembered
        assert again.get("a") == Record("a", "Die Häuser am Hafen", {"n": 1})


def test_an_index_of_another_tool_is_adopted(target: str) -> None:
    properties = {
        "content": {"properties": {"body": {"type": "text", "analyzer": "whitespace"}}},
        "embedding": {"type": "dense_vector", "dims": 64, "index": True, "similarity": "dot_product"},
        "meta": {
            "properties": {
                "topic": {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}},
                "year": {"type": "long"},
                "weight": {"type": "float"},
                "day": {"type": "date"},
            }
        },
    }
    theirs = {"topic": "cats", "year": 2020, "weight": 0.1}
    options = {"text_field": "content.body", "vector_field": "embedding", "metadata_field": "meta", "adopt": True}
    with client() as server:
        server.indices.create(
            index=name(target),
            mappings={"dynamic": "strict", "_source": {"excludes": ["embedding"]}, "properties": properties},
        )
        source = {"content": {"body": "their text"}, "embedding": VECTORS[0].tolist(), "meta": theirs}
        server.index(index=name(target), id="theirs", document=source, refresh=True)
        with pytest.raises(EngineError, match="adopt"):
            opened(target)
        with pytest.raises(InvalidInput, match="vector_field"):
            opened(target, adopt=True)
        with pytest.raises(InvalidInput, match="give the contract"):
            open_engine(target, options=options)
        with opened(target, **options) as engine:
            assert engine.search(VECTORS[0], 1)[0].score == pytest.approx(1, abs=1e-3)
            records = [Record("theirs", "their text", theirs)]
            records += [Record(f"r{n}", f"text {n}", {**METADATA[n], "weight": 0.1 * n}) for n in range(5)]
            engine.add(records[1:], VECTORS[1:6])
            assert engine.count() == 6
            check(engine, records)
            assert [hit.record.id for hit in engine.search(VECTORS[0], 5, {"weight": 0.1})] == ["theirs", "r1"]
    with open_engine(target, options={"adopt": True}) as again:
        assert isinstance(again, ElasticsearchIndex)
        check(again, records)
