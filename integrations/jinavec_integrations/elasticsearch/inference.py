"""Inference set-up: which requests make endpoints, a semantic_text index and a pipeline for a contract; pure.

Elasticsearch carries the role of a text (search or ingest) to the service ``elastic`` only. Every other service loses
it on the way, so there are two endpoints, one bound to passages and one to queries.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from jinavec.contract import Contract
from jinavec.errors import InvalidInput, brief
from jinavec.tasks import Task

Service = Literal["elastic", "custom", "openai"]
PROBE = "Where does the cat sleep?"
_HIDDEN = "<JINAVEC_API_KEY>"
_COMPARED = ("model_id", "url", "dimensions", "similarity")
"""Settings that the server gives back as they were sent; what a custom request does is left to the probes."""
_CHUNKS = {"strategy": "sentence", "max_chunk_size": 250, "sentence_overlap": 1}


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request to Elasticsearch."""

    method: str
    path: str
    body: dict[str, Any] | None = None

    def __str__(self) -> str:
        """Show the request as Kibana's console reads it, without the key."""
        head = f"{self.method} {self.path}"
        return head if self.body is None else f"{head}\n{json.dumps(_hide(self.body), indent=2, ensure_ascii=False)}"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An inference endpoint, and the role it is asked for."""

    id: str
    body: dict[str, Any]
    role: str
    """``input_type`` of its probe; empty where the endpoint itself is bound to a role."""

    @property
    def put(self) -> Request:
        """The request that makes it."""
        return Request(method="PUT", path=f"/_inference/text_embedding/{self.id}", body=self.body)

    @property
    def get(self) -> Request:
        """The request that shows it."""
        return Request(method="GET", path=f"/_inference/text_embedding/{self.id}")

    @property
    def probe(self) -> Request:
        """The request that embeds one text in its role."""
        role = {"input_type": self.role} if self.role else {}
        return Request(method="POST", path=f"/_inference/text_embedding/{self.id}", body={"input": [PROBE], **role})


@dataclass(frozen=True, kw_only=True)
class InferenceSetup:
    """What is to be set up.

    Raises:
        InvalidInput: something that cannot work; the message says what does.
    """

    name: str
    """Of the endpoint; a pair is named NAME-passage and NAME-query."""
    contract: Contract
    service: Service = "elastic"
    served_as: str = ""
    """The model's name at the service; by default the contract's."""
    url: str = ""
    """Of custom: an address that speaks the Jina protocol. Of openai: one with ``{role}`` in it, which becomes passage
    or query, since that protocol has no field for the role."""
    index: str = ""
    """An index to make, with a semantic_text field."""
    pipeline: str = ""
    """An ingest pipeline to make, which embeds the field into FIELD_embedding."""
    text_field: str = "content"
    connect: bool = False
    """Switch on cloud connected mode, which the service elastic needs outside Elastic Cloud."""
    api_key: str | None = field(default=None, repr=False)
    """Of the service; shown nowhere."""

    def __post_init__(self) -> None:
        if self.service not in get_args(Service):
            raise InvalidInput(f"unknown service {brief(self.service)}; known: {', '.join(get_args(Service))}")
        if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", self.name):
            raise InvalidInput(f"the name of an endpoint has lower-case letters, digits, _ - and ., not {self.name!r}")
        if self.service == "elastic":
            if self.url:
                raise InvalidInput(
                    "service elastic takes no url: the node's setting xpack.inference.elastic.url names it"
                )
            if self.contract.task != Task.RETRIEVAL:
                raise InvalidInput(
                    f"service elastic carries the roles of retrieval only, not task {self.contract.task}; take custom"
                )
        elif not self.url.startswith(("http://", "https://")):
            raise InvalidInput(f"service {self.service} needs the url of its server, not {brief(self.url)}")
        elif self.connect:
            raise InvalidInput(f"cloud connected mode belongs to service elastic, not to {self.service}")
        elif self.service == "openai" and "{role}" not in self.url:
            raise InvalidInput("service openai loses the role: give a url with {role} in it, or take custom")
        if self.connect and not self.api_key:
            raise InvalidInput("cloud connected mode needs a key: set JINAVEC_API_KEY")

    @property
    def endpoints(self) -> tuple[Endpoint, Endpoint]:
        """The endpoints of passages and of queries; for service elastic they are one."""
        if self.service == "elastic":
            settings = {"model_id": self._model, "dimensions": self.contract.dimension, "similarity": "cosine"}
            body = {"service": "elastic", "service_settings": settings, "chunking_settings": _CHUNKS}
            return Endpoint(id=self.name, body=body, role="ingest"), Endpoint(id=self.name, body=body, role="search")
        return self._bound("passage"), self._bound("query")

    def requests(self) -> list[Request]:
        """Return every request in order; those that look whether something is there already are left out."""
        passage, query = self.endpoints
        made = [self.put_connection, passage.put, *([query.put] if query.id != passage.id else [])]
        wanted = [*made, self.put_index, self.put_pipeline, passage.probe, query.probe]
        return [request for request in wanted if request is not None]

    @property
    def put_connection(self) -> Request | None:
        """The request that switches on cloud connected mode."""
        body = {"api_key": self.api_key}
        return Request(method="PUT", path="/_inference/_ccm", body=body) if self.connect else None

    @property
    def put_index(self) -> Request | None:
        """The request that makes the index."""
        if not self.index:
            return None
        mappings = {
            "_meta": {"jinavec_contract": self.contract.to_json()},
            "properties": {self.text_field: self.semantic_text},
        }
        return Request(method="PUT", path=f"/{self.index}", body={"mappings": mappings})

    @property
    def semantic_text(self) -> dict[str, Any]:
        """The field of the index; its index options are explicit, since defaults change with the version."""
        passage, query = self.endpoints
        kind = "bbq_hnsw" if self.contract.dimension >= 64 else "int8_hnsw"
        return {
            "type": "semantic_text",
            "inference_id": passage.id,
            "search_inference_id": query.id,
            "index_options": {"dense_vector": {"type": kind, "m": 16, "ef_construction": 100}},
        }

    @property
    def put_pipeline(self) -> Request | None:
        """The request that makes the pipeline; an earlier vector is removed, since the processor would append to it."""
        if not self.pipeline:
            return None
        output = f"{self.text_field}_embedding"
        inference = {
            "model_id": self.endpoints[0].id,
            "input_output": [{"input_field": self.text_field, "output_field": output}],
            "ignore_missing": True,
        }
        processors = [{"remove": {"field": output, "ignore_missing": True}}, {"inference": inference}]
        body = {"description": f"Embeds {self.text_field} with {self.contract.model}", "processors": processors}
        return Request(method="PUT", path=f"/_ingest/pipeline/{self.pipeline}", body=body)

    @property
    def _model(self) -> str:
        return self.served_as or self.contract.model

    def _bound(self, side: Literal["passage", "query"]) -> Endpoint:
        settings = self._custom(side) if self.service == "custom" else self._openai(side)
        body = {"service": self.service, "service_settings": settings, "chunking_settings": _CHUNKS}
        return Endpoint(id=f"{self.name}-{side}", body=body, role="")

    def _custom(self, side: str) -> dict[str, Any]:
        task = f"retrieval.{side}" if self.contract.task == Task.RETRIEVAL else str(self.contract.task)
        asked = {"model": self._model, "task": task, "dimensions": self.contract.dimension, "normalized": True}
        return {
            "url": self.url,
            "secret_parameters": {"api_key": self.api_key or "none"},
            "headers": {"Authorization": "Bearer ${api_key}", "Content-Type": "application/json"},
            "request": f'{{"input": ${{input}}, {json.dumps(asked)[1:]}',
            "response": {"json_parser": {"text_embeddings": "$.data[*].embedding[*]", "embedding_type": "float"}},
            "dimensions": self.contract.dimension,
            "similarity": "cosine",
        }

    def _openai(self, side: str) -> dict[str, Any]:
        return {
            "url": self.url.replace("{role}", side),
            "model_id": self._model,
            "api_key": self.api_key or "none",
            "dimensions": self.contract.dimension,
            "similarity": "cosine",
        }


def differences(wanted: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Return the names of the settings that an endpoint found has otherwise than wanted."""
    ours, theirs = wanted["service_settings"], found.get("service_settings", {})
    names = [name for name in _COMPARED if name in ours and ours[name] != theirs.get(name)]
    return names if found.get("service") == wanted["service"] else ["service", *names]


def _hide(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    entries = cast("dict[str, Any]", value).items()
    return {name: _HIDDEN if name == "api_key" else _hide(inner) for name, inner in entries}
