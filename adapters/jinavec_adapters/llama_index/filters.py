"""Metadata filters: from LlamaIndex's form to jinavec's, with a post-filter for what that cannot express.

Operators mean what they mean to LlamaIndex's own store: ``contains``, ``any`` and ``all`` look for elements of lists
and for substrings; 1 is also True. But as everywhere in jinavec, a list matches a comparison when any of its elements
does, a value of another type never does (LlamaIndex raises TypeError), and a missing field matches only ``!=``, ``nin``
and ``is_empty``. Substring operators are post-filtered; all others use the metadata index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, MetadataFilter, MetadataFilters

from jinavec.errors import InvalidFilter, brief
from jinavec.filters import match, parse_filter
from jinavec.retrieval import PostFilter
from jinavec_adapters.llama_index.nodes import FILLED

Condition = dict[str, Any]


@dataclass(frozen=True)
class SplitFilter:
    """A filter in two parts; a record must match both."""

    indexed: Condition
    """In jinavec's form, for the metadata index."""
    post_filter: PostFilter | None = None
    """The rest, evaluated record by record; None where the index does it all."""

    def predicate(self) -> PostFilter:
        """Return both parts as one function."""
        condition, rest = parse_filter(self.indexed), self.post_filter
        return lambda record: match(condition, record.metadata) and (rest is None or rest(record))


def translate(filters: MetadataFilters | None) -> SplitFilter | None:
    """Return filters in our form; None where every record matches.

    Raises:
        InvalidFilter: no such filters, or an operator or value that is not supported.
    """
    if filters is not None and not isinstance(filters, MetadataFilters):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidFilter(f"filters are MetadataFilters, not {brief(filters)}")
    return _group(filters) if filters is not None and filters.filters else None


def all_of(parts: Sequence[SplitFilter]) -> SplitFilter:
    """Match what every part does."""
    rest = [part.post_filter for part in parts if part.post_filter is not None]
    indexed = {"and": [part.indexed for part in parts]}
    return SplitFilter(indexed, (lambda record: all(test(record) for test in rest)) if rest else None)


def any_of(parts: Sequence[SplitFilter]) -> SplitFilter:
    """Match what at least one part does; the index narrows it to records that might."""
    indexed = {"or": [part.indexed for part in parts]}
    if all(part.post_filter is None for part in parts):
        return SplitFilter(indexed)
    tests = [part.predicate() for part in parts]
    return SplitFilter(indexed, lambda record: any(test(record) for test in tests))


def none_of(parts: Sequence[SplitFilter]) -> SplitFilter:
    """Match what no part does; the index rules out only what it can tell on its own."""
    indexed = {"not": {"or": [part.indexed for part in parts if part.post_filter is None]}}
    tests = [part.predicate() for part in parts if part.post_filter is not None]
    return SplitFilter(indexed, (lambda record: not any(test(record) for test in tests)) if tests else None)


def _group(group: MetadataFilters) -> SplitFilter:
    parts = [_group(part) if isinstance(part, MetadataFilters) else _leaf(part) for part in group.filters]
    if group.condition == FilterCondition.NOT:
        return none_of(parts)
    return any_of(parts) if group.condition == FilterCondition.OR and parts else all_of(parts)


def _leaf(leaf: MetadataFilter) -> SplitFilter:
    operator = leaf.operator.value
    if leaf.key in ("and", "or", "not"):
        raise InvalidFilter(f"cannot filter on a field named {leaf.key!r}: it is an operator of jinavec's filters")
    if operator == "is_empty":
        return _empty(leaf.key)
    takes_list = operator in _OF_LISTS
    write = (_OF_LISTS if takes_list else _OF_VALUES).get(operator)
    if write is None:
        raise InvalidFilter(
            f"the filter on {leaf.key!r} uses {operator!r}, which this store does not support; it has:"
            f" {', '.join([*_OF_VALUES, *_OF_LISTS, 'is_empty'])}"
        )
    if leaf.value is None:
        raise InvalidFilter(f"the filter on {leaf.key!r} compares with None; for missing or empty use 'is_empty'")
    if isinstance(leaf.value, list) is not takes_list:
        kind = "a list of values" if takes_list else "one value; for one of several use 'in', 'any' or 'all'"
        raise InvalidFilter(f"{operator!r} on {leaf.key!r} takes {kind}, not {brief(leaf.value)}")
    translated = write(leaf.key, leaf.value)
    parse_filter(translated.indexed)
    return translated


def _equal(key: str, *values: Any) -> SplitFilter:
    """Match one of the values; Python, and so LlamaIndex, takes 1 for True and 0 for False."""
    truths = [truth for truth in (False, True) if truth in values]
    return SplitFilter({key: {"in": [*values, *truths]}})


def _range(operator: str) -> Callable[[str, Any], SplitFilter]:
    return lambda key, value: SplitFilter({key: {operator: value}})


def _text(key: str) -> Condition:
    """Match a field that is a text, and not a list."""
    return {"and": [{key: {"gte": ""}}, {"not": {FILLED: key}}]}


def _contains(key: str, value: Any) -> SplitFilter:
    listed = _equal(key, value)
    return any_of([listed, _substring(key, value)]) if isinstance(value, str) else listed


def _substring(key: str, value: Any, fold: Callable[[str], str] = str) -> SplitFilter:
    """Match a text with a substring."""
    if not isinstance(value, str):
        raise InvalidFilter(f"a substring of {key!r} must be a text, not {brief(value)}")
    return SplitFilter(_text(key), lambda record: fold(value) in fold(record.metadata[key]))


def _all(key: str, values: Any) -> SplitFilter:
    if not values:
        raise InvalidFilter(f"'all' on {key!r} takes at least one value")
    return all_of([_contains(key, value) for value in values])


def _empty(key: str) -> SplitFilter:
    """Match a field that is missing, null, an empty text or an empty list: whatever has none of the values below."""
    numbers, truths = [{key: {"lt": 0}}, {key: {"gte": 0}}], {key: {"in": [True, False]}}
    return SplitFilter({"not": {"or": [{key: {"gt": ""}}, *numbers, truths, {FILLED: key}]}})


_OF_VALUES: dict[str, Callable[[str, Any], SplitFilter]] = {
    "==": _equal,
    "!=": lambda key, value: none_of([_equal(key, value)]),
    ">": _range("gt"),
    ">=": _range("gte"),
    "<": _range("lt"),
    "<=": _range("lte"),
    "contains": _contains,
    "text_match": _substring,
    "text_match_insensitive": lambda key, value: _substring(key, value, str.lower),
}
_OF_LISTS: dict[str, Callable[[str, Any], SplitFilter]] = {
    "in": lambda key, values: _equal(key, *values),
    "nin": lambda key, values: none_of([_equal(key, *values)]),
    "any": lambda key, values: any_of([_contains(key, value) for value in values]),
    "all": _all,
}
