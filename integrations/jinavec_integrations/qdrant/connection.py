"""Connections: calls of a client, with retries where there is a server, one at a time where there is none."""

from __future__ import annotations

import asyncio
import json
import os
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from jinavec.errors import EngineError, InvalidInput, JinavecError, warn
from jinavec.extras import require
from jinavec.http_client import checked_key
from jinavec.log import timed
from jinavec.vectors import Float32
from jinavec_integrations.qdrant.calls import Call, Talk, ask
from jinavec_integrations.qdrant.clients import POOL, client_version, read_version, remote_client
from jinavec_integrations.qdrant.convert import PointId
from jinavec_integrations.qdrant.errors import (
    Table,
    folder_errors,
    is_own_fault,
    local_errors,
    retry_after,
    server_errors,
    temporary,
    translate,
)
from jinavec_integrations.qdrant.limits import Limits
from jinavec_integrations.qdrant.location import MEMORY, Location
from jinavec_integrations.qdrant.options import QdrantOptions
from jinavec_integrations.qdrant.presets import Version

T = TypeVar("T")
_KEY = "QDRANT_API_KEY"
_OF_A_SHARD = {"count", "delete", "retrieve", "scroll", "upsert"}
"""Methods that take a shard key; a query carries it in itself."""
_LONGEST_WAIT = 10.0  # seconds, of the growing waits between tries
_BODY, _BODY_ON_LOOP = 16_000_000, 2**20
"""Bytes of a request, about: half of what a server takes by default; what an event loop sends in some milliseconds."""
_FEW = 5  # tries of what fails by a fault of the server's own, which may well be permanent


