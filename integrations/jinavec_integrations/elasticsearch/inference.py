"""Inference setup: which requests create endpoints, a semantic_text index and a pipeline for a contract; pure.

Some services, ``elastic`` above all, carry the role of a text (search or ingest) to the model. The rest lose it on the
way, so that there are two endpoints, one bound to passages and one to queries.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

from jinavec.contract import Contract
from jinavec.errors import InvalidInput, UnknownModel, brief
from jinavec.models import find_model
from jinavec.tasks import Role, Task
from jinavec_integrations.elasticsearch.connect import check_name
from jinavec_integrations.elasticsearch.mapping import CONTRACT, Layout, contract_of
from jinavec_integrations.elasticsearch.services import ROLE, SERVICES, Service, endpoint_settings

PROBE = "Where does the cat sleep?"
_HIDDEN = "<JINAVEC_API_KEY>"
_SECRET = ("api_key", "secret_parameters")
_CHUNKS = {"strategy": "sentence", "max_chunk_size": 250, "sentence_overlap": 1}
_SIDES: Mapping[Role, tuple[str, str]] = {Role.DOCUMENT: ("passage", "ingest"), Role.QUERY: ("query", "search")}
"""Of each role, the last part of an endpoint's name, and ``input_type``."""


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


Differences = dict[str, tuple[Any, Any]]
"""By name of a setting: its value on the server, and the one wanted."""


@dataclass(frozen=True, kw_only=True)
class Resource:
    """Something on the server that a set-up creates, unless it exists."""

    label: str
    find: Request
    create: Request
    compare: Callable[[dict[str, Any]], Differences | None]
    """Reads the answer to ``find``: None where the resource does not exist."""
    remedy: str
    """What to do about another resource of that name."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A text to be embedded in one role."""

    endpoint: str
    role: Role
    request: Request


