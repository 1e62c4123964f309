"""What servers refuse, at the socket: each failure is one clear error, and nothing is lost."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from jinavec import Contract, Encoder, ModelProfile, Record, open_engine
from jinavec.errors import (
    EngineError,
    IndexDamaged,
    IndexNotFound,
    InvalidInput,
    InvalidTarget,
    InvalidType,
    RecordsFailed,
)
from jinavec.ingest import Ingested, Progress

pytest.importorskip("elasticsearch")
import elasticsearch
from tests.support.scripted_elasticsearch import ROOT, Answer, Asked, Bulk, Script, nothing_found, refusal, scripted

from jinavec_integrations.elasticsearch import ElasticsearchOptions, calls, convert, filters
from jinavec_integrations.elasticsearch.connect import Place, connect
from jinavec_integrations.elasticsearch.errors import Fault, reported, translate
from jinavec_integrations.elasticsearch.mapping import Layout, Meta

CONTRACT = Contract.of(ModelProfile(name="faults", width=64))
VECTORS = np.eye(64, dtype=np.float32)
MAPPING = {"notes": {"mappings": Meta(contract=CONTRACT, layout=Layout(storage="bbq_hnsw")).mapping()}}
OPEN: dict[Any, Any] = {
    ("GET", "/notes/_mapping"): (200, MAPPING),
    ("PUT", "/notes/_mapping"): (200, {"acknowledged": True}),
    ("POST", "/notes/_mget"): nothing_found,
    ("POST", "/notes/_refresh"): (200, {}),
}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "FIRST_WAIT", 0.001)
    for name in ("ELASTICSEARCH_API_KEY", "JINAVEC_API_KEY", "ELASTICSEARCH_USERNAME", "ELASTICSEARCH_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


def opened(script: Script, encoder: Encoder | None = None) -> Any:
    contract = None if encoder else CONTRACT
    options = {"deadline": 0.3}
    return open_engine(f"elasticsearch:{script.url}/notes", contract=contract, encoder=encoder, options=options)


@pytest.mark.parametrize(
    ("answer", "kind", "match"),
    [
        (refusal(401, "security_exception", "unable to authenticate"), EngineError, "ELASTICSEARCH_API_KEY"),
        (refusal(403, "security_exception", "action [search] is unauthorized"), EngineError, "privilege"),
        (refusal(403, "security_exception", "current license is non-compliant for [x]"), EngineError, "license"),
        (refusal(403, "security_exception", "license has expired"), EngineError, "renew"),
        (refusal(404, "index_not_found_exception", "no such index [notes]"), IndexNotFound, "no such index"),
        (refusal(400, "index_closed_exception", "closed"), EngineError, "open it again"),
        (refusal(400, "illegal_argument_exception", "it matches with template [t] that creates data streams only"),
         InvalidInput, "data stream"),
        (refusal(429, "circuit_breaking_exception", "too large"), EngineError, "overloaded"),
        (refusal(400, "x", "Accept version media_type_header_exception"), EngineError, "major"),
        (refusal(500, "null_pointer_exception", "oh"), EngineError, "500 null_pointer_exception: oh"),
        ((502, b"<html>Bad Gateway</html>"), EngineError, "not available"),
        ((200, b"{half"), EngineError, "JSON"),
    ],
)  # fmt: skip
def test_each_refusal_is_one_error_with_its_remedy(answer: Answer, kind: type[Exception], match: str) -> None:
    with scripted(answers={**OPEN, ("GET", "/notes/_mapping"): answer}) as script, pytest.raises(kind, match=match):
        open_engine(f"elasticsearch:{script.url}/notes")


def test_what_is_not_elasticsearch_is_named() -> None:
    with scripted(product="") as script, pytest.raises(EngineError, match="not Elasticsearch"):
        opened(script)


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(EngineError, match="notes at http://127.0.0.1.*cannot be reached"):
        open_engine(f"elasticsearch:http://127.0.0.1:{port}/notes")


def test_tls_that_fails_is_named() -> None:
    with scripted() as script, pytest.raises(EngineError, match="ELASTICSEARCH_CA_CERTS"):
        open_engine(f"elasticsearch:{script.url.replace('http:', 'https:')}/notes")


def test_a_rejected_document_is_sent_again_and_only_that() -> None:
    times: dict[str, int] = {}

    def refuse(id: str) -> Answer | None:
        times[id] = times.get(id, 0) + 1
        rejected = id in ("3", "7") and times[id] < 4
        return refusal(429, "es_rejected_execution_exception", "queue full") if rejected else None

    route = Bulk(refuse)
    with scripted(answers={**OPEN, ("PUT", "/notes/_bulk"): route}) as script, opened(script) as engine:
        assert engine.ingest([Record(str(n)) for n in range(10)], VECTORS[:10]).stored == 10
    assert sorted(route.stored) == [str(n) for n in range(10)]
    assert times == {str(n): 4 if n in (3, 7) else 1 for n in range(10)}


def test_reasons_keep_to_their_records_when_others_are_sent_again() -> None:
    times: dict[str, int] = {}

    def refuse(id: str) -> Answer | None:
        times[id] = times.get(id, 0) + 1
        if id == "1" and times[id] == 1:
            return refusal(429, "es_rejected_execution_exception", "queue full")
        return refusal(400, "document_parsing_exception", "bad") if id == "2" else None

    with scripted(answers={**OPEN, ("PUT", "/notes/_bulk"): Bulk(refuse)}) as script, opened(script) as engine:
        with pytest.raises(RecordsFailed) as raised:
            engine.add([Record(str(n)) for n in range(4)], VECTORS[:4])
    assert raised.value.reasons.keys() == {"2"}


@pytest.mark.parametrize(("fusion", "score"), [("rrf", 2 / 61), ("linear", 1.0)])
def test_a_server_that_can_fuse_does(fusion: Any, score: float) -> None:
    encoder = Encoder.load("lexical", dimension=64)
    mapping = Meta(contract=encoder.contract, layout=Layout(storage="bbq_hnsw")).mapping()
    hit: dict[str, Any] = {"_id": "a", "_score": score, "_source": {"text": "x", "metadata": {}}}
    answers: dict[Any, Any] = {
        ("GET", "/notes/_mapping"): (200, {"notes": {"mappings": mapping}}),
        ("POST", "/notes/_search"): (200, {"hits": {"hits": [hit]}}),
    }
    with scripted(answers=answers) as script:
        with opened(script, encoder) as engine:
            found = engine.hybrid("x", 3, {"a": 1}, fusion=fusion)
        assert [hit.record for hit in found] == [Record("a", "x")]
        assert found[0].score == pytest.approx(1.0)
        sent = script.asked[-1].lines[0]
        assert sent["retriever"].keys() == {fusion} and sent["size"] == 3


def test_a_license_without_fusion_is_asked_once() -> None:
    encoder = Encoder.load("lexical", dimension=64)
    mapping = Meta(contract=encoder.contract, layout=Layout(storage="bbq_hnsw")).mapping()
    asked: list[Any] = []

    def search(request: Asked) -> Answer:
        body = request.lines[0]
        asked.append(body)
        if "retriever" in body:
            return refusal(403, "security_exception", "current license is non-compliant for [Reciprocal Rank Fusion]")
        hit: dict[str, Any] = {"_id": "a", "_score": 1.0, "_source": {"text": "x", "metadata": {}}}
        return 200, {"hits": {"hits": [hit]}}

    answers = {("GET", "/notes/_mapping"): (200, {"notes": {"mappings": mapping}}), ("POST", "/notes/_search"): search}
    with (
        scripted(answers=answers) as script,
        opened(script, encoder) as engine,
    ):
        for _ in range(2):
            found = engine.hybrid("x")
            assert found[0].score == pytest.approx(1.0)
        assert sum("retriever" in body for body in asked) == 1
        with pytest.raises(EngineError, match="license"):
            engine.hybrid("x", local=False)


def test_a_whole_request_that_is_rejected_is_sent_again() -> None:
    route, left = Bulk(), [2]

    def busy(asked: Asked) -> Answer:
        left[0] -= 1
        return refusal(429, "es_rejected_execution_exception", "busy") if left[0] >= 0 else route(asked)

    with scripted(answers={**OPEN, ("PUT", "/notes/_bulk"): busy}) as script, opened(script) as engine:
        assert engine.add([Record("a")], VECTORS[:1]) == 1
    assert route.stored.keys() == {"a"}


def test_each_record_that_was_refused_is_named() -> None:
    def refuse(id: str) -> Answer | None:
        return refusal(400, "document_parsing_exception", f"no {id}") if int(id) % 4 == 0 else None

    route = Bulk(refuse)
    records = [Record(str(n)) for n in range(20)]
    with scripted(answers={**OPEN, ("PUT", "/notes/_bulk"): route}) as script, opened(script) as engine:
        with pytest.raises(RecordsFailed, match=r"5 of 20 records: '0': .*mapping.*and 2 more") as raised:
            engine.add(records, VECTORS[:20])
        assert sorted(raised.value.reasons, key=int) == ["0", "4", "8", "12", "16"]
        route.stored.clear()
        told: dict[str, str] = {}
        ingested = engine.ingest(records, VECTORS[:20], batch_size=3, on_refused=told.__setitem__)
        assert ingested.refused == told == raised.value.reasons
    assert len(route.stored) == ingested.stored == 15


@pytest.mark.parametrize("limit", [30_000, 3000])
def test_a_request_too_large_is_sent_in_parts_and_what_is_larger_alone_is_named(limit: int) -> None:
    route = Bulk()

    def proxy(asked: Asked) -> Answer:
        return (413, b"<html>too large</html>") if len(asked.body) > limit else route(asked)

    records = [Record(str(n), "x" * (40_000 if n == 7 else 100)) for n in range(300)]
    with scripted(answers={**OPEN, ("PUT", "/notes/_bulk"): proxy}) as script, opened(script) as engine:
        with pytest.raises(RecordsFailed, match=r"1 of 300 records: '7': .*max_content_length.*split"):
            engine.ingest(records, np.tile(VECTORS, (5, 1))[:300])
    assert route.stored.keys() == {str(n) for n in range(300)} - {"7"}


def test_a_failure_stops_the_encoder_in_the_middle_of_a_batch() -> None:
    encoder = Encoder.load("lexical", dimension=64)
    mapping = Meta(contract=encoder.contract, layout=Layout(storage="bbq_hnsw"), settings=encoder.settings).mapping()
    failed, embedded = threading.Event(), list[int]()

    def bulk_route(asked: Asked) -> Answer:
        failed.set()
        return refusal(401, "security_exception", "the key was revoked")

    class Slow:
        """An encoder that goes on text by text until it is told to stop."""

        contract, settings = encoder.contract, encoder.settings

        def encode(self, texts: list[str], *, progress: Any, **how: Any) -> Any:
            for number in range(len(texts)):
                if len(embedded) >= 4 and number == 1:  # of the second batch, while the first is sent
                    failed.wait(30)
                    time.sleep(0.2)
                progress(number, len(texts))
                embedded.append(number)
            return encoder.encode(texts, **how)

    answers: dict[Any, Any] = {
        **OPEN,
        ("GET", "/notes/_mapping"): (200, {"notes": {"mappings": mapping}}),
        ("PUT", "/notes/_bulk"): bulk_route,
    }
    with scripted(answers=answers) as script, opened(script, encoder) as engine:
        engine.encoder = Slow()
        with pytest.raises(EngineError, match="no valid credentials"):
            engine.ingest([Record(str(n), f"text {n}") for n in range(40)], batch_size=4)
    assert len(embedded) < 12  # the first batch, and what was begun while it was sent


def test_an_ingest_that_breaks_off_says_what_is_stored_and_raises() -> None:
    route, seen = Bulk(), list[int]()

    def show(progress: Progress) -> None:
        seen.append(progress.done)

    def breaks(asked: Asked) -> Answer:
        return route(asked) if len(route.stored) < 6 else refusal(503, "unavailable", "shards")

    with scripted(answers={**OPEN, ("PUT", "/notes/_bulk"): breaks}) as script, opened(script) as engine:
        with pytest.raises(EngineError, match="not available"):
            engine.ingest([Record(str(n)) for n in range(30)], VECTORS[:30], batch_size=2, threads=1, progress=show)
        assert seen == [2, 4, 6]
    assert {str(n) for n in range(6)} <= route.stored.keys()


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (refusal(403, "cluster_block_exception", "blocked by: [FORBIDDEN/8/index write (api)]"), "blocked"),
        (refusal(400, "index_closed_exception", "closed"), "open it again"),
        (refusal(400, "strict_dynamic_mapping_exception", "introduction of [text] is not allowed"), "mapping"),
        (refusal(403, "security_exception", "action [bulk] is unauthorized"), "privilege"),
    ],
)  # fmt: skip
def test_an_ingest_ends_where_the_index_takes_nothing(answer: Answer, match: str) -> None:
    told: dict[str, str] = {}
    asked: list[str] = []

    def refuse(id: str) -> Answer:
        asked.append(id)
        return answer

    records = (Record(str(n)) for n in range(2000))
    with scripted(answers={**OPEN, ("PUT", "/notes/_bulk"): Bulk(refuse)}) as script, opened(script) as engine:
        with pytest.raises(EngineError, match=match) as raised:
            engine.ingest(records, np.tile(VECTORS, (32, 1))[:2000], batch_size=20, on_refused=told.__setitem__)
    assert not isinstance(raised.value, RecordsFailed)
    assert not told and len(asked) < 200


def test_a_bad_record_alone_in_its_batch_ends_nothing() -> None:
    def refuse(id: str) -> Answer | None:
        return refusal(400, "document_parsing_exception", "failed to parse") if id == "3" else None

    records, told = [Record(str(n)) for n in range(6)], dict[str, str]()
    with scripted(answers={**OPEN, ("PUT", "/notes/_bulk"): Bulk(refuse)}) as script, opened(script) as engine:
        ingested = engine.ingest(records, VECTORS[:6], batch_size=1, on_refused=told.__setitem__)
    assert (ingested.stored, told.keys()) == (5, {"3"})


def test_reasons_are_counted() -> None:
    def refuse(id: str) -> Answer | None:
        return refusal(400, "document_parsing_exception", f"[1:{id}] failed to parse '{id}'") if int(id) % 4 else None

    records = [Record(str(n)) for n in range(40)]
    with scripted(answers={**OPEN, ("PUT", "/notes/_bulk"): Bulk(refuse)}) as script, opened(script) as engine:
        ingested = engine.ingest(records, VECTORS[:40], on_refused=dict[str, str]().__setitem__)
    assert ingested.refused_count == 30 and list(ingested.reasons.values()) == [30]


@pytest.mark.parametrize("status", [408, 429, 502, 503])
def test_what_time_mends_is_sent_again(status: int) -> None:
    route, left = Bulk(), [5]

    def busy(asked: Asked) -> Answer:
        left[0] -= 1
        return refusal(status, "busy", "busy") if left[0] >= 0 else route(asked)

    answers = {**OPEN, ("PUT", "/notes/_bulk"): busy}
    with scripted(answers=answers) as script, opened(script) as engine:
        assert engine.add([Record("a")], VECTORS[:1]) == 1
        left[0] = 10**6
        with pytest.raises(EngineError, match="busy"):
            engine.add([Record("b")], VECTORS[:1])
    assert route.stored.keys() == {"a"}


@pytest.mark.parametrize("is_async", [False, True])
def test_an_ingest_survives_a_restart_of_the_server(is_async: bool) -> None:
    taken, rejected, dies = Bulk(), list[Asked](), threading.Event()

    def die_at_the_third(asked: Asked) -> Answer:
        answer = taken(asked)
        if len(taken.stored) > 20:  # stored, and nobody hears of it
            before.is_down = True
            dies.set()
        return answer

    def wake_up(asked: Asked) -> Answer:
        rejected.append(asked)
        return taken(asked) if len(rejected) > 3 else refusal(503, "unavailable_shards_exception", "not active yet")

    records = [Record(str(number)) for number in range(64)]
    with scripted(answers={**OPEN, ("PUT", "/notes/_bulk"): die_at_the_third}) as before:
        target, options = f"elasticsearch:{before.url}/notes", {"deadline": 30}
        engine = open_engine(target, contract=CONTRACT, options=options)

        async def aingest() -> Ingested:
            ingested = await engine.aingest(records, VECTORS, batch_size=10)
            await engine.aclose()
            return ingested

        def ingest() -> Ingested:
            return asyncio.run(aingest()) if is_async else engine.ingest(records, VECTORS, batch_size=10)

        ingested = ThreadPoolExecutor(1).submit(ingest)
        assert dies.wait(30)
    time.sleep(0.3)  # connections are refused meanwhile
    with scripted(int(before.url.rpartition(":")[2]), answers={**OPEN, ("PUT", "/notes/_bulk"): wake_up}):
        report = ingested.result(30)
    engine.close()
    assert (report.added, report.refused_count) == (64, 0)
    assert taken.stored.keys() == {record.id for record in records}


def test_a_redirect_is_named() -> None:
    moved = refusal(307, "", "")
    with scripted(answers={**OPEN, ("GET", "/notes/_mapping"): moved}) as script:
        with pytest.raises(EngineError, match=r"redirects to .*give that address"):
            opened(script)


# reading


SNAPSHOT: dict[Any, Any] = {
    ("POST", "/notes/_pit"): (200, {"id": "snapshot 1"}),
    ("DELETE", "/_pit"): (200, {"succeeded": True}),
}


def hit(number: int, **source: Any) -> dict[str, Any]:
    return {"_id": str(number), "_source": {"text": "x", "metadata": {}, **source}, "sort": [number, 3 << 32 | 7]}


def test_the_newest_name_of_a_snapshot_is_used_and_released() -> None:
    pages = iter([[hit(1), hit(2)], [hit(5)]])

    def search(asked: Asked) -> Answer:
        return 200, {"pit_id": f"snapshot {len(script.asked)}", "hits": {"hits": next(pages)}}

    with scripted(answers={**OPEN, **SNAPSHOT, ("POST", "/_search"): search}) as script, opened(script) as engine:
        found = list(engine.iterate(2, after="0:3"))
        assert [record.id for page in found for record in page] == ["1", "2", "5"]
        assert found[-1].cursor == "5:3"
        first, second, release = (asked.lines[0] for asked in script.asked[-3:])
        assert first["search_after"] == [0, 4 * 2**32 - 2**31 - 1]
        assert second["search_after"] == [2, 4 * 2**32 - 2**31 - 1]
        assert second["pit"]["id"] != first["pit"]["id"] == "snapshot 1"
        assert release == {"id": f"snapshot {len(script.asked) - 1}"}
        searches = [asked.path for asked in script.asked if asked.path.startswith("/_search")]
        assert all("allow_partial_search_results=false" in path for path in searches)  # else a shard may be left out


def test_a_snapshot_that_expired_says_how_to_go_on() -> None:
    gone = refusal(404, "search_context_missing_exception", "No search context found for id [42]")
    with scripted(answers={**OPEN, **SNAPSHOT, ("POST", "/_search"): gone}) as script, opened(script) as engine:
        with pytest.raises(EngineError, match=r"expired.*iterate\(after=\)"):
            list(engine.iterate())
        assert script.paths()[-1] == "DELETE /_pit"


@pytest.mark.parametrize("cursor", ["", "r7", "1", "1:", ":1", "-1:0", "1:0:0", "1:0\n", "\u0661:0", "9" * 30 + ":0"])
def test_a_cursor_that_cannot_be_read_is_refused(cursor: str) -> None:
    with scripted(answers=OPEN) as script, opened(script) as engine, pytest.raises(InvalidInput, match="cursor"):
        engine.iterate(after=cursor)


@pytest.mark.parametrize(
    "source", [{"text": None}, {"metadata": None}, {"metadata": [1]}, {"text": ["x"]}, {"id": 7}, {"id": ""}]
)
def test_a_document_that_is_no_record_is_named(source: dict[str, Any]) -> None:
    found = {"hits": {"hits": [hit(7, **source)]}}
    answers = {**OPEN, **SNAPSHOT, ("POST", "/_search"): (200, found), ("POST", "/notes/_search"): (200, found)}
    with scripted(answers=answers) as script, opened(script) as engine:
        for read in (lambda: list(engine.iterate()), lambda: engine.search(VECTORS[0])):
            with pytest.raises(IndexDamaged, match="document '7' is not a record"):
                read()


def test_a_document_without_a_vector_is_named() -> None:
    answers = {**OPEN, **SNAPSHOT, ("POST", "/_search"): (200, {"hits": {"hits": [hit(7)]}})}
    with scripted(answers=answers) as script, opened(script) as engine:
        assert len(list(engine.iterate())) == 1
        with pytest.raises(IndexDamaged, match="document '7' has no vector"):
            list(engine.iterate(vectors=True))


class Planted(Exception):
    """A bug of one's own."""


