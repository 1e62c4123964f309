"""Misuse: a command line that cannot be meant, as against a run that fails."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from typer import TyperException

from jinavec.errors import InvalidInput


class Misuse(TyperException):
    """A value of a flag that is wrong in itself."""

    exit_code = 2


@contextmanager
def misuse(flag: str = "") -> Generator[None]:
    """Report invalid input as misuse, where a flag is all it can come from.

    Raises:
        Misuse: in place of InvalidInput.
    """
    try:
        yield
    except InvalidInput as error:
        raise Misuse(f"{flag}: {error}" if flag else str(error)) from error


def read_pairs(flag: str, pairs: Sequence[str]) -> dict[str, Any]:
    """Read repeated ``name=value`` flags; a value is JSON where it parses, else a string.

    Raises:
        Misuse: no name, no ``=``, or a name twice.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not name or not equals:
            raise Misuse(f"{flag} takes NAME=VALUE, not {pair!r}")
        if name in values:
            raise Misuse(f"{flag} names {name!r} twice")
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return values
