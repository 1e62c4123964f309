"""Ingest: the one loop that puts a stream of records into an engine.

Records are read in batches. Of each batch, what is stored unchanged is skipped; the rest is embedded in the caller's
thread while the batches before it are stored in others. At most ``threads + 2`` batches are in memory, whatever the
number of records; beside them, eight bytes an id.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from numpy.typing import NDArray

from jinavec.errors import InvalidInput, InvalidRecord, RecordsFailed, brief
from jinavec.id_set import IdSet
from jinavec.log import timed
from jinavec.records import Record, only_records
from jinavec.sender import Sender
from jinavec.vector_rows import VectorRows

_CHARACTERS = 4_000_000
"""Characters after which a batch is full, however few its records."""
_REASONS = 1000
"""Refused records whose reasons a report keeps."""
_KINDS = 100
"""Reasons that are counted."""

Vectors = NDArray[Any]
"""float32 (n, dimension) of unit length, or packed bits as uint8 (n, bytes)."""


@dataclass(frozen=True)
class Progress:
    """How far a long operation is."""

    phase: str
    """ingest, training, merging ..."""
    done: int
    """Records done in this phase; of an ingest: stored, unchanged, or refused."""
    total: int = 0
    """Records in this phase; 0: unknown."""
    embedded: int = 0
    """Of an ingest: records whose vectors are ready, at least ``done``."""


ReportProgress = Callable[[Progress], object]
OnRefused = Callable[[str, str], object]
"""Called with the id of a record and the reason why it was refused."""


@dataclass(frozen=True)
class Ingested:
    """What an ingest did. Each id counts once, as it was when the ingest first met it."""

    added: int
    replaced: int
    unchanged: int
    """Records that were not embedded, since they are stored as they are."""
    refused: Mapping[str, str] = field(default_factory=dict[str, str])
    """Why, by id, of the first 1,000 records that were refused."""
    refused_count: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict[str, int])
    """Why, and how many records each, most frequent first; the first 100 reasons, without the values that they name."""

    @property
    def stored(self) -> int:
        """Records that were written: added or replaced."""
        return self.added + self.replaced


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What an engine does with each batch."""

    where: str
    """The engine, for messages."""
    check: Callable[[Record], object]
    """Raises InvalidRecord for a record that cannot be stored."""
    unchanged: Callable[[list[Record]], Mapping[str, bool]] | None
    """For the ids that are stored: whether the stored record is the same. None: the index is known to be new."""
    embed: Callable[[list[str], Callable[[int, int], None]], tuple[Vectors, Mapping[int, str]]]
    """Returns the vectors of texts, and the reason, by its position, of each text that was refused; calls its second
    argument with (texts done, texts) now and then."""
    accept: Callable[[Vectors], Vectors]
    """Checks and normalizes given vectors."""
    store: Callable[[list[Record], Vectors], Mapping[str, str]]
    """Returns the reason, by id, of each record that was refused; called in another thread."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the caller of an ingest wants."""

    resume: bool
    batch_size: int
    threads: int
    on_refused: OnRefused | None
    progress: ReportProgress | None

    def __post_init__(self) -> None:
        for name in ("batch_size", "threads"):
            value: object = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidInput(f"{name} must be a whole number of at least 1, not {brief(value)}")


def ingest_all(records: Iterable[Record], vectors: VectorRows | None, steps: Steps, wishes: Wishes) -> Ingested:
    """Take all records through the steps.

    Raises:
        InvalidRecord, RecordsFailed: the first record that is refused, unless the caller sets those aside.
    """
    run = _Run(steps, wishes)
    with run.explained(), Sender(wishes.threads) as sender:
        for batch in _batches(records, wishes.batch_size):
            run.take(batch, None if vectors is None else steps.accept(vectors.take(len(batch))), sender)
        sender.finish()
        if vectors is not None:
            vectors.check_end()
    return run.report()


class _Refused(Exception):
    """Stops an ingest at the first batch with a refused record."""


@dataclass(frozen=True)
class _Batch:
    """A batch that is being stored."""

    read: int
    """Records it was made of; some are skipped, set aside, or replaced by a later one of the same id."""
    changed: frozenset[str]
    """Ids of the records that are stored."""
    first: Mapping[str, bool]
    """For those of its ids that this ingest had not met before: whether the index holds them."""


