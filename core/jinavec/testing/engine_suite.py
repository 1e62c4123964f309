"""EngineSuite: what every engine promises, as tests that an engine of one's own inherits."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from jinavec import (
    Backend,
    Contract,
    Encoder,
    Engine,
    Hit,
    Ingested,
    ModelProfile,
    Progress,
    Record,
    Report,
    Role,
    Task,
    open_engine,
)
from jinavec.engine import Capability
from jinavec.errors import (
    ContractMismatch,
    EngineError,
    IndexNotFound,
    InvalidFilter,
    InvalidInput,
    InvalidRecord,
    InvalidType,
    InvalidVectors,
    Unsupported,
)
from jinavec.vectors import Float32, normalize

PROFILE = ModelProfile(
    name="contract-suite", width=64, dimensions=(64, 12), prompts={(Task.RETRIEVAL, Role.QUERY): "q:"}
)
CONTRACT = Contract.of(PROFILE)
TOLERANCE = 0.02
"""How far a score may lie from the exact cosine."""

TOPICS = ("cats", "dogs", "birds")
RECORDS = [
    Record(
        f"id {number}",
        f"text {number}",
        {
            "topic": TOPICS[number % 3],
            "number": number,
            "half": number / 2,
            "even": number % 2 == 0,
            "tags": ["all", f"tag {number % 5}"],
        },
    )
    for number in range(60)
]
VECTORS = normalize(np.random.default_rng(5).standard_normal((60, 64)))


class Letters(Backend):
    """A direction for each letter: texts of the same letters are near."""

    name = "letters"
    embedded = 0

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        """Return float32 (n, 64)."""
        self.embedded += len(texts)
        directions = np.random.default_rng(0).standard_normal((128, 64))
        return normalize([directions[[ord(letter) % 128 for letter in text]].sum(0) for text in texts])


ENCODER = Encoder(PROFILE, Letters())

FILTERS: list[tuple[Any, Callable[[Mapping[str, Any]], bool]]] = [
    ({}, lambda m: True),
    ({"topic": "cats"}, lambda m: m["topic"] == "cats"),
    ({"topic": "no such topic"}, lambda m: False),
    ({"no such field": "cats"}, lambda m: False),
    ({"topic": {"ne": "cats"}}, lambda m: m["topic"] != "cats"),
    ({"no such field": {"ne": "cats"}}, lambda m: True),
    ({"topic": {"in": ["cats", "dogs"]}, "even": True}, lambda m: m["topic"] != "birds" and m["even"]),
    ({"topic": {"in": []}}, lambda m: False),
    ({"number": {"gte": 10, "lt": 20}}, lambda m: 10 <= m["number"] < 20),
    ({"number": 7.0}, lambda m: m["number"] == 7),
    ({"half": {"gt": 28.5}}, lambda m: m["half"] > 28.5),
    ({"half": 2}, lambda m: m["half"] == 2),
    ({"number": True}, lambda m: False),
    ({"number": "7"}, lambda m: False),
    ({"even": 1}, lambda m: False),
    ({"topic": {"lte": "cats"}}, lambda m: m["topic"] <= "cats"),
    ({"tags": "tag 3"}, lambda m: "tag 3" in m["tags"]),
    ({"tags": {"ne": "tag 3"}}, lambda m: "tag 3" not in m["tags"]),
    ({"or": [{"number": 3}, {"topic": "dogs"}]}, lambda m: m["number"] == 3 or m["topic"] == "dogs"),
    ({"and": [{"even": False}, {"not": {"topic": "dogs"}}]}, lambda m: not m["even"] and m["topic"] != "dogs"),
    ({"or": []}, lambda m: False),
    ({"and": []}, lambda m: True),
    ({"not": {"or": [{"number": {"lt": 50}}, {"number": 55}]}}, lambda m: m["number"] >= 50 and m["number"] != 55),
]


USES: list[Callable[[Engine], object]] = [
    lambda engine: engine.count(),
    lambda engine: engine.info(),
    lambda engine: engine.get("a"),
    lambda engine: engine.delete("a"),
    lambda engine: engine.search(VECTORS[0]),
    lambda engine: engine.add([RECORDS[0]], VECTORS[:1]),
]


def reopen(target: str, encoder: Encoder | None = None) -> Engine:
    """Open a target under the suite's contract."""
    return open_engine(target, contract=None if encoder else CONTRACT, encoder=encoder)