@dataclass(frozen=True, kw_only=True)
class InferenceSetup:
    """Inference endpoints for a contract, and optionally an index and an ingest pipeline that use them.

    Raises:
        InvalidInput: settings that cannot work; the message says which do.

    Attributes:
        name: Of the endpoint; a pair is named NAME-passage and NAME-query.
        contract: Of the vectors that the endpoints give.
        service: Of Elasticsearch's inference API, which reaches the model.
        served_as: The served model name, by default the contract's. Of openai it may hold ``{role}``, as the url.
        url: Address of the service: of custom one that speaks the Jina protocol, of cohere, nvidia and openai one of
            theirs, of hugging_face one of Text Embeddings Inference. Of openai and hugging_face, whose protocols have
            no field for the role, it holds ``{role}``, which becomes document or query:
            ``http://HOST:8080/{role}/v1/embeddings``.
        index: An index to create, with a semantic_text field; for the vectors of the pipeline, if there is one, a field
            too.
        pipeline: An ingest pipeline to create, which embeds the field into FIELD_embedding.
        text_field: The field of the text.
        connect: Switch on cloud connected mode, which the service elastic needs outside Elastic Cloud.
        api_key: Of the service; never shown.
    """

    name: str
    contract: Contract
    service: Service = "elastic"
    served_as: str = ""
    url: str = ""
    index: str = ""
    pipeline: str = ""
    text_field: str = "content"
    connect: bool = False
    api_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.service not in SERVICES:
            raise InvalidInput(f"unknown service {brief(self.service)}; known: {', '.join(SERVICES)}")
        for what, name in (("endpoint", self.name), ("pipeline", self.pipeline)):
            if name != "" or what == "endpoint":
                _check_id(what, name)
        if self.index:
            check_name(self.index)
        if not self.text_field.strip("."):
            raise InvalidInput(f"the text needs the name of a field, not {self.text_field!r}")
        self._check_url()
        self._check_contract()
        if self.connect and self.service != "elastic":
            raise InvalidInput(f"cloud connected mode belongs to service elastic, not to {self.service}")
        if self.connect and not self.api_key:
            raise InvalidInput("cloud connected mode needs a key: set JINAVEC_API_KEY")
        if self.service != "elastic" and not self.url and not self.api_key:
            raise InvalidInput(f"service {self.service} needs a key: set JINAVEC_API_KEY")

    def _check_url(self) -> None:
        traits = SERVICES[self.service]
        if self.url and traits.url == "none":
            raise InvalidInput("service elastic takes no url: the node's setting xpack.inference.elastic.url names it")
        if "@" in self.url:
            raise InvalidInput("the url of a service holds no user name or password: set JINAVEC_API_KEY")
        if (self.url or traits.url == "required") and not _is_url(self.url):
            raise InvalidInput(f"service {self.service} needs the url of its server, not {brief(self.url)}")
        if ROLE in self.url and traits.role != "url":
            raise InvalidInput(f"service {self.service} says the role by itself: give a url without {ROLE}")
        if ROLE in self.served_as and (traits.role != "url" or not traits.model):
            raise InvalidInput(f"service {self.service} takes no {ROLE} in the model's name")
        if traits.role == "url" and self._asymmetric and ROLE not in self.url + self.served_as:
            raise InvalidInput(
                f"service {self.service} loses the role: give a url with {ROLE} in it, such as"
                f" http://HOST:8080/{ROLE}/v1/embeddings or http://HOST:8080/{ROLE}/embed, or take custom"
            )

    def _check_contract(self) -> None:
        traits, task = SERVICES[self.service], self.contract.task
        if task is not Task.RETRIEVAL and traits.task == "retrieval":
            raise InvalidInput(f"service {self.service} carries the task retrieval only, not {task}; take custom")
        if task is not Task.RETRIEVAL and traits.task == "named" and not self.served_as:
            raise InvalidInput(
                f"service {self.service} carries no task: name with served_as what serves {task}, or take custom"
            )
        width = _width(self.contract.model)
        if not traits.dimensions and width is not None and self.contract.dimension != width:
            raise InvalidInput(
                f"service {self.service} cannot ask for {self.contract.dimension} of {width} dimensions; take custom,"
                f" or dimension {width}"
            )

    def requests(self) -> list[Request]:
        """Return every request in order, as they are sent where nothing exists yet."""
        creating = [request for resource in self.resources for request in (resource.find, resource.create)]
        return [*creating, *(probe.request for probe in self.probes)]

    @property
    def resources(self) -> list[Resource]:
        """Everything to be created, in order."""
        resources = [self._connection()] if self.connect else []
        resources.append(self._endpoint_resource(Role.DOCUMENT))
        if self._endpoint(Role.QUERY) != self._endpoint(Role.DOCUMENT):
            resources.append(self._endpoint_resource(Role.QUERY))
        if self.index:
            resources.append(self._index_resource())
        if self.pipeline:
            resources.append(self._pipeline_resource())
        return resources

    @property
    def probes(self) -> tuple[Probe, Probe]:
        """The texts that show whether each role arrives: a passage's and a query's."""
        return self._probe(Role.DOCUMENT), self._probe(Role.QUERY)

    @property
    def _asymmetric(self) -> bool:
        return self.contract.query_prefix != self.contract.document_prefix

    @property
    def _output_field(self) -> str:
        return f"{self.text_field}_embedding"

    def _endpoint(self, role: Role) -> str:
        bound = self._asymmetric and SERVICES[self.service].role != "carried"
        return f"{self.name}-{_SIDES[role][0]}" if bound else self.name

    def _endpoint_resource(self, role: Role) -> Resource:
        id = self._endpoint(role)
        path = f"/_inference/text_embedding/{id}"
        settings = endpoint_settings(
            self.service,
            self.contract,
            role,
            model=self.served_as or self.contract.model,
            url=self.url,
            api_key=self.api_key or "none",
        )
        body = {"service": self.service, "service_settings": settings, "chunking_settings": _CHUNKS}
        return Resource(
            label=f"endpoint {id}",
            find=Request(method="GET", path=path),
            create=Request(method="PUT", path=path, body=body),
            compare=lambda found: _compare_endpoints(found, body),
            remedy=f"take another name, or DELETE {path} first",
        )

    def _connection(self) -> Resource:
        path = "/_inference/_ccm"
        return Resource(
            label="cloud connected mode",
            find=Request(method="GET", path=path),
            create=Request(method="PUT", path=path, body={"api_key": self.api_key}),
            compare=lambda found: {} if found.get("enabled") else None,
            remedy=f"DELETE {path} first",
        )

    def _index_resource(self) -> Resource:
        properties: dict[str, Any] = {self.text_field: self._semantic_text()}
        if self.pipeline:
            properties[self._output_field] = self._dense_vector()
        mappings = {"_meta": {CONTRACT: self.contract.sealed()}, "properties": properties}
        return Resource(
            label=f"index {self.index}",
            find=Request(method="GET", path=f"/{self.index}/_mapping"),
            create=Request(method="PUT", path=f"/{self.index}", body={"mappings": mappings}),
            compare=lambda found: _compare_indices(self.contract, found, properties),
            remedy="take another name for the index",
        )

    def _semantic_text(self) -> dict[str, Any]:
        """Return the field; its index options are explicit, since defaults change with the version."""
        vectors = self._dense_vector()["index_options"]
        return {
            "type": "semantic_text",
            "inference_id": self._endpoint(Role.DOCUMENT),
            "search_inference_id": self._endpoint(Role.QUERY),
            "index_options": {"dense_vector": {name: vectors[name] for name in ("type", "m", "ef_construction")}},
        }

    def _dense_vector(self) -> dict[str, Any]:
        dimension = self.contract.dimension
        (mapping,) = Layout(storage="bbq_hnsw" if dimension >= 64 else "int8_hnsw").fields(dimension).values()
        return mapping

    def _pipeline_resource(self) -> Resource:
        """Embed with the passage endpoint; an earlier vector is removed, since the processor would append to it."""
        inference = {
            "model_id": self._endpoint(Role.DOCUMENT),
            "input_output": [{"input_field": self.text_field, "output_field": self._output_field}],
            "ignore_missing": True,
        }
        processors = [{"remove": {"field": self._output_field, "ignore_missing": True}}, {"inference": inference}]
        body = {"description": f"Embeds {self.text_field} with {self.contract.model}", "processors": processors}
        path = f"/_ingest/pipeline/{self.pipeline}"
        return Resource(
            label=f"pipeline {self.pipeline}",
            find=Request(method="GET", path=path),
            create=Request(method="PUT", path=path, body=body),
            compare=lambda found: _differing(found.get(self.pipeline, {}), {"processors": processors}),
            remedy=f"take another name, or DELETE {path} first",
        )

    def _probe(self, role: Role) -> Probe:
        """Say the role where the service carries it, as semantic_text does; a bound endpoint is not told."""
        body: dict[str, Any] = {"input": [PROBE]}
        if SERVICES[self.service].role == "carried":
            body["input_type"] = _SIDES[role][1]
        id = self._endpoint(role)
        request = Request(method="POST", path=f"/_inference/text_embedding/{id}", body=body)
        return Probe(endpoint=id, role=role, request=request)


