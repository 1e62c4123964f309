"""The engine on a server: every storage, what is particular to Elasticsearch, and what can go wrong there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jinavec import Contract, Encoder, Hit, ModelProfile, Record, open_engine
from jinavec.backends.local.lexical import LexicalBackend
from jinavec.errors import (
    ContractMismatch,
    EngineError,
    IndexDamaged,
    IndexNotFound,
    InvalidFilter,
    InvalidInput,
    InvalidRecord,
    RecordsFailed,
    Unsupported,
)
from jinavec.filters import match, parse_filter
from jinavec.ingest import Ingested
from jinavec.vectors import normalize

pytest.importorskip("elasticsearch")
from tests.support.elasticsearch_server import client

from jinavec_integrations.elasticsearch import ElasticsearchIndex, convert
from jinavec_integrations.elasticsearch.mapping import Layout, Meta
from jinavec_integrations.elasticsearch.options import STORAGES

from .test_filters import filters, metadata

pytestmark = pytest.mark.elasticsearch

PROFILE = ModelProfile(name="elastic-tests", width=64, dimensions=(64, 32))
CONTRACT = Contract.of(PROFILE)
RNG = np.random.default_rng(7)
CENTRES = RNG.standard_normal((40, 64))
VECTORS = normalize(CENTRES[RNG.integers(0, 40, 800)] + 0.6 * RNG.standard_normal((800, 64)))
QUERIES = normalize(VECTORS[:20] + 0.05 * RNG.standard_normal((20, 64)))
RECORDS = [Record(f"r{n}", f"text {n}", {"n": n}) for n in range(800)]
KINDS = [(storage, None) for storage in STORAGES] + [("bit", "bits")]
TOLERANCE = {"byte": 0.02, "bfloat16": 0.01, "bits": 0.35}


def name(target: str) -> str:
    return target.rpartition("/")[2]


def opened(target: str, **options: Any) -> ElasticsearchIndex:
    engine = open_engine(target, contract=CONTRACT, options=options or None)
    assert isinstance(engine, ElasticsearchIndex)
    return engine


@pytest.mark.parametrize(("storage", "rescore"), KINDS)
def test_every_storage_finds_what_exact_search_finds(target: str, storage: Any, rescore: Any) -> None:
    try:
        engine = opened(target, storage=storage, rescore=rescore)
    except InvalidInput as error:
        assert storage in ("bfloat16", "bbq_disk") and "Elasticsearch 9." in str(error)
        pytest.skip("this server does not have the storage")
    with engine:
        try:
            engine.add(RECORDS, VECTORS)
        except Unsupported as error:
            assert storage == "bbq_disk" and "license" in str(error)
            pytest.skip("the license does not cover this storage")
        recall: list[float] = []
        for query in QUERIES:
            exact = VECTORS @ query
            best = {f"r{row}" for row in np.argsort(-exact)[:10]}
            hits = engine.search(query, 10)
            scores = [hit.score for hit in hits]
            assert scores == sorted(scores, reverse=True)
            tolerance = TOLERANCE.get(rescore or storage, 1e-4)
            assert scores == pytest.approx([exact[int(hit.record.id[1:])] for hit in hits], abs=tolerance)
            recall.append(len(best & {hit.record.id for hit in hits}) / 10)
        assert np.mean(recall) >= (0.6 if rescore == "bits" else 0.9 if storage == "byte" else 0.97)
        filtered = engine.search(QUERIES[0], 800, {"n": {"lt": 30}})
        assert {hit.record.id for hit in filtered} == {f"r{n}" for n in range(30)}
        assert len(engine.search(QUERIES[0], 800)) == 800
    with open_engine(target) as again:
        assert again.info()["storage"] == storage
        assert [hit.record.id for hit in again.search(QUERIES[0], 10)] == [hit.record.id for hit in engine_hits(target)]


def engine_hits(target: str) -> list[Any]:
    with open_engine(target, options={"candidates": 800}) as engine:
        return engine.search(QUERIES[0], 10)


@pytest.mark.parametrize(("dimension", "storage"), [(384, "bbq_hnsw"), (64, "int8_hnsw")])
def test_the_default_storage_depends_on_the_dimension(target: str, dimension: int, storage: str) -> None:
    profile = ModelProfile(name="elastic-tests", width=dimension)
    with open_engine(target, contract=Contract.of(profile)) as engine:
        assert engine.info()["storage"] == storage
    with client() as server:
        mapping = server.indices.get_mapping(index=name(target))[name(target)]["mappings"]
    assert mapping["properties"]["vector"]["index_options"]["type"] == storage
    assert Contract.from_json(mapping["_meta"]["jinavec"]["contract"]).dimension == dimension


def test_an_index_keeps_its_storage(target: str) -> None:
    opened(target, storage="flat").close()
    with pytest.raises(InvalidInput, match="'flat', not 'bit'"):
        opened(target, storage="bit")
    with opened(target, candidates=500) as engine:
        assert engine.info()["storage"] == "flat"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=8)
@given(
    given_filters=st.lists(filters, min_size=5, max_size=20), given_metadata=st.lists(metadata, min_size=1, max_size=20)
)
def test_the_server_filters_as_match_does(target: str, given_filters: list[Any], given_metadata: list[Any]) -> None:
    records = [Record(f"h{number}", "", values) for number, values in enumerate(given_metadata)]
    with opened(target) as engine:
        engine.delete(f"h{number}" for number in range(20))
        engine.add(records, VECTORS[: len(records)])
        assert engine.get([record.id for record in records]) == records
        for asked in given_filters:
            try:
                found = {hit.record.id for hit in engine.search(QUERIES[0], 100, asked)}
            except InvalidFilter:
                assert "x" * 5000 in str(asked)  # before 9.0 a bound of that length is refused
                continue
            assert found == {record.id for record in records if match(parse_filter(asked), record.metadata)}


def test_metadata_comes_back_exactly(target: str) -> None:
    values: dict[str, Any] = {
        "big": 10**40, "int": 2**63, "one": 1.0, "tiny": 5e-324, "large": 1.7976931348623157e308, "negative": -0.0,
        "": "", "a.b": {"a.b": {"..": [[], {}, None]}}, "text": "\0 \u2028 \U0001f600", "list": [1, 1.0, True, "1"],
    }  # fmt: skip
    with opened(target) as engine:
        engine.add([Record("a", "", values)], VECTORS[:1])
        (got,) = engine.get(["a"])
        (hit,) = engine.search(VECTORS[0], 1)
    assert json.dumps(got.metadata) == json.dumps(hit.record.metadata) == json.dumps(values)


def test_ids_longer_than_the_servers_limit_do_not_meet(target: str) -> None:
    ids = ["x" * 513, "x" * 514, "x" * 512, "ж" * 300]
    with opened(target) as engine:
        engine.add([Record(id, id[:5]) for id in ids], VECTORS[:4])
        digests = [hit["_id"] for hit in engine.client.search(index=name(target), size=10)["hits"]["hits"]]
        engine.add([Record(digest, "a record named like a digest") for digest in digests], VECTORS[4:8])
        assert engine.count() == 7  # the id of 512 bytes is its own
        assert [record.id for record in engine.get(ids)] == ids


def test_more_hits_than_the_server_gives_are_refused(target: str) -> None:
    records = [Record(str(number)) for number in range(10_001)]
    with opened(target, storage="flat") as engine:
        assert engine.ingest(records, np.tile(VECTORS, (13, 1))[:10_001]).added == 10_001
        assert len(engine.search(QUERIES[0], 10_000)) == 10_000
        with pytest.raises(InvalidInput, match="10000"):
            engine.search(QUERIES[0], 10_001)


# the contract


def test_the_contract_is_compared_at_every_use(target: str) -> None:
    with opened(target) as engine:
        engine.add(RECORDS[:3], VECTORS[:3])
        with client() as server:
            server.indices.delete(index=name(target))
        other = Contract.of(ModelProfile(name="another", width=64))
        open_engine(target, contract=other).close()
        with pytest.raises(ContractMismatch, match="another"):
            engine.search(QUERIES[0])
        with pytest.raises(ContractMismatch):
            engine.add(RECORDS[:3], VECTORS[:3])
        with pytest.raises(ContractMismatch):
            engine.ingest(RECORDS[:3], VECTORS[:3])
        with client() as server:
            server.indices.delete(index=name(target))
        with pytest.raises(IndexNotFound):
            engine.search(QUERIES[0])
        with pytest.raises(IndexNotFound):
            engine.add(RECORDS[:3], VECTORS[:3])
        with client() as server:
            assert not server.indices.exists(index=name(target))  # adding does not make an index without a mapping


def test_an_index_of_somebody_else_is_left_alone(target: str) -> None:
    with client() as server:
        server.indices.create(index=name(target), mappings={"_meta": {"team": "search"}})
        with pytest.raises(EngineError, match="not made by jinavec"):
            opened(target)
        server.indices.put_mapping(index=name(target), meta={"jinavec": {"version": 1, "contract": {"model": "x"}}})
        with pytest.raises(IndexDamaged, match="contract"):
            open_engine(target)
        server.indices.put_mapping(index=name(target), meta={"jinavec": {"version": 99}})
        with pytest.raises(EngineError, match="version 99"):
            open_engine(target)


def test_the_encoder_is_remembered_beside_the_metadata_of_others(target: str) -> None:
    encoder = Encoder.load("lexical", dimension=64)
    open_engine(target, contract=encoder.contract).close()
    with client() as server:
        meta = server.indices.get_mapping(index=name(target))[name(target)]["mappings"]["_meta"]
        server.indices.put_mapping(index=name(target), meta={**meta, "team": "search"})
        with open_engine(target, encoder=encoder) as engine:
            engine.add([Record("a", "a text")])
        assert server.indices.get_mapping(index=name(target))[name(target)]["mappings"]["_meta"]["team"] == "search"
    with open_engine(target) as engine:
        assert engine.settings == encoder.settings


# ingest


def test_ingest_stores_everything_and_reports_it(target: str) -> None:
    seen: list[int] = []
    with opened(target) as engine:
        ingested = engine.ingest(
            iter(RECORDS), VECTORS, batch_size=100, progress=lambda progress: seen.append(progress.done)
        )
        assert ingested == Ingested(added=800, replaced=0, unchanged=0)
        assert seen == list(range(100, 801, 100))
        assert engine.count() == 800
        assert engine.get(["r0", "r799"]) == [RECORDS[0], RECORDS[799]]
        assert engine.search(VECTORS[555], 1)[0].record == RECORDS[555]


def test_of_one_id_the_last_record_counts_in_whatever_batch(target: str) -> None:
    records = [Record("same", str(number)) for number in range(50)]
    with opened(target) as engine:
        engine.ingest(records, VECTORS[:50], batch_size=3, threads=4)
        assert engine.get("same") == records[-1]
        assert engine.search(VECTORS[49], 1)[0].score == pytest.approx(1, abs=1e-4)


class Counting(LexicalBackend):
    """Counts the texts it embeds."""

    embedded = 0

    def embed(self, texts: Sequence[str], **how: Any) -> Any:
        self.embedded += len(texts)
        return super().embed(texts, **how)


def test_a_resumed_ingest_embeds_only_what_is_missing(target: str) -> None:
    backend = Counting(64)
    encoder = Encoder(ModelProfile(name="lexical", width=64), backend)
    with open_engine(target, encoder=encoder) as engine:
        assert isinstance(engine, ElasticsearchIndex)
        engine.ingest(RECORDS[:300])
        changed = Record("r7", "another text", {"n": 7})
        backend.embedded = 0
        ingested = engine.ingest([*RECORDS[:7], changed, *RECORDS[8:500]], batch_size=100)
        assert ingested == Ingested(added=200, replaced=1, unchanged=299)
        assert backend.embedded == 201
        assert engine.get("r7") == changed
        assert engine.count() == 500


KILLED = """
import sys, time
from jinavec import Encoder, Record, open_engine
with open_engine(sys.argv[1], encoder=Encoder.load("lexical", dimension=64)) as engine:
    def records():
        for n in range(800):
            if n and n % 50 == 0:
                time.sleep(0.2)
            yield Record(f"r{n}", f"text {n}", {"n": n})
    engine.ingest(records(), batch_size=50, progress=lambda progress: print(progress.done, flush=True))