class _Run:
    """One ingest: its counts, and what happens to a batch.

    An id counts once, as it was when the ingest first met it. So the counts do not depend on where batches end.
    """

    def __init__(self, steps: Steps, wishes: Wishes) -> None:
        self._steps = steps
        self._wishes = wishes
        self._met = IdSet()
        self._under_way: deque[_Batch] = deque()
        self._handed_over = False
        self._stopped = False
        self._read = self._done = 0
        self._added = self._replaced = self._unchanged = 0
        self._refused: dict[str, str] = {}
        self._refused_count = 0
        self._reasons = Counter[str]()

    def take(self, given: list[Record], vectors: Vectors | None, sender: Sender) -> None:
        """Check, skip, embed, and hand over a batch."""
        last = {given[position].id: position for position in self._storable(given)}  # of one id, the last record
        self._wait_for_earlier(last.keys(), sender)
        records = [given[position] for position in last.values()]
        known: Mapping[str, bool] = {} if self._steps.unchanged is None else self._steps.unchanged(records)
        skip = vectors is None and self._wishes.resume
        changed = [record for record in records if not (skip and known.get(record.id))]
        refused: Mapping[str, str] = {}
        if vectors is None:
            changed, rows, refused = self._embed(changed, sender)
        elif len(changed) == len(given):
            rows = vectors
        else:
            rows = vectors[[last[record.id] for record in changed]]
        self._read += len(given)
        new = zip(last, self._met.add(last), strict=True)
        batch = _Batch(
            len(given), frozenset(record.id for record in changed), {id: id in known for id, is_new in new if is_new}
        )
        self._under_way.append(batch)
        self._handed_over = True
        sender.submit(partial(self._store, changed, rows, refused), self._finished)

    def report(self) -> Ingested:
        """Return what was done."""
        counts = dict(self._reasons.most_common())
        return Ingested(self._added, self._replaced, self._unchanged, dict(self._refused), self._refused_count, counts)

    @contextmanager
    def explained(self) -> Generator[None]:
        """Say with whatever ends the ingest how many records are stored."""
        try:
            yield
        except _Refused:
            raise RecordsFailed(self._steps.where, self._done, self._refused, stored=self._stored) from None
        except InvalidRecord as error:
            raise InvalidRecord(f"{error}; {self._stored} records are stored") from error
        except BaseException as error:
            if not self._handed_over:
                error.add_note("nothing was stored")
            elif self._done:
                error.add_note(f"{self._stored} records are stored; run the same command again to continue")
            else:
                error.add_note("run the same command again to continue")
            raise

    @property
    def _stored(self) -> int:
        """Records that the index holds as they were given."""
        return self._added + self._replaced + self._unchanged

    def _storable(self, given: list[Record]) -> Iterator[int]:
        """Yield the positions of records that can be stored."""
        for position, record in enumerate(given):
            try:
                self._steps.check(record)
            except InvalidRecord as error:
                if self._wishes.on_refused is None:
                    raise
                self._set_aside({record.id: str(error)})
            else:
                yield position

    def _wait_for_earlier(self, ids: Iterable[str], sender: Sender) -> None:
        """Let earlier records of the same ids be stored first, or they could be stored after the later ones."""
        if any(not batch.changed.isdisjoint(ids) for batch in self._under_way):
            sender.finish()

    def _embed(self, records: list[Record], sender: Sender) -> tuple[list[Record], Vectors, Mapping[str, str]]:
        """Return the records whose texts were embedded, their vectors, and why the others were not, by id."""

        def advance(done: int, _: int) -> None:
            sender.check()  # a batch that failed ends the run before this one is embedded to its end
            self._tell(self._read + done)

        rows, refused = self._steps.embed([record.text for record in records], advance)
        if not refused:
            return records, rows, {}
        kept = [number for number in range(len(records)) if number not in refused]
        reasons = {records[number].id: reason for number, reason in refused.items()}
        return [records[number] for number in kept], rows[kept], reasons

    def _store(self, records: list[Record], rows: Vectors, refused: Mapping[str, str]) -> Mapping[str, str]:
        """Store a batch; called in another thread."""
        with timed("%s: storing a batch of %d records", self._steps.where, len(records)):
            return {**refused, **(self._steps.store(records, rows) if records else {})}

    def _finished(self, refused: Mapping[str, str]) -> None:
        """Count a batch; called in the caller's thread, batch by batch in their order."""
        batch = self._under_way.popleft()
        self._done += batch.read
        for id, is_known in batch.first.items():
            if id in refused:
                continue
            if id not in batch.changed:
                self._unchanged += 1
            elif is_known:
                self._replaced += 1
            else:
                self._added += 1
        self._set_aside(refused)
        self._tell(self._read)
        if refused and self._wishes.on_refused is None and not self._stopped:
            self._stopped = True  # what was handed over is still stored and counted
            raise _Refused

    def _set_aside(self, reasons: Mapping[str, str]) -> None:
        for id, reason in reasons.items():
            self._refused_count += 1
            gist = without_values(reason)
            if gist in self._reasons or len(self._reasons) < _KINDS:
                self._reasons[gist] += 1
            if len(self._refused) < _REASONS:
                self._refused[id] = reason
            if self._wishes.on_refused is not None:
                self._wishes.on_refused(id, reason)

    def _tell(self, embedded: int) -> None:
        if self._wishes.progress is not None:
            self._wishes.progress(Progress("ingest", self._done, embedded=max(self._done, embedded)))


def without_values(reason: str) -> str:
    """Return a reason without what differs from record to record: what stands in quotes or brackets, and numbers."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|\[[^\]]*\]|\d[\d,.:]*", "...", reason)


def _batches(records: Iterable[Record], size: int) -> Iterator[list[Record]]:
    """Yield records in lists of at most ``size``, fewer where they are long.

    Raises:
        InvalidType: something that is no record.
    """
    batch: list[Record] = []
    characters = 0
    for record in only_records(records):
        batch.append(record)
        characters += _characters(record)
        if len(batch) == size or characters >= _CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _characters(record: Record) -> int:
    """Return about how long a record is: its text, and the strings right below its metadata."""
    return len(record.text) + sum(len(value) for value in record.metadata.values() if isinstance(value, str))
