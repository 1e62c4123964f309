"""Targets: ``qdrant:http://host:6333/collection``, ``qdrant:DIR/NAME``, ``qdrant::memory:/name``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from jinavec.errors import InvalidTarget
from jinavec.http_client import shown_address

MEMORY = ":memory:"
_FORM = "write http://HOST:6333/COLLECTION, DIR/COLLECTION or :memory:/COLLECTION"
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


@dataclass(frozen=True)
class Location:
    """Where a collection is."""

    collection: str
    url: str = ""
    """Of the server; empty in local mode."""
    folder: str = ""
    """Absolute, or ``:memory:``; empty for a server."""

    @property
    def place(self) -> str:
        """The server or folder, for messages."""
        return self.url or self.folder

    def __str__(self) -> str:
        return f"{self.place}/{self.collection}"


def parse_location(given: str) -> Location:
    """Read what a target names after its scheme.

    Raises:
        InvalidTarget: no such place or collection can be; a URL with a user name or password, which is not repeated.
    """
    place, slash, collection = given.rstrip("/").rpartition("/")
    if not slash or not place or given.startswith("/") and not place.strip("/"):
        raise InvalidTarget(f"cannot read the target {shown_address(given)!r} after qdrant: ; {_FORM}")
    collection = unquote(collection) if "://" in place else collection
    if not collection or len(collection) > 255 or _FORBIDDEN.search(collection) or collection in (".", ".."):
        raise InvalidTarget(f"no Qdrant collection can be named {shown_address(collection)!r}; {_FORM}")
    if place == MEMORY:
        return Location(collection, folder=MEMORY)
    if "://" in given:
        return Location(collection, url=_check_url(place))
    return Location(collection, folder=str(Path(place).absolute()))


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidTarget(f"not a URL: {shown_address(url)!r}: {error}") from error
    if "@" in parts.netloc:
        raise InvalidTarget("a Qdrant URL holds no user name or password; give the key in QDRANT_API_KEY")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise InvalidTarget(f"not the URL of a Qdrant server: {shown_address(url)!r}; {_FORM}")
    return url
