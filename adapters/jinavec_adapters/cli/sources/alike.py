"""alike: items that all bring vectors of one kind, or all texts only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from jinavec.errors import InvalidInput, InvalidVectors
from jinavec.vectors import NO_BYTES, bytes_remedy
from jinavec_adapters.cli.sources.fields import Item


def alike(items: Iterable[Item], dimension: int) -> Iterator[Item]:
    """Yield the items, comparing each with the first; int8 as ``jinavec encode`` writes it becomes floats.

    Raises:
        InvalidInput: some have a vector, some do not.
        InvalidVectors: a vector of another width than the dimension needs, or of another type than the first; or int8
            that is not scaled to a largest component of 127.
    """
    first: Item | None = None
    for item in items:
        first = first or item
        if (item.vector is None) != (first.vector is None):
            raise InvalidInput("some records have a vector and some a text only: index them one after the other")
        if item.vector is not None and first.vector is not None:
            packed = item.vector.dtype == np.uint8
            width = -(-dimension // 8) if packed else dimension
            if item.vector.dtype != first.vector.dtype or len(item.vector) != width:
                found = f"{'packed bits' if packed else 'a vector'} of {len(item.vector)} {item.vector.dtype}"
                raise InvalidVectors(
                    f"{item.place}: {found}; {width} are expected for {dimension} dimensions (--dimension)"
                    + bytes_remedy(item.vector, len(item.vector), dimension)
                )
            if item.vector.dtype == np.int8:
                if np.abs(item.vector.astype(np.int16)).max() != 127:
                    raise InvalidVectors(f"{item.place}: {NO_BYTES}")
                item = item._replace(vector=item.vector.astype(np.float32))
        yield item
