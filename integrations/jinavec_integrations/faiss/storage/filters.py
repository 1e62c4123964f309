"""Filters: from the parsed form to lookups in the index of metadata fields, and to the docids that pass.

Every scalar in the metadata is an entry (name, kind, value, docid) in SQLite; of a list, every element is one. Values
were bound by Python, so SQLite compares what Python would: strings by code point, whole numbers and floats exactly.
What 64 bits or UTF-8 cannot hold is compared here, by ``jinavec.filters.match`` itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jinavec.filters import And, Filter, In, Not, Range, Value, is_unicode, scalars
from jinavec_integrations.faiss.types import DocIds, Mask

BOOLEAN, NUMBER, BIG, STRING = "boolean", "number", "big", "string"
"""Kinds of entries; big ones are whole numbers beyond 64 bits, kept as decimal digits."""

_COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


@dataclass(frozen=True)
class Lookup:
    """The entries of one name and kind; those that compare with a value, or all of them."""

    name: str
    kind: str
    comparison: str | None = None
    value: object = None


def select(condition: Filter, count: int, find: Callable[[In | Range], DocIds]) -> Mask:
    """Return which of the first docids pass a filter, given those that pass its leaves."""
    if isinstance(condition, (In, Range)):
        mask = np.zeros(count, np.bool_)
        mask[find(condition)] = True
        return mask
    if isinstance(condition, Not):
        return ~select(condition.part, count, find)
    join = np.logical_and if isinstance(condition, And) else np.logical_or
    mask = np.full(count, isinstance(condition, And))
    for part in condition.parts:
        join(mask, select(part, count, find), out=mask)
    return mask


def lookups(leaf: In | Range) -> list[Lookup]:
    """Return where to look for the docids that pass a leaf; without a comparison, each entry is left to ``match``."""
    if not is_unicode(leaf.field):
        return []
    values, comparison = (leaf.values, "=") if isinstance(leaf, In) else ((leaf.bound,), _COMPARISONS[leaf.op])
    return list(dict.fromkeys(lookup for value in values for lookup in _lookups(leaf.field, value, comparison)))


def entries(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str, object]]:
    """Yield (name, kind, value) of everything in the metadata that a filter can find."""
    for name, value in scalars(metadata):
        kind = _kind(value)
        yield name, kind, str(value) if kind == BIG else value


def read_entry(kind: str, value: Any) -> Value:
    """Return the value in the metadata that an entry stands for.

    Raises:
        ValueError: no digits where there should be some.
    """
    return int(str(value)) if kind == BIG else value


def _lookups(name: str, value: Value, comparison: str) -> Iterator[Lookup]:
    kind = _kind(value)
    if kind in (NUMBER, BIG):
        yield Lookup(name, BIG)
        yield Lookup(name, NUMBER, comparison, value) if kind == NUMBER else Lookup(name, NUMBER)
    elif not is_unicode(value):
        yield Lookup(name, STRING)
    else:
        yield Lookup(name, kind, comparison, value)


def _kind(value: Value) -> str:
    if isinstance(value, bool):
        return BOOLEAN
    if isinstance(value, int):
        return NUMBER if -(2**63) <= value < 2**63 else BIG
    return STRING if isinstance(value, str) else NUMBER