@pytest.mark.parametrize("bug", [TypeError, KeyError, AttributeError, ValueError, AssertionError, Planted])
@pytest.mark.parametrize("place", [(filters, "_one_of"), (convert, "Record"), (convert, "cosine"), (convert, "split")])
def test_a_bug_leaves_with_its_own_type(
    bug: type[Exception], place: tuple[Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def planted(*_: Any) -> Any:
        raise bug("planted")

    found = {"hits": {"hits": [{**hit(7), "_score": 1.0}]}}
    answers = {**OPEN, ("POST", "/notes/_search"): (200, found), ("PUT", "/notes/_bulk"): Bulk()}
    with scripted(answers=answers) as script, opened(script) as engine:
        monkeypatch.setattr(*place, planted)
        with pytest.raises(Exception, match="planted") as raised:
            engine.search(VECTORS[0], filter={"a": 1})
            engine.add([Record("a", "", {"a": 1})], VECTORS[:1])
        assert raised.type is bug


# what is sent


def test_floats_travel_as_base64_from_9_3_on_and_as_numbers_before() -> None:
    for number, kind in (("9.5.2", str), ("9.3.0", str), ("9.2.2", list), ("8.19.0", list)):
        route = Bulk()
        root = {**ROOT, "version": {"number": number, "build_flavor": "default"}}
        answers = {**OPEN, ("GET", "/"): (200, root), ("PUT", "/notes/_bulk"): route}
        with scripted(answers=answers) as script, opened(script) as engine:
            engine.add([Record("a", "text", {"n": 1})], [[1.0, 2.0] * 32])
        assert type(route.stored["a"]["vector"]) is kind
        assert route.stored["a"] | {"vector": 0} == {
            "vector": 0,
            "text": "text",
            "metadata": {"n": 1},
        }


def test_a_serverless_project_counts_as_the_newest() -> None:
    root = {**ROOT, "version": {"number": "8.11.0", "build_flavor": "serverless"}}
    with scripted(answers={**OPEN, ("GET", "/"): (200, root)}) as script, opened(script) as engine:
        assert engine._version > (9, 3)  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    ("environment", "header"),
    [
        ({}, None),
        ({"ELASTICSEARCH_API_KEY": "aaa", "JINAVEC_API_KEY": "bbb"}, "ApiKey aaa"),
        ({"JINAVEC_API_KEY": "bbb"}, None),
        ({"ELASTICSEARCH_USERNAME": "u", "ELASTICSEARCH_PASSWORD": "p", "JINAVEC_API_KEY": "bbb"}, "Basic dTpw"),
    ],
)
def test_credentials_come_from_the_environment_and_are_never_shown(
    environment: dict[str, str], header: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    denied = refusal(401, "security_exception", "who are you")
    with scripted(answers=OPEN) as script:
        with opened(script) as engine:
            assert {asked.headers.get("authorization") for asked in script.asked} == {header}
            shown = f"{engine!r}"
        script.answers["GET", "/notes/_mapping"] = denied
        with pytest.raises(EngineError) as raised:
            opened(script)
    shown += f"{raised.value} {raised.value.__cause__!r} {json.dumps(environment and 'x')}"
    assert not any(secret in shown for secret in ("aaa", "bbb", "dTpw"))


def test_a_cloud_id_names_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELASTICSEARCH_API_KEY", "hush-hush")
    cloud_id = "mine:" + base64.b64encode(b"region.cloud.example:9243$abc$def").decode()
    assert Place.parse(f"{cloud_id}/notes") == Place(cloud_id, "notes")
    with connect(cloud_id) as client:
        (node,) = client.transport.node_pool.all()
        assert node.base_url == "https://abc.region.cloud.example:9243"
        assert "hush-hush" not in repr(client)


def test_a_client_of_ones_own_is_used_and_left_open() -> None:
    with scripted(answers=OPEN) as script, elasticsearch.Elasticsearch(script.url, api_key="own") as client:
        options = ElasticsearchOptions(client=client)
        assert "own" not in repr(options)
        open_engine("elasticsearch:http://elsewhere:9200/notes", options=options).close()
        assert client.info()["tagline"] == "x"
        assert {asked.headers["authorization"] for asked in script.asked} == {"ApiKey own"}
    with pytest.raises(InvalidType, match="AsyncElasticsearch"):
        open_engine("elasticsearch:http://h:1/i", options={"client": elasticsearch.AsyncElasticsearch("http://h:1")})


@pytest.mark.parametrize(
    "location",
    ["notes", "http://host:9200", "http://host:9200/Notes", "http://host:9200/a b", "ftp://host/notes", "/notes",
     "http://host:9200/_all", "http://host:9200/a*", "http:///notes", "http://host:9200/-a", "http://host/x?y/notes"],
)  # fmt: skip
def test_targets_that_cannot_be_read_are_refused(location: str) -> None:
    with pytest.raises(InvalidTarget):
        open_engine(f"elasticsearch:{location}")


def test_a_password_in_a_target_is_refused_unseen() -> None:
    with pytest.raises(InvalidTarget, match="ELASTICSEARCH_PASSWORD") as raised:
        open_engine("elasticsearch:https://user:hunter2@host:9200/notes")
    assert "hunter2" not in str(raised.value)


def test_targets() -> None:
    assert Place.parse("https://host:9200/notes") == Place("https://host:9200", "notes")
    assert Place.parse("https://host/prefix/notes") == Place("https://host/prefix", "notes")
    assert Place.parse("mine:dXMtZWFzdC0xLmF3cy5mb3VuZC5pbyQx/notes") == Place(
        "mine:dXMtZWFzdC0xLmF3cy5mb3VuZC5pbyQx", "notes"
    )


def test_every_error_of_the_client_is_translated() -> None:
    import elastic_transport

    meta = elastic_transport.ApiResponseMeta(
        418, "1.1", elastic_transport.HttpHeaders(), 0.1, elastic_transport.NodeConfig("http", "h", 1)
    )
    kinds = {
        kind
        for module in (elasticsearch, elastic_transport)
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, Exception) and not issubclass(kind, Warning)
    }
    assert len(kinds) > 8
    for kind in kinds:
        if kind is elastic_transport.ApiError:
            continue  # the client raises its own subclasses
        error = kind("oh", meta, {}) if issubclass(kind, elastic_transport.ApiError) else kind("oh")
        with pytest.raises(EngineError, match="somewhere"), reported("somewhere"):
            raise error


def test_the_innermost_cause_is_told() -> None:
    causes = {"type": "a", "reason": "outer", "caused_by": {"reason": "middle", "caused_by": {"reason": "inner"}}}
    assert str(Fault.read(400, {"error": causes})) == "400 a: outer: middle: inner"
    assert isinstance(translate(Fault.read(400, "words"), "x"), EngineError)
