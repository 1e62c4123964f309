"""Options of a backend or an engine: a dataclass each, read from plain values by name."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from jinavec.errors import InvalidInput, brief

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
        raise InvalidInput(f"options must be {kind.__name__} or a mapping of names to values, not {brief(values)}")
    hints = get_type_hints(kind)
    for name, value in cast("Mapping[str, Any]", values).items():
        if name not in hints:
            raise InvalidInput(f"unknown option {name!r}; {kind.__name__} has: {', '.join(hints) or 'none'}")
        if not _fits(value, hints[name]):
            shown = type(value).__name__ if name == SECRET_OPTION else brief(value)
            raise InvalidInput(f"option {name} takes {_words(hints[name])}, not {shown}")
    return kind(**cast("Mapping[str, Any]", values))


def meanings(kind: type) -> dict[str, str]:
    """Return the meaning of each option of a kind: what the section ``Attributes`` of its docstring says."""
    return {name: " ".join(words.split()) for name, words in _MEANING.findall(_attributes(kind))}


def inherit_meanings(kind: type, parent: type) -> None:
    """Add the meanings of a parent's options to the docstring of a kind, which ends with its own, for ``help()``."""
    if kind.__doc__:  # none under python -OO
        kind.__doc__ = f"{inspect.cleandoc(kind.__doc__)}\n{_attributes(parent)}"


_MEANING = re.compile(r"^    (\w+): (.*(?:\n     .*)*)", re.MULTILINE)


def _attributes(kind: type) -> str:
    return inspect.cleandoc(kind.__doc__ or "").partition("\nAttributes:\n")[2]


SECRET_OPTION = "headers"
"""The option whose values may hold a key: never stored, never shown."""


class Hidden(dict[str, str]):
    """A dict whose values no repr shows."""

    def __repr__(self) -> str:
        return repr(dict.fromkeys(self, "***"))


def plain(options: object) -> dict[str, Any]:
    """Return options as plain values by name; ``read_options`` reads them back."""
    if options is None:
        return {}
    if isinstance(options, Mapping):
        given = dict(cast("Mapping[str, Any]", options))
    elif dataclasses.is_dataclass(options) and not isinstance(options, type):
        given = {f.name: getattr(options, f.name) for f in dataclasses.fields(options)}
    else:
        raise InvalidInput(f"options must be a dataclass or a mapping, not {brief(options)}")
    secret = given.get(SECRET_OPTION)
    return given | {SECRET_OPTION: Hidden(cast("dict[str, str]", secret))} if isinstance(secret, dict) else given


def _fits(value: object, hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if get_origin(hint) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(hint))
    kind = get_origin(hint) or hint
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (float, int) if kind is float else kind)


def _words(hint: Any) -> str:
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(map(_words, get_args(hint)))
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    return "None" if hint is NoneType else getattr(hint, "__name__", str(hint))
