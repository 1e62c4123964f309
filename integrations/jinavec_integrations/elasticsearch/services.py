"""Elasticsearch's inference services: what each can carry to a model, and how its endpoint is described; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from jinavec.contract import Contract
from jinavec.tasks import Role, task_name

Service = Literal["elastic", "custom", "openai", "hugging_face", "cohere", "jinaai", "nvidia"]
ROLE = "{role}"
"""Stands in an address or a model's name for the role: query or document."""


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What one service does."""

    role: Literal["carried", "request", "url"]
    """How a text's role reaches the model: the service says it in every request; or it is lost, so that an endpoint for
    each role says it in the body of its request, or in its address (or its model's name)."""
    url: Literal["none", "optional", "required"]
    """Whether an endpoint names an address of one's own."""
    task: Literal["sent", "named", "retrieval"]
    """Whether another task than retrieval is sent, can be meant by the model's name, or is out of reach."""
    key: bool = True
    """Whether an endpoint holds a key."""
    model: bool = True
    """Whether an endpoint names the model."""
    dimensions: bool = True
    """Whether it can ask for less than the full width."""


SERVICES: Mapping[Service, Traits] = MappingProxyType(
    {
        "elastic": Traits(role="carried", url="none", task="named", key=False),
        "custom": Traits(role="request", url="required", task="sent"),
        "openai": Traits(role="url", url="required", task="named"),
        "hugging_face": Traits(role="url", url="required", task="retrieval", model=False, dimensions=False),
        "cohere": Traits(role="carried", url="required", task="retrieval", dimensions=False),
        "jinaai": Traits(role="carried", url="optional", task="retrieval"),
        "nvidia": Traits(role="carried", url="required", task="named", dimensions=False),
    }
)


def endpoint_settings(
    service: Service, contract: Contract, role: Role, *, model: str, url: str, api_key: str
) -> dict[str, Any]:
    """Return the ``service_settings`` of an endpoint; the similarity is explicit, since its default is the service's.

    Args:
        service: one of ``SERVICES``.
        contract: of the vectors.
        role: what the endpoint is bound to, where the service loses it.
        model: its name at the service.
        url: of the service; ``ROLE`` in it, or in the model's name, is replaced.
        api_key: of the service.
    """
    if service == "custom":
        return _custom(contract, role, model, url, api_key)
    traits = SERVICES[service]
    settings: dict[str, Any] = {}
    if url:
        settings["url"] = url.replace(ROLE, role)
    if traits.model:
        settings["model_id"] = model.replace(ROLE, role)
    if traits.key:
        settings["api_key"] = api_key
    if traits.dimensions:
        settings["dimensions"] = contract.dimension
    return settings | {"similarity": "cosine"}


def _custom(contract: Contract, role: Role, model: str, url: str, api_key: str) -> dict[str, Any]:
    """Describe a request of the Jina API: the task, and with it the role, is a literal in the body."""
    task = task_name(contract.task, role)
    asked = {"model": model, "task": task, "dimensions": contract.dimension, "normalized": True}
    return {
        "url": url,
        "secret_parameters": {"api_key": api_key},
        "headers": {"Authorization": "Bearer ${api_key}", "Content-Type": "application/json"},
        "request": f'{{"input": ${{input}}, {json.dumps(asked)[1:]}',
        "response": {"json_parser": {"text_embeddings": "$.data[*].embedding[*]", "embedding_type": "float"}},
        "dimensions": contract.dimension,
        "similarity": "cosine",
    }
