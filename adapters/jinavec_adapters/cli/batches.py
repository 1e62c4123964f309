"""Records in batches of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jinavec_adapters.cli.sources import Item

DEFAULT_SIZE = 1024
"""Records of a batch."""
_CHARACTERS = 4_000_000
"""Characters of text and metadata after which a batch is full, however few its records."""


def in_batches(items: Iterable[Item], size: int | None) -> Iterator[list[Item]]:
    """Yield the items in lists of at most ``size``, by default ``DEFAULT_SIZE``."""
    batch: list[Item] = []
    characters = 0
    for item in items:
        batch.append(item)
        characters += item.size
        if len(batch) == (size or DEFAULT_SIZE) or characters >= _CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
