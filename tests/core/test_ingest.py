from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.list_engine import PROFILE, WIDTH, HashBackend, ListEngine, Vectors

from jinavec import Contract, Encoder, Ingested, Progress, Record
from jinavec.errors import EngineError, InvalidInput, InvalidRecord, InvalidType, RecordsFailed


class Watched(ListEngine):
    """Counts what it is asked, and refuses records whose text says so."""

    def __init__(self, contract: Contract, encoder: Encoder | None = None, options: object = None) -> None:
        super().__init__(contract, encoder, options)
        self.lock = threading.Lock()
        self.asked = self.flushed = 0
        self.stored: list[int] = []
        self.fails: BaseException | None = None

    def _unchanged(self, records: list[Record]) -> Any:
        self.asked += 1
        return super()._unchanged(records)

    def _store(self, records: list[Record], vectors: Vectors) -> dict[str, str]:
        if self.fails is not None:
            raise self.fails
        kept = [number for number, record in enumerate(records) if record.text != "refuse me"]
        with self.lock:
            self.stored.append(len(records))
            super()._store([records[number] for number in kept], np.ascontiguousarray(vectors[kept]))
        return {record.id: "I will not" for record in records if record.text == "refuse me"}

    def _flush(self) -> None:
        self.flushed += 1


def opened(new: bool = False) -> Watched:
    engine = Watched(Contract.of(PROFILE), Encoder(PROFILE, HashBackend()))
    engine._created = new  # pyright: ignore[reportPrivateUsage]  (as its open_target would)
    return engine


def records(n: int, text: str = "text") -> list[Record]:
    return [Record(str(number), f"{text} {number}") for number in range(n)]


given_records = st.lists(st.builds(Record, st.sampled_from("abcdefgh"), st.sampled_from(["x", "y", "z"])), max_size=30)


@given(given_records, given_records, st.integers(1, 7), st.integers(1, 3), st.booleans(), st.booleans())
def test_counts_are_those_of_a_dict(
    first: list[Record], second: list[Record], batch_size: int, threads: int, resume: bool, new: bool
) -> None:
    engine = opened()
    engine.ingest(first, batch_size=batch_size, threads=threads)
    if new:
        engine = opened(new=True)
        first = []
    report = engine.ingest(iter(second), batch_size=batch_size, threads=threads, resume=resume)
    before, after = {record.id: record for record in first}, {record.id: record for record in second}
    assert report.added == len(after.keys() - before.keys())
    assert report.added + report.replaced + report.unchanged == len(after)
    assert report.replaced >= sum(before[id].text != record.text for id, record in after.items() if id in before) - sum(
        1 for id in after if [record.id for record in second].count(id) > 1
    )
    assert not report.unchanged or resume
    assert {record.id: record for record in engine.get([*before, *after])} == before | after
    assert engine.asked == 0 or not new


@given(given_records, st.integers(1, 7))
def test_an_ingest_again_embeds_and_stores_nothing(given: list[Record], batch_size: int) -> None:
    engine = opened()
    engine.ingest(given, batch_size=batch_size)
    engine.stored.clear()
    last = list({record.id: record for record in given}.values())
    assert engine.ingest(last, batch_size=batch_size) == Ingested(0, 0, len(last))
    assert engine.stored == []


def test_a_new_index_is_not_asked_and_an_old_one_once_a_batch() -> None:
    engine = opened(new=True)
    assert engine.ingest(records(100), batch_size=10) == Ingested(100, 0, 0)
    assert engine.asked == 0
    assert engine.ingest(records(100, "other"), batch_size=10) == Ingested(0, 100, 0)
    assert engine.asked == 10
    assert engine.flushed == 2


def test_what_was_added_makes_an_index_an_old_one() -> None:
    engine = opened(new=True)
    engine.add(records(10))
    assert engine.ingest(records(20)) == Ingested(10, 0, 10)


def test_a_batch_has_few_long_texts() -> None:
    engine = opened()
    engine.ingest((Record(str(number), "x" * 1_500_000) for number in range(7)), batch_size=100)
    assert engine.stored == [3, 3, 1]


def test_the_first_refused_record_ends_it_and_what_was_handed_over_is_counted() -> None:
    given = records(50)
    given[17] = Record("no", "refuse me")
    engine = opened()
    with pytest.raises(
        RecordsFailed, match="did not store 1 of .* records: 'no': I will not; .* records are stored"
    ) as raised:
        engine.ingest(given, batch_size=5)
    assert raised.value.reasons == {"no": "I will not"}
    assert raised.value.stored == engine.count()
    assert 19 <= engine.count() < 50
    assert engine.flushed == 1
    seen: dict[str, str] = {}
    report = engine.ingest(given, batch_size=5, on_refused=seen.__setitem__)
    assert seen == report.refused == {"no": "I will not"}
    assert (report.stored + report.unchanged, report.refused_count) == (49, 1)
    assert engine.count() == 49


def test_reasons_are_kept_for_a_thousand_only() -> None:
    engine = opened()
    count = 0

    def refused(id: str, reason: str) -> None:
        nonlocal count
        count += 1

    report = engine.ingest((Record(str(n), "refuse me") for n in range(1500)), on_refused=refused)
    assert (report.refused_count, len(report.refused), count) == (1500, 1000, 1500)


@pytest.mark.parametrize("failure", [EngineError("no disk"), ZeroDivisionError("a bug"), KeyboardInterrupt()], ids=repr)
def test_a_failure_leaves_with_its_own_type_and_says_how_to_go_on(failure: BaseException) -> None:
    engine = opened()
    engine.ingest(records(10))
    engine.fails = failure
    with pytest.raises(type(failure)) as raised:
        engine.ingest(records(30), batch_size=10)
    assert raised.value.__notes__ == ["10 records are stored; run the same command again to continue"]
    engine.fails = None
    assert engine.ingest(records(30)) == Ingested(20, 0, 10)


