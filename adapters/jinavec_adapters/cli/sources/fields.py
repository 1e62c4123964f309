"""Fields: from the fields of a line, row or cell to a Record."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from jinavec.errors import InvalidRecord, brief, first_names
from jinavec.records import Record
from jinavec_adapters.cli.sources.rejects import Rejects


class Row(NamedTuple):
    """The fields of one record as a file has them."""

    place: str
    """Where it stands, such as ``notes.jsonl:3``."""
    fields: dict[str, Any]
    vector: NDArray[Any] | None = None
    """The vector (width,) where the file has one."""


class Item(NamedTuple):
    """A record and where it stood."""

    place: str
    record: Record
    derived: bool = False
    """Whether the id was derived from the text."""
    size: int = 0
    """Characters of text and metadata, about."""
    vector: NDArray[Any] | None = None
    """The vector (width,), where it need not be encoded."""


@dataclass(frozen=True)
class Fields:
    """Which fields are the id and the text; every other one is metadata.

    The members of an object named ``metadata`` are merged into the metadata; where a member has the name of a
    field of the record itself, the record's own field counts.
    """

    id: str | None = None
    """None: ``id`` where a record has it, else the SHA-256 of the text's UTF-8, in hex; of a vector without a text, the
    number of records before it."""
    text: str = "text"
    vector: str | None = None
    """The field that holds the vector; None: texts are to be encoded, unless a file has nothing but vectors."""

    @property
    def id_name(self) -> str:
        """The field that holds the id."""
        return "id" if self.id is None else self.id

    def item(self, row: Row, rejects: Rejects, number: int = 0) -> Item | None:
        """Return the record of a row, the ``number``-th of all; or None after reporting why there is none."""
        try:
            return self._item(row, number)
        except InvalidRecord as error:
            rejects(row.place, str(error))
        return None

    def _item(self, row: Row, number: int) -> Item:
        vector = self._vector(row)
        text = "" if vector is not None and self.text not in row.fields else self._text(row.fields)
        derived = self.id is None and "id" not in row.fields
        if not derived:
            id = self._id(row.fields)
        elif text or vector is None:
            id = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        else:
            id, derived = str(number), False
        record = Record(id, text, self._metadata(row.fields))
        metadata = record.metadata_json()  # what is not JSON is refused here, where the place is known
        return Item(row.place, record, derived, len(text) + len(metadata), vector)

    def _vector(self, row: Row) -> NDArray[Any] | None:
        if row.vector is not None or self.vector is None:
            return row.vector
        if self.vector not in row.fields:
            raise InvalidRecord(f"no field {self.vector!r} for the vector; it has: {first_names(row.fields)}")
        given = row.fields.pop(self.vector)
        try:
            vector = np.asarray(given, np.float32)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidRecord(f"the vector must be a list of numbers, not {brief(given)}") from error
        if vector.ndim != 1 or not isinstance(given, list):
            raise InvalidRecord(f"the vector must be a list of numbers, not {brief(given)}")
        return vector

    def _text(self, fields: dict[str, Any]) -> str:
        if self.text not in fields:
            raise InvalidRecord(f"no field {self.text!r}; it has: {first_names(fields)} (--text-field names another)")
        text = fields[self.text]
        if not isinstance(text, str):
            raise InvalidRecord(f"the text must be a string, not {brief(text)}")
        return text

    def _id(self, fields: dict[str, Any]) -> str:
        if self.id_name not in fields:
            raise InvalidRecord(f"no field {self.id_name!r} for the id; it has: {first_names(fields)}")
        id = fields[self.id_name]
        if isinstance(id, int) and not isinstance(id, bool):
            return str(id)
        if not isinstance(id, str):
            raise InvalidRecord(f"the id must be a string or a whole number, not {brief(id)}")
        if not id:
            raise InvalidRecord("the id is empty")
        return id

    def _metadata(self, fields: dict[str, Any]) -> dict[str, Any]:
        own = {name: value for name, value in fields.items() if name not in (self.id_name, self.text)}
        merged = own.get("metadata", ())
        if merged is None or isinstance(merged, dict):
            del own["metadata"]
            return {**cast("dict[str, Any]", merged or {}), **own}
        return own
