"""Calls: requests and what is made of their answers, written once for clients that wait and for those that await."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """A call of a method of qdrant-client."""

    method: str
    """Its name, dotted where it is a part's."""
    arguments: Mapping[str, Any]
    """Without the name of the collection."""
    undone: str = ""
    """What did not happen if it fails, for the message."""
    retry: bool = True
    """Whether to repeat it where it fails for a moment."""


Talk = Generator[Call, Any, T]
"""Yields calls, is sent their answers, and returns what they come to."""


def ask(name: str, /, *, undone: str = "", retry: bool = True, **arguments: Any) -> Talk[Any]:
    """Make one call and return its answer; to be used with ``yield from``."""
    return (yield Call(name, arguments, undone, retry))
