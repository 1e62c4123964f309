"""The pure parts: mappings, vectors on the wire, scores, requests for search, fusion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinavec import Contract, ModelProfile, Record
from jinavec.errors import InvalidInput, InvalidRecord
from jinavec.filters import parse_filter
from jinavec.vectors import from_base64, from_hex, from_signed_bytes, normalize
from jinavec_integrations.elasticsearch import fusion, queries
from jinavec_integrations.elasticsearch.convert import (
    bits_cosine,
    check_record,
    cosine,
    document_id,
    encode,
    pack,
    query_vector,
    read_bits,
)
from jinavec_integrations.elasticsearch.filters import translate
from jinavec_integrations.elasticsearch.mapping import Layout, Meta, settings_of
from jinavec_integrations.elasticsearch.options import STORAGES, ElasticsearchOptions

NEW, OLD = (9, 5), (8, 19)
VECTORS = normalize(np.random.default_rng(1).standard_normal((3, 64)))
GRAPH = {"m": 16, "ef_construction": 100}


def dense(element: str, similarity: str, **index_options: Any) -> dict[str, Any]:
    return {
        "type": "dense_vector",
        "dims": 64,
        "element_type": element,
        "index": True,
        "similarity": similarity,
        "index_options": index_options,
    }


def rescored(oversample: float) -> dict[str, Any]:
    return {"rescore_vector": {"oversample": oversample}}


FIELDS: dict[str, dict[str, Any]] = {
    "bbq_hnsw": {"vector": dense("float", "cosine", type="bbq_hnsw", **GRAPH, **rescored(10.0))},
    "bbq_flat": {"vector": dense("float", "cosine", type="bbq_flat", **rescored(10.0))},
    "bbq_disk": {"vector": dense("float", "cosine", type="bbq_disk", **rescored(10.0))},
    "int8_hnsw": {"vector": dense("float", "cosine", type="int8_hnsw", **GRAPH, **rescored(2.0))},
    "int4_hnsw": {"vector": dense("float", "cosine", type="int4_hnsw", **GRAPH, **rescored(2.0))},
    "hnsw": {"vector": dense("float", "cosine", type="hnsw", **GRAPH)},
    "flat": {"vector": dense("float", "cosine", type="flat")},
    "bfloat16": {"vector": dense("bfloat16", "cosine", type="bbq_hnsw", **GRAPH, **rescored(10.0))},
    "byte": {"vector": dense("byte", "cosine", type="hnsw", **GRAPH)},
    "bit": {
        "bits": dense("bit", "l2_norm", type="hnsw", **GRAPH),
        "vector": dense("float", "cosine", type="flat"),
    },
}


@pytest.mark.parametrize("storage", STORAGES)
def test_golden_mappings(storage: Any) -> None:
    layout = Layout.choose(ElasticsearchOptions(storage=storage), 64, NEW)
    assert layout.fields(64) == FIELDS[storage]


def test_bits_alone_need_no_float_field() -> None:
    layout = Layout.choose(ElasticsearchOptions(storage="bit", rescore="bits"), 64, NEW)
    assert layout.fields(64) == {"bits": FIELDS["bit"]["bits"]}


@pytest.mark.parametrize(
    ("storage", "dimension", "version", "match"),
    [
        ("bbq_hnsw", 32, NEW, "at least 64"),
        ("bbq_flat", 63, NEW, "int8_hnsw"),
        ("int4_hnsw", 33, NEW, "even"),
        ("bit", 12, NEW, "multiple of 8"),
        ("bfloat16", 64, (9, 2), "9.3"),
        ("bbq_disk", 64, OLD, "9.2"),
        ("hnsw", 4097, NEW, "4096"),
    ],
)
def test_storage_the_server_would_refuse_is_refused(storage: Any, dimension: int, version: Any, match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        Layout.choose(ElasticsearchOptions(storage=storage), dimension, version)


def test_defaults_depend_on_dimension_and_server() -> None:
    options = ElasticsearchOptions()
    assert Layout.choose(options, 384, OLD).storage == Layout.choose(options, 1024, NEW).storage == "bbq_hnsw"
    assert Layout.choose(options, 256, NEW).storage == Layout.choose(options, 1024, (8, 15)).storage == "int8_hnsw"


@pytest.mark.parametrize(
    "options",
    [{"storage": "zip"}, {"m": 1}, {"candidates": 10_001}, {"oversample": 0.5}, {"rescore": "bits"}, {"shards": 0},
     {"storage": "bit", "rescore": "words"}],
)  # fmt: skip
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        ElasticsearchOptions(**options)


def test_what_nobody_chose_is_left_to_the_server() -> None:
    assert settings_of(ElasticsearchOptions()) == {}
    assert settings_of(ElasticsearchOptions(shards=3, replicas=0)) == {"number_of_shards": 3, "number_of_replicas": 0}


def test_the_contract_comes_back_from_the_mapping() -> None:
    contract = Contract.of(ModelProfile(name="m", width=64))
    meta = Meta(contract=contract, layout=Layout(storage="bit", rescore="bits"))
    assert Meta.read("i", meta.mapping()) == meta


def test_vectors_on_the_wire() -> None:
    floats, bits, octets = Layout(storage="hnsw"), Layout(storage="bit", rescore="float"), Layout(storage="byte")
    assert pack(np.array([[1.0, 2.0]], np.float32)) == ["P4AAAEAAAAA="]  # big-endian, as the server demands
    packed = encode(VECTORS, floats, NEW)["vector"]
    np.testing.assert_array_equal([from_base64(text, "big") for text in packed], VECTORS)
    np.testing.assert_array_equal(encode(VECTORS, floats, OLD)["vector"], VECTORS)
    columns = encode(VECTORS, bits, NEW)
    assert columns.keys() == {"vector", "bits"}
    np.testing.assert_array_equal(np.unpackbits(from_hex(columns["bits"][0])), VECTORS[0] > 0)
    np.testing.assert_array_equal(np.unpackbits(from_signed_bytes(query_vector(VECTORS[0], bits))), VECTORS[0] > 0)
    (octet,) = encode(VECTORS[:1], octets, NEW)["vector"]
    assert from_hex(octet).view(np.int8).tolist() == query_vector(VECTORS[0], octets)


def test_bits_are_read_from_wherever_the_server_shows_them() -> None:
    hits = [
        {"_source": {"bits": "80ff"}},
        {"_source": {}, "fields": {"bits": [-128, -1]}},
        {"fields": {"bits": [1, 2]}},
    ]
    assert read_bits(hits, 16, "bits").tolist() == [[128, 255], [128, 255], [1, 2]]
    assert read_bits([], 16, "bits").shape == (0, 2)


def test_scores_become_cosines() -> None:
    assert [cosine(score) for score in (0, 0.5, 1, 1.0000001)] == [-1, 0, 1, 1]
    rng = np.random.default_rng(2)
    one = normalize(rng.standard_normal((200, 1024)))
    other = normalize(one + 0.8 * normalize(rng.standard_normal((200, 1024))))
    exact = (one * other).sum(1)
    signs = np.where(other > 0, 1, -1) / 32
    estimate = bits_cosine((one * signs).sum(1).astype(np.float32))
    assert abs(float((estimate - exact).mean())) < 0.01


@given(st.text(max_size=700), st.text(max_size=700))
def test_documents_of_two_ids_never_meet(one: str, other: str) -> None:
    first, second = document_id(one), document_id(other)
    assert (first is None) == (not one)
    if first and second:
        assert (first == second) == (one == other)
        assert len(first.encode()) <= 512


def test_a_record_over_the_limit_is_named() -> None:
    check_record(Record("a", "x" * 1000), 64)
    with pytest.raises(InvalidRecord, match="'big'"):
        check_record(Record("big", "x" * 105_000_000), 64)


# searches


def test_golden_knn() -> None:
    assert queries.nearest(Layout(storage="hnsw"), [1.0], 5) == {
        "field": "vector",
        "query_vector": [1.0],
        "k": 5,
        "num_candidates": 400,
    }
    section = queries.nearest(Layout(storage="bit"), [1], 50, translate(parse_filter({"a": "b"})), candidates=700)
    assert section == {
        "field": "bits",
        "query_vector": [1],
        "k": 50,
        "num_candidates": 700,
        "filter": {"terms": {"filter": ["1:asb"]}},
    }
    quantised = queries.nearest(Layout(storage="bbq_hnsw"), [1.0], 10_000, oversample=2)
    assert quantised["rescore_vector"] == {"oversample": 2} and quantised["num_candidates"] == 10_000
    assert queries.nearest(Layout(storage="hnsw"), [1.0], 300, candidates=5)["num_candidates"] == 300


def test_golden_retrievers() -> None:
    knn = queries.nearest(Layout(storage="hnsw"), [1.0], 50)
    words = queries.words("text", "a cat", translate(parse_filter({"a": "b"})))
    assert words == {"bool": {"must": [{"match": {"text": "a cat"}}], "filter": [{"terms": {"filter": ["1:asb"]}}]}}
    assert queries.rrf(knn, words, 50, 60) == {
        "rrf": {
            "retrievers": [{"standard": {"query": words}}, {"knn": knn}],
            "rank_constant": 60,
            "rank_window_size": 50,
        }
    }
    assert queries.linear(knn, words, 50, 0.75) == {
        "linear": {
            "retrievers": [
                {"retriever": {"standard": {"query": words}}, "weight": 0.25, "normalizer": "minmax"},
                {"retriever": {"knn": knn}, "weight": 0.75, "normalizer": "minmax"},
            ],
            "rank_window_size": 50,
        }
    }


def test_fewer_bits_need_more_candidates() -> None:
    assert queries.bit_candidates(10, 1024) == 400
    assert queries.bit_candidates(10, 256) == 1600
    assert queries.bit_candidates(1000, 64) == queries.MOST


def test_reciprocal_ranks() -> None:
    fused = fusion.rrf([["a", "b", "c"], ["c", "a"]], constant=60)
    assert list(fused) == ["a", "c", "b"]
    assert fused == pytest.approx({"a": 1 / 61 + 1 / 62, "c": 1 / 63 + 1 / 61, "b": 1 / 62})


def test_linear_sums() -> None:
    fused = fusion.linear([{"a": 8.0, "b": 4.0, "c": 6.0}, {"d": 0.5}], [0.25, 0.75])
    assert fused == {"d": 0.75, "a": 0.25, "c": 0.125, "b": 0.0}
    assert fusion.linear([{}, {}], [0.5, 0.5]) == {}
