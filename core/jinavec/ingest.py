"""Ingest: records are embedded in this thread while earlier ones are sent in others; bounded, so memory stays flat."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from jinavec.errors import InvalidInput, InvalidType, brief
from jinavec.records import Record, same_content
from jinavec.sender import Sender
from jinavec.vectors import Float32

_CHARACTERS = 4_000_000
"""Characters of text after which a batch is full, however few its records."""


Numbered = tuple[int, Record]
"""A record and its number among all, from 0."""


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What is done with each batch."""

    check: Callable[[Record], object]
    """Raises InvalidRecord for one that cannot be stored; nothing of its batch is then."""
    stored: Callable[[list[Record]], list[Record]]
    """Returns what is stored under the ids of records, as far as that spares work."""
    embed: Callable[[list[Numbered], Callable[[], None]], Float32]
    """Returns their vectors; calls the second argument now and then, to learn of a failed batch soon."""
    store: Callable[[list[Record], Float32], Mapping[str, str]]
    """Returns why, by id, for those that were refused; called in another thread."""
    done: Callable[[int, Mapping[str, str]], None]
    """Told of each batch in its order: the records of it, and those refused."""


def ingest_all(records: Iterable[Record], steps: Steps, *, batch: int, threads: int) -> int:
    """Take all records through the steps; return how many were stored."""
    for name, value in (("batch", batch), ("threads", threads)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InvalidInput(f"{name} must be a whole number of at least 1, not {brief(value)}")
    stored = 0
    under_way: deque[set[str]] = deque()

    def done(count: int, refused: Mapping[str, str]) -> None:
        nonlocal stored
        stored += len(under_way.popleft()) - len(refused)
        steps.done(count, refused)

    with Sender(threads) as sender:
        for given in _batches(records, batch):
            for _, record in given:
                steps.check(record)
            last = {record.id: (number, record) for number, record in given}  # of one id given twice, the last counts
            if any(id in ids for ids in under_way for id in last):
                sender.finish()  # else the earlier record could be stored after the later one
            known = {record.id: record for record in steps.stored([record for _, record in last.values()])}
            wanted = [
                (number, record)
                for id, (number, record) in last.items()
                if not (id in known and same_content(record, known[id]))
            ]
            vectors = steps.embed(wanted, sender.check)
            changed = [record for _, record in wanted]
            work = partial(steps.store, changed, vectors) if changed else dict[str, str]
            sender.submit(work, partial(done, len(given)))
            under_way.append({record.id for record in changed})
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
