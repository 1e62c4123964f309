"""Ingest: a stream of records, embedded in batches while earlier batches are uploaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jinavec.encoder import Encoder, Progress
from jinavec.errors import EngineError
from jinavec.ingest import Numbered, Steps, ingest_all
from jinavec.records import Record
from jinavec.vectors import Float32
from jinavec_integrations.qdrant.convert import to_payload

if TYPE_CHECKING:
    from jinavec_integrations.qdrant.index import QdrantIndex

Upsert = Callable[[list[Record], Float32], None]


@dataclass(frozen=True)
class Ingested:
    """What an ingest did."""

    stored: int
    """Records embedded and stored."""
    unchanged: int
    """Records that were stored already, as they are."""


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
    expected, distinct, read = index.count(), 0, 0

    def stored(given: list[Record]) -> list[Record]:
        nonlocal expected, distinct
        known = index.get([record.id for record in given])
        expected += len(given) - len(known)
        distinct += len(given)
        return known if resume else []

    def embed(numbered: list[Numbered], check: Callable[[], None]) -> Float32:
        texts = [record.text for _, record in numbered]
        return encoder.encode_documents(texts, progress=lambda done, total: check())

    def store(changed: list[Record], vectors: Float32) -> Mapping[str, str]:
        upsert(changed, vectors)
        return {}

    def done(count: int, refused: Mapping[str, str]) -> None:
        nonlocal read
        read += count
        if progress is not None:
            progress(read, 0)

    steps = Steps(check=to_payload, stored=stored, embed=embed, store=store, done=done)
    try:
        changed = ingest_all(records, steps, batch=index.options.batch_size, threads=threads)
    except Exception as error:
        error.add_note(f"at least {read} records are stored; running it again stores what is missing")
        raise
    _check_count(index, expected)
    return Ingested(changed, distinct - changed)


def _check_count(index: QdrantIndex, expected: int) -> None:
    """Compare the exact count with what it must be.

    Raises:
        EngineError: records are missing, or somebody else writes too.
    """
    found = index.count()
    if found != expected:
        raise EngineError(
            f"{index.location} holds {found} records, expected {expected}: either somebody else writes to it, or the"
            " server lost some; running it again stores what is missing"
        )
