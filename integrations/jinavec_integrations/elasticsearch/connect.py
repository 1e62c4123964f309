"""From a target to a client: where the server is, and with which credentials."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from jinavec.elastic_node import bounded_async_node, bounded_node
from jinavec.errors import EngineError, InvalidTarget, InvalidType, brief
from jinavec.extras import require
from jinavec.http_client import (
    ENGINE_BYTES,
    check_headers,
    checked_key,
    shown_address,
    tls_context,
    warn_of_clear_text,
)
from jinavec_integrations.elasticsearch.calls import Call, Steps
from jinavec_integrations.elasticsearch.mapping import Version
from jinavec_integrations.elasticsearch.options import ElasticsearchOptions

if TYPE_CHECKING:
    from elasticsearch import AsyncElasticsearch, Elasticsearch

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


@dataclass(frozen=True)
class Access:
    """How a server is reached: the arguments of either client."""

    server: str
    arguments: Mapping[str, Any] = field(repr=False)

    @classmethod
    def read(cls, server: str, options: ElasticsearchOptions | None = None) -> Access:
        """Read how to reach a server from options and the environment.

        ``ELASTICSEARCH_API_KEY``, or ``ELASTICSEARCH_USERNAME`` and ``ELASTICSEARCH_PASSWORD``. Files of certificates
        are named by the options, or by ``ELASTICSEARCH_CA_CERTS``, ``ELASTICSEARCH_CLIENT_CERT`` and
        ``ELASTICSEARCH_CLIENT_KEY``.

        Args:
            server: a URL or a cloud id.
            options: those about the connection.

        Raises:
            InvalidInput: a file of certificates cannot be read.

        Warns:
            JinavecWarning: the credentials go over plain HTTP to another machine.
        """
        options = ElasticsearchOptions() if options is None else options
        where: dict[str, Any] = {"hosts": _with_port(server)} if "://" in server else {"cloud_id": server}
        how: dict[str, Any] = {"request_timeout": _TIMEOUT, "retry_on_timeout": True, **_credentials(os.environ)}
        if how.keys() & {"api_key", "basic_auth"}:
            warn_of_clear_text(server)
        tls = tls_context(options, "ELASTICSEARCH_")
        if tls is not None and not server.startswith("http:"):
            how["ssl_context"] = tls
        if options.headers:
            how["headers"] = check_headers(options.headers)
        return cls(server, where | how)

    def open(self) -> Elasticsearch:
        """Return a client; nothing is sent yet."""
        return self._open("Elasticsearch", bounded_node)

    def open_async(self) -> AsyncElasticsearch:
        """Return a client for one event loop; nothing is sent yet."""
        return self._open("AsyncElasticsearch", bounded_async_node)

    def _open(self, name: str, node: Callable[..., type[Any]]) -> Any:
        library = require("elasticsearch", EXTRA)
        require("orjson", EXTRA)
        secrets = tuple(self.arguments.get("headers", {}).values())
        node_class = node(ENGINE_BYTES, secrets)
        try:
            return getattr(library, name)(**self.arguments, serializer=_serializer(), node_class=node_class)
        except ValueError as error:
            raise InvalidTarget(f"cannot connect to {self.server!r}: {error}") from error


def connect(server: str) -> Elasticsearch:
    """Return a client of a server, with the credentials of the environment; nothing is sent yet.

    Raises:
        MissingExtra: elasticsearch or orjson is not installed.
        InvalidTarget: the client does not take the address.
        InvalidInput: a file of certificates cannot be read.
    """
    return Access.read(server).open()


def check_client(client: object) -> Elasticsearch:
    """Return a client that a user made.

    Raises:
        InvalidType: not a client, or an asynchronous one.
    """
    kind = require("elasticsearch", EXTRA).Elasticsearch
    if not isinstance(client, kind):
        raise InvalidType(f"client must be an elasticsearch.Elasticsearch, not {type(client).__name__}")
    return cast("Elasticsearch", client)


def check_async_client(client: object) -> AsyncElasticsearch:
    """Return an asynchronous client that a user made.

    Raises:
        InvalidType: not a client, or a synchronous one.
    """
    kind = require("elasticsearch", EXTRA).AsyncElasticsearch
    if not isinstance(client, kind):
        raise InvalidType(f"async_client must be an elasticsearch.AsyncElasticsearch, not {type(client).__name__}")
    return cast("AsyncElasticsearch", client)


class AsyncClients:
    """The asynchronous clients of one index: one for each event loop, since connections belong to a loop."""

    def __init__(self, server: str, options: ElasticsearchOptions) -> None:
        """Make none yet."""
        self._server = server
        self._options = options
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncElasticsearch] = WeakKeyDictionary()

    def of_this_loop(self) -> AsyncElasticsearch | None:
        """Return the client of the running event loop; None where the user gave a synchronous one alone."""
        if self._options.async_client is not None:
            return cast("AsyncElasticsearch", self._options.async_client)
        if self._options.client is not None:
            return None
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = Access.read(self._server, self._options).open_async()
        return self._clients[loop]

    def close(self) -> None:
        """Close the clients, each in its loop, or at once where the loop has ended."""
        for loop, client in list(self._clients.items()):
            if loop.is_running():
                asyncio.run_coroutine_threadsafe(client.close(), loop)
            else:
                for node in cast("list[Any]", client.transport.node_pool.all()):
                    node.drop()
        self._clients.clear()

    async def aclose(self) -> None:
        """Close the client of the running event loop."""
        if (client := self._clients.pop(asyncio.get_running_loop(), None)) is not None:
            await client.close()


def server_version(where: str) -> Steps[Version]:
    """Return the version of a server; of one that does not tell, the least that is supported."""
    library = require("elasticsearch", EXTRA)
    try:
        answer: Any = (yield Call("info", {})).body
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
    user, password = (environment.get(f"ELASTICSEARCH_{name}") for name in ("USERNAME", "PASSWORD"))
    key = checked_key(environment.get("ELASTICSEARCH_API_KEY", ""))
    if not key and user and password:
        return {"basic_auth": (user, password)}
    return {"api_key": key} if key else {}


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