class Connection:
    """Calls methods of a client, and of its async twin where there is a server."""

    def __init__(self, location: Location, options: QdrantOptions) -> None:
        """Connect; a server is not called yet.

        Raises:
            MissingExtra: qdrant-client is not installed.
            IndexLocked: another process has the folder open.
            IndexDamaged, EngineError: the folder cannot be read.
            InvalidInput: a client for a local folder, or one that is none; certificates that cannot be read.
        """
        self.location = location
        self._options = options
        self._key = checked_key(os.environ.get(_KEY, "")) or None if location.url else None
        self.limits = Limits()
        self.body = _BODY
        """Bytes of a request, at most, unless it is one record."""
        self._loop: asyncio.AbstractEventLoop | None = None
        """On which worker threads have their calls made, by the async client."""
        self._closed = False
        self._async_clients: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        package = require("qdrant_client", "qdrant")
        if options.client is not None:
            if not location.url or not isinstance(options.client, package.QdrantClient):
                raise InvalidInput("client is a QdrantClient, and goes with the address of a server")
            self.client: Any = options.client
            return
        with self._own_errors(server_errors() if location.url else folder_errors()):
            self.client = remote_client(location, self._key, options) if location.url else POOL.take(location.folder)

    @property
    def local(self) -> bool:
        """Whether there is no server."""
        return not self.location.url

    @property
    def awaits(self) -> bool:
        """Whether ``arun`` is at hand: there is a server, and no client of one's own, which has no async twin."""
        return not self.local and self._options.client is None

    def on_loop(self, loop: asyncio.AbstractEventLoop) -> Connection:
        """Return a connection for worker threads, whose calls go out on an event loop; only where ``awaits``."""
        other = copy(self)
        other._loop, other.body = loop, _BODY_ON_LOOP
        return other

    def call(self, method: str, *, undone: str = "", retry: bool = True, **arguments: Any) -> Any:
        """Return the answer of one call; see ``Call``.

        Raises:
            JinavecError: in place of what the client raises when a call fails.
        """
        return self.run(ask(method, undone=undone, retry=retry, **arguments))

    def upsert(
        self, ids: Sequence[PointId], vectors: Mapping[str, Float32], payloads: Sequence[str], undone: str
    ) -> Talk[None]:
        """Store points, whose payloads are JSON; searchable when answered.

        Over REST the body is made here: qdrant-client looks at every number on the way, and holds up all threads.
        """
        models = require("qdrant_client.models", "qdrant")
        if not self.awaits or self._options.prefer_grpc:
            rows: dict[str, Any] = {name: rows.tolist() for name, rows in vectors.items()}
            batch = models.Batch(ids=ids, vectors=rows.get("", rows), payloads=list(map(json.loads, payloads)))
            yield from ask("upsert", undone=undone, points=batch, wait=True)
            return
        answer = yield from ask(
            "http.client.request",
            undone=undone,
            type_=dict[str, Any],
            method="PUT",
            url="/collections/{collection_name}/points",
            path_params={"collection_name": self.location.collection},
            params={"wait": "true"},
            headers={"Content-Type": "application/json"},
            content=_upsert_body(ids, vectors, payloads, self._options.shard_key),
        )
        if not answer.get("result"):
            raise EngineError(f"{self.location}: not an answer of Qdrant: it has no result")

    def run(self, talk: Talk[T]) -> T:
        """Make the calls of a talk, and return what it comes to.

        Raises:
            JinavecError: in place of what the client raises when a call fails.
        """
        answer: Any = None
        while True:
            try:
                call = _resume(talk, answer)
            except StopIteration as end:
                return end.value
            try:
                answer = self._do(call)
            except JinavecError as error:
                answer = error

    async def arun(self, talk: Talk[T]) -> T:
        """Do what ``run`` does, by the async client; only where ``awaits``."""
        answer: Any = None
        while True:
            try:
                call = _resume(talk, answer)
            except StopIteration as end:
                return end.value
            try:
                answer = await self._ado(call)
            except JinavecError as error:
                answer = error

    def _do(self, call: Call) -> Any:
        if self._loop is not None:
            return asyncio.run_coroutine_threadsafe(self._ado(call), self._loop).result()
        arguments = self._arguments(call)
        run: Callable[..., Any] = attrgetter(call.method)(self.client)
        if not self.local:
            with self._own_errors(server_errors(), call.undone), timed("Qdrant: %s", call.method):
                return require("tenacity", "qdrant").Retrying(**self._repeating(call))(run, **arguments)
        with POOL.using, warnings.catch_warnings(), self._own_errors(local_errors(), call.undone):
            warnings.filterwarnings("ignore", "Local mode", UserWarning)
            return run(**arguments)

    async def _ado(self, call: Call) -> Any:
        arguments = self._arguments(call)
        run: Callable[..., Any] = attrgetter(call.method)(self._async_client())
        with self._own_errors(server_errors(), call.undone), timed("Qdrant: %s", call.method):
            return await require("tenacity", "qdrant").AsyncRetrying(**self._repeating(call))(run, **arguments)

    def _arguments(self, call: Call) -> dict[str, Any]:
        if self._closed:
            raise EngineError(f"the index {self.location} is closed; open it again")
        arguments = dict(call.arguments)
        if call.method != "http.client.request":
            arguments["collection_name"] = self.location.collection
        if self._options.shard_key is not None and call.method in _OF_A_SHARD:
            arguments["shard_key_selector"] = self._options.shard_key
        return arguments

    def _async_client(self) -> Any:
        """Return the async client of the running event loop, as connections belong to a loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._async_clients:
            self._async_clients[loop] = remote_client(self.location, self._key, self._options, is_async=True)
        return self._async_clients[loop]

    def _repeating(self, call: Call) -> dict[str, Any]:
        """Return when a call is made again, as tenacity takes it."""
        tenacity = require("tenacity", "qdrant")
        growing = tenacity.wait_random_exponential(multiplier=0.2, max=_LONGEST_WAIT)
        late = tenacity.stop_before_delay(self._options.deadline if call.retry else 0)

        def wait(state: Any) -> float:
            return (retry_after(state.outcome.exception()) or 0.0) + float(growing(state))

        def stop(state: Any) -> bool:
            return late(state) or (is_own_fault(state.outcome.exception()) and state.attempt_number >= _FEW)

        return {"retry": tenacity.retry_if_exception(temporary), "stop": stop, "wait": wait, "reraise": True}

    @contextmanager
    def _own_errors(self, table: Table, undone: str = "") -> Generator[None]:
        """Raise jinavec's error in place of one in the table."""
        try:
            yield
        except tuple(table) as error:
            own = translate(table, str(self.location), error)
            if own is None:
                raise
            text = f"{own}: {undone}" if undone else str(own)
            if self._key and self._key in text:  # a server may repeat it, so the original is not shown either
                raise type(own)(text.replace(self._key, "***")) from None
            raise type(own)(text) from error

    @cached_property
    def version(self) -> Version:
        """Major and minor version that decides what can be asked for: the server's, or the client's where it is older.

        Warns:
            JinavecWarning: they are more than one minor version apart.
        """
        ours = client_version()
        if self.local:
            return ours
        with self._own_errors(server_errors()):
            found = self.client.info().version
        try:
            theirs = read_version(found)
        except ValueError as error:
            raise EngineError(f"{self.location}: not an answer of Qdrant: its version is {found!r}") from error
        if theirs[0] != ours[0] or abs(theirs[1] - ours[1]) > 1:
            warn(f"Qdrant {_dotted(theirs)} at {self.location.url} is too far from qdrant-client {_dotted(ours)}")
        return min(ours, theirs)

    def close(self) -> None:
        """Release the client. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self.local:
            POOL.give_back(self.location.folder)
        elif self._options.client is None:
            self.client.close()

    async def aclose(self) -> None:
        """Release the async client of the running event loop, and the other one. Idempotent."""
        if (client := self._async_clients.pop(asyncio.get_running_loop(), None)) is not None:
            await client.close()
        self.close()

    def __repr__(self) -> str:
        return f"Connection({str(self.location)!r})"


def local_collection_exists(location: Location) -> bool:
    """Return whether a local folder may hold a collection; creates nothing."""
    return location.folder == MEMORY or (Path(location.folder) / "meta.json").is_file()


def _upsert_body(
    ids: Sequence[PointId], vectors: Mapping[str, Float32], payloads: Sequence[str], shard_key: str | None
) -> bytes:
    orjson = require("orjson", "qdrant")
    rows: dict[str, Any] = {name: np.ascontiguousarray(rows) for name, rows in vectors.items()}
    batch = {"ids": ids, "vectors": rows.get("", rows), "payloads": orjson.Fragment(f"[{','.join(payloads)}]")}
    body = {"batch": batch} | ({} if shard_key is None else {"shard_key": shard_key})
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


def _resume(talk: Talk[Any], answer: object) -> Call:
    """Return the next call of a talk that gets an answer, or the error in its place."""
    return talk.throw(answer) if isinstance(answer, JinavecError) else talk.send(answer)


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
