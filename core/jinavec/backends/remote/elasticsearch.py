"""elasticsearch: Elasticsearch's public inference API through the official client; EIS and every other service."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

from jinavec.backends.remote.api_keys import find_key
from jinavec.backends.remote.http import Answer, Transport, read_address
from jinavec.backends.remote.protocols import RemoteBackend, RemoteOptions
from jinavec.backends.remote.retries import read_retry_after
from jinavec.errors import InvalidInput, UnknownTask
from jinavec.extras import require
from jinavec.models import ModelProfile
from jinavec.settings import EncoderSettings
from jinavec.tasks import Role, Task, prompt_name
from jinavec.wire import elasticsearch
from jinavec.wire.fields import dumps
from jinavec.wire.messages import EmbedRequest, Reason, WireError


@dataclass(frozen=True, kw_only=True)
class ElasticsearchOptions(RemoteOptions):
    """How Elasticsearch is reached, and used."""

    cloud_id: str = ""
    """An Elastic Cloud deployment, in place of ``url``."""
    client: object = field(default=None, repr=False)
    """An ``Elasticsearch`` client of one's own, in place of an address; it stays open, and is never stored."""


class ElasticsearchBackend(RemoteBackend):
    """Elasticsearch's inference endpoints: the role goes along, the service behind the endpoint adds the prefix.

    ``served_as`` is the endpoint's id; by default Elastic's own of the model, such as .jina-embeddings-v5-text-small.
    """

    name = "elasticsearch"
    codec = elasticsearch
    options_type = ElasticsearchOptions
    options: ElasticsearchOptions

    def own_name(self, profile: ModelProfile) -> str:
        """Return the id of Elastic's own endpoint."""
        return f".{profile.base or profile.name}"

    def ask(self, task: Task, role: Role) -> dict[str, Any]:
        """Name the endpoint and the role.

        Raises:
            UnknownTask: Elastic's own endpoints know no task but retrieval.
        """
        if task is not Task.RETRIEVAL and not self.served_as:
            raise UnknownTask(
                f"Elastic's endpoint {self.model!r} embeds for retrieval only; for {task.value!r} give the id of an"
                " endpoint that serves it as served_as="
            )
        return {"model": self.model, "role": prompt_name(task, role, self.profile) if self.adds_prompt else None}

    def connect(
        self, settings: EncoderSettings, api_key: str | None
    ) -> Callable[[], AbstractAsyncContextManager[Transport]]:
        """Read who is to be asked, and return what opens the client."""
        library = require("elasticsearch", "elasticsearch")
        options, given = self.options, bool(settings.url)
        if given + bool(options.cloud_id) + (options.client is not None) != 1:
            raise InvalidInput("backend 'elasticsearch' needs one of url, the option cloud_id, and the option client")
        self._secrets, self._variable = [""], "JINAVEC_API_KEY"
        if options.client is not None:
            perform = getattr(options.client, "perform_request", None)
            if perform is None or inspect.iscoroutinefunction(perform):
                kind = type(options.client).__name__
                raise InvalidInput(f"option client takes an Elasticsearch client, a synchronous one, not {kind}")
            self.host = "elasticsearch"
            return partial(_borrow, options.client, options.concurrency)
        how: dict[str, Any] = {"cloud_id": options.cloud_id}
        user = None
        self.host = options.cloud_id.partition(":")[0]
        if given:
            parts = urlsplit(settings.url)
            address = read_address(settings.url, parts.path or "/")
            port = parts.port or (443 if parts.scheme == "https" else 80)
            how = {"hosts": f"{parts.scheme}://{parts.hostname}:{port}{parts.path}"}
            self.host, user = address.host, address.user
        key = find_key(settings.url, api_key)
        self._secrets = [key, *(user or ())]
        how |= {"api_key": key} if key else {"basic_auth": user} if user else {}
        return partial(_open, library, how, options.concurrency)


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
        except library.UnsupportedProductError as error:
            raise WireError(Reason.INVALID, "what answers there is not Elasticsearch") from error
        except library.ApiError as error:
            raise _refusal(error) from error
        except library.ConnectionTimeout as error:
            raise WireError(Reason.UNAVAILABLE, f"no answer within {timeout:g} seconds") from error
        except library.ConnectionError as error:
            raise WireError(Reason.UNAVAILABLE, f"no connection: {error.message}", code="no_connection") from error
        except library.SerializationError as error:
            raise WireError(Reason.INVALID, f"the answer is not JSON: {error.message}", code="not_json") from error
        except library.TransportError as error:
            raise WireError(Reason.INVALID, f"the answer cannot be read: {error.message}") from error
        return Answer(elasticsearch.read_reply(body, request))

    def _perform(self, request: EmbedRequest, timeout: float) -> object:
        client = self._client.options(request_timeout=timeout)
        said = {"input": list(request.texts), "input_type": elasticsearch.input_type(request)}
        return client.perform_request(
            "POST",
            elasticsearch.SERVER.path.format(model=quote(request.model, safe="")),
            params={"timeout": f"{timeout:g}s"},
            headers={"content-type": "application/json", "accept": "application/json"},
            body={name: value for name, value in said.items() if value is not None},
        ).body


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
    refusal = elasticsearch.decode_error(error.meta.status, dumps(error.body))
    refusal.retry_after = read_retry_after(error.meta.headers.get("retry-after"))
    return refusal
