"""Filters in Qdrant's form, exact under ``jinavec.filters.match``; pure, as REST values.

Qdrant compares payload values by other rules than ours: 7 is not 7.0 to it, whole numbers beyond 2**53 lose digits in
a range, strings have no order, and a name such as ``a.b`` is a path. So every scalar in the metadata is stored twice
more, in two forms that leave nothing to interpretation; of a list, every element is.

* ``jinavec.terms``: a list of keywords, each the JSON of [name, value]. Equality is equality of keywords, of whatever
  field; one payload index serves all of them.
* ``jinavec.order.KIND.NAME``: a list of chains of numbers, one for each value; chains order as the values do. A number
  is the chain of itself to 15 digits, then of how many floats it lies above or below, then of what no float holds. A
  string is the chain of its UTF-8 bytes, six at a time. Missing links count as 0. Every link is a number that survives
  any JSON library.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from jinavec.errors import InvalidFilter, brief
from jinavec.filters import And, Filter, In, Not, Range, Value, scalars

TERMS = "jinavec.terms"
ORDER = "jinavec.order"
LONGEST = 96
"""Bytes of UTF-8 that a string bound may have."""

Condition = dict[str, Any]
NEVER: Condition = {"has_id": []}

_MAX = sys.float_info.max
_TERM = 256  # characters after which a term is its digest
_BYTES = 6  # of a link: 257**6 is less than 2**53, so a float is exact, and less than 10**15, so JSON keeps its digits
_LINKS = LONGEST // _BYTES  # of a bound; a value keeps one more, to show that it goes on
_SMALL, _LARGE = 1e-6, 1e15  # between them, 15 digits are read alike everywhere


def terms(metadata: Mapping[str, Any]) -> list[str]:
    """Return the terms of the metadata of a record, each once."""
    return list(dict.fromkeys(_term(name, value) for name, value in scalars(metadata)))


def order(metadata: Mapping[str, Any]) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Return the chains of the metadata by kind and name of the field."""
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    for name, value in scalars(metadata):
        if not isinstance(value, bool):
            links = enumerate(_chain(value)[: _LINKS + 1] if isinstance(value, str) else _chain(value))
            chain = {f"c{number}": link for number, link in links if link or not number}
            found.setdefault(_kind(value), {}).setdefault(_path(name), []).append(chain)
    return found


def order_key(name: str, kind: str) -> str:
    """Return the key of a payload index that speeds up ranges on a field; kind is number or string."""
    return f"{ORDER}.{kind}.{_path(name)}[].c0"


def translate(condition: Filter) -> Condition:
    """Return a filter in Qdrant's form.

    Raises:
        InvalidFilter: a string bound of more than ``LONGEST`` bytes.
    """
    if isinstance(condition, In):
        known = [_term(condition.field, value) for value in condition.values if _storable(value)]
        return {"key": TERMS, "match": {"any": list(dict.fromkeys(known))}} if known else NEVER
    if isinstance(condition, Range):
        return _range(condition)
    if isinstance(condition, Not):
        return _not(translate(condition.part))
    parts = [translate(part) for part in condition.parts]
    if isinstance(condition, And):
        return {"must": parts}
    return {"should": parts} if parts else NEVER  # to Qdrant, no alternatives at all means everything


def _range(leaf: Range) -> Condition:
    bound, kind = leaf.bound, _kind(leaf.bound)
    if isinstance(bound, str) and len(_utf8(bound)) > LONGEST:
        raise InvalidFilter(
            f"the bound on {leaf.field!r} is too long: Qdrant compares the order of strings with at most {LONGEST}"
            f" bytes, not {brief(bound)}"
        )
    key, chain = f"{ORDER}.{kind}.{_path(leaf.field)}", _chain(bound)
    superset = _compare(f"{key}[].c0", "gte" if leaf.op.startswith("gt") else "lte", chain[0])  # has a payload index
    exact = {"nested": {"key": key, "filter": {"should": list(_alternatives(leaf.op, chain))}}}
    return {"must": [superset, exact]}


