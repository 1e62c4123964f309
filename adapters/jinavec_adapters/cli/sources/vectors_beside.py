"""vectors_beside: records whose vectors are in a file of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jinavec.errors import InvalidInput
from jinavec_adapters.cli.sources.fields import Item
from jinavec_adapters.cli.sources.files import decompressed, find_file, reading
from jinavec_adapters.cli.sources.npy import read_vectors


def vectors_beside(items: Iterable[Item], name: str) -> Iterator[Item]:
    """Yield each item with its vector: the row of an .npy file that ``jinavec encode`` writes for it.

    Raises:
        InvalidInput: not as many vectors as records; no .npy file; records that have vectors already.
        InvalidVectors: an array of something else.
    """
    file = find_file(name)
    if file.format != "npy":
        raise InvalidInput(f"--vectors takes an .npy file, not {name}")
    with reading(name, file.compression), open(file.path, "rb") as raw:
        rows = read_vectors(decompressed(file, raw), name)
        number = 0
        for number, item in enumerate(items, 1):
            if item.vector is not None:
                raise InvalidInput(f"{item.place} has a vector already: give its records without --vectors")
            row = next(rows, None)
            if row is None:
                raise InvalidInput(f"{name} holds {number - 1} vectors, and there are more records: {item.place}")
            yield item._replace(vector=row.vector)
        if next(rows, None) is not None:
            raise InvalidInput(f"{name} holds more vectors than the {number} records")
