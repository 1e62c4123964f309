"""Reading JSON from strangers: each field is checked, and what is wrong with it is said by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from jinavec.errors import brief
from jinavec.extras import require
from jinavec.wire.messages import Reason, WireError

T = TypeVar("T")


def dumps(values: object) -> bytes:
    """Write JSON; NumPy arrays become arrays of numbers, float32 with as few digits as tell them apart."""
    orjson = require("orjson", "remote")
    return orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)


def loads(body: bytes) -> Any:
    """Read JSON.

    Raises:
        WireError: it is none.
    """
    orjson = require("orjson", "remote")
    try:
        return orjson.loads(body)
    except ValueError as error:
        raise WireError(Reason.INVALID, f"the body is not JSON: {error}", code="not_json") from error


class Fields:
    """One JSON object; every reader returns None for a field that is missing or null, and raises WireError."""

    def __init__(self, values: object, what: str = "the body") -> None:
        if not isinstance(values, dict):
            raise WireError(Reason.INVALID, f"{what} must be a JSON object, not {brief(values)}")
        self.values = cast("dict[str, Any]", values)

    def text(self, name: str) -> str | None:
        """Read a string."""
        return self._read(name, str, "a string")

    def flag(self, name: str) -> bool | None:
        """Read true or false."""
        return self._read(name, bool, "true or false")

    def table(self, name: str) -> dict[str, Any] | None:
        """Read an object."""
        return cast("dict[str, Any] | None", self._read(name, dict, "an object"))

    def items(self, name: str) -> list[Any] | None:
        """Read an array."""
        return cast("list[Any] | None", self._read(name, list, "an array"))

    def count(self, name: str, least: int = 1) -> int | None:
        """Read a whole number."""
        value = self.values.get(name)
        if value is not None and (type(value) is not int or value < least):
            raise self.refuse(name, f"a whole number of at least {least}")
        return value

    def choice(self, name: str, meanings: Mapping[str, T]) -> T | None:
        """Read one of some words, and return what it means."""
        word = self.text(name)
        if word is None:
            return None
        if word not in meanings:
            raise self.refuse(name, f"one of: {', '.join(meanings)}")
        return meanings[word]

    def texts(self, name: str) -> tuple[str, ...]:
        """Read the texts to embed: one string, or an array of at least one."""
        given = self.values.get(name)
        if given is None:
            raise WireError(Reason.INVALID, f"the field {name!r} is missing: the texts to embed")
        texts = cast("list[Any]", [given] if isinstance(given, str) else given)
        if not isinstance(texts, list) or not texts:
            raise self.refuse(name, "a string, or an array of at least one string")
        for number, text in enumerate(texts):
            if isinstance(text, (int, list)):
                raise WireError(
                    Reason.INVALID,
                    f"{name}[{number}] holds token ids; send the text itself, since every model counts tokens"
                    " differently (LangChain: check_embedding_ctx_length=False)",
                )
            if not isinstance(text, str):
                raise self.refuse(f"{name}[{number}]", "a string", text)
        return tuple(texts)

    def refuse(self, name: str, wanted: str, value: object = ...) -> WireError:
        """Return the error for a field's value."""
        given = self.values.get(name) if value is ... else value
        return WireError(Reason.INVALID, f"{name} must be {wanted}, not {brief(given)}")

    def _read(self, name: str, kind: type[T], words: str) -> T | None:
        value: Any = self.values.get(name)
        if value is not None and not isinstance(value, kind):
            raise self.refuse(name, words)
        return value


def is_object(value: object) -> bool:
    """Return whether a value is a JSON object."""
    return isinstance(value, dict)


def said(**values: object) -> dict[str, Any]:
    """Return the values that a message states: all but None and empty strings."""
    return {name: value for name, value in values.items() if value is not None and value != ""}


def spelling(meanings: Mapping[str, T], meaning: T) -> str:
    """Return the first word of a meaning."""
    return next(word for word, value in meanings.items() if value == meaning)
