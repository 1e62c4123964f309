"""Connections: a client for each server, and one for each local folder, shared by this process."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from threading import Lock, RLock
from typing import Any

from jinavec.errors import EngineError, warn
from jinavec.extras import require
from jinavec.http_client import (
    ENCODINGS,
    ENGINE_BYTES,
    ENGINE_SECONDS,
    ERROR_BYTES,
    BodyReader,
    BodyRefused,
    checked_key,
    opening_client,
    warn_of_clear_text,
)
from jinavec_integrations.qdrant.errors import (
    Table,
    folder_errors,
    local_errors,
    retry_after,
    server_errors,
    temporary,
    translate,
)
from jinavec_integrations.qdrant.local_folder import check_folder
from jinavec_integrations.qdrant.location import MEMORY, Location
from jinavec_integrations.qdrant.options import QdrantOptions
from jinavec_integrations.qdrant.presets import Version

_KEY = "QDRANT_API_KEY"
_OF_A_SHARD = {"count", "delete", "retrieve", "scroll", "upsert"}
"""Methods that take a shard key; a query carries it in itself."""
_LONGEST_WAIT = 30.0  # seconds, of the growing waits between tries


class Connection:
    """Calls methods of a client: with retries where there is a server, one at a time where there is none."""

    def __init__(self, location: Location, options: QdrantOptions) -> None:
        """Connect; a server is not called yet.

        Raises:
            MissingExtra: qdrant-client is not installed.
            IndexLocked: another process has the folder open.
            IndexDamaged, EngineError: the folder cannot be read.
        """
        self.location = location
        self._retries = options.retries
        self._shard_key = options.shard_key
        self._key = checked_key(os.environ.get(_KEY, "")) or None if location.url else None
        self._closed = False
        require("qdrant_client", "qdrant")
        with self._own_errors(server_errors() if location.url else folder_errors()):
            self.client: Any = _remote(location, self._key, options) if location.url else _POOL.take(location.folder)

    @property
    def local(self) -> bool:
        """Whether there is no server."""
        return not self.location.url

    def call(self, method: str, *, undone: str = "", retry: bool = True, **arguments: Any) -> Any:
        """Call a method of the client on the collection.

        Args:
            method: its name, dotted where it is a part's.
            undone: what did not happen if it fails, for the message.
            retry: whether to repeat a call that failed for a moment.
            arguments: of the method, without the name of the collection.

        Raises:
            JinavecError: in place of what the client raises when a call fails.
        """
        if self._closed:
            raise EngineError(f"the index {self.location} is closed; open it again")
        arguments["collection_name"] = self.location.collection
        if self._shard_key is not None and method in _OF_A_SHARD:
            arguments["shard_key_selector"] = self._shard_key
        run: Callable[..., Any] = attrgetter(method)(self.client)
        if not self.local:
            with self._own_errors(server_errors(), undone):
                return self._repeating(run, arguments, self._retries if retry else 0)
        with _POOL.using, warnings.catch_warnings(), self._own_errors(local_errors(), undone):
            warnings.filterwarnings("ignore", "Local mode", UserWarning)
            return run(**arguments)

    def _repeating(self, run: Callable[..., Any], arguments: dict[str, Any], retries: int) -> Any:
        tenacity = require("tenacity", "qdrant")
        growing = tenacity.wait_random_exponential(multiplier=0.2, max=_LONGEST_WAIT)

        def wait(state: Any) -> float:
            asked = retry_after(state.outcome.exception())
            return float(growing(state)) if asked is None else asked

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(temporary),
            stop=tenacity.stop_after_attempt(retries + 1),
            wait=wait,
            reraise=True,
        )(run, **arguments)

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
            theirs = _read_version(found)
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
            _POOL.give_back(self.location.folder)
        else:
            self.client.close()

    def __repr__(self) -> str:
        return f"Connection({str(self.location)!r})"


def local_collection_exists(location: Location) -> bool:
    """Return whether a local folder may hold a collection; creates nothing."""
    return location.folder == MEMORY or (Path(location.folder) / "meta.json").is_file()


def client_version() -> Version:
    """Return major and minor version of qdrant-client."""
    from importlib.metadata import version

    return _read_version(version("qdrant-client"))


class _Pool:
    """The clients of local folders, one for each: qdrant-client locks a folder, even within a process."""

    def __init__(self) -> None:
        self.using = RLock()  # local mode is not made for threads
        self._lock = Lock()
        self._clients: dict[str, Any] = {}
        self._users: dict[str, int] = {}

    def take(self, folder: str) -> Any:
        with self._lock:
            if folder not in self._clients:
                self._clients[folder] = _local(folder)
            self._users[folder] = self._users.get(folder, 0) + 1
            return self._clients[folder]

    def give_back(self, folder: str) -> None:
        with self._lock:
            self._users[folder] -= 1
            if not self._users[folder] and folder != MEMORY:  # what is in memory lives as long as the process
                with self.using:
                    self._clients.pop(folder).close()


_POOL = _Pool()


def _local(folder: str) -> Any:
    client = require("qdrant_client", "qdrant").QdrantClient
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Local mode", UserWarning)
        if folder == MEMORY:
            return client(MEMORY, force_disable_check_same_thread=True)
        with _paused_collector():
            check_folder(Path(folder))
            return client(path=folder, force_disable_check_same_thread=True)


@contextmanager
def _paused_collector() -> Generator[None]:
    """Open a folder faster: the garbage collector would search the many objects that come to stay, again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _remote(location: Location, key: str | None, options: QdrantOptions) -> Any:
    client = require("qdrant_client", "qdrant").QdrantClient
    hooks = {"request": [_ask_for_encodings], "response": [_bound]}
    if key:
        warn_of_clear_text(location.url)
    with opening_client(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Api key is used with an insecure connection")  # as just said, with a remedy
        return client(
            url=location.url, api_key=key, timeout=options.timeout, check_compatibility=False, event_hooks=hooks
        )


def _ask_for_encodings(request: Any) -> None:
    request.headers["accept-encoding"] = ENCODINGS


def _bound(response: Any) -> None:
    """Let httpx read no more of an answer than a limit; it has read nothing of it yet."""
    httpx = require("httpx", "qdrant")
    is_error = response.status_code >= 300
    limit = ERROR_BYTES if is_error else ENGINE_BYTES
    inner = response.stream

    class Bounded(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            for piece in inner:
                try:
                    yield reader.feed(piece)
                except BodyRefused as error:
                    raise httpx.DecodingError(str(error)) from error
                if reader.is_full:
                    return

        def close(self) -> None:
            inner.close()

    try:
        encoding = response.headers.pop("content-encoding", None)
        reader = BodyReader(limit, encoding, cuts=is_error, seconds=ENGINE_SECONDS)
    except BodyRefused as error:
        raise httpx.DecodingError(str(error)) from error
    response.stream = Bounded()


def _read_version(text: str) -> Version:
    major, minor, *_ = text.split(".")
    return int(major), int(minor)


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