def _compare_endpoints(found: dict[str, Any], wanted: dict[str, Any]) -> Differences:
    """Compare the settings that the server returns; it hides secrets."""
    (there,) = found["endpoints"]
    ours, theirs = wanted["service_settings"], there.get("service_settings", {})
    shown = {name: value for name, value in ours.items() if name not in (*_SECRET, "headers", "response")}
    differing = _differing(there, {"service": wanted["service"]}) | _differing(theirs, shown)
    if chunks := there.get("chunking_settings"):
        differing |= _differing(chunks, wanted["chunking_settings"])
    return differing


def _compare_indices(contract: Contract, found: dict[str, Any], properties: dict[str, Any]) -> Differences:
    """Compare mappings by type, endpoints and dimension; a contract that differs is an error of its own.

    Raises:
        ContractMismatch: the index keeps vectors of another contract.
    """
    (there,) = found.values()
    kept = contract_of(there["mappings"])
    if kept is not None:
        kept.check(contract, ours="the index", theirs="this set-up")
    differing: Differences = {} if kept is not None else {"contract": (None, contract.model)}
    for name, wanted in properties.items():
        known = {key: wanted[key] for key in _FIELD_IDENTITY if key in wanted}
        differing |= {
            f"{name}.{key}": pair
            for key, pair in _differing(there["mappings"].get("properties", {}).get(name, {}), known).items()
        }
    return differing


_FIELD_IDENTITY = ("type", "inference_id", "search_inference_id", "dims")


def _differing(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> Differences:
    return {name: (there.get(name), value) for name, value in wanted.items() if there.get(name) != value}


def _check_id(what: str, name: str) -> None:
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9_.-]*[a-z0-9])?", name):
        raise InvalidInput(
            f"the name of {what} is of lower-case letters, digits, _ - and ., a letter or digit first and last, not"
            f" {brief(name)}"
        )


def _is_url(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _width(model: str) -> int | None:
    try:
        return find_model(model).width
    except UnknownModel:
        return None


def _hide(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    entries = cast("dict[str, Any]", value).items()
    return {name: _HIDDEN if name == "api_key" else _hide(inner) for name, inner in entries}
