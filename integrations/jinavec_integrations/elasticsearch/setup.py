"""Carry out an inference set-up: make what is missing, leave what is there, and prove that the roles arrive."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from jinavec.errors import EngineError
from jinavec.extras import require
from jinavec.vectors import normalize
from jinavec_integrations.elasticsearch.faults import reported
from jinavec_integrations.elasticsearch.inference import Endpoint, InferenceSetup, Request, differences

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_SAME = 0.9999
"""A cosine from which on two vectors of one text are the same: the role has made no difference."""
_JSON = {"accept": "application/json", "content-type": "application/json"}


def set_up(client: Elasticsearch, setup: InferenceSetup, tell: Callable[[str], None] = lambda line: None) -> None:
    """Make what is missing; doing it again changes nothing.

    Args:
        client: of the server.
        setup: what is wanted.
        tell: called with a line about each thing done, or found.

    Raises:
        EngineError: something else is there under a name, the server refused, or the probes show that vectors are not
            those of the contract.
    """
    with reported("inference set-up"):
        if setup.put_connection is not None:
            _send(client, setup.put_connection)
            tell("cloud connected mode is on")
        for endpoint in {endpoint.id: endpoint for endpoint in setup.endpoints}.values():
            tell(_make_endpoint(client, endpoint))
        if setup.put_index is not None:
            tell(_make_index(client, setup, setup.put_index))
        if setup.put_pipeline is not None:
            _send(client, setup.put_pipeline)
            tell(f"pipeline {setup.pipeline} is there")
        tell(_verify(client, setup))


def _make_endpoint(client: Elasticsearch, endpoint: Endpoint) -> str:
    found = _find(client, endpoint.get)
    if found is None:
        _send(client, endpoint.put)
        return f"made endpoint {endpoint.id}"
    (there,) = found["endpoints"]
    if differing := differences(endpoint.body, there):
        raise EngineError(
            f"the endpoint {endpoint.id} is there with another {', '.join(differing)}; take another name, or delete it"
        )
    return f"endpoint {endpoint.id} is there already"


def _make_index(client: Elasticsearch, setup: InferenceSetup, put: Request) -> str:
    found = _find(client, Request(method="GET", path=f"/{setup.index}/_mapping"))
    if found is None:
        _send(client, put)
        return f"made index {setup.index}"
    (there,) = found.values()
    field: dict[str, Any] = there["mappings"].get("properties", {}).get(setup.text_field, {})
    ids = ("type", "inference_id", "search_inference_id")
    if any(field.get(name) != setup.semantic_text[name] for name in ids):
        raise EngineError(
            f"the index {setup.index} is there, but its field {setup.text_field} is not semantic_text of these"
            " endpoints; take another name"
        )
    return f"index {setup.index} is there already"


def _verify(client: Elasticsearch, setup: InferenceSetup) -> str:
    vectors: list[Any] = []
    for endpoint in setup.endpoints:
        (answer,) = _send(client, endpoint.probe)["text_embedding"]
        vector = answer["embedding"]
        if len(vector) != setup.contract.dimension:
            raise EngineError(
                f"the endpoint {endpoint.id} gives {len(vector)} dimensions, not the contract's"
                f" {setup.contract.dimension}"
            )
        vectors.append(normalize(vector))
    cosine = float(np.dot(*vectors))
    asymmetric = setup.contract.query_prefix != setup.contract.document_prefix
    if asymmetric and cosine > _SAME:
        raise EngineError("a text embedded as passage and as query gives one vector: the role is lost on the way")
    if not asymmetric and cosine < _SAME:
        raise EngineError(f"the contract has one prefix, but passage and query differ (cosine {cosine:.4f})")
    return f"probes: {setup.contract.dimension} dimensions, cosine of passage and query {cosine:.4f}"


def _find(client: Elasticsearch, request: Request) -> dict[str, Any] | None:
    errors = require("elasticsearch", "elasticsearch")
    try:
        return _send(client, request)
    except errors.NotFoundError:
        return None


def _send(client: Elasticsearch, request: Request) -> dict[str, Any]:
    answer: Any = client.perform_request(request.method, request.path, headers=_JSON, body=request.body)
    return answer.body