def ids(engine: Engine, query: Any = None, k: int = 100, filter: Any = None) -> list[str]:
    """Return the ids of the hits of a search."""
    return [hit.record.id for hit in engine.search(VECTORS[0] if query is None else query, k, filter)]


def assert_same(hits: Sequence[Hit], others: Sequence[Hit]) -> None:
    """Compare the hits of two searches: a server's rounding may change while it merges what it holds."""
    assert [hit.record for hit in hits] == [hit.record for hit in others]
    assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in others], abs=1e-6)


def by_id(records: Iterable[Record]) -> list[str]:
    """Return the ids of records."""
    return [record.id for record in records]


class EngineSuite:
    """The promises of ``Engine``. A subclass gives the fixture ``target``: the target of an index that is not there.

    ::

        class TestMine(EngineSuite):
            @pytest.fixture
            def target(self, tmp_path: Path) -> str:
                return f"mine:{tmp_path / 'index'}"
    """

    @pytest.fixture
    def target(self) -> str:
        """Return a target of its own for each test."""
        raise NotImplementedError("a suite of an engine needs a fixture named target")

    @pytest.fixture
    def empty(self, target: str) -> Iterator[Engine]:
        """Yield an index without records, opened by its contract."""
        with open_engine(target, contract=CONTRACT) as engine:
            yield engine

    @pytest.fixture
    def full(self, empty: Engine) -> Engine:
        """Return the same with the records."""
        assert empty.add(RECORDS, VECTORS) == 60
        return empty

    @pytest.fixture
    def encoding(self, target: str) -> Iterator[Engine]:
        """Yield an index without records, opened with an encoder."""
        with open_engine(target, encoder=Encoder(PROFILE, Letters())) as engine:
            yield engine

    # add, get, count

    def test_what_was_added_is_found_as_it_was(self, full: Engine) -> None:
        assert full.count() == len(full) == 60
        assert full.get([record.id for record in RECORDS]) == RECORDS
        assert full.get("id 7") == RECORDS[7]

    def test_get_keeps_the_order_and_passes_over_unknown_ids(self, full: Engine) -> None:
        assert full.get("no such id") is None
        assert full.get(["id 9", "no such id", "id 2"]) == [RECORDS[9], RECORDS[2]]
        assert full.get([]) == []

    def test_the_same_id_replaces(self, full: Engine) -> None:
        newer = Record("id 3", "newer", {"topic": "fish"})
        assert full.add([newer], [-VECTORS[3]]) == 1
        assert full.count() == 60
        assert full.get("id 3") == newer
        assert full.search(-VECTORS[3], 1)[0].record == newer
        assert "id 3" not in ids(full, VECTORS[3], 10)
        assert "id 3" in ids(full, filter={"topic": "fish"})
        assert "id 3" not in ids(full, filter={"topic": "cats"})

    def test_of_one_id_given_twice_the_last_counts(self, empty: Engine) -> None:
        first, second = Record("same", "first"), Record("same", "second")
        assert empty.add([first, Record("other"), second], VECTORS[:3]) == 2
        assert empty.count() == 2
        assert empty.get("same") == second
        assert empty.search(VECTORS[2], 1)[0].record == second

    def test_adding_nothing_is_allowed(self, empty: Engine) -> None:
        assert empty.add([], np.empty((0, 64))) == 0
        assert empty.add(iter([]), []) == 0
        assert empty.count() == 0

    def test_records_may_come_from_a_generator_and_vectors_in_any_form(self, empty: Engine) -> None:
        assert empty.add((record for record in RECORDS[:2]), (VECTORS[:2] * 1000).astype(np.float64).tolist()) == 2
        assert empty.search(VECTORS[1], 1)[0].record == RECORDS[1]

    def test_ids_and_texts_are_any_unicode(self, empty: Engine, subtests: pytest.Subtests) -> None:
        cases: list[Any] = [
            "a/b c?#%",
            "ключ",
            "键",
            "\N{GRINNING FACE}",
            "a\0b",
            " ",
            "'\"; DROP TABLE records",
            "e\u0301",
            "x" * 5000,
        ]
        for id in cases:
            with subtests.test(repr(id)):
                record = Record(id, f"text of {id}", {id: id, "nested": {"list": [None, 1.5, {"deep": [id]}]}})
                empty.add([record], VECTORS[:1])
                assert empty.get(id) == record
                assert [hit.record for hit in empty.search(VECTORS[0], 5, {id: id})] == [record]
                assert empty.delete(id) == 1

    def test_an_error_stores_nothing_of_the_call(self, full: Engine) -> None:
        with pytest.raises(InvalidRecord):
            full.add([Record("new"), Record("bad", "", {"x": float("nan")})], VECTORS[:2])
        assert full.get("new") is None
        assert full.count() == 60

    def test_what_cannot_be_stored_is_refused(self, full: Engine, subtests: pytest.Subtests) -> None:
        cases: list[tuple[Any, Any, type[Exception]]] = [
            ([Record("a")], VECTORS[:2], InvalidInput),
            ([Record("a")], VECTORS[:1, :12], InvalidVectors),
            ([Record("a")], np.full((1, 64), np.nan), InvalidVectors),
            ([Record("a")], np.full((1, 64), np.inf), InvalidVectors),
            ([Record("a")], np.zeros((1, 64)), InvalidVectors),
            (["a"], VECTORS[:1], InvalidType),
            ([Record("a", "", {"x": object()})], VECTORS[:1], InvalidRecord),
            ([Record("a", "", {"x": "\ud800"})], VECTORS[:1], InvalidRecord),
        ]
        for records, vectors, error in cases:
            with subtests.test(repr(records)):
                with pytest.raises(error):
                    full.add(records, vectors)
                assert full.count() == 60

    # delete

    def test_deleted_records_are_gone(self, full: Engine) -> None:
        assert full.delete(["id 1", "id 1", "no such id", "id 2"]) == 2
        assert full.delete("id 1") == 0
        assert full.delete([]) == 0
        assert full.count() == 58
        assert full.get(["id 1", "id 2", "id 3"]) == [RECORDS[3]]
        assert {"id 1", "id 2"}.isdisjoint(ids(full))
        assert len(ids(full)) == 58

    def test_what_was_deleted_can_be_added_again(self, full: Engine) -> None:
        full.delete("id 4")
        full.add([RECORDS[4]], VECTORS[4:5])
        assert full.get("id 4") == RECORDS[4]
        assert full.search(VECTORS[4], 1)[0].record == RECORDS[4]

    def test_everything_can_be_deleted(self, full: Engine) -> None:
        assert full.delete(record.id for record in RECORDS) == 60
        assert full.count() == 0
        assert ids(full) == []

    def test_ids_that_cannot_be_there_are_not_there(self, full: Engine, subtests: pytest.Subtests) -> None:
        cases: list[Any] = ["", "\ud800", "id 1 "]
        for id in cases:
            with subtests.test(repr(id)):
                assert full.get(id) is None
                assert full.delete(id) == 0

    def test_ids_that_are_no_strings_are_refused(self, full: Engine) -> None:
        with pytest.raises(InvalidType):
            full.delete([1])  # pyright: ignore[reportArgumentType]
        with pytest.raises(InvalidType):
            full.get([None])  # pyright: ignore[reportCallIssue, reportArgumentType]

    # search

    def test_hits_come_best_first_with_their_cosine(self, full: Engine) -> None:
        query = normalize(VECTORS[8] + 0.5 * VECTORS[9])
        hits = full.search(query, k=60)
        scores = [hit.score for hit in hits]
        exact = {record.id: float(VECTORS[number] @ query) for number, record in enumerate(RECORDS)}
        assert [hit.record.id for hit in hits[:2]] == ["id 8", "id 9"]
        assert scores == sorted(scores, reverse=True)
        assert all(-1 <= score <= 1 for score in scores)
        assert scores == pytest.approx([exact[hit.record.id] for hit in hits], abs=TOLERANCE)

    def test_a_search_gives_k_hits_or_all_there_are(self, full: Engine) -> None:
        assert len(full.search(VECTORS[0])) == 10
        assert ids(full, k=1) == ["id 0"]
        assert sorted(ids(full, k=10**100)) == sorted(record.id for record in RECORDS)

    def test_ids_and_scores_are_those_of_the_hits(self, full: Engine) -> None:
        for k, filter in ((1, None), (10, None), (1000, {"topic": "cats"}), (3, {"topic": "no such topic"})):
            hits, found = full.search(VECTORS[3], k, filter), full.search_ids(VECTORS[3], k, filter)
            assert [id for id, _ in found] == [hit.record.id for hit in hits]
            assert [score for _, score in found] == pytest.approx([hit.score for hit in hits], abs=1e-6)

    def test_an_empty_index_finds_nothing(self, empty: Engine) -> None:
        assert empty.search(VECTORS[0]) == empty.search_ids(VECTORS[0]) == []
        assert empty.search(VECTORS[0], filter={"topic": "cats"}) == []

    def test_the_length_of_a_query_does_not_matter(self, full: Engine) -> None:
        short, long = full.search(VECTORS[5] * 1e-3), full.search((VECTORS[5] * 1e3).tolist())
        assert [hit.record for hit in short] == [hit.record for hit in long]
        assert [hit.score for hit in short] == pytest.approx([hit.score for hit in long], abs=1e-6)

    def test_k_is_a_whole_number_of_at_least_one(self, full: Engine, subtests: pytest.Subtests) -> None:
        cases: list[Any] = [0, -1, 1.0, True, "3", None]
        for k in cases:
            with subtests.test(repr(k)):
                with pytest.raises(InvalidInput):
                    full.search(VECTORS[0], k)

    def test_queries_that_are_no_vector_of_the_contract_are_refused(
        self, full: Engine, subtests: pytest.Subtests
    ) -> None:
        cases: list[Any] = [VECTORS[0][:12], VECTORS[:1], np.zeros(64), np.full(64, np.nan), [], 3.0]
        for query in cases:
            with subtests.test(repr(query)):
                with pytest.raises(InvalidVectors):
                    full.search(query)

    # filters

    def test_a_filter_selects_before_the_search(self, full: Engine, subtests: pytest.Subtests) -> None:
        for filter, passes in FILTERS:
            with subtests.test(repr(filter)):
                expected = [record.id for record in RECORDS if passes(record.metadata)]
                assert sorted(ids(full, filter=filter)) == sorted(expected)
                assert ids(full, k=3, filter=filter) == ids(full, filter=filter)[:3]

    def test_filters_outside_the_form_are_refused(self, full: Engine, subtests: pytest.Subtests) -> None:
        cases: list[Any] = [["topic"], {"topic": {"like": "c%"}}, {"topic": None}, {"number": {"gt": True}}]
        for filter in cases:
            with subtests.test(repr(filter)):
                with pytest.raises(InvalidFilter):
                    full.search(VECTORS[0], filter=filter)

    # texts

    def test_texts_are_embedded_by_the_encoder(self, target: str) -> None:
        with reopen(target, ENCODER) as engine:
            engine.add([Record("a", "aaaaaaaa"), Record("b", "bbbbbbbb"), Record("c", "cccccccc")])
            assert [hit.record.id for hit in engine.search("bbbb", k=1)] == ["b"]
            expected = engine.search(ENCODER.encode_queries(["bbbb"])[0])
            assert_same(engine.search("bbbb"), expected)

    def test_without_an_encoder_texts_are_refused(self, full: Engine) -> None:
        with pytest.raises(InvalidInput, match="encoder"):
            full.search("a text")
        with pytest.raises(InvalidInput, match="encoder"):
            full.add([Record("a", "a text")])

    # opening and closing

    def test_everything_is_there_when_opened_again(self, target: str) -> None:
        with reopen(target) as engine:
            engine.add(RECORDS, VECTORS)
            engine.delete("id 5")
            before = engine.search(VECTORS[1], 60)
        with open_engine(target) as engine:
            assert engine.contract == CONTRACT
            assert engine.count() == 59
            assert_same(engine.search(VECTORS[1], 60), before)
            assert engine.get("id 5") is None

    def test_the_contract_is_remembered_and_compared(self, target: str) -> None:
        reopen(target).close()
        for other in (Contract.of(PROFILE, dimension=12), dataclasses.replace(CONTRACT, query_prefix="Q: ")):
            with pytest.raises(ContractMismatch):
                open_engine(target, contract=other)
        with pytest.raises(ContractMismatch, match="dimension: this index has 64, the encoder has 12"):
            open_engine(target, encoder=Encoder(PROFILE, Letters(), dimension=12))

    def test_an_index_that_is_not_there_is_not_opened(self, target: str) -> None:
        with pytest.raises(IndexNotFound):
            open_engine(target)
        reopen(target).close()
        open_engine(target).close()

    def test_unknown_options_are_refused(self, target: str) -> None:
        with pytest.raises(InvalidInput, match="no_such_option"):
            open_engine(target, contract=CONTRACT, options={"no_such_option": 1})

    def test_a_closed_engine_says_so(self, full: Engine, subtests: pytest.Subtests) -> None:
        for use in USES:
            with subtests.test(repr(use)):
                full.close()
                full.close()
                with pytest.raises(EngineError, match="closed"):
                    use(full)

    def test_info_is_plain_json(self, full: Engine) -> None:
        info = full.info()
        assert json.loads(json.dumps(info)) == info
        assert info["records"] == 60
        assert info["contract"] == CONTRACT.to_json()

    # ingest

    def test_an_ingest_counts_what_it_did(self, encoding: Engine) -> None:
        events: list[Progress] = []
        assert encoding.ingest(iter(RECORDS), batch_size=7, progress=events.append) == Ingested(60, 0, 0)
        assert [event.done for event in events] == sorted(event.done for event in events)
        assert (events[-1].phase, events[-1].done, events[-1].embedded) == ("ingest", 60, 60)
        changed = [Record("id 3", "newer"), Record("id 4", RECORDS[4].text, {"topic": "newer"}), Record("new", "text")]
        report = encoding.ingest([*RECORDS[:3], *changed, *RECORDS[5:]])
        assert report == Ingested(added=1, replaced=2, unchanged=58)
        assert report.stored == 3
        assert encoding.count() == 61
        assert encoding.get(["id 3", "id 4", "new"]) == changed

    def test_only_what_is_missing_is_embedded(self, target: str) -> None:
        letters = Letters()
        with reopen(target, Encoder(PROFILE, letters)) as engine:
            engine.ingest(RECORDS[:40])
            assert engine.ingest(RECORDS) == Ingested(20, 0, 40)
            assert letters.embedded == 60
            assert engine.ingest(RECORDS, resume=False) == Ingested(0, 60, 0)
            assert letters.embedded == 120

    def test_the_order_of_metadata_names_is_no_change(self, encoding: Engine) -> None:
        one, other = {"a": 1, "b": {"c": [1.5, None], "d": "x"}}, {"b": {"d": "x", "c": [1.5, None]}, "a": 1}
        encoding.ingest([Record("a", "text", one)])
        assert encoding.ingest([Record("a", "text", other)]).unchanged == 1

    def test_given_vectors_are_always_stored(self, full: Engine) -> None:
        assert full.ingest(RECORDS, -VECTORS) == Ingested(0, 60, 0)
        assert full.search(-VECTORS[7], 1)[0].record == RECORDS[7]

    @pytest.mark.parametrize("form", ["array", "lists", "rows", "blocks"])
    def test_given_vectors_come_in_any_form(self, empty: Engine, form: str) -> None:
        vectors: dict[str, Any] = {
            "array": VECTORS,
            "lists": VECTORS.tolist(),
            "rows": iter(VECTORS),
            "blocks": iter([VECTORS[:13], VECTORS[13:]]),
        }
        assert empty.ingest(iter(RECORDS), vectors[form], batch_size=9).added == 60
        for number in (0, 12, 13, 59):
            assert empty.search(VECTORS[number], 1)[0].record == RECORDS[number]

    def test_vectors_and_records_are_as_many(self, empty: Engine) -> None:
        with pytest.raises(InvalidInput, match="2 vectors"):
            empty.ingest(RECORDS[:3], VECTORS[:2])
        with pytest.raises(InvalidInput, match="only 2 records"):
            empty.ingest(RECORDS[:2], VECTORS[:3])

    def test_of_one_id_the_last_record_counts_in_whatever_batch(self, empty: Engine) -> None:
        records = [Record("same", str(number)) for number in range(50)]
        assert empty.ingest(records, VECTORS[:50], batch_size=3).stored == 1
        assert empty.get("same") == records[-1]
        assert empty.search(VECTORS[49], 1)[0].score == pytest.approx(1, abs=TOLERANCE)

    def test_an_ingest_stops_at_the_first_refused_record_and_names_it(self, encoding: Engine) -> None:
        bad = Record("bad one", "", {"x": float("nan")})
        with pytest.raises(InvalidRecord, match="'bad one'.*10 records are stored"):
            encoding.ingest([*RECORDS[:12], bad, *RECORDS[12:]], batch_size=5)
        assert encoding.count() == 10

    def test_refused_records_are_set_aside_on_request(self, encoding: Engine) -> None:
        refused: dict[str, str] = {}
        bad = [Record("bad 1", "", {"x": float("nan")}), Record("bad 2", "", {"x": object()})]
        report = encoding.ingest([bad[0], *RECORDS, bad[1]], batch_size=8, on_refused=refused.__setitem__)
        assert (report.added, report.refused_count) == (60, 2)
        assert report.refused == refused
        assert refused.keys() == {"bad 1", "bad 2"}
        assert encoding.count() == 60

    def test_an_error_of_the_callers_leaves_as_it_is_and_says_what_is_stored(self, encoding: Engine) -> None:
        def records() -> Iterator[Record]:
            yield from RECORDS[:20]
            raise ZeroDivisionError("mine")

        with pytest.raises(ZeroDivisionError, match="mine") as raised:
            encoding.ingest(records(), batch_size=10)
        assert raised.value.__notes__ == ["20 records are stored; run the same command again to continue"]
        assert encoding.ingest(RECORDS) == Ingested(40, 0, 20)

    def test_sizes_of_an_ingest_are_checked(self, encoding: Engine, subtests: pytest.Subtests) -> None:
        cases: list[Any] = [{"batch_size": 0}, {"threads": 0}, {"batch_size": True}, {"threads": 1.5}]
        for wishes in cases:
            with subtests.test(repr(wishes)):
                with pytest.raises(InvalidInput, match=next(iter(wishes))):
                    encoding.ingest(RECORDS, **wishes)
                assert encoding.count() == 0

    def test_several_threads_store_the_same(self, encoding: Engine) -> None:
        assert encoding.ingest(RECORDS, batch_size=4, threads=4) == Ingested(60, 0, 0)
        assert encoding.get([record.id for record in RECORDS]) == RECORDS

    # delete by filter

    def test_a_filter_deletes_what_matches(self, full: Engine) -> None:
        assert full.delete(filter={"topic": "cats"}) == 20
        assert full.delete(filter={"topic": "cats"}) == 0
        assert full.count() == 40
        assert sorted(ids(full)) == sorted(record.id for record in RECORDS if record.metadata["topic"] != "cats")

    def test_what_deletes_nothing_is_refused(self, full: Engine) -> None:
        anything: Any = full.delete
        wrong: list[dict[str, Any]] = [
            {},
            {"ids": "id 1", "filter": {"topic": "cats"}},
            {"filter": {}},
            {"filter": "x"},
        ]
        for arguments in wrong:
            with pytest.raises((InvalidInput, InvalidType)):
                anything(**arguments)
        assert full.count() == 60

    # iterate

    def test_every_record_is_listed_once(self, full: Engine) -> None:
        pages = list(full.iterate(batch_size=7))
        assert all(1 <= len(page) <= 7 for page in pages)
        assert sorted(by_id(record for page in pages for record in page)) == sorted(by_id(RECORDS))
        assert {record.id: record for page in pages for record in page} == {record.id: record for record in RECORDS}
        assert all(page.vectors is None for page in pages)

    def test_a_cursor_goes_on_behind_its_page_in_another_object_too(self, target: str) -> None:
        with reopen(target) as engine:
            engine.add(RECORDS, VECTORS)
            first = next(pages := engine.iterate(batch_size=11))
            second = next(pages)
        with reopen(target) as engine:
            rest = [record for page in engine.iterate(batch_size=9, after=first.cursor) for record in page]
            assert {record.id for record in second} < {record.id for record in rest}
            assert sorted(by_id([*first, *rest])) == sorted(by_id(RECORDS))
            last = list(engine.iterate(batch_size=9, after=first.cursor))[-1]
            assert list(engine.iterate(after=last.cursor)) == []

    def test_vectors_are_listed_on_request(self, full: Engine) -> None:
        exact = {record.id: vector for record, vector in zip(RECORDS, VECTORS, strict=True)}
        for page in full.iterate(batch_size=25, vectors=True):
            assert page.vectors is not None
            assert page.vectors.dtype == np.float32
            assert page.vectors.shape == (len(page), 64)
            np.testing.assert_allclose(np.linalg.norm(page.vectors, axis=1), 1, atol=1e-4)
            for record, vector in zip(page, page.vectors, strict=True):
                assert vector @ exact[record.id] > 1 - TOLERANCE

    def test_a_filter_lists_what_matches(self, full: Engine, subtests: pytest.Subtests) -> None:
        for filter, passes in FILTERS[:8]:
            with subtests.test(repr(filter)):
                listed = [record.id for page in full.iterate(batch_size=4, filter=filter) for record in page]
                assert sorted(listed) == sorted(record.id for record in RECORDS if passes(record.metadata))

    def test_others_may_write_while_records_are_listed(self, full: Engine) -> None:
        pages = full.iterate(batch_size=10)
        seen = [record.id for record in next(pages)]
        full.add([Record("new"), Record("id 30", "changed")], VECTORS[:2])
        full.delete("id 45")
        seen += [record.id for page in pages for record in page]
        assert len(seen) == len(set(seen))
        assert {f"id {number}" for number in range(60)} - {"id 30", "id 45"} <= set(seen)

    def test_an_empty_index_lists_nothing(self, empty: Engine) -> None:
        assert list(empty.iterate()) == []

    def test_what_cannot_be_listed_is_refused(self, full: Engine, subtests: pytest.Subtests) -> None:
        cases: list[Any] = [{"batch_size": 0}, {"after": "no such cursor"}, {"after": 3}, {"filter": "x"}]
        for wrong in cases:
            with subtests.test(repr(wrong)):
                with pytest.raises((InvalidInput, InvalidType)):
                    list(full.iterate(**wrong))

    # search_batch

    def test_a_batch_answers_as_single_searches(self, full: Engine) -> None:
        for filter in (None, {"topic": "dogs"}):
            answers = full.search_batch(VECTORS[:5], 4, filter)
            for query, hits in zip(VECTORS[:5], answers, strict=True):
                single = full.search(query, 4, filter)
                assert [hit.record for hit in hits] == [hit.record for hit in single]
                assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in single], abs=1e-5)
        assert full.search_batch([]) == []

    def test_a_batch_of_texts_is_embedded(self, encoding: Engine) -> None:
        encoding.add([Record("a", "aaaaaaaa"), Record("b", "bbbbbbbb")])
        assert [hits[0].record.id for hits in encoding.search_batch(["bbbb", "aaa"], k=1)] == ["b", "a"]

    def test_batches_that_are_none_are_refused(self, full: Engine, subtests: pytest.Subtests) -> None:
        cases: list[Any] = ["a text", VECTORS[0], VECTORS[:2, :12], [[None] * 64], 3.0]
        for queries in cases:
            with subtests.test(repr(queries)):
                with pytest.raises((InvalidType, InvalidVectors)):
                    full.search_batch(queries)

    # abilities, async

    def test_abilities_are_declared(self, empty: Engine) -> None:
        optional: dict[Capability, Callable[[], object]] = {
            "compact": empty.compact,
            "merge": lambda: empty.merge(empty),
            "calibrate": empty.calibrate,
            "verify": empty.verify,
        }
        for ability, use in optional.items():
            if ability not in empty.capabilities:
                with pytest.raises(Unsupported, match=f"the {empty.name} engine does not support {ability}"):
                    use()
        if "packed_bits" not in empty.capabilities:
            with pytest.raises(Unsupported, match="packed bits"):
                empty.add(RECORDS[:1], np.packbits(VECTORS[:1] > 0, axis=1))

    def test_twins_do_the_same_without_blocking(self, encoding: Engine) -> None:
        async def run() -> None:
            assert await encoding.aingest(RECORDS[:50]) == Ingested(50, 0, 0)
            assert await encoding.aadd(RECORDS[50:]) == 10
            assert await encoding.acount() == 60
            assert await encoding.aget("id 7") == RECORDS[7]
            assert await encoding.aget(["id 7", "no such id"]) == [RECORDS[7]]
            assert_same(await encoding.asearch("text 7", 3), encoding.search("text 7", 3))
            (found,) = await encoding.asearch_batch(["text 7"], 3)
            assert_same(found, encoding.search("text 7", 3))
            assert await encoding.adelete(filter={"topic": "cats"}) == 20
            assert await encoding.adelete(["id 1"]) == 1
            assert len([record async for page in encoding.aiterate(7) for record in page]) == 39
            assert (await encoding.ainfo())["records"] == 39
            await encoding.aoptimize()
            await encoding.aclose()

        asyncio.run(run())
