"""vectors_beside: records whose vectors are in a file of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jinavec.errors import InvalidInput
from jinavec_adapters.cli.sources.faiss import read_faiss
from jinavec_adapters.cli.sources.fields import Item
from jinavec_adapters.cli.sources.files import decompressed, find_file, reading
from jinavec_adapters.cli.sources.npy import read_vectors


def vectors_beside(items: Iterable[Item], name: str) -> Iterator[Item]:
    """Yield each item with its vector: the row of an .npy file that ``jinavec encode`` writes for it, or FAISS file.

    Raises:
        InvalidInput: not as many vectors as records; another file; records that have vectors already, or other ids than
            the FAISS file has.
        InvalidVectors: an array of something else.
    """
    file = find_file(name)
    if file.format not in ("npy", "faiss"):
        raise InvalidInput(f"--vectors takes an .npy or .faiss file, not {name}")
    with reading(name, file.compression), open(file.path, "rb") as raw:
        rows = read_faiss(file) if file.format == "faiss" else read_vectors(decompressed(file, raw), name)
        number = 0
        for number, item in enumerate(items, 1):
            if item.vector is not None:
                raise InvalidInput(f"{item.place} has a vector already: give its records without --vectors")
            row = next(rows, None)
            if row is None:
                raise InvalidInput(f"{name} holds {number - 1} vectors, and there are more records: {item.place}")
            if (id := row.fields.get("id", item.record.id)) != item.record.id:
                raise InvalidInput(
                    f"{item.place} has the id {item.record.id!r}, but its vector in {name} has {id!r}: give the records"
                    " in the order of the FAISS index, with its ids"
                )
            yield item._replace(vector=row.vector)
        if next(rows, None) is not None:
            raise InvalidInput(f"{name} holds more vectors than the {number} records")
