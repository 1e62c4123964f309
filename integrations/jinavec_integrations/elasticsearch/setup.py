"""Carry out an inference set-up: make what is missing, leave what is there, and prove that the roles arrive."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from jinavec.errors import EngineError, InvalidVectors
from jinavec.extras import require
from jinavec.vectors import Float32, normalize
from jinavec_integrations.elasticsearch.errors import reported
from jinavec_integrations.elasticsearch.inference import InferenceSetup, Probe, Request, Thing

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_SAME = 0.9999
"""A cosine from which on two vectors of one text are the same: the role has made no difference."""
_JSON = {"accept": "application/json", "content-type": "application/json"}


def set_up_inference(client: Elasticsearch, setup: InferenceSetup, tell: Callable[[str], None] | None = None) -> None:
    """Make what is missing and embed a probe in each role; doing it again changes nothing.

    Args:
        client: of the server.
        setup: what is wanted; ``setup.requests()`` shows every request beforehand.
        tell: called with a line about each thing made, or found.

    Raises:
        EngineError: something else is there under a name, the server refused, or the probes show that vectors are not
            those of the contract.
        ContractMismatch: the index is there under another contract.
    """
    tell = tell or (lambda line: None)
    for thing in setup.things:
        with reported(f"inference set-up, {thing.label}"):
            tell(_make(client, thing))
    with reported("inference set-up, probes"):
        tell(_verify(client, setup))


def _make(client: Elasticsearch, thing: Thing) -> str:
    found = _find(client, thing.find)
    differing = None if found is None else thing.compare(found)
    if differing is None:
        _send(client, thing.make)
        return f"made {thing.label}"
    if differing:
        lines = "; ".join(f"{name}: there {there!r}, wanted {ours!r}" for name, (there, ours) in differing.items())
        raise EngineError(f"{thing.label} is there, but is another one ({lines}); {thing.remedy}")
    return f"{thing.label} is there already"


def _verify(client: Elasticsearch, setup: InferenceSetup) -> str:
    dimension = setup.contract.dimension
    passage, query = (_embed(client, probe, dimension) for probe in setup.probes)
    cosine = float(np.dot(passage, query))
    asymmetric = setup.contract.query_prefix != setup.contract.document_prefix
    if asymmetric and cosine > _SAME:
        raise EngineError("a text embedded as passage and as query gives one vector: the role is lost on the way")
    if not asymmetric and cosine < _SAME:
        raise EngineError(f"the contract has one prefix, but passage and query differ (cosine {cosine:.4f})")
    return f"probes: {dimension} dimensions, cosine of passage and query {cosine:.4f}"


def _embed(client: Elasticsearch, probe: Probe, dimension: int) -> Float32:
    answer = _send(client, probe.request)
    try:
        (item,) = answer["text_embedding"]
        vector = normalize(item["embedding"])
    except (KeyError, TypeError, ValueError, InvalidVectors) as error:
        raise EngineError(
            f"the endpoint {probe.endpoint} gives no float vector of a text, but {', '.join(answer) or 'nothing'}"
        ) from error
    if vector.shape != (dimension,):
        raise EngineError(
            f"the endpoint {probe.endpoint} gives {vector.size} dimensions, not the contract's {dimension}: the service"
            " serves another model, or does not shorten vectors"
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
