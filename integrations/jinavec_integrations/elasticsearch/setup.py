"""Set up inference: create what is missing, and verify that each role reaches the service."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from jinavec.errors import EngineError, InvalidVectors
from jinavec.extras import require
from jinavec.vectors import Float32, normalize
from jinavec_integrations.elasticsearch.errors import reported
from jinavec_integrations.elasticsearch.inference import InferenceSetup, Probe, Request, Resource

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_SAME = 0.9999
"""From this cosine on, two vectors of one text are the same: the role made no difference."""
_JSON = {"accept": "application/json", "content-type": "application/json"}


def set_up_inference(client: Elasticsearch, setup: InferenceSetup, tell: Callable[[str], None] | None = None) -> None:
    """Create what is missing and embed a text in each role. Idempotent; conflicting resources are an error.

    Args:
        client: of the server.
        setup: what is wanted; ``setup.requests()`` shows every request beforehand.
        tell: called with a line about each resource.

    Raises:
        EngineError: a resource exists with different settings, the server refused, or the service returns vectors that
            are not those of the contract.
        ContractMismatch: the index exists under another contract.
    """
    tell = tell or (lambda line: None)
    for resource in setup.resources:
        with reported(f"inference set-up, {resource.label}"):
            tell(_create(client, resource))
    with reported("inference set-up, probes"):
        tell(_verify(client, setup))


def _create(client: Elasticsearch, resource: Resource) -> str:
    found = _find(client, resource.find)
    differing = None if found is None else resource.compare(found)
    if differing is None:
        _send(client, resource.create)
        return f"created {resource.label}"
    if differing:
        lines = "; ".join(f"{name}: has {theirs!r}, wanted {ours!r}" for name, (theirs, ours) in differing.items())
        raise EngineError(f"{resource.label} already exists with different settings ({lines}); {resource.remedy}")
    return f"{resource.label} already exists"


def _verify(client: Elasticsearch, setup: InferenceSetup) -> str:
    dimension = setup.contract.dimension
    passage, query = (_embed(client, probe, dimension) for probe in setup.probes)
    cosine = float(np.dot(passage, query))
    asymmetric = setup.contract.query_prefix != setup.contract.document_prefix
    if asymmetric and cosine > _SAME:
        raise EngineError("query and passage embeddings are identical: the service does not forward input_type")
    if not asymmetric and cosine < _SAME:
        raise EngineError(f"query and passage embeddings differ (cosine {cosine:.4f}), but the contract has one prefix")
    return f"verified: {dimension} dimensions, cosine of passage and query {cosine:.4f}"


def _embed(client: Elasticsearch, probe: Probe, dimension: int) -> Float32:
    answer = _send(client, probe.request)
    try:
        (item,) = answer["text_embedding"]
        vector = normalize(item["embedding"])
    except (KeyError, TypeError, ValueError, InvalidVectors) as error:
        raise EngineError(
            f"the endpoint {probe.endpoint} returned no float vector, but {', '.join(answer) or 'an empty response'}"
        ) from error
    if vector.shape != (dimension,):
        raise EngineError(
            f"the endpoint {probe.endpoint} returned {vector.size} dimensions, not the contract's {dimension}: the"
            " service serves another model, or does not truncate to a Matryoshka dimension"
        )
    return vector


def _find(client: Elasticsearch, request: Request) -> dict[str, Any] | None:
    library = require("elasticsearch", "elasticsearch")
    try:
        return _send(client, request)
    except library.NotFoundError:
        return None


def _send(client: Elasticsearch, request: Request) -> dict[str, Any]:
    answer: Any = client.perform_request(request.method, request.path, headers=_JSON, body=request.body)
    return answer.body
