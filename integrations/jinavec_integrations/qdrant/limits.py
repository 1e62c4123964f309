"""Limits: what the strict mode of a collection forbids, so that requests stay within it; pure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from jinavec.errors import InvalidInput


@dataclass(frozen=True)
class Limits:
    """Those limits of strict mode that requests can be fitted to; None: no limit."""

    max_query_limit: int | None = None
    """Hits of a search, points of a page."""
    search_max_hnsw_ef: int | None = None
    search_max_oversampling: float | None = None
    search_allow_exact: bool | None = None
    search_max_batchsize: int | None = None
    """Queries in a request."""
    upsert_max_batchsize: int | None = None
    """Points in a request."""
    read_rate_limit: int | None = None
    """Points read, and searches, in a minute."""
    write_rate_limit: int | None = None
    """Points written in a minute."""

    @classmethod
    def of(cls, info: Any) -> Limits:
        """Return the limits of a collection, from what the client says of it."""
        mode = info.config.strict_mode_config
        if mode is None or not mode.enabled:
            return cls()
        return cls(**{field.name: getattr(mode, field.name, None) for field in fields(cls)})

    def page(self, size: int) -> int:
        """Return how many points a page may have."""
        return _least(size, self.max_query_limit)

    def ids(self, size: int) -> int:
        """Return how many points a request may read by id."""
        return _least(size, self.read_rate_limit)

    def queries(self, size: int) -> int:
        """Return how many queries a request may have."""
        return _least(size, self.search_max_batchsize, self.read_rate_limit)

    def points(self, size: int) -> int:
        """Return how many points a request may write."""
        return _least(size, self.upsert_max_batchsize, self.write_rate_limit)

    def hits(self, k: int) -> int:
        """Return how many hits are asked for.

        Raises:
            InvalidInput: more than a search may ask for.
        """
        if self.max_query_limit is not None and k > self.max_query_limit:
            raise InvalidInput(
                f"k={k} is more than the {self.max_query_limit} that the collection's strict mode allows"
                " (max_query_limit)"
            )
        return k

    def fitted(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return search parameters within the limits."""
        found = dict(params)
        if "hnsw_ef" in found:
            found["hnsw_ef"] = _least(found["hnsw_ef"], self.search_max_hnsw_ef)
        if "quantization" in found:
            wanted = found["quantization"]["oversampling"]
            limit = self.search_max_oversampling
            oversampling = wanted if limit is None else min(wanted, limit)
            found["quantization"] = {**found["quantization"], "oversampling": oversampling}
        return found


def _least(size: int, *limits: int | None) -> int:
    return max(1, min([size, *(limit for limit in limits if limit is not None)]))
