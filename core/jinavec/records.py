"""Record, Page and Hit: what every engine takes and gives."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from jinavec.errors import IndexDamaged, InvalidRecord, InvalidType, brief
from jinavec.limits import DEPTH, members
from jinavec.vectors import Float32

_TOO_DEEP = f"metadata is not JSON as it is stored: nested deeper than {DEPTH} levels; flatten it"


@dataclass(frozen=True)
class Record:
    """A text with its identity and metadata.

    Raises:
        InvalidRecord: the id is no non-empty string, the text no string, or a text holds half a surrogate pair.
    """

    id: str
    text: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """JSON values by name."""

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise InvalidRecord(f"a record's id must be a non-empty string, not {brief(self.id)}")
        if not isinstance(self.text, str):
            raise InvalidRecord(f"record {self.id!r}: the text must be a string, not {brief(self.text)}")
        if not isinstance(self.metadata, Mapping):
            raise InvalidRecord(f"record {self.id!r}: metadata must be a mapping, not {brief(self.metadata)}")
        for value in (self.id, self.text):
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise InvalidRecord(f"record {self.id!r} holds half a surrogate pair: {error}") from error

    if not TYPE_CHECKING:  # else no attribute would be known to be missing

        def __getattr__(self, name: str) -> object:
            """Parse the metadata of a stored record; asked for what is not there yet."""
            text = self.__dict__.get("_metadata_json") if name == "metadata" else None
            if text is None:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            metadata = parse_metadata(text, self.id)
            self.__dict__["metadata"] = metadata
            return metadata

    def metadata_json(self) -> str:
        """Return the metadata as one JSON object.

        Raises:
            InvalidRecord: a key is no string, a value is not JSON (NaN and infinity are not), or nested too deeply.
        """
        try:
            text = json.dumps(dict(self.metadata), ensure_ascii=False, allow_nan=False)
            text.encode()
        except RecursionError as error:
            raise InvalidRecord(f"record {self.id!r}: {_TOO_DEEP}") from error
        except (TypeError, ValueError) as error:
            raise InvalidRecord(f"record {self.id!r}: metadata is not JSON: {error}") from error
        if reason := _fault(self.metadata):
            raise InvalidRecord(f"record {self.id!r}: {reason}")
        return text


def stored_record(id: str, text: str, metadata_json: str) -> Record:
    """Return a record that an index holds, without another check; its metadata are parsed when they are looked at.

    Args:
        id: a string that is not empty.
        text: what came from UTF-8, as the id did.
        metadata_json: one JSON object; where it is none, the first look at the metadata raises IndexDamaged.
    """
    record = object.__new__(Record)
    record.__dict__.update(id=id, text=text, _metadata_json=metadata_json)
    return record


def parse_metadata(text: str, id: str = "") -> dict[str, Any]:
    """Return the metadata of a stored record, where known with its id.

    Raises:
        IndexDamaged: the text is not one JSON object.
    """
    whose = f"record {id!r}" if id else "a record"
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise IndexDamaged(f"the metadata of {whose} are not JSON: {error}") from error
    if not isinstance(content, dict):
        raise IndexDamaged(f"the metadata of {whose} are {brief(content)}, not an object")
    return cast("dict[str, Any]", content)


def only_records(given: Iterable[Record]) -> Iterator[Record]:
    """Yield what is given.

    Raises:
        InvalidType: something that is no record.
    """
    for record in given:
        if not isinstance(record, Record):
            raise InvalidType(f"records must be Record objects, not {type(record).__name__}")
        yield record


def same_content(one: Record, other: Record) -> bool:
    """Return whether two records hold the same text and metadata; the order of names does not count."""
    return one.text == other.text and _in_order(one) == _in_order(other)


def _in_order(record: Record) -> str:
    return json.dumps(json.loads(record.metadata_json()), sort_keys=True)


def _fault(metadata: Mapping[str, Any]) -> str:
    """Return what json.dumps does not mind: a key that is no string, of which it makes one; or too many levels."""
    level: list[object] = [dict(metadata)]
    for _ in range(DEPTH + 1):
        for value in level:
            if isinstance(value, dict) and not all(isinstance(key, str) for key in cast("dict[object, object]", value)):
                return "metadata is not JSON: every key must be a string"
        level = [inner for outer in level for inner in members(outer)]
        if not level:
            return ""
    return _TOO_DEEP


@dataclass(frozen=True)
class Page:
    """Some of an engine's records, as ``Engine.iterate`` yields them."""

    records: list[Record]
    cursor: str
    """Where to go on behind the last of these records: ``Engine.iterate(after=cursor)``."""
    vectors: Float32 | None = field(default=None, compare=False)
    """Their vectors, float32 (n, dimension) of unit length; None unless asked for."""

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)


@dataclass(frozen=True)
class Hit:
    """A record that answers a query."""

    record: Record
    score: float
    """Cosine similarity, or the engine's best estimate of it, in [-1, 1]; higher is better."""
