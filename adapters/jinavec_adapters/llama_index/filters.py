"""Metadata filters: from LlamaIndex's form to jinavec's.

The field of a node may hold one value or a list. As everywhere in jinavec, a list passes a comparison when any of its
elements does, ``!=`` and ``nin`` are the opposites of ``==`` and ``in``, and a missing field passes only these two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llama_index.core.vector_stores.types import FilterCondition, MetadataFilter, MetadataFilters

from jinavec.errors import InvalidFilter, brief
from jinavec_adapters.llama_index.nodes import FILLED

Condition = dict[str, Any]


def translate(filters: MetadataFilters | None) -> Condition | None:
    """Return filters in jinavec's form; None where they let everything pass.

    Raises:
        InvalidFilter: an operator or value that jinavec's filters cannot express.
    """
    return _group(filters) if filters is not None and filters.filters else None


def _group(group: MetadataFilters) -> Condition:
    parts = [_group(part) if isinstance(part, MetadataFilters) else _leaf(part) for part in group.filters]
    if group.condition == FilterCondition.NOT:
        return {"not": {"or": parts}}  # none of them
    if group.condition == FilterCondition.OR and parts:
        return {"or": parts}
    return {"and": parts}


def _leaf(leaf: MetadataFilter) -> Condition:
    operator = leaf.operator.value
    if leaf.key in ("and", "or", "not"):
        raise InvalidFilter(f"a field named {leaf.key!r} cannot be filtered on: jinavec's filters use the word")
    if operator == "is_empty":
        return _empty(leaf.key)
    takes_list = operator in _OF_LISTS
    write = (_OF_LISTS if takes_list else _OF_VALUES).get(operator)
    if write is None:
        raise InvalidFilter(
            f"the filter on {leaf.key!r} uses {operator!r}, which this store cannot search by; it has:"
            f" {', '.join([*_OF_VALUES, *_OF_LISTS, 'is_empty'])}"
        )
    if leaf.value is None:
        raise InvalidFilter(f"the filter on {leaf.key!r} compares with None; for missing or empty use 'is_empty'")
    if isinstance(leaf.value, list) is not takes_list:
        kind = "a list of values" if takes_list else "one value; for one of several use 'in', 'any' or 'all'"
        raise InvalidFilter(f"{operator!r} on {leaf.key!r} takes {kind}, not {brief(leaf.value)}")
    return write(leaf.key, leaf.value)


def _all(key: str, values: Any) -> Condition:
    if not values:
        raise InvalidFilter(f"'all' on {key!r} takes at least one value")
    return {"and": [{key: value} for value in cast("list[Any]", values)]}


def _empty(key: str) -> Condition:
    """Match a field that is missing, null, an empty text or an empty list: one that is none of these has something."""
    numbers, truths = [{key: {"lt": 0}}, {key: {"gte": 0}}], {key: {"in": [True, False]}}
    return {"not": {"or": [{key: {"gt": ""}}, *numbers, truths, {FILLED: key}]}}


_OF_VALUES: dict[str, Callable[[str, Any], Condition]] = {
    "==": lambda key, value: {key: value},
    "!=": lambda key, value: {key: {"ne": value}},
    ">": lambda key, value: {key: {"gt": value}},
    ">=": lambda key, value: {key: {"gte": value}},
    "<": lambda key, value: {key: {"lt": value}},
    "<=": lambda key, value: {key: {"lte": value}},
    "contains": lambda key, value: {key: value},
}
_OF_LISTS: dict[str, Callable[[str, Any], Condition]] = {
    "in": lambda key, values: {key: {"in": values}},
    "nin": lambda key, values: {"not": {key: {"in": values}}},
    "any": lambda key, values: {key: {"in": values}},
    "all": _all,
}
