"""Ingest: records are embedded in this thread while earlier ones are sent in others; bounded, so memory stays flat."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from jinavec.errors import InvalidInput, InvalidType, brief
from jinavec.records import Record
from jinavec.vectors import Float32

_CHARACTERS = 4_000_000
"""Characters of text after which a batch is full, however few its records."""


Numbered = tuple[int, Record]
"""A record and its number among all, from 0."""


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What is done with each batch."""

    check: Callable[[Record], None]
    stored: Callable[[list[Record]], list[Record]]
    """Returns what is stored under the ids of records, as far as that spares work."""
    embed: Callable[[list[Numbered]], Float32]
    store: Callable[[list[Record], Float32], dict[str, str]]
    """Returns why, by id, for those that were refused; called in another thread."""
    done: Callable[[int, dict[str, str]], None]
    """Told of each batch in its order: the records of it, and those refused."""


def ingest(records: Iterable[Record], steps: Steps, *, batch: int, threads: int) -> int:
    """Take all records through the steps; return how many were stored."""
    for name, value in (("batch", batch), ("threads", threads)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InvalidInput(f"{name} must be a whole number of at least 1, not {brief(value)}")
    stored = 0
    under_way: deque[tuple[int, set[str], Future[dict[str, str]]]] = deque()

    def finish(at_most: int) -> None:
        nonlocal stored
        while len(under_way) > at_most:
            count, ids, future = under_way.popleft()
            refused = future.result()
            stored += len(ids) - len(refused)
            steps.done(count, refused)

    with ThreadPoolExecutor(threads, "jinavec-ingest") as pool:
        for given in _batches(records, batch):
            for _, record in given:
                steps.check(record)
            last = {record.id: (number, record) for number, record in given}  # of one id given twice, the last counts
            if not last.keys().isdisjoint(id for _, ids, _ in under_way for id in ids):
                finish(0)  # else the earlier record could be stored after the later one
            known = {record.id: record for record in steps.stored([record for _, record in last.values()])}
            wanted = [(number, record) for id, (number, record) in last.items() if known.get(id) != record]
            vectors = steps.embed(wanted)
            sending = pool.submit(steps.store, [record for _, record in wanted], vectors)
            under_way.append((len(given), {record.id for _, record in wanted}, sending))
            finish(threads)
        finish(0)
    return stored


def _batches(records: Iterable[Record], size: int) -> Iterator[list[Numbered]]:
    batch: list[Numbered] = []
    characters = 0
    for number, record in enumerate(records):
        if not isinstance(record, Record):
            raise InvalidType(f"records must be Record objects, not {type(record).__name__}")
        batch.append((number, record))
        characters += len(record.text)
        if len(batch) == size or characters >= _CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
