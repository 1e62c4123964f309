"""Strict mode, as a Qdrant server enforces it: which requests a collection refuses, and with which words.

The rules are those of the server: of a filter, every condition needs a payload index that can answer it, inside of
``nested`` at the path of the elements; limits compare numbers of the request; rates count points and conditions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Values = dict[str, Any]

CLOUD = {
    "enabled": True,
    "unindexed_filtering_retrieve": False,
    "unindexed_filtering_update": False,
    "max_payload_index_count": 100,
}
"""What Qdrant Cloud sets for new collections."""

_ANSWERS = {
    "keyword": {"keyword"},
    "integer": {"integer", "integer range"},
    "float": {"float range"},
    "bool": {"bool"},
    "datetime": {"datetime range"},
}
"""What each kind of payload index can answer."""


class Refused(Exception):
    """A request that strict mode does not allow."""


class RateLimited(Exception):
    """More than a minute has room for."""


class StrictMode:
    """The limits of one collection, and what is left of this minute."""

    def __init__(self, limits: Mapping[str, Any] | None) -> None:
        enabled = limits is not None and limits.get("enabled")
        self.limits: Mapping[str, Any] = (limits or {}) if enabled else {}
        self._left: dict[str, float] = {}

    def check(self, route: str, body: Any, made: Values, indexes: Mapping[str, Any]) -> None:
        """Refuse a request.

        Raises:
            Refused: for good.
            RateLimited: for this minute; after that the minute is over.
        """
        if route == "PUT index" and self._exceeds("max_payload_index_count", len(indexes) + 1):
            raise Refused("Collection already has the maximum number of payload indices")
        if route == "PUT points":
            count = len(body["batch"]["ids"] if "batch" in body else body["points"])
            self._limit("upsert_max_batchsize", count, "upsert limit")
            self._spend("write_rate_limit", count)
        elif route == "POST points/delete":
            self._filter(body.get("filter"), "unindexed_filtering_update", indexes)
            self._spend("write_rate_limit", len(body.get("points") or [0]))
        elif route == "POST points":
            self._spend("read_rate_limit", len(body["ids"]))
        elif route == "POST points/count":
            self._read(body, indexes)
            self._exact(body.get("exact", True))
        elif route == "POST points/scroll":
            self._limit("max_query_limit", body.get("limit", 10), "limit")
            self._read(body, indexes)
        elif route == "POST points/query/batch":
            self._limit("search_max_batchsize", len(body["searches"]), "search batch size")
            for search in body["searches"]:
                self._search(search, made, indexes, top=True)

    def _search(self, search: Values, made: Values, indexes: Mapping[str, Any], *, top: bool = False) -> None:
        prefetches: list[Values] = search.get("prefetch") or []
        for prefetch in prefetches:
            self._search(prefetch, made, indexes)
        if not prefetches:
            self._scan(search, made)
        self._limit("max_query_limit", search.get("limit", 10), "limit")
        self._read(search, indexes, cost=int(top))
        params: Values = search.get("params") or {}
        quantization: Values = params.get("quantization") or {}
        self._limit("search_max_oversampling", quantization.get("oversampling") or 0, "oversampling")
        self._limit("search_max_hnsw_ef", params.get("hnsw_ef") or 0, "hnsw_ef")
        self._exact(params.get("exact", False))

    def _scan(self, search: Values, made: Values) -> None:
        vectors = made["vectors"]
        vector = vectors if "size" in vectors else vectors.get(search.get("using") or "", {})
        graph: Values = vector.get("hnsw_config") or {}
        if self.limits.get("search_allow_exact") is False and graph.get("m") == 0:
            raise Refused(
                "Request is forbidden because global vector indexing is disabled (hnsw_config.m = 0). Help: Use"
                " tenant-specific filter, enable global vector indexing or enable strict mode `search_allow_exact`"
            )

    def _exact(self, exact: bool) -> None:
        if exact and self.limits.get("search_allow_exact") is False:
            raise Refused("Exact search disabled!. Help: Set exact=false.")

    def _read(self, body: Values, indexes: Mapping[str, Any], cost: int = 1) -> None:
        self._filter(body.get("filter"), "unindexed_filtering_retrieve", indexes)
        self._spend("read_rate_limit", cost + sum(1 for _ in _conditions(body.get("filter") or {}, "")))

    def _filter(self, given: Values | None, allowed: str, indexes: Mapping[str, Any]) -> None:
        if given is None:
            return
        found = list(_conditions(given, ""))
        if self._exceeds("filter_max_conditions", len(found)):
            raise Refused(f"Filter condition limit reached ({len(found)} > {self.limits['filter_max_conditions']})")
        longest = max((len(c.get("match", {}).get("any", [0])) for _, c in found), default=0)
        if self._exceeds("condition_max_size", longest):
            raise Refused(f"Condition size limit reached ({longest} > {self.limits['condition_max_size']})")
        for key, condition in found:
            needed = _needed(condition)
            kind = (indexes.get(key) or {"type": ""})["type"]
            if self.limits.get(allowed) is False and needed and not needed & _ANSWERS.get(kind, set()):
                kinds = ", ".join(sorted({name.split()[0] for name in needed}))
                raise Refused(
                    f'Index required but not found for "{key}" of one of the following types: [{kinds}]. Help: Create'
                    " an index for this key or use a different filter."
                )

    def _limit(self, name: str, value: float, shown: str) -> None:
        if self._exceeds(name, value):
            limit = self.limits[name]
            raise Refused(
                f'Limit exceeded {value} > {limit} for "{shown}". Help: Reduce the "{shown}" parameter to or below'
                f" {limit}."
            )

    def _exceeds(self, name: str, value: float) -> bool:
        limit = self.limits.get(name)
        return limit is not None and value > limit

    def _spend(self, name: str, cost: int) -> None:
        limit = self.limits.get(name)
        if limit is None:
            return
        left = self._left.setdefault(name, limit)
        if cost > left:
            self._left[name] = limit  # as if the minute had passed that a client waits
            raise RateLimited(f"Rate limiting exceeded: {name} is {limit}, the operation costs {cost}")
        self._left[name] = left - cost


def _conditions(given: Values, prefix: str) -> Iterator[tuple[str, Values]]:
    """Yield the path and condition of every leaf of a filter."""
    for clause in ("must", "should", "must_not"):
        parts: list[Values] = given.get(clause) or []
        for part in parts:
            if "nested" in part:
                key: str = part["nested"]["key"]
                yield from _conditions(part["nested"]["filter"], f"{prefix}{key.removesuffix('[]')}[].")
            elif "key" in part:
                yield prefix + part["key"], part
            elif "has_id" not in part:
                yield from _conditions(part, prefix)


def _needed(condition: Values) -> set[str]:
    """Return what a payload index must answer, any of them; nothing where none is needed."""
    match, bounds = condition.get("match"), condition.get("range")
    needed: set[str] = set()
    if match is not None:
        values = match["any"] if "any" in match else [match["value"]]
        needed |= {_KINDS[type(value)] for value in values[:1]}
    if bounds is not None:
        moments = any(isinstance(bound, str) for bound in bounds.values())
        needed |= {"datetime range"} if moments else {"float range", "integer range"}
    return needed


_KINDS: dict[type, str] = {str: "keyword", int: "integer", bool: "bool"}
