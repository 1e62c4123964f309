"""Redaction: what settings hold that nobody shall read, taken out of whatever is shown, logged or raised."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeGuard, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from jinavec.backends import (
    ElasticsearchInferenceOptions,
    LexicalOptions,
    OllamaOptions,
    OnnxOptions,
    StaticOptions,
    TorchOptions,
)
from jinavec.options import SECRET_OPTION
from jinavec.settings import without_user

HIDDEN = "(not shown)"
SHORTEST = 4
"""Characters of a secret: a shorter one would take letters out of other words."""
LONG_WORD = 8
"""Characters of a word in a secret that is one by itself, as behind Bearer."""

_OURS = (ElasticsearchInferenceOptions, LexicalOptions, OllamaOptions, OnnxOptions, StaticOptions, TorchOptions)
_SHOWN = {f.name for kind in _OURS for f in fields(kind)} - {"client", SECRET_OPTION}
"""Options that hold no secret: those of our own backends. What others call theirs is not known."""


def shown_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a backend's options with the values that may be secret left out."""
    return {name: _shown(value) if name in _SHOWN else HIDDEN for name, value in options.items()}


def shown_address(text: str) -> str:
    """Return an address without user, password, query and fragment."""
    return re.split("[?#]", without_user(text), maxsplit=1)[0]


def hidden_texts(options: Mapping[str, Any], addresses: Iterable[str]) -> Generator[str]:
    """Yield all that ``shown_options`` and ``shown_address`` leave out."""
    for name, value in options.items():
        if name not in _SHOWN:
            yield from _texts(value)
        elif _is_address(value):
            yield from _parts(value)
    for address in addresses:
        yield from _parts(address)


class Redaction:
    """Takes secrets out of texts, as they are and as JSON writes them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {form for text in secrets for form in (text, unquote(text)) if len(form) >= SHORTEST}
        forms = known | {json.dumps(text)[1:-1] for text in known} | {repr(text)[1:-1] for text in known}
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def __call__(self, text: str) -> str:
        """Return a text without them."""
        return self._pattern.sub(HIDDEN, text) if self._pattern else text


def _shown(value: object) -> object:
    return shown_address(value) if _is_address(value) else value


def _is_address(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and "://" in value


def _parts(address: str) -> Generator[str]:
    """Yield user, password, query and fragment of an address, whole and in parts."""
    try:
        parts = urlsplit(address if "//" in address else f"//{address}")
    except ValueError:
        yield address
        return
    user = parts.netloc.rpartition("@")[0]
    yield from (user, *user.split(":", 1), parts.query, parts.fragment)
    yield from (value for _, value in parse_qsl(parts.query))


def _texts(value: object) -> Generator[str]:
    """Yield every string in a value, and every number as it is written."""
    if isinstance(value, Mapping):
        for part in cast("Mapping[str, object]", value).values():
            yield from _texts(part)
    elif isinstance(value, (list, tuple)):
        for part in cast("Iterable[object]", value):
            yield from _texts(part)
    elif value is not None and not isinstance(value, bool):
        text = str(value)
        yield from (text, *(word for word in text.split() if len(word) >= LONG_WORD))
        if _is_address(text):
            yield from _parts(text)
