"""Queries as Qdrant's requests: filter, search parameters, and the stages of a Matryoshka collection."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from jinavec.errors import InvalidFilter
from jinavec.extras import require
from jinavec.filters import Filter
from jinavec.vectors import Float32, narrow
from jinavec_integrations.qdrant import presets
from jinavec_integrations.qdrant.filters import HELPERS, Layout, translate
from jinavec_integrations.qdrant.limits import Limits
from jinavec_integrations.qdrant.manifest import Manifest
from jinavec_integrations.qdrant.options import QdrantOptions


def passing(condition: Filter | None, layout: Layout) -> Any | None:
    """Return a filter as the client's model.

    Raises:
        InvalidFilter: it is nested too deeply, or has a string bound that is too long.
    """
    if condition is None:
        return None
    models, invalid = require("qdrant_client.models", "qdrant"), require("pydantic", "qdrant").ValidationError
    with too_deep():
        translated = translate(condition, layout)
        try:
            return models.Filter(must=[translated])
        except invalid as error:  # ours are well-formed: all that pydantic can refuse is their depth
            raise RecursionError from error


def readable() -> Any:
    """Return the selector of what is read of a payload: all but what only Qdrant reads."""
    return require("qdrant_client.models", "qdrant").PayloadSelectorExclude(exclude=HELPERS)


@contextmanager
def too_deep() -> Generator[None]:
    """Tell a filter that is nested too deeply for the client, which walks it by recursion.

    Raises:
        InvalidFilter: it is.
    """
    try:
        yield
    except RecursionError:
        raise InvalidFilter("the filter is nested too deeply for Qdrant") from None


def query_request(
    query: Float32, limit: int, passing: Any | None, manifest: Manifest, options: QdrantOptions, limits: Limits
) -> dict[str, Any]:
    """Return the request of one query; of a Matryoshka collection, the short vector finds what the full one scores."""
    common = {
        "query": query.tolist(),
        "limit": limit,
        "with_payload": readable(),
        "using": manifest.vector or None,
        "shard_key": options.shard_key,
    }
    if manifest.matryoshka is None:
        params = limits.fitted(
            presets.search_params(manifest.preset, options.recall, manifest.contract.dimension, limit)
        )
        return {"filter": passing, "params": params, **common}
    candidates = limits.page(presets.candidates(options.recall, limit))
    first = {
        "query": narrow(query, manifest.matryoshka).tolist(),
        "using": manifest.short,
        "filter": passing,
        "limit": candidates,
        "params": limits.fitted(
            presets.search_params(manifest.preset, options.recall, manifest.matryoshka, candidates)
        ),
    }
    return {"prefetch": [first], **common}
