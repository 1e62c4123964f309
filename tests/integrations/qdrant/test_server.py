"""What only a server does: what we send it, and what we make of its failures."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import socket
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models
from tests.support.edge_server import QdrantServer, failed, ok

from jinavec import Contract, Encoder, ModelProfile, Record, Role, Task, open_engine
from jinavec.backends.base import Backend, Report
from jinavec.errors import (
    ContractMismatch,
    EngineError,
    IndexDamaged,
    IndexNotFound,
    InvalidInput,
    JinavecWarning,
    RecordsFailed,
)
from jinavec.vectors import Float32
from jinavec_integrations.qdrant import QdrantIndex, QdrantOptions
from jinavec_integrations.qdrant.connection import client_version

PROFILE = ModelProfile(name="wire", width=64, dimensions=(64, 16))
CONTRACT = Contract.of(PROFILE)
RECORDS = [Record(f"id {n}", f"text {n}", {"n": n}) for n in range(10)]
VECTORS = np.random.default_rng(1).standard_normal((10, 64)).astype(np.float32)
OUT_OF_REACH = pytest.mark.filterwarnings("ignore:.*may be out of reach of the preset")
UPSERT = "PUT .*/points$"
VECTOR = f"jinavec-{CONTRACT.digest}"
SHORT = f"{VECTOR}-short"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[QdrantServer]:
    for name in ("QDRANT_API_KEY", "JINAVEC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with QdrantServer(".".join(map(str, (*client_version(), 0)))) as server:
        yield server


class Zeros(Backend):
    """Embeds nothing that could be stored: it must not come to that."""

    name = "zeros"

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        return np.zeros((len(texts), 64), np.float32)


def opened(
    server: QdrantServer, contract: Contract | None = CONTRACT, encoder: Encoder | None = None, **options: Any
) -> QdrantIndex:
    target = f"qdrant:{server.url}/notes"
    engine = open_engine(target, contract=contract, encoder=encoder, options=QdrantOptions(**options))
    assert isinstance(engine, QdrantIndex)
    return engine


# creation


def test_a_collection_is_made_with_contract_and_indexes_before_anything_is_uploaded(server: QdrantServer) -> None:
    with opened(server, payload_indexes={"year": "integer"}, tenant_field="who") as index:
        index.add(RECORDS, VECTORS)
        assert index.info()["records"] == index.count() == 10
    (made,) = server.sent("PUT /collections/notes$")
    vector = made["vectors"][VECTOR]
    assert (vector["size"], vector["distance"]) == (64, "Cosine")
    cold, pinned = ("memory", "cold"), ("memory", "pinned")
    if client_version() < (1, 19):
        cold, pinned = ("on_disk", True), ("always_ram", True)
    assert cold in vector.items()
    assert vector["quantization_config"] == {"scalar": {"type": "int8", "quantile": 0.99, **dict([pinned])}}
    assert made["metadata"]["jinavec"]["contract"] == CONTRACT.sealed()
    order = [f"{method} {path}" for method, path, *_ in server.requests]
    uploads = [number for number, line in enumerate(order) if line.endswith("/points") and line.startswith("PUT")]
    indexes = [number for number, line in enumerate(order) if line.endswith("/index")]
    assert max(indexes) < min(uploads)
    made_indexes = server.indexes["notes"]
    assert {key: params["type"] for key, params in made_indexes.items()} == {
        "jinavec.terms": "keyword",
        "jinavec.order[].f": "keyword",
        **{f"jinavec.order[].c{number}": "float" for number in range(6)},
        "metadata.year": "integer",
        "metadata.who": "keyword",
    }
    assert made_indexes["metadata.who"]["is_tenant"] is True


@pytest.mark.parametrize(
    ("preset", "quantization", "params"),
    [
        ("exact", None, {"exact": True}),
        ("scalar", "scalar", {"rescore": True}),
        ("binary", "binary", {"rescore": True}),
        ("binary_asymmetric", "binary", {"rescore": True}),
        ("turbo", "turbo", {"rescore": True}),
    ],
)
@OUT_OF_REACH
def test_each_preset_has_its_search_parameters(
    server: QdrantServer, preset: Any, quantization: str | None, params: dict[str, Any]
) -> None:
    if preset == "turbo" and client_version() < (1, 18):
        pytest.skip("this qdrant-client does not know it")
    with opened(server, preset=preset) as index:
        index.add(RECORDS, VECTORS)
        hits = index.search(VECTORS[0], 5)
        assert (len(hits), hits[0].record) == (5, RECORDS[0])
    (made,) = server.sent("PUT /collections/notes$")
    assert list(made["vectors"][VECTOR].get("quantization_config") or {}) == ([quantization] if quantization else [])
    (search,) = server.sent("query/batch")[0]["searches"]
    if preset == "exact":
        assert search["params"] == params
    else:
        assert search["params"]["quantization"]["rescore"] is True
        assert search["params"]["quantization"]["oversampling"] > 1
    with opened(server, None) as index:  # the collection remembers
        index.search(VECTORS[0], 5)
    assert server.sent("query/batch")[1] == server.sent("query/batch")[0]


def test_a_score_is_a_cosine_even_where_a_server_rounds_over_1(server: QdrantServer) -> None:
    point = {"id": 1, "version": 1, "score": 1.0000001, "payload": {"jinavec": {"id": "a"}}}
    server.fail("query/batch", ok([{"points": [point]}]))
    with opened(server) as index:
        assert index.search(VECTORS[0])[0].score == 1.0


def test_more_recall_takes_more_candidates(server: QdrantServer) -> None:
    for recall in (0.9, 0.95, 0.99, 0.999):
        with opened(server, recall=recall) as index:
            index.search(VECTORS[0])
    asked = [body["searches"][0]["params"]["quantization"]["oversampling"] for body in server.sent("query/batch")]
    assert asked == sorted(asked)
    assert asked[0] < asked[-1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"preset": "binary"}, "recall=0.95 may be out of reach of the preset 'binary' at 64 dimensions: .* 0.66 was"),
        ({"recall": 0.9999}, "recall=0.9999 may be out of reach of the preset 'scalar'"),
        ({"recall": 0.6, "preset": "binary"}, ""),
        ({"matryoshka": 16, "preset": "binary"}, "at 16 dimensions"),
        ({}, ""),
    ],
)
def test_a_recall_that_is_out_of_reach_is_told(server: QdrantServer, options: dict[str, Any], words: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        opened(server, **options).close()
    assert [re.search(words, str(warning.message)) is not None for warning in caught] == ([True] if words else [])


def test_strict_mode_may_put_a_recall_out_of_reach(server: QdrantServer) -> None:
    server.strict = {"enabled": True, "search_max_oversampling": 1.0}
    with pytest.warns(JinavecWarning, match="oversampling limited to 1 .search_max_oversampling"):
        opened(server).close()


@OUT_OF_REACH
@pytest.mark.filterwarnings("ignore:Qdrant 1.16 at .* is too far")
def test_an_older_server_gets_what_it_knows(server: QdrantServer) -> None:
    server.version = "1.16.3"
    with pytest.raises(InvalidInput, match=r"'turbo' need Qdrant and qdrant-client 1\.18 or later, not 1\.16"):
        opened(server, preset="turbo")
    assert not server.collections
    opened(server, preset="binary").close()
    (made,) = server.sent("PUT /collections/notes$")
    assert made["vectors"][VECTOR]["on_disk"] is True
    assert made["vectors"][VECTOR]["quantization_config"] == {"binary": {"always_ram": True}}


def test_a_server_that_keeps_no_metadata_is_refused(server: QdrantServer) -> None:
    server.version = "1.14.2"
    with (
        pytest.warns(JinavecWarning, match="too far"),
        pytest.raises(InvalidInput, match=r"which hold the contract, need Qdrant .* 1\.16 or later, not 1\.14"),
    ):
        opened(server)
    assert not server.collections


def test_shards_replicas_and_graph(server: QdrantServer) -> None:
    opened(
        server, shard_number=6, replication_factor=2, write_consistency_factor=2, hnsw_m=32, hnsw_ef_construct=200
    ).close()
    (made,) = server.sent("PUT /collections/notes$")
    assert (made["shard_number"], made["replication_factor"], made["write_consistency_factor"]) == (6, 2, 2)
    assert made["hnsw_config"] == {"m": 32, "ef_construct": 200}


def test_a_shard_of_ones_own(server: QdrantServer) -> None:
    with opened(server, shard_key="tenant a", matryoshka=16) as index:
        index.add(RECORDS, VECTORS)
        index.search(VECTORS[0], 3)
        index.delete("id 1")
        assert index.count() == 9
    (made,) = server.sent("PUT /collections/notes$")
    assert made["sharding_method"] == "custom"
    assert server.sent("PUT .*/shards") == [{"shard_key": "tenant a"}]
    for route in (UPSERT, "POST .*/points$", "points/delete", "points/count"):
        assert {body["shard_key"] for body in server.sent(route)} == {"tenant a"}
    assert server.sent("query/batch")[0]["searches"][0]["shard_key"] == "tenant a"
    opened(server, shard_key="tenant a").close()
    opened(server, shard_key="tenant b").close()
    assert server.shard_keys == ["tenant a", "tenant b"]
    with opened(server, None) as index:  # all shards
        index.search(VECTORS[0], 3)
    assert "shard_key" not in server.sent("query/batch")[1]["searches"][0]


def test_a_shard_key_needs_a_collection_that_has_them(server: QdrantServer) -> None:
    opened(server).close()
    with pytest.raises(InvalidInput, match="notes is not sharded by keys"):
        opened(server, shard_key="a")
    with pytest.raises(InvalidInput, match="local and has no shards"):
        open_engine("qdrant::memory:/notes", contract=CONTRACT, options=QdrantOptions(shard_key="a"))


def test_a_server_without_shards_leaves_nothing(server: QdrantServer) -> None:
    server.fail("PUT .*/shards", failed(400, "Distributed mode disabled"))
    with pytest.raises(EngineError, match="Distributed mode disabled"):
        opened(server, shard_key="a")
    assert not server.collections


@pytest.mark.parametrize("option", ["shard_number", "replication_factor", "write_consistency_factor", "hnsw_m"])
def test_settings_of_a_cluster_that_contradict_it_are_refused(server: QdrantServer, option: str) -> None:
    two: dict[str, Any] = {option: 2}
    three: dict[str, Any] = {option: 3}
    opened(server, **two).close()
    opened(server, **two).close()
    opened(server).close()
    with pytest.raises(InvalidInput, match=f"was made with {option}=2, not 3"):
        opened(server, **three)


def test_what_always_scans_has_no_graph(server: QdrantServer) -> None:
    opened(server, preset="exact").close()
    (made,) = server.sent("PUT /collections/notes$")
    assert made["vectors"][VECTOR]["hnsw_config"] == {"m": 0}


def test_a_matryoshka_collection_prefetches_with_the_short_vector(server: QdrantServer) -> None:
    with opened(server, matryoshka=16) as index:
        index.add(RECORDS, VECTORS)
        index.search(VECTORS[0], 3, {"n": 1})
    (made,) = server.sent("PUT /collections/notes$")
    assert {name: params["size"] for name, params in made["vectors"].items()} == {VECTOR: 64, SHORT: 16}
    (search,) = server.sent("query/batch")[0]["searches"]
    assert search["using"] == VECTOR
    assert len(search["query"]["nearest"]) == 64
    (prefetch,) = search["prefetch"]
    assert (prefetch["using"], prefetch["limit"], len(prefetch["query"])) == (SHORT, 100, 16)
    assert prefetch["filter"]
    assert np.linalg.norm(prefetch["query"]) == pytest.approx(1, abs=1e-6)
    (batch,) = server.sent(UPSERT)
    np.testing.assert_allclose(np.linalg.norm(batch["batch"]["vectors"][SHORT], axis=1), 1, atol=1e-6)


def test_a_failed_creation_leaves_nothing(server: QdrantServer) -> None:
    server.fail("PUT .*/index", failed(400, "no index for you"))
    with pytest.raises(EngineError, match="no index for you"):
        opened(server)
    assert not server.collections


# collections recreated while they are open


def remade(server: QdrantServer, **options: Any) -> None:
    """Recreate the collection, as another process would."""
    QdrantClient(url=server.url, check_compatibility=False).delete_collection("notes")
    opened(server, **options).close()


def test_nothing_is_added_to_a_collection_that_has_another_contract_by_now(server: QdrantServer) -> None:
    with opened(server, encoder=Encoder(PROFILE, Zeros())) as index:
        index.add(RECORDS, VECTORS)
        remade(server, contract=dataclasses.replace(CONTRACT, query_prefix="Q: "))
        with pytest.raises(ContractMismatch, match="query_prefix: the index that was opened has ''"):
            index.add(RECORDS, VECTORS)
        with pytest.raises(ContractMismatch):
            index.ingest(RECORDS)
        assert index.count() == 0
    with opened(server, None) as index:
        assert index.contract.query_prefix == "Q: "


def test_a_search_notices_it_after_a_while(server: QdrantServer, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    with opened(server) as index:
        index.add(RECORDS, VECTORS)
        requests = len(server.sent("GET /collections/notes$"))
        index.search(VECTORS[0])
        assert len(server.sent("GET /collections/notes$")) == requests  # most searches cost nothing more
        remade(server, contract=dataclasses.replace(CONTRACT, query_prefix="Q: "))
        monkeypatch.setattr(time, "monotonic", lambda: now + 60)
        with pytest.raises(ContractMismatch):
            index.search(VECTORS[0])


def test_so_it_does_where_only_the_vectors_are_others(server: QdrantServer) -> None:
    with opened(server) as index:
        remade(server, matryoshka=16)
        with pytest.raises(EngineError, match="recreated by another client with other options; reopen the index"):
            index.add(RECORDS, VECTORS)
        QdrantClient(url=server.url, check_compatibility=False).delete_collection("notes")
        with pytest.raises(IndexNotFound):
            index.add(RECORDS, VECTORS)
        params = models.VectorParams(size=64, distance=models.Distance.COSINE)
        QdrantClient(url=server.url, check_compatibility=False).create_collection("notes", params)
        with pytest.raises(IndexDamaged, match="recreated by another client and has no contract"):
            index.add(RECORDS, VECTORS)


# uploads


def test_uploads_come_in_batches(server: QdrantServer) -> None:
    with opened(server, batch_size=4, parallel=3) as index:
        index.add(RECORDS, VECTORS)
    assert sorted(len(body["batch"]["ids"]) for body in server.sent(UPSERT)) == [2, 4, 4]
    queries = [query for method, path, query, *_ in server.requests if method == "PUT" and path.endswith("/points")]
    assert all("wait=true" in query for query in queries)  # searchable on return


def test_too_many_requests_and_a_server_in_trouble_are_tried_again(server: QdrantServer) -> None:
    server.fail(UPSERT, failed(429, "slow down", Retry_After="0"), failed(503, "busy"), failed(429, "no header"))
    server.fail(UPSERT, failed(408, "its own timeout"))
    server.fail(UPSERT, failed(429, "until a date", Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"))
    with opened(server) as index:
        assert index.add(RECORDS, VECTORS) == 10
        assert index.count() == 10
    assert len(server.sent(UPSERT)) == 6


def test_after_all_retries_the_error_says_what_to_do(server: QdrantServer) -> None:
    server.fail(UPSERT, *[failed(500, "disk is full")] * 6)
    with opened(server) as index:
        with pytest.raises(EngineError, match="500: disk is full.*running it again replaces"):
            index.add(RECORDS, VECTORS)
        assert len(server.sent(UPSERT)) == 5  # by a fault of its own, it is asked a few times only
        server.failures.clear()
    server.requests.clear()
    server.fail(UPSERT, failed(503, "busy"))
    with opened(server, deadline=0) as index, pytest.raises(EngineError, match="503: busy"):
        index.add(RECORDS, VECTORS)
    assert len(server.sent(UPSERT)) == 1


def test_a_refused_request_is_not_repeated(server: QdrantServer) -> None:
    server.fail(UPSERT, failed(400, "Wrong input"))
    with opened(server) as index, pytest.raises(EngineError, match="Wrong input"):
        index.add(RECORDS, VECTORS)
    assert len(server.sent(UPSERT)) == 1


def test_lost_points_are_noticed(server: QdrantServer) -> None:
    encoder = Encoder.load("lexical", dimension=64)
    with opened(server, None, encoder) as index:
        server.lose = 1
        with pytest.raises(EngineError, match="acknowledged 10 records, and 1 of them are missing, such as 'id 0'"):
            index.ingest(RECORDS)
        assert index.ingest(RECORDS).stored == 1
        assert index.count() == 10


# keys and addresses


def test_the_key_comes_from_the_environment(server: QdrantServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.key = "sesame"
    monkeypatch.setenv("JINAVEC_API_KEY", "sesame")  # that of embedding servers goes to no other
    with pytest.raises(EngineError, match="set QDRANT_API_KEY"):
        opened(server)
    monkeypatch.setenv("QDRANT_API_KEY", "sesame")
    with opened(server) as index:
        index.add(RECORDS, VECTORS)
        assert "sesame" not in f"{index!r} {index.info()} {index._connection!r}"  # pyright: ignore[reportPrivateUsage]


def test_a_wrong_key_is_not_shown(server: QdrantServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.key = "sesame"
    monkeypatch.setenv("QDRANT_API_KEY", "wrong-key-123")
    with pytest.raises(EngineError, match=r"the API key is missing or wrong.*\*\*\*") as caught:
        opened(server)
    assert "wrong-key-123" not in str(caught.value)


def test_an_unreachable_server_says_so() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(EngineError, match=f"127.0.0.1:{port}/notes: the server cannot be reached"):
        open_engine(f"qdrant:http://127.0.0.1:{port}/notes", contract=CONTRACT)


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"{}", b'{"result": {"status": 5}}'])
def test_what_is_no_qdrant_says_so(server: QdrantServer, body: bytes) -> None:
    server.fail("GET /collections/notes", (200, {"Content-Type": "text/html"}, body))
    with pytest.raises(EngineError, match="not an answer of Qdrant"):
        opened(server)
    with opened(server) as index:
        server.fail("query/batch", (200, {"Content-Type": "text/html"}, body))
        with pytest.raises(EngineError, match="not an answer of Qdrant"):
            index.search(VECTORS[0])


def test_nothing_is_made_without_a_contract(server: QdrantServer) -> None:
    with pytest.raises(IndexNotFound, match="notes"):
        opened(server, None)
    assert not server.collections


def test_several_queries_are_one_request(server: QdrantServer) -> None:
    with opened(server) as index:
        index.add(RECORDS, VECTORS)
        found = index.search_batch(VECTORS[:5], 3)
        assert [(len(hits), hits[0].record) for hits in found] == [(3, record) for record in RECORDS[:5]]
    (body,) = server.sent("query/batch")
    assert len(body["searches"]) == 5


def test_documents_pass_through_to_a_server_that_embeds(server: QdrantServer) -> None:
    opened(server).close()
    client = QdrantClient(url=server.url, cloud_inference=True, check_compatibility=False)
    given: dict[str, Any] = {"text": "a cat", "model": "jinaai/jina-embeddings-v5-text-nano", "options": {"mrl": 64}}
    client.upsert("notes", [models.PointStruct(id=1, vector=models.Document(**given))])
    client.close()
    ((point,),) = [body["points"] for body in server.sent(UPSERT)]
    assert point["vector"] == given


def test_no_warning_in_ordinary_use(server: QdrantServer) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with opened(server) as index:
            index.add(RECORDS, VECTORS)
            index.search(VECTORS[0])


# clients of one's own, keys of few rights, and what a server says of itself


def test_headers_go_with_every_request(server: QdrantServer) -> None:
    with opened(server, headers={"x-proxy-token": "sesame"}) as index:
        index.add(RECORDS, VECTORS)
        asyncio.run(index.asearch(VECTORS[0]))
        assert "sesame" not in f"{index!r} {index.info()} {index.options!r}"
    assert {headers.get("x-proxy-token") for *_, headers, _ in server.requests} == {"sesame"}


def test_a_client_of_ones_own_is_used_and_stays_open(server: QdrantServer) -> None:
    client = QdrantClient(url=server.url, headers={"x-mine": "yes"}, check_compatibility=False)
    with open_engine("qdrant:http://elsewhere/notes", contract=CONTRACT, options={"client": client}) as index:
        index.add(RECORDS, VECTORS)
        assert asyncio.run(index.asearch(VECTORS[0], 1)) == index.search(VECTORS[0], 1)
    assert {headers.get("x-mine") for *_, headers, _ in server.requests} == {"yes"}
    assert client.count("notes").count == 10
    for options in ({"client": "no client"}, {"client": object()}):
        with pytest.raises(InvalidInput, match="client is a QdrantClient"):
            open_engine("qdrant:http://elsewhere/notes", contract=CONTRACT, options=options)
    with pytest.raises(InvalidInput, match="goes with the address of a server"):
        open_engine("qdrant::memory:/notes", contract=CONTRACT, options={"client": client})
    client.close()


@pytest.mark.parametrize("option", ["ca_certs", "client_cert"])
def test_certificates_that_cannot_be_read_are_named(server: QdrantServer, option: str, tmp_path: Path) -> None:
    for file in (tmp_path / "none.pem", tmp_path / "empty.pem"):
        (tmp_path / "empty.pem").touch()
        with pytest.raises(InvalidInput, match=f"no certificates can be read from {option}={file}"):
            open_engine(f"qdrant:{server.url}/notes", contract=CONTRACT, options={option: str(file)})


def test_grpc_that_nobody_answers_says_so(server: QdrantServer) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(EngineError, match="the server cannot be reached: .*UNAVAILABLE"):
        opened(server, prefer_grpc=True, grpc_port=port, deadline=0)


def test_settings_that_a_key_may_not_store_do_not_stop_the_data(server: QdrantServer) -> None:
    encoder = Encoder.load("lexical", dimension=64)
    opened(server, encoder.contract).close()
    server.fail("PATCH /collections/notes$", failed(403, "Global access is required"))
    with opened(server, None, encoder) as index:
        with pytest.warns(JinavecWarning, match="settings cannot be remembered: .*Global access is required"):
            assert index.ingest(RECORDS).added == 10
        assert index.count() == 10


def test_what_a_key_may_not_make_does_not_stop_the_opening(server: QdrantServer) -> None:
    opened(server, shard_key="a").close()
    server.fail("GET .*/cluster", failed(403, "Global access is required"))
    with pytest.warns(JinavecWarning, match="cannot be made: .*Global access"), opened(server, shard_key="a") as index:
        index.add(RECORDS, VECTORS)


def test_a_server_that_cannot_index_is_told(server: QdrantServer) -> None:
    with opened(server) as index:
        server.status = {"status": "red", "optimizer_status": {"error": "not enough space for optimization"}}
        with pytest.warns(JinavecWarning, match="not indexed: not enough space for optimization"):
            index.add(RECORDS, VECTORS)
        info = index.info()
        assert (info["status"], info["problem"]) == ("red", "not enough space for optimization")


def test_a_redirect_names_the_address(server: QdrantServer) -> None:
    server.fail("GET /collections/notes", (307, {"Location": "https://other.example/collections/notes"}, b""))
    with pytest.raises(EngineError, match=r"redirects \(307\) to https://other.example/collections/notes"):
        opened(server)


# shards by key


def test_equal_ids_under_two_shard_keys_are_two_records(server: QdrantServer) -> None:
    for key, text in (("a", "of a"), ("b", "of b")):
        with opened(server, shard_key=key) as index:
            index.add([Record("same", text)], VECTORS[:1])
    for key, text in (("a", "of a"), ("b", "of b")):
        with opened(server, shard_key=key) as index:
            assert index.get("same") == Record("same", text)
    with opened(server, None) as index:  # all shards
        assert {hit.record.text for hit in index.search(VECTORS[0])} == {"of a", "of b"}
        assert index.get("same") is not None
        assert index.delete("same") == 1
        assert index.count() == 0


# bodies of bearable length


def test_requests_are_split_by_their_length(server: QdrantServer) -> None:
    records = [Record(f"id {n}", "é" * 1_000_000, {"n": n}) for n in range(10)]
    with opened(server) as index:
        assert index.add(records, VECTORS) == 10
        assert index.count() == 10
    sizes = [len(json.dumps(body)) for body in server.sent(UPSERT)]
    assert len(sizes) > 1
    assert max(sizes) < 32 * 2**20


@pytest.mark.parametrize(
    "answer",
    [
        failed(400, "Payload error: JSON payload (5000 bytes) is larger than allowed (limit: 4096 bytes)."),
        (413, {"Content-Type": "text/html"}, b"<h1>413 Request Entity Too Large</h1>"),
    ],
)
def test_a_server_that_takes_less_gets_halves(server: QdrantServer, answer: Any) -> None:
    server.fail(UPSERT, answer, answer)
    with opened(server) as index:
        assert index.add(RECORDS, VECTORS) == 10
        assert index.count() == 10
    assert [len(body["batch"]["ids"]) for body in server.sent(UPSERT)] == [10, 5, 2, 3, 5]


def test_a_record_that_no_request_can_hold_is_refused_by_name(server: QdrantServer) -> None:
    server.fail(UPSERT, *[failed(413, "too large")] * 2)
    with opened(server, batch_size=2) as index:
        with pytest.raises(RecordsFailed, match="id 0.*no request of this length"):
            index.add(RECORDS[:4], VECTORS[:4])
        assert index.count() == 3