def test_before_anything_was_handed_over_nothing_is_stored() -> None:
    def broken() -> Iterator[Record]:
        yield from records(3)
        raise OSError("unreadable")

    with pytest.raises(OSError, match="unreadable") as raised:
        opened().ingest(broken(), batch_size=10)
    assert raised.value.__notes__ == ["nothing was stored"]


def test_a_flush_that_fails_does_not_hide_the_error_before() -> None:
    class Broken(Watched):
        def _flush(self) -> None:
            raise EngineError("cannot flush")

    engine = Broken(Contract.of(PROFILE), Encoder(PROFILE, HashBackend()))
    with pytest.raises(InvalidRecord, match="'bad'"):
        engine.ingest([Record("bad", "", {"x": object()})])
    with pytest.raises(EngineError, match="cannot flush"):
        engine.ingest(records(3))


def test_progress_only_grows_and_ends_at_all() -> None:
    events: list[Progress] = []
    engine = opened()
    engine.ingest(records(30))
    engine.ingest(records(95), batch_size=10, threads=2, progress=events.append)
    for now, then in zip(events, events[1:], strict=False):
        assert now.done <= then.done
        assert now.embedded <= then.embedded
    assert all(event.phase == "ingest" and event.done <= event.embedded for event in events)
    assert events[-1] == Progress("ingest", 95, 0, 95)


def test_embedding_goes_on_while_a_batch_is_stored() -> None:
    started, may_end = threading.Event(), threading.Event()

    class Slow(Watched):
        def _store(self, records: list[Record], vectors: Vectors) -> dict[str, str]:
            if not started.is_set():
                started.set()
                assert may_end.wait(30)
            return super()._store(records, vectors)

    def given() -> Iterator[Record]:
        yield from records(20)
        assert started.wait(30)
        may_end.set()  # reached only if the second batch is read while the first is stored
        yield from [Record("last")]

    engine = Slow(Contract.of(PROFILE), Encoder(PROFILE, HashBackend()))
    assert engine.ingest(given(), batch_size=10).added == 21


@pytest.mark.parametrize(
    ("given", "error"),
    [("text", InvalidType), (None, InvalidType), ([{"id": "a"}], InvalidType), (Record("a"), InvalidType)],
    ids=repr,
)
def test_what_are_no_records_is_refused(given: Any, error: type[Exception]) -> None:
    engine = opened()
    with pytest.raises(error, match="Record"):
        engine.ingest(given)
    assert engine.count() == 0


def vectors(n: int) -> Vectors:
    return np.random.default_rng(n).standard_normal((n, WIDTH)).astype(np.float32)


FORMS: list[Callable[[Vectors], Any]] = [
    lambda rows: rows,
    lambda rows: rows.tolist(),
    lambda rows: iter(rows),
    lambda rows: (rows[start : start + 7] for start in range(0, len(rows), 7)),
    lambda rows: [rows[:10], rows[10:]],
]


@pytest.mark.parametrize("form", range(len(FORMS)))
def test_vectors_are_read_in_step_with_records(form: int) -> None:
    engine, rows = opened(), vectors(45)
    assert engine.ingest(iter(records(45)), FORMS[form](rows), batch_size=10, resume=True) == Ingested(45, 0, 0)
    for number in (0, 6, 7, 9, 10, 44):
        assert engine.search(rows[number], 1)[0].record.id == str(number)


def test_a_memory_map_is_read_piece_by_piece(tmp_path: Any) -> None:
    rows = vectors(9000)
    np.save(tmp_path / "rows.npy", rows)
    engine = opened()
    assert engine.ingest(records(9000), np.load(tmp_path / "rows.npy", mmap_mode="r"), batch_size=777).added == 9000
    assert engine.search(rows[8999], 1)[0].record.id == "8999"


@pytest.mark.parametrize("form", range(len(FORMS)))
@pytest.mark.parametrize(
    ("records_given", "words"), [(44, "only 44 records, which are stored"), (46, "45 vectors, and more records")]
)
def test_one_vector_for_each_record(form: int, records_given: int, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        opened().ingest(records(records_given), FORMS[form](vectors(45)))


def test_vectors_that_change_their_kind_are_refused() -> None:
    with pytest.raises(InvalidInput, match="float32 of width 8 to float32 of width 4"):
        opened().ingest(records(10), iter([vectors(5), vectors(5)[:, :4]]))


FLAT = """
import resource, sys
import numpy as np
from jinavec import Contract, Engine, Record
from jinavec.models import ModelProfile

class Null(Engine):
    name = "null"
    contract = Contract.of(ModelProfile(name="null", width=8))
    open_target = close = _delete = _get = _search = _iterate = None
    def _store(self, records, vectors):
        return {}

Null.__abstractmethods__ = frozenset()
engine = Null()
def run(start, stop):
    engine._created = True
    row = np.ones(8, np.float32)
    engine.ingest((Record(f"id {n}", "some text") for n in range(start, stop)), (row for _ in range(start, stop)))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(run(0, 20_000), run(20_000, 300_000))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_memory_is_flat_but_for_eight_bytes_an_id() -> None:
    done = subprocess.run([sys.executable, "-c", FLAT], capture_output=True, text=True, check=True)
    small, large = map(int, done.stdout.split())
    assert large - small <= 12  # MiB, for 280,000 ids more: 2 MiB of digests, and what merging them needs for a moment