def _alternatives(op: str, chain: Sequence[float]) -> Iterator[Condition]:
    """Yield what must hold of a chain: equal up to some link and beyond the bound there, or equal to the end."""
    beyond = _greater if op.startswith("gt") else _less
    for number, link in enumerate(chain):
        yield {"must": [*_equal(chain[:number]), beyond(f"c{number}", link)]}
    after = f"c{len(chain)}"  # its sign tells on which side of the bound the rest of the value lies
    if op in ("gt", "lt"):
        last = beyond(after, 0.0)
    else:
        last = _not(_less(after, 0.0) if op == "gte" else _greater(after, 0.0))
    yield {"must": [*_equal(chain), last]}


def _equal(chain: Sequence[float]) -> list[Condition]:
    return [_same(f"c{number}", link) for number, link in enumerate(chain)]


def _same(key: str, link: float) -> Condition:
    if link:
        return {"key": key, "range": {"gte": link, "lte": link}}
    return {"must_not": [_compare(key, "gt", 0.0), _compare(key, "lt", 0.0)]}


def _greater(key: str, link: float) -> Condition:
    """Return that a link is greater; one that is missing is 0, which only a negation finds."""
    return _compare(key, "gt", link) if link >= 0 else _not(_compare(key, "lte", link))


def _less(key: str, link: float) -> Condition:
    return _compare(key, "lt", link) if link <= 0 else _not(_compare(key, "gte", link))


def _compare(key: str, op: str, bound: float) -> Condition:
    return {"key": key, "range": {op: bound}}


def _not(condition: Condition) -> Condition:
    return {"must_not": [condition]}


def _chain(value: str | int | float) -> list[float]:
    """Return numbers that, compared link by link, order as values do.

    Strings order by code points, which is the order of their UTF-8 bytes. Of numbers, rounding never changes the order
    but makes some equal; among those, the next links decide: by how many floats each lies above what it was rounded to,
    and, for integers between two floats, by what is left, in the same way again until nothing is.
    """
    if isinstance(value, str):
        data = _utf8(value)
        return [_digits(data[start : start + _BYTES]) for start in range(0, len(data), _BYTES)] or [0.0]
    if not _storable(value):
        return [_LARGE, 2.0**33] if value > 0 else [-_LARGE, -(2.0**33)]  # beyond all that is stored
    near = float(value)
    chain = [_rounded(near), *_split(_rank(near) - _rank(_rounded(near)))]
    rest = value - int(near) if isinstance(value, int) else 0
    while rest:
        near = float(rest)
        chain += _split(_rank(near))
        rest -= int(near)
    return chain


def _rounded(number: float) -> float:
    """Return a number to 15 digits, which any JSON library reads alike; beyond that range, the end of the range."""
    if abs(number) < _SMALL:
        return 0.0
    return max(-_LARGE, min(_LARGE, float(f"{number:.15g}")))


def _rank(number: float) -> int:
    """Return how many floats lie between 0 and a number, negative below 0.

    The bits of positive IEEE 754 numbers, read as integers, count up in the order of the numbers.
    """
    (bits,) = struct.unpack(">q", struct.pack(">d", number))
    return bits if bits >= 0 else -(bits & 0x7FFF_FFFF_FFFF_FFFF)


def _split(number: int) -> list[float]:
    """Return a 64-bit number as two links; the second is never negative, so the first decides unless it is equal."""
    return [float(number >> 32), float(number & 0xFFFF_FFFF)]


def _digits(data: bytes) -> float:
    """Read six bytes as a number to the base 257.

    A byte counts one more than it is, and 0 is the end of a string, which so comes before all that continue it.
    """
    number = 0
    for position in range(_BYTES):
        number = number * 257 + (data[position] + 1 if position < len(data) else 0)
    return float(number)


def _term(name: str, value: Value) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    term = json.dumps([name, value])
    return term if len(term) <= _TERM else f"sha256:{hashlib.sha256(term.encode()).hexdigest()}"


def _storable(value: Value) -> bool:
    return isinstance(value, str) or abs(value) <= _MAX


def _kind(value: Value) -> str:
    return "string" if isinstance(value, str) else "number"


_PLAIN: Callable[[str], Any] = re.compile(r"(?!x-)[A-Za-z0-9_-]{1,64}").fullmatch


def _path(name: str) -> str:
    """Return a name as one step of a path."""
    if _PLAIN(name):
        return name
    data = _utf8(name)
    return f"x-{data.hex() if len(data) <= 64 else hashlib.sha256(data).hexdigest()}"


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # a filter may name half a surrogate pair; no record does
