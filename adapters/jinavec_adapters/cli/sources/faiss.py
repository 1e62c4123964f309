"""Index files of FAISS: one vector a row, perhaps with an id."""

from __future__ import annotations

from collections.abc import Iterator

from jinavec.errors import InvalidInput
from jinavec_adapters.cli.sources.fields import Row
from jinavec_adapters.cli.sources.files import File


def read_faiss(file: File) -> Iterator[Row]:
    """Read a FAISS index of vectors or packed bits (first dimension first), batch by batch.

    Raises:
        InvalidVectors, InvalidInput: it cannot be imported, or is damaged.
    """
    from jinavec_integrations.faiss.search.foreign import ForeignIndex

    if file.compression:
        raise InvalidInput(f"{file.path} cannot be read compressed: decompress it first")
    foreign = ForeignIndex(file.path, None)
    for records, vectors in foreign.batches():
        for record, vector in zip(records, vectors, strict=True):
            yield Row(f"{file.path}, id {record.id}", {"id": record.id} if foreign.has_ids else {}, vector)