"""


def test_an_ingest_that_was_killed_goes_on_where_it_was(target: str) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, target], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        reported = next(int(line) for line in process.stdout if int(line) >= 200)
        process.kill()
    backend = Counting(64)
    encoder = Encoder(ModelProfile(name="lexical", width=64), backend)
    with open_engine(target, encoder=encoder) as engine, client() as server:
        assert isinstance(engine, ElasticsearchIndex)
        server.indices.refresh(index=name(target))
        stored = engine.count()
        assert reported <= stored < 800
        assert engine.ingest(RECORDS).stored == 800 - stored
        assert backend.embedded == 800 - stored
        assert engine.count() == 800
        assert engine.get([record.id for record in RECORDS]) == RECORDS
        backend.embedded = 0
        assert engine.ingest(RECORDS) == Ingested(added=0, replaced=0, unchanged=800)
        assert backend.embedded == 0


def test_refused_records_are_named_and_the_others_stored(target: str) -> None:
    records = [Record("good"), Record("bad", "", {"n": 10**3000}), Record("better")]
    with opened(target) as engine:
        for store in (engine.add, engine.ingest):
            with pytest.raises(RecordsFailed, match="1 of 3 records: 'bad'") as raised:
                store(records, VECTORS[:3])
            assert raised.value.reasons.keys() == {"bad"}
            assert engine.count() == 2
        refused: dict[str, str] = {}
        ingested = engine.ingest(records, VECTORS[:3], on_refused=refused.__setitem__)
        assert (ingested.stored, ingested.refused, ingested.refused_count) == (2, raised.value.reasons, 1)
        assert refused == raised.value.reasons


def test_too_few_vectors_and_what_is_no_record_end_an_ingest(target: str) -> None:
    with opened(target) as engine:
        with pytest.raises(InvalidInput, match="2 vectors"):
            engine.ingest(RECORDS[:3], VECTORS[:2])
        with pytest.raises(InvalidInput, match="only 2 records"):
            engine.ingest(RECORDS[:2], VECTORS[:3].tolist())
        assert engine.delete(["r0", "r1"]) == 2
        with pytest.raises(InvalidInput, match="batch_size"):
            engine.ingest(RECORDS[:3], VECTORS[:3], batch_size=0)
        with pytest.raises(InvalidInput, match="encoder"):
            engine.ingest(RECORDS[:3])
        with pytest.raises(InvalidRecord):
            engine.add([RECORDS[0], Record("bad", "", {"a": object()})], VECTORS[:2])
        assert engine.count() == 0


def test_a_document_over_the_size_limit_is_named_before_anything_is_sent(target: str) -> None:
    with opened(target) as engine:
        with pytest.raises(InvalidRecord, match="'large'.*split"):
            engine.add([RECORDS[0], Record("large", "x" * 105_000_000)], VECTORS[:2])
        assert engine.count() == 0


def test_of_a_document_the_server_finds_too_large_the_neighbours_are_stored(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "DOCUMENT_BYTES", 10**10)  # past our own check, to the server's
    records = [Record("a", "x"), Record("large", "x" * 106_000_000), Record("b", "x")]
    with opened(target) as engine:
        with pytest.raises(RecordsFailed, match="1 of 3 records: 'large': .*max_content_length"):
            engine.add(records, VECTORS[:3])
        assert engine.get(["a", "b"]) == [records[0], records[2]]


@pytest.mark.parametrize(
    ("field", "change", "match"),
    [
        ("vector", {"type": "keyword"}, "type of the field 'vector' is 'keyword'"),
        ("vector", {"dims": 128}, "dims of the field 'vector' is 128, not 64"),
        ("vector", {"element_type": "byte"}, "element_type"),
        ("vector", {"similarity": "l2_norm"}, "similarity"),
        ("filter", {"type": "text"}, "'filter'"),
    ],
)
def test_a_mapping_that_somebody_changed_is_refused(target: str, field: str, change: Any, match: str) -> None:
    """Servers from 9.3 on take base64 vectors of a wrong dimension without a word."""
    mapping = Meta(contract=CONTRACT, layout=Layout(storage="hnsw")).mapping()
    properties = mapping["properties"]
    properties[field] = change if change.get("type") in ("keyword", "text") else properties[field] | change
    with client() as server:
        server.indices.create(index=name(target), mappings=mapping)
        with pytest.raises(EngineError, match=match):
            opened(target)
        server.indices.delete(index=name(target))
        with opened(target) as engine:
            server.indices.delete(index=name(target))
            server.indices.create(index=name(target), mappings=mapping)
            with pytest.raises(EngineError, match=match):
                engine.add(RECORDS[:1], VECTORS[:1])
            with pytest.raises(EngineError, match=match):
                engine.search(QUERIES[0])


def test_an_alias_stands_for_one_index(target: str) -> None:
    alias, other = f"{target}-alias", f"{target}-other"
    with opened(target) as engine, opened(other), client() as server:
        engine.add(RECORDS[:2], VECTORS[:2])
        server.indices.put_alias(index=name(target), name=name(alias))
        with opened(alias) as same:
            assert same.add(RECORDS[2:3], VECTORS[2:3]) == 1
            assert engine.count() == 3
            server.indices.put_alias(index=name(other), name=name(alias))
            for use in (lambda: same.add(RECORDS[:1], VECTORS[:1]), lambda: same.search(QUERIES[0])):
                with pytest.raises(EngineError, match="stands for 2 indices; name one"):
                    use()
        server.indices.delete(index=name(other))


@pytest.mark.parametrize("block", ["write", "read_only"])
def test_a_read_only_index_says_how_to_open_it(target: str, block: str) -> None:
    with opened(target) as engine, client() as server:
        engine.add(RECORDS[:2], VECTORS[:2])
        server.indices.put_settings(index=name(target), settings={f"index.blocks.{block}": True})
        for use in (lambda: engine.add(RECORDS[2:4], VECTORS[2:4]), lambda: engine.delete("r0")):
            with pytest.raises(EngineError, match="read-only; set index.blocks"):
                use()
        server.indices.put_settings(index=name(target), settings={f"index.blocks.{block}": None})
        assert engine.count() == 2


def test_filters_beyond_the_servers_limits_are_refused(target: str) -> None:
    deep: Any = {"n": 1}
    for _ in range(40):
        deep = {"not": {"or": [deep, {"a": 1}]}}
    with opened(target) as engine, pytest.raises(InvalidFilter, match="deeper"):
        engine.search(QUERIES[0], filter=deep)


def test_a_closed_index_and_a_deleted_one_say_so(target: str) -> None:
    with opened(target) as engine, client() as server:
        server.indices.close(index=name(target))
        with pytest.raises(EngineError, match="closed"):
            engine.search(QUERIES[0])
        server.indices.delete(index=name(target))
        for use in (engine.count, lambda: engine.get("a"), lambda: engine.delete("a")):
            with pytest.raises(IndexNotFound):
                use()


# hybrid


TEXTS = ["the cat sleeps", "a harbour of ships", "the cat and the ships", "milk", "cat cat cat"]


@pytest.mark.parametrize("fusion", ["rrf", "linear"])
def test_words_and_vectors_are_fused_here_where_the_server_cannot(target: str, fusion: Any) -> None:
    encoder = Encoder.load("lexical", dimension=64)
    records = [Record(str(number), text, {"n": number}) for number, text in enumerate(TEXTS)]
    with open_engine(target, encoder=encoder) as engine:
        assert isinstance(engine, ElasticsearchIndex)
        engine.add(records)
        hits = engine.hybrid("the cat sleeps", 5, fusion=fusion)
        assert hits[0] == Hit(records[0], 1.0)  # first on both sides
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert {hit.record.id for hit in engine.hybrid("cat", 5, {"n": {"gte": 2}}, fusion=fusion)} == {"2", "3", "4"}
        if fusion == "linear":
            only_words = engine.hybrid("cat", 1, fusion="linear", weight=0)
            assert only_words[0].record.id == "4"
            vectors = engine.search("harbour", 5)
            by_vectors = engine.hybrid("harbour", 5, fusion="linear", weight=1)
            assert [hit.record.id for hit in by_vectors] == [hit.record.id for hit in vectors]
        with pytest.raises(EngineError, match=fusion):
            engine.hybrid("cat", local=False, fusion=fusion)  # this server has no such retriever


def test_what_no_hybrid_search_takes_is_refused(target: str) -> None:
    with open_engine(target, encoder=Encoder.load("lexical", dimension=64)) as engine:
        assert isinstance(engine, ElasticsearchIndex)
        bad: dict[str, Any]
        for bad in ({"fusion": "sum"}, {"weight": 1.5}, {"window": 0}, {"k": 0}):
            with pytest.raises(InvalidInput):
                engine.hybrid("cat", **bad)
