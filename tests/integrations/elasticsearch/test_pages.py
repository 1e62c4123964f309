"""Reading a whole index on a server: every record once while others write, cursors, vectors, deletion by filter."""

from __future__ import annotations

import gc
import itertools
from typing import Any

import numpy as np
import pytest

from jinavec import Contract, ModelProfile, Record, open_engine
from jinavec.errors import EngineError, InvalidInput, Unsupported
from jinavec.vectors import binarize, normalize, unpack

pytest.importorskip("elasticsearch")
from tests.support.elasticsearch_server import client

from jinavec_integrations.elasticsearch import ElasticsearchIndex
from jinavec_integrations.elasticsearch.filters import terms
from jinavec_integrations.elasticsearch.mapping import Layout, Meta
from jinavec_integrations.elasticsearch.options import STORAGES

pytestmark = pytest.mark.elasticsearch

CONTRACT = Contract.of(ModelProfile(name="pages", width=64))
VECTORS = normalize(np.random.default_rng(11).standard_normal((200, 64)))
RECORDS = [Record(f"r{n}" if n else "long " * 200, f"text {n}", {"n": n}) for n in range(200)]
IDS = sorted(record.id for record in RECORDS)


def opened(target: str, **options: Any) -> ElasticsearchIndex:
    engine = open_engine(target, contract=CONTRACT, options={"storage": "flat", **options})
    assert isinstance(engine, ElasticsearchIndex)
    return engine


def ids(pages: Any) -> list[str]:
    return [record.id for page in pages for record in page]


def open_snapshots(engine: ElasticsearchIndex, target: str) -> int:
    stats = engine.client.indices.stats(index=target.rpartition("/")[2], metric="search")
    return stats["_all"]["total"]["search"]["open_contexts"]


@pytest.mark.parametrize("shards", [1, 5])
def test_every_record_comes_once_while_others_write(target: str, shards: int) -> None:
    with opened(target, shards=shards) as engine, opened(target) as other:
        engine.add(RECORDS, VECTORS)
        pages = engine.iterate(30)
        seen = [next(pages)]
        for number, page in enumerate(pages):
            seen.append(page)
            other.add(RECORDS[: 50 * number], -VECTORS[: 50 * number])  # written again: behind every cursor
            other.add([Record(f"new {number}")], VECTORS[:1])
            other.delete(RECORDS[-1].id)
        assert [len(page) for page in seen] == [30] * 6 + [20]
        assert sorted(ids(seen)) == IDS
        assert {record.id: record for page in seen for record in page} == {record.id: record for record in RECORDS}


@pytest.mark.parametrize("shards", [1, 5])
@pytest.mark.parametrize(("filter", "count"), [(None, 200), ({"n": {"lt": 23}}, 23), ({"n": {"lt": 1}}, 1)])
def test_every_cursor_goes_on_where_its_page_ended(target: str, shards: int, filter: Any, count: int) -> None:
    with opened(target, shards=shards) as engine:
        engine.add(RECORDS, VECTORS)
        pages = list(engine.iterate(7, filter=filter))
    assert sorted(ids(pages)) == sorted(record.id for record in RECORDS[:count])
    with open_engine(target) as again:
        for number, page in enumerate(pages, 1):
            assert ids(again.iterate(50, filter=filter, after=page.cursor)) == ids(pages[number:])
        again.add([Record("new", "", {"n": 0})], VECTORS[:1])
        again.delete([record.id for record in pages[0]])
        rest = ids(again.iterate(filter=filter, after=pages[0].cursor))
        assert [id for id in rest if id != "new"] == ids(pages[1:])


def test_after_a_pause_what_was_written_again_comes_again_and_nothing_is_lost(target: str) -> None:
    with opened(target, shards=3) as engine:
        engine.add(RECORDS, VECTORS)
        pages = engine.iterate(60)
        first = next(pages)
        engine.add(RECORDS[:100], VECTORS[:100])
        rest = ids(engine.iterate(60, after=first.cursor))
        assert len(rest) == len(set(rest))
        assert {record.id for record in first} | set(rest) == set(IDS)


