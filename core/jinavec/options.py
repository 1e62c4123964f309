"""Options of a backend or an engine: a dataclass each, read from plain values by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, cast, get_args, get_type_hints

from jinavec.errors import InvalidInput

T = TypeVar("T")


def read_options(kind: type[T], values: object) -> T:
    """Return options of a kind: those given, or built from a mapping of names to values.

    Raises:
        InvalidInput: an unknown name, or a value of the wrong type; the message lists the names.
    """
    if isinstance(values, kind):
        return values
    if values is None:
        return kind()
    if not isinstance(values, Mapping):
        raise InvalidInput(f"options must be {kind.__name__} or a mapping of names to values, not {values!r}")
    hints = get_type_hints(kind)
    for name, value in cast("Mapping[str, Any]", values).items():
        if name not in hints:
            raise InvalidInput(f"unknown option {name!r}; {kind.__name__} has: {', '.join(hints) or 'none'}")
        allowed = get_args(hints[name]) or (hints[name],)
        if type(value) not in allowed:
            names = " or ".join(getattr(t, "__name__", str(t)) for t in allowed)
            raise InvalidInput(f"option {name} takes {names}, not {value!r}")
    return kind(**cast("Mapping[str, Any]", values))


def plain(options: object) -> dict[str, Any]:
    """Return options as plain values by name; ``read_options`` reads them back."""
    if options is None:
        return {}
    if isinstance(options, Mapping):
        return dict(cast("Mapping[str, Any]", options))
    if not dataclasses.is_dataclass(options) or isinstance(options, type):
        raise InvalidInput(f"options must be a dataclass or a mapping, not {options!r}")
    return dataclasses.asdict(options)
