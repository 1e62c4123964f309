"""elasticsearch: Elasticsearch's public inference API through the official client; EIS and every other service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

from jinavec.backends.remote.api_keys import find_key, key_variable
from jinavec.backends.remote.backend import RemoteBackend
from jinavec.backends.remote.http import Answer, ServerAccess, read_address
from jinavec.backends.remote.options import ElasticsearchInferenceOptions
from jinavec.backends.remote.retries import read_retry_after
from jinavec.elastic_node import bounded_node
from jinavec.errors import InvalidInput, UnknownTask
from jinavec.extras import require
from jinavec.http_client import BodyRefused, warn_of_clear_text
from jinavec.models import ModelProfile
from jinavec.settings import EncoderSettings
from jinavec.tasks import Role, Task, prompt_name
from jinavec.wire import elasticsearch
from jinavec.wire.errors import LONGEST, error_of
from jinavec.wire.messages import EmbedRequest, Reason, WireError

_TEXT = 1 << 16
"""Bytes that a server may add for a text."""


class ElasticsearchBackend(RemoteBackend):
    """Elasticsearch's inference endpoints: the role goes along, the service behind the endpoint adds the prefix.

    ``served_as`` is the endpoint's id; by default Elastic's own of the model, such as .jina-embeddings-v5-text-small.
    """

    name = "elasticsearch"
    codec = elasticsearch.CODEC
    verifies = False
    options_type = ElasticsearchInferenceOptions
    options: ElasticsearchInferenceOptions

    def own_name(self, profile: ModelProfile) -> str:
        """Return the id of Elastic's own endpoint."""
        return f".{profile.base or profile.name}"

    def ask(self, task: Task, role: Role) -> EmbedRequest:
        """Name the endpoint and the role.

        Raises:
            UnknownTask: Elastic's own endpoints know no task but retrieval.
        """
        if task is not Task.RETRIEVAL and not self.served_as:
            raise UnknownTask(
                f"Elastic's endpoint {self.model!r} embeds for retrieval only; for {task.value!r} give the id of an"
                " endpoint that serves it as served_as="
            )
        name = prompt_name(task, role, self.profile) if self.adds_prompt else None
        return EmbedRequest(texts=(), model=self.model, role=name)

    def connect(self, settings: EncoderSettings, api_key: str | None) -> ServerAccess:
        """Read who is to be asked, and with which key."""
        library = require("elasticsearch", "elasticsearch")
        options, variable = self.options, key_variable(settings.url)
        if bool(settings.url) + bool(options.cloud_id) + (options.client is not None) != 1:
            raise InvalidInput("backend 'elasticsearch' needs one of url, the option cloud_id, and the option client")
        if options.client is not None:
            if not isinstance(options.client, library.Elasticsearch):
                kind = type(options.client).__name__
                raise InvalidInput(f"option client takes an Elasticsearch client, a synchronous one, not {kind}")
            return ServerAccess("elasticsearch", partial(_borrow, options.client, options.concurrency), variable)
        host, how, user = _read_cloud(options.cloud_id) if options.cloud_id else _read_url(settings.url)
        key = find_key(settings.url, api_key)
        how |= {"api_key": key} if key else {"basic_auth": user} if user else {}
        if key or user:
            warn_of_clear_text(settings.url)
        texts = options.batch or self.traits.batch
        how["node_class"] = bounded_node((1 << 20) + texts * (64 * self.profile.width + 6 * _TEXT))
        return ServerAccess(host, partial(_open, library, how, options.concurrency), variable, (key, *(user or ())))


class InferenceTransport:
    """Sends requests through an official client, in threads."""

    def __init__(self, client: Any, threads: Executor) -> None:
        self._library = require("elasticsearch", "elasticsearch")
        self._client = client.options(max_retries=0)  # there is one place that retries
        self._threads = threads

    async def post(self, request: EmbedRequest, timeout: float) -> Answer:
        """Send a request.

        Raises:
            WireError: refused, unreachable, too slow, or answered outside the protocol.
        """
        library = self._library
        try:
            body = await asyncio.get_running_loop().run_in_executor(self._threads, self._perform, request, timeout)
        except (BodyRefused, RecursionError) as error:
            raise WireError(Reason.INVALID, f"the answer cannot be read: {error}") from error
        except library.UnsupportedProductError as error:
            raise WireError(Reason.INVALID, "the server is not Elasticsearch") from error
        except library.ApiError as error:
            raise _refusal(error) from error
        except library.ConnectionTimeout as error:
            raise WireError(Reason.UNAVAILABLE, f"no answer within {timeout:g} seconds") from error
        except library.ConnectionError as error:
            raise WireError(Reason.UNAVAILABLE, f"no connection: {error.message}", code="no_connection") from error
        except library.SerializationError as error:
            raise WireError(
                Reason.INVALID, f"the answer is not JSON: {error.message[:LONGEST]}", code="not_json"
            ) from error
        except library.TransportError as error:
            raise WireError(Reason.INVALID, f"the answer cannot be read: {error.message}") from error
        return Answer(elasticsearch.read_reply(body, request))

    def _perform(self, request: EmbedRequest, timeout: float) -> object:
        client = self._client.options(request_timeout=timeout)
        said = {"input": list(request.texts), "input_type": elasticsearch.input_type(request)}
        return client.perform_request(
            "POST",
            elasticsearch.CODEC.server.path.format(model=quote(request.model, safe="")),
            params={"timeout": f"{timeout:g}s"},
            headers={"content-type": "application/json", "accept": "application/json"},
            body={name: value for name, value in said.items() if value is not None},
        ).body


_Reached = tuple[str, dict[str, Any], tuple[str, str] | None]
"""The name of a server in messages, arguments of the official client, and user name and password."""


def _read_cloud(cloud_id: str) -> _Reached:
    return cloud_id.partition(":")[0], {"cloud_id": cloud_id}, None


def _read_url(url: str) -> _Reached:
    parts = urlsplit(url)
    address = read_address(url, parts.path or "/")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return address.host, {"hosts": f"{parts.scheme}://{parts.hostname}:{port}{parts.path}"}, address.user


@asynccontextmanager
async def _open(library: Any, how: dict[str, Any], connections: int) -> AsyncGenerator[InferenceTransport]:
    client = library.Elasticsearch(**how, connections_per_node=connections)
    try:
        async with _borrow(client, connections) as transport:
            yield transport
    finally:
        client.close()


@asynccontextmanager
async def _borrow(client: Any, connections: int) -> AsyncGenerator[InferenceTransport]:
    threads = ThreadPoolExecutor(connections, "jinavec-elasticsearch")
    try:
        yield InferenceTransport(client, threads)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def _refusal(error: Any) -> WireError:
    refusal = error_of(error.meta.status, error.body)
    refusal.retry_after = read_retry_after(error.meta.headers.get("retry-after"))
    return refusal
