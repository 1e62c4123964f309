"""Connections: a client for each server; one for each local folder, shared by everybody in this process."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from threading import Lock, RLock
from typing import Any, NoReturn

from jinavec.errors import EngineError, IndexDamaged, JinavecError, warn
from jinavec.extras import require
from jinavec_integrations.qdrant.faults import temporary, translate, wait_asked
from jinavec_integrations.qdrant.location import MEMORY, Location
from jinavec_integrations.qdrant.options import QdrantOptions

Version = tuple[int, int]
_KEYS = ("QDRANT_API_KEY", "JINAVEC_API_KEY")
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
        self._key = next((key for name in _KEYS if (key := os.environ.get(name))), None) if location.url else None
        self._closed = False
        require("qdrant_client", "qdrant")
        try:
            self.client: Any = _remote(location, self._key, options) if location.url else _POOL.take(location.folder)
        except (AttributeError, TypeError) as error:  # all that local mode says about a file of another shape
            raise IndexDamaged(f"{location} is damaged: {error!r}") from error
        except Exception as error:
            self._raise(error)

    @property
    def local(self) -> bool:
        """Whether there is no server."""
        return not self.location.url

    def call(self, method: str, *, undone: str = "", retry: bool = True, **arguments: Any) -> Any:
        """Call a method of the client on the collection.

        Args:
            method: its name, dotted where it is a part's.
            undone: what did not happen if it fails, for the message.
            retry: whether a failure that may pass is tried again.
            arguments: of the method, without the name of the collection.

        Raises:
            JinavecError: in place of whatever the client raises.
        """
        if self._closed:
            raise EngineError(f"the index {self.location} is closed; open it again")
        arguments["collection_name"] = self.location.collection
        if self._shard_key is not None and method in _OF_A_SHARD:
            arguments["shard_key_selector"] = self._shard_key
        run: Callable[..., Any] = attrgetter(method)(self.client)
        try:
            if self.local:
                with _POOL.using, warnings.catch_warnings():
                    warnings.filterwarnings("ignore", "Local mode", UserWarning)
                    return run(**arguments)
            return self._repeating(run, arguments, self._retries if retry else 0)
        except Exception as error:
            self._raise(error, undone)

    def _repeating(self, run: Callable[..., Any], arguments: dict[str, Any], retries: int) -> Any:
        tenacity = require("tenacity", "qdrant")
        growing = tenacity.wait_random_exponential(multiplier=0.2, max=_LONGEST_WAIT)

        def wait(state: Any) -> float:
            asked = wait_asked(state.outcome.exception())
            return float(growing(state)) if asked is None else asked

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(temporary),
            stop=tenacity.stop_after_attempt(retries + 1),
            wait=wait,
            reraise=True,
        )(run, **arguments)

    def _raise(self, error: Exception, undone: str = "") -> NoReturn:
        told = translate(error, str(self.location), undone)
        if told is None:
            raise error
        if self._key and self._key in str(told):  # whatever a server repeats
            told = type(told)(str(told).replace(self._key, "***"))
            raise told from None
        raise told from error

    @cached_property
    def version(self) -> Version:
        """Major and minor version that decides what can be asked for: the server's, or the client's where it is older.

        Warns:
            JinavecWarning: they are more than one minor version apart.
        """
        ours = client_version()
        if self.local:
            return ours
        try:
            theirs = _read_version(self.client.info().version)
        except Exception as error:
            self._raise(error)
        if theirs[0] != ours[0] or abs(theirs[1] - ours[1]) > 1:
            warn(f"Qdrant {_dotted(theirs)} at {self.location.url} is too far from qdrant-client {_dotted(ours)}")
        return min(ours, theirs)

    def close(self) -> None:
        """Let go of the client; closing twice is allowed."""
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
    """Return whether a local folder may hold a collection, without making anything."""
    return location.folder == MEMORY or (Path(location.folder) / "meta.json").is_file()


def client_version() -> Version:
    """Return major and minor version of qdrant-client."""
    from importlib.metadata import version

    return _read_version(version("qdrant-client"))


class _Pool:
    """The clients of local folders: qdrant-client locks a folder, so one has to do for the process."""

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
                with self.using, suppress(JinavecError):
                    self._clients.pop(folder).close()


_POOL = _Pool()


def _local(folder: str) -> Any:
    client = require("qdrant_client", "qdrant").QdrantClient
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Local mode", UserWarning)
        if folder == MEMORY:
            return client(MEMORY, force_disable_check_same_thread=True)
        return client(path=folder, force_disable_check_same_thread=True)


def _remote(location: Location, key: str | None, options: QdrantOptions) -> Any:
    client = require("qdrant_client", "qdrant").QdrantClient
    return client(url=location.url, api_key=key, timeout=options.timeout, check_compatibility=False)


def _read_version(text: str) -> Version:
    major, minor, *_ = text.split(".")
    return int(major), int(minor)


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
