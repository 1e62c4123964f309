"""Filters in Qdrant's form, exact under ``jinavec.filters.match``; pure, as REST values.

Qdrant compares payload values by other rules than ours: 7 is not 7.0 to it, whole numbers beyond 2**53 lose digits in
a range, strings have no order, and a name such as ``a.b`` is a path. So scalars in the metadata that no declared field
(``fields``) holds are stored twice more, in two forms that leave nothing to interpretation; of a list, every element.

* ``jinavec.terms``: a list of keywords, each the JSON of [name, value]. Equality is equality of keywords, of whatever
  field; one payload index serves all of them.
* ``jinavec.order``: a list of objects, one for each value: ``f`` names its kind and field, ``c0``, ``c1`` ... are the
  links of its chain (``chains``). A few payload indexes serve all fields, as far as bounds are short.

In collections of the first version, no field is declared, and chains lie at ``jinavec.order.KIND.NAME``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinavec.errors import InvalidFilter, brief
from jinavec.filters import And, Filter, In, Not, Range, Value, scalars
from jinavec_integrations.qdrant import fields
from jinavec_integrations.qdrant.chains import LONGEST, chain, storable, stored_chain, utf8
from jinavec_integrations.qdrant.fields import NEVER, Condition, FieldType

TERMS = "jinavec.terms"
ORDER = "jinavec.order"
HELPERS = [TERMS, ORDER]
"""Parts of a payload that only Qdrant reads."""
INDEXED_LINKS = 6
"""Links with a payload index: enough for a number, a moment, and 30 bytes of another string."""
_TERM = 256  # characters after which a term is its digest


@dataclass(frozen=True)
class Layout:
    """Where a collection keeps what filters find."""

    fields: Mapping[str, FieldType] = field(default_factory=dict[str, FieldType])
    """Types of declared fields by name."""
    tenant: str = ""
    """The declared field that tells tenants apart, if there is one."""
    version: int = 2


def helpers(metadata: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    """Return what is stored beside metadata so that filters find it."""
    found = {"terms": terms(metadata, layout), "order": order(metadata, layout)}
    return found if layout.version == 1 else {name: value for name, value in found.items() if value}


def terms(metadata: Mapping[str, Any], layout: Layout) -> list[str]:
    """Return the terms of the metadata of a record, each once."""
    return list(dict.fromkeys(_term(name, value) for name, value in scalars(metadata) if _has_term(name, layout)))


def order(metadata: Mapping[str, Any], layout: Layout) -> Any:
    """Return the chains of the metadata: a list, or, in the first version, lists by kind and name of the field."""
    ordered = [(name, value) for name, value in scalars(metadata) if not isinstance(value, bool)]
    if layout.version > 1:
        return [
            {"f": _field(name, value), **stored_chain(value)}
            for name, value in ordered
            if layout.fields.get(name, "keyword") == "keyword"
        ]
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    for name, value in ordered:
        found.setdefault(_kind(value), {}).setdefault(_path(name), []).append(stored_chain(value))
    return found


def payload_indexes(layout: Layout) -> dict[str, dict[str, Any]]:
    """Return the payload indexes of a collection, by key."""
    wanted: dict[str, dict[str, Any]] = {TERMS: {"type": "keyword", "on_disk": True}}
    if layout.version == 1:
        return wanted
    wanted[f"{ORDER}[].f"] = {"type": "keyword", "on_disk": True}
    wanted |= {f"{ORDER}[].c{number}": {"type": "float", "on_disk": True} for number in range(INDEXED_LINKS)}
    wanted |= {fields.key(name): {"type": kind} for name, kind in layout.fields.items()}
    if layout.tenant:
        wanted[fields.key(layout.tenant)]["is_tenant"] = True
    return wanted


def translate(condition: Filter, layout: Layout) -> Condition:
    """Return a filter in Qdrant's form.

    Raises:
        InvalidFilter: a string bound of more than ``LONGEST`` bytes, or one that is no point in time.
    """
    if isinstance(condition, In):
        return _equal(condition, layout)
    if isinstance(condition, Range):
        return _range(condition, layout)
    if isinstance(condition, Not):
        return _not(translate(condition.part, layout))
    parts = [translate(part, layout) for part in condition.parts]
    if isinstance(condition, And):
        return {"must": parts}
    return {"should": parts} if parts else NEVER  # to Qdrant, no alternatives at all means everything


def _has_term(name: str, layout: Layout) -> bool:
    return layout.fields.get(name, "datetime") == "datetime"


def _equal(leaf: In, layout: Layout) -> Condition:
    kind = layout.fields.get(leaf.field)
    if kind is not None and (plain := fields.equality(leaf, kind)) is not None:
        return plain
    known = [_term(leaf.field, value) for value in leaf.values if storable(value)]
    return {"key": TERMS, "match": {"any": list(dict.fromkeys(known))}} if known else NEVER


def _range(leaf: Range, layout: Layout) -> Condition:
    declared = layout.fields.get(leaf.field)
    if declared is not None and (plain := fields.comparison(leaf, declared)) is not None:
        return plain
    bound = leaf.bound
    if isinstance(bound, str) and len(utf8(bound)) > LONGEST:
        raise InvalidFilter(
            f"the bound on {leaf.field!r} is too long: Qdrant compares the order of strings with at most {LONGEST}"
            f" bytes, not {brief(bound)}"
        )
    beyond = _beyond(leaf.op, chain(bound))
    if layout.version == 1:
        return _first_version(leaf, beyond)
    same_field = {"key": "f", "match": {"any": [_field(leaf.field, bound)]}}
    return {"nested": {"key": ORDER, "filter": {"must": [same_field, beyond]}}}


def _first_version(leaf: Range, beyond: Condition) -> Condition:
    key = f"{ORDER}.{_kind(leaf.bound)}.{_path(leaf.field)}"
    indexed = _compare(f"{key}[].c0", "gte" if leaf.op.startswith("gt") else "lte", chain(leaf.bound)[0])
    return {"must": [indexed, {"nested": {"key": key, "filter": {"must": [beyond]}}}]}


def _beyond(op: str, links: Sequence[float]) -> Condition:
    """Return what must hold of a chain: a first link beyond the bound's, or one not short of it and a rest beyond.

    Behind the last link of the bound, the sign of the next tells on which side of the bound the value lies.
    """
    up = op.startswith("gt")
    past, before = (_greater, _less) if up else (_less, _greater)
    after = f"c{len(links)}"
    condition: Condition = past(after, 0.0) if op in ("gt", "lt") else _not(before(after, 0.0))
    for number in reversed(range(len(links))):
        name, link = f"c{number}", links[number]
        condition = {"should": [past(name, link), {"must": [_not(before(name, link)), condition]}]}
    return condition


def _greater(name: str, link: float) -> Condition:
    """Return that a link is greater; one that is missing is 0, which only a negation finds."""
    return _compare(name, "gt", link) if link >= 0 else _not(_compare(name, "lte", link))


def _less(name: str, link: float) -> Condition:
    return _compare(name, "lt", link) if link <= 0 else _not(_compare(name, "gte", link))


def _compare(name: str, op: str, bound: float) -> Condition:
    return {"key": name, "range": {op: bound}}


def _not(condition: Condition) -> Condition:
    return condition["must_not"][0] if set(condition) == {"must_not"} else {"must_not": [condition]}


def _term(name: str, value: Value) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _short(json.dumps([name, value]))


def _field(name: str, value: Value) -> str:
    return _short(json.dumps([_kind(value), name]))


def _short(term: str) -> str:
    return term if len(term) <= _TERM else f"sha256:{hashlib.sha256(term.encode()).hexdigest()}"


def _kind(value: Value) -> str:
    return "string" if isinstance(value, str) else "number"


_PLAIN: Callable[[str], Any] = re.compile(r"(?!x-)[A-Za-z0-9_-]{1,64}").fullmatch


def _path(name: str) -> str:
    """Return a name as one step of a path."""
    if _PLAIN(name):
        return name
    data = utf8(name)
    return f"x-{data.hex() if len(data) <= 64 else hashlib.sha256(data).hexdigest()}"