def test_a_snapshot_is_released_at_the_end_and_when_the_iterator_is_closed(target: str) -> None:
    with opened(target) as engine:
        engine.add(RECORDS, VECTORS)
        list(engine.iterate(90))
        assert open_snapshots(engine, target) == 0
        pages: Any = engine.iterate(90)
        next(pages)
        assert open_snapshots(engine, target) == 1
        pages.close()
        assert open_snapshots(engine, target) == 0
        for _ in engine.iterate(90):
            break
        gc.collect()
        assert open_snapshots(engine, target) == 0
        engine.iterate(90)  # never begun
        assert open_snapshots(engine, target) == 0


@pytest.mark.parametrize("size", [1, 200, 201, 10_000, 10**9])
def test_pages_of_any_size(target: str, size: int) -> None:
    with opened(target) as engine:
        assert list(engine.iterate(size)) == []
        engine.add(RECORDS, VECTORS)
        assert sorted(ids(itertools.islice(engine.iterate(size), 300))) == IDS


@pytest.mark.parametrize(("storage", "rescore"), [*((storage, None) for storage in STORAGES), ("bit", "bits")])
def test_vectors_come_back_of_unit_length(target: str, storage: Any, rescore: Any) -> None:
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
        pages = list(engine.iterate(80, vectors=True))
        assert all(page.vectors is None for page in engine.iterate(80))
    rows = np.concatenate([page.vectors for page in pages if page.vectors is not None])
    assert rows.dtype == np.float32 and rows.shape == (200, 64)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-6)
    wanted = unpack(binarize(VECTORS)) / 8 if rescore == "bits" else VECTORS
    tolerance = {"byte": 0.005, "bfloat16": 0.002}.get(storage, 1e-6)
    position = {record.id: number for number, record in enumerate(RECORDS)}
    np.testing.assert_allclose(rows, wanted[[position[id] for id in ids(pages)]], atol=tolerance)


@pytest.mark.parametrize(("storage", "rescore"), [("flat", None), ("byte", None), ("bit", "bits")])
def test_vectors_that_the_source_keeps_as_they_were_sent_are_read(target: str, storage: Any, rescore: Any) -> None:
    """As an index that was made before version 9.2 keeps them."""
    name = target.rpartition("/")[2]
    with client() as server:
        if tuple(map(int, server.info()["version"]["number"].split(".")[:2])) < (9, 2):
            pytest.skip("this server keeps all vectors in the source")
        mapping = Meta(contract=CONTRACT, layout=Layout(storage=storage, rescore=rescore)).mapping()
        kept = {"index.mapping.exclude_source_vectors": False}
        server.indices.create(index=name, mappings=mapping, settings=kept)
    with opened(target, storage=storage, rescore=rescore) as engine:
        engine.add(RECORDS[:5], VECTORS[:5])
        (page,) = engine.iterate(vectors=True)
    wanted = unpack(binarize(VECTORS[:5])) / 8 if rescore else VECTORS[:5]
    assert page.vectors is not None
    np.testing.assert_allclose(page.vectors, wanted, atol=0.005 if storage == "byte" else 1e-6)


def test_bits_alone_find_ids_longer_than_the_servers_limit(target: str) -> None:
    with opened(target, storage="bit", rescore="bits") as engine:
        engine.add(RECORDS, VECTORS)
        assert engine.search(VECTORS[0], 1)[0].record == RECORDS[0]


def test_a_filter_deletes_what_was_added_just_before(target: str) -> None:
    with opened(target, shards=3) as engine:
        engine.add(RECORDS, VECTORS)
        source = {"text": "", "metadata": {"n": 7}, "filter": terms({"n": 7}), "vector": VECTORS[0].tolist()}
        engine.client.index(index=target.rpartition("/")[2], id="not searchable yet", document=source)
        assert engine.delete(filter={"n": 7}) == 2
        assert engine.delete(filter={"n": {"gte": 150}}) == 50
        assert engine.count() == 149
        assert engine.delete(filter={"n": {"gte": 150}}) == 0
        assert engine.delete(filter={"and": []}) == 149
        assert list(engine.iterate()) == []


def test_an_index_that_was_recreated_or_closed_is_not_read(target: str) -> None:
    with opened(target) as engine:
        engine.add(RECORDS[:3], VECTORS[:3])
        with client() as server:
            server.indices.delete(index=target.rpartition("/")[2])
        open_engine(target, contract=Contract.of(ModelProfile(name="another", width=64))).close()
        for use in (lambda: list(engine.iterate()), lambda: engine.delete(filter={"n": 1})):
            with pytest.raises(InvalidInput, match="another"):
                use()
    with pytest.raises(EngineError, match="closed"):
        engine.iterate()
