"""Clients of qdrant-client: one for a server, in both kinds, and one for each local folder, shared by this process."""

from __future__ import annotations

import gc
import ssl
import warnings
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from threading import Lock, RLock
from typing import Any

from jinavec.errors import InvalidInput
from jinavec.extras import require
from jinavec.http_client import (
    ENCODINGS,
    ENGINE_BYTES,
    ENGINE_SECONDS,
    ERROR_BYTES,
    BodyReader,
    BodyRefused,
    opening_client,
    warn_of_clear_text,
)
from jinavec_integrations.qdrant.local_folder import check_folder
from jinavec_integrations.qdrant.location import MEMORY, Location
from jinavec_integrations.qdrant.options import QdrantOptions
from jinavec_integrations.qdrant.presets import Version


def remote_client(location: Location, key: str | None, options: QdrantOptions, *, is_async: bool = False) -> Any:
    """Return a client of a server, which is not called yet.

    Raises:
        InvalidInput: certificates that cannot be read, or that gRPC does not take.
    """
    package = require("qdrant_client", "qdrant")
    kind = package.AsyncQdrantClient if is_async else package.QdrantClient
    if key:
        warn_of_clear_text(location.url)
    tls = _tls(options)
    if options.prefer_grpc and tls is not None:
        raise InvalidInput(
            "prefer_grpc goes without ca_certs and client_cert, which qdrant-client does not give to gRPC"
        )
    given: dict[str, Any] = {} if tls is None else {"verify": tls}
    if options.headers:
        given["headers" if client_version() >= (1, 17) else "metadata"] = dict(options.headers)
    hooks = (_ask_for_encodings_async, _bound_async) if is_async else (_ask_for_encodings, _bound)
    with opening_client(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Api key is used with an insecure connection")  # as just said, with a remedy
        return kind(
            url=location.url,
            api_key=key,
            timeout=options.timeout,
            check_compatibility=False,
            prefer_grpc=options.prefer_grpc,
            grpc_port=options.grpc_port,
            event_hooks={"request": [hooks[0]], "response": [hooks[1]]},
            **given,
        )


def client_version() -> Version:
    """Return major and minor version of qdrant-client."""
    return read_version(version("qdrant-client"))


def read_version(text: str) -> Version:
    """Return major and minor of a version."""
    major, minor, *_ = text.split(".")
    return int(major), int(minor)


def _tls(options: QdrantOptions) -> ssl.SSLContext | None:
    """Return how connections are secured, where that is not by the certificates of the system."""
    if options.ca_certs is None and options.client_cert is None:
        return None
    try:
        context = ssl.create_default_context(cafile=options.ca_certs)
        if options.client_cert is not None:
            context.load_cert_chain(options.client_cert, options.client_key)
    except OSError as error:
        files = {name: getattr(options, name) for name in ("ca_certs", "client_cert", "client_key")}
        shown = ", ".join(f"{name}={file}" for name, file in files.items() if file)
        raise InvalidInput(f"no certificates can be read from {shown}: {error}") from error
    return context


def _ask_for_encodings(request: Any) -> None:
    request.headers["accept-encoding"] = ENCODINGS


async def _ask_for_encodings_async(request: Any) -> None:
    _ask_for_encodings(request)


def _bound(response: Any) -> None:
    """Let httpx read no more of an answer than a limit; it has read nothing of it yet."""
    inner, bounds = response.stream, _Bounds(response)

    class Bounded(require("httpx", "qdrant").SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            for piece in inner:
                yield bounds.feed(piece)
                if bounds.reader.is_full:
                    return

        def close(self) -> None:
            inner.close()

    response.stream = Bounded()


async def _bound_async(response: Any) -> None:
    inner, bounds = response.stream, _Bounds(response)

    class Bounded(require("httpx", "qdrant").AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for piece in inner:
                yield bounds.feed(piece)
                if bounds.reader.is_full:
                    return

        async def aclose(self) -> None:
            await inner.aclose()

    response.stream = Bounded()


class _Bounds:
    """The limits of one answer."""

    def __init__(self, response: Any) -> None:
        self._refused = require("httpx", "qdrant").DecodingError
        is_error = response.status_code >= 300
        limit = ERROR_BYTES if is_error else ENGINE_BYTES
        try:
            encoding = response.headers.pop("content-encoding", None)
            self.reader = BodyReader(limit, encoding, cuts=is_error, seconds=ENGINE_SECONDS)
        except BodyRefused as error:
            raise self._refused(str(error)) from error

    def feed(self, piece: bytes) -> bytes:
        try:
            return self.reader.feed(piece)
        except BodyRefused as error:
            raise self._refused(str(error)) from error


class Pool:
    """The clients of local folders, one for each: qdrant-client locks a folder, even within a process."""

    def __init__(self) -> None:
        self.using = RLock()  # local mode is not made for threads
        self._lock = Lock()
        self._clients: dict[str, Any] = {}
        self._users: dict[str, int] = {}

    def take(self, folder: str) -> Any:
        """Return the client of a folder; to be given back."""
        with self._lock:
            if folder not in self._clients:
                self._clients[folder] = _local(folder)
            self._users[folder] = self._users.get(folder, 0) + 1
            return self._clients[folder]

    def give_back(self, folder: str) -> None:
        """Close the client of a folder, if this was the last who uses it."""
        with self._lock:
            self._users[folder] -= 1
            if not self._users[folder] and folder != MEMORY:  # what is in memory lives as long as the process
                with self.using:
                    self._clients.pop(folder).close()


POOL = Pool()


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
