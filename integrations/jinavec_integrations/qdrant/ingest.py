"""Ingest: a stream of records, embedded in batches while earlier batches are uploaded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from jinavec.encoder import Encoder, Progress
from jinavec.errors import EngineError, InvalidType
from jinavec.records import Record, same_content
from jinavec.vectors import Float32
from jinavec_integrations.qdrant.convert import to_payload

if TYPE_CHECKING:
    from jinavec_integrations.qdrant.index import QdrantIndex

Upsert = Callable[[list[Record], list[dict[str, Any]], Float32], None]


@dataclass(frozen=True)
class Ingested:
    """What an ingest did."""

    stored: int
    """Records embedded and stored."""
    unchanged: int
    """Records that were stored already, as they are."""


class Uploads:
    """Uploads under way, at most twice as many as there are threads."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="jinavec-qdrant")
        self.limit = 2 * threads
        self._pending: deque[Future[None]] = deque()

    def submit(self, upload: Callable[..., None], *arguments: Any) -> None:
        """Start an upload; wait for the oldest where too many are under way."""
        while len(self._pending) >= self.limit:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(upload, *arguments))

    def finish(self) -> None:
        """Wait for all of them; raises what the first one that failed raised."""
        while self._pending:
            self._pending.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.shutdown(wait=True)  # what was embedded before a failure is stored all the same


def ingest(
    index: QdrantIndex,
    records: Iterable[Record],
    encoder: Encoder,
    upsert: Upsert,
    threads: int,
    *,
    resume: bool,
    progress: Progress | None,
) -> Ingested:
    """Embed and store a stream of records; see ``QdrantIndex.ingest``."""
    with Uploads(threads) as uploads:
        run = _Run(index, encoder, upsert, uploads, resume, progress)
        try:
            for batch in _batches(records, index.options.batch_size):
                run.store(batch)
            uploads.finish()
        except Exception as error:
            error.add_note(f"{run.done} records were read; running it again stores what is missing")
            raise
    run.check()
    return Ingested(run.stored, run.unchanged)


class _Run:
    def __init__(
        self,
        index: QdrantIndex,
        encoder: Encoder,
        upsert: Upsert,
        uploads: Uploads,
        resume: bool,
        progress: Progress | None,
    ) -> None:
        self._index = index
        self._encoder = encoder
        self._upsert = upsert
        self._uploads = uploads
        self._resume = resume
        self._progress = progress
        self._expected = index.count()
        self._under_way: deque[set[str]] = deque(maxlen=uploads.limit)
        self.stored = self.unchanged = self.done = 0

    def store(self, batch: list[Record]) -> None:
        """Embed what is not stored yet, and start its upload."""
        if any(record.id in ids for ids in self._under_way for record in batch):
            self._uploads.finish()  # of two versions of a record the later one must arrive last
        payloads = {record.id: to_payload(record) for record in batch}
        known = {record.id: record for record in self._index.get(list(payloads))}
        changed = [record for record in batch if not (self._resume and _is_known(record, known))]
        self._expected += len(batch) - len(known)
        if changed:
            vectors = self._encoder.encode_documents([record.text for record in changed])
            self._uploads.submit(self._upsert, changed, [payloads[record.id] for record in changed], vectors)
            self._under_way.append({record.id for record in changed})
        self.stored += len(changed)
        self.unchanged += len(batch) - len(changed)
        self.done += len(batch)
        if self._progress is not None:
            self._progress(self.done, 0)

    def check(self) -> None:
        """Compare the exact count with what it must be.

        Raises:
            EngineError: records are missing, or somebody else writes too.
        """
        found = self._index.count()
        if found != self._expected:
            raise EngineError(
                f"{self._index.location} holds {found} records, expected {self._expected}: either somebody else writes"
                " to it, or the server lost some; running it again stores what is missing"
            )


def _batches(records: Iterable[Record], size: int) -> Iterator[list[Record]]:
    """Yield records in batches of different ids; of two with one id, the later one counts."""
    batch: dict[str, Record] = {}
    for record in records:
        if not isinstance(record, Record):
            raise InvalidType(f"records must be Record objects, not {type(record).__name__}")
        batch[record.id] = record
        if len(batch) == size:
            yield list(batch.values())
            batch = {}
    if batch:
        yield list(batch.values())


def _is_known(record: Record, known: Mapping[str, Record]) -> bool:
    return record.id in known and same_content(record, known[record.id])
