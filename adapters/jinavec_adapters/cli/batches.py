"""Records in batches of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jinavec_adapters.cli.sources import BadRecords, Item, Seen

BATCH_CHARACTERS = 4_000_000
"""Characters of text and metadata after which a batch is full, however few its records."""


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield the items in lists of at most ``size``."""
    batch: list[Item] = []
    characters = 0
    for item in items:
        batch.append(item)
        characters += item.size
        if len(batch) == size or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


class Unique:
    """The items of one run without repetition.

    A repeated id is a bad record; a repeated text without an id of its own is only counted, in ``repeated``.
    """

    def __init__(self, items: Iterable[Item], bad: BadRecords) -> None:
        self._items = items
        self._bad = bad
        self.repeated = 0

    def __iter__(self) -> Iterator[Item]:
        """Yield each id once; raises InvalidRecord as ``BadRecords`` does."""
        seen = Seen()
        try:
            for item in self._items:
                earlier = seen.earlier(item.record.id, item.place)
                if earlier is None:
                    yield item
                elif item.derived:
                    self.repeated += 1
                else:
                    self._bad(item.place, f"the id {item.record.id!r} was already given at {earlier}")
        finally:
            seen.close()
