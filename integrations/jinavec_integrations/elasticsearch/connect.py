"""From a target to a client: where the server is, and with which credentials."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from jinavec.elastic_node import bounded_node
from jinavec.errors import EngineError, InvalidTarget, InvalidType, brief
from jinavec.extras import require
from jinavec.http_client import ENGINE_BYTES, check_certificates, checked_key, shown_address, warn_of_clear_text
from jinavec_integrations.elasticsearch.errors import reported
from jinavec_integrations.elasticsearch.mapping import Version

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

EXTRA = "elasticsearch"
NEWEST: Version = (999, 0)
_TIMEOUT = 60.0
"""Seconds a request may take."""


@dataclass(frozen=True)
class Place:
    """A server and the name of an index there."""

    server: str
    """A URL without credentials, or a cloud id."""
    index: str

    @classmethod
    def parse(cls, location: str) -> Place:
        """Read ``URL/INDEX`` or ``CLOUD_ID/INDEX``.

        Raises:
            InvalidTarget: not of that form, credentials in the URL, or a name Elasticsearch does not take.
        """
        server, _, index = location.rstrip("/").rpartition("/")
        example = "write elasticsearch:https://HOST:9200/INDEX"
        if "@" in server:
            raise InvalidTarget(
                "a target holds no user name or password, since it is shown in messages; set ELASTICSEARCH_API_KEY, or"
                " ELASTICSEARCH_USERNAME and ELASTICSEARCH_PASSWORD"
            )
        if not server or server.endswith(":/"):
            raise InvalidTarget(f"cannot read {shown_address(location)!r} as the address of an index: {example}")
        if "://" in server:
            parts = urlsplit(server)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
                raise InvalidTarget(f"cannot read {shown_address(server)!r} as the address of a server: {example}")
        elif not re.fullmatch(r"[^:/\s]*:[A-Za-z0-9+/=]+", server):
            raise InvalidTarget(f"{shown_address(server)!r} is neither a URL nor a cloud id: {example}")
        check_name(index)
        return cls(server, index)

    def __str__(self) -> str:
        return f"{self.index} at {self.server}"


def connect(server: str) -> Elasticsearch:
    """Return a client of a server, with the credentials of the environment; nothing is sent yet.

    ``ELASTICSEARCH_API_KEY``, or ``ELASTICSEARCH_USERNAME`` and ``ELASTICSEARCH_PASSWORD``; ``ELASTICSEARCH_CA_CERTS``
    names a file of certificates.

    Args:
        server: a URL or a cloud id.

    Raises:
        MissingExtra: elasticsearch or orjson is not installed.
        InvalidTarget: the client does not take the address.
        InvalidInput: the file of certificates cannot be read.

    Warns:
        JinavecWarning: the credentials go over plain HTTP to another machine.
    """
    elasticsearch = require("elasticsearch", EXTRA)
    require("orjson", EXTRA)
    where: dict[str, Any] = {"hosts": _with_port(server)} if "://" in server else {"cloud_id": server}
    credentials, serializer = _credentials(os.environ), _serializer()
    if "ca_certs" in credentials:
        check_certificates("ELASTICSEARCH_CA_CERTS")
    if credentials.keys() & {"api_key", "basic_auth"}:
        warn_of_clear_text(server)
    how = {"serializer": serializer, "request_timeout": _TIMEOUT, "retry_on_timeout": True}
    try:
        return elasticsearch.Elasticsearch(**where, **credentials, **how, node_class=bounded_node(ENGINE_BYTES))
    except ValueError as error:
        raise InvalidTarget(f"cannot connect to {server!r}: {error}") from error


def check_client(client: object) -> Elasticsearch:
    """Return a client that a user made.

    Raises:
        InvalidType: not a client, or an asynchronous one.
    """
    kind = require("elasticsearch", EXTRA).Elasticsearch
    if not isinstance(client, kind):
        raise InvalidType(f"client must be an elasticsearch.Elasticsearch, not {type(client).__name__}")
    return cast("Elasticsearch", client)


def server_version(client: Elasticsearch, where: str) -> Version:
    """Return the version of a server; of one that does not tell, the least that is supported."""
    library = require("elasticsearch", EXTRA)
    with reported(where):
        try:
            answer: Any = client.info().body
        except library.AuthorizationException:
            return (8, 19)
    try:
        if answer["version"].get("build_flavor") == "serverless":
            return NEWEST
        major, minor, *_ = answer["version"]["number"].split(".")
        return int(major), int(minor)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise EngineError(f"{where}: cannot read the server's version in {brief(answer)}") from error


def _credentials(environment: Mapping[str, str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if certificates := environment.get("ELASTICSEARCH_CA_CERTS"):
        given["ca_certs"] = certificates
    user, password = (environment.get(f"ELASTICSEARCH_{name}") for name in ("USERNAME", "PASSWORD"))
    key = checked_key(environment.get("ELASTICSEARCH_API_KEY", ""))
    if not key and user and password:
        return given | {"basic_auth": (user, password)}
    if key:
        given["api_key"] = key
    return given


def _with_port(server: str) -> str:
    """Add the default port: the client demands one."""
    parts = urlsplit(server)
    if parts.port is not None:
        return server
    port = 443 if parts.scheme == "https" else 80
    return parts._replace(netloc=f"{parts.netloc}:{port}").geturl()


def _serializer() -> Any:
    """Return orjson for what is sent; what comes back is read by json, since orjson makes floats of big integers."""
    from elasticsearch.serializer import JsonSerializer, OrjsonSerializer

    class Serializer(OrjsonSerializer):
        def json_dumps(self, data: Any) -> bytes:
            try:
                return super().json_dumps(data)
            except TypeError:  # an integer over 64 bits
                return JsonSerializer().json_dumps(data)

        def json_loads(self, data: bytes) -> Any:
            try:
                return json.loads(data)
            except RecursionError as error:
                raise ValueError("it is nested too deeply") from error

    return Serializer()


_FORBIDDEN = re.compile(r'[\\/*?"<>|\s,#:]')


def check_name(index: str) -> None:
    """Refuse a name of an index that Elasticsearch does not take.

    Raises:
        InvalidTarget: says why.
    """
    problem = ""
    if not index or index in (".", ".."):
        problem = "it is empty or a dot"
    elif _FORBIDDEN.search(index):
        problem = 'it holds one of \\ / * ? " < > | , # : or a space'
    elif index.startswith(("-", "_", "+")):
        problem = "it starts with - _ or +"
    elif index != index.lower():
        problem = "it has capital letters"
    elif len(index.encode(errors="replace")) > 255:
        problem = "it is longer than 255 bytes"
    if problem:
        raise InvalidTarget(f"Elasticsearch takes no index named {shown_address(index)!r}: {problem}")
