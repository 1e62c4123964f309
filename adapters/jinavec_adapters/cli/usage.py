"""UsageError: a command line that is wrong in itself, as opposed to a run that fails."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from typer import TyperException


class UsageError(TyperException):
    """A flag, or a combination of flags, that cannot be used."""

    exit_code = 2


@contextmanager
def usage_errors(flag: str = "") -> Generator[None]:
    """Report invalid input as a usage error, where it can only come from a flag.

    Raises:
        UsageError: in place of InvalidInput.
    """
    from jinavec.errors import InvalidInput

    try:
        yield
    except InvalidInput as error:
        raise UsageError(f"{flag}: {error}" if flag else str(error)) from error


def read_pairs(flag: str, pairs: Sequence[str]) -> dict[str, Any]:
    """Read repeated ``name=value`` flags; a value is JSON where it parses, else a string.

    Raises:
        UsageError: no name, no ``=``, or a name twice.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not name or not equals:
            raise UsageError(f"{flag} takes NAME=VALUE, not {pair!r}")
        if name in values:
            raise UsageError(f"{flag} names {name!r} twice")
        try:
            values[name] = json.loads(text)
        except (ValueError, RecursionError):
            values[name] = text
    return values
