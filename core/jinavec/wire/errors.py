"""What servers say when they refuse: their error bodies, whatever stands in front of them, as a WireError.

Servers of one protocol differ in the shape of their errors, and proxies answer in HTML, so this reads them all.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any, cast

from jinavec.wire.fields import loads
from jinavec.wire.messages import Reason, WireError

LONGEST = 400
_READ = 1 << 16
"""Bytes of a body in which they are looked for."""
_DEPTH = 20
"""How deep they are looked for in its JSON."""
"""Characters of a server's words that a message repeats."""

_TOO_LARGE = re.compile(
    r"batch size \d+ > maximum|maximum (allowed )?(batch size|number of)|array too long|too many (inputs|texts|items)"
    r"|at most \d+ (inputs|texts|items)|per request|payload too large|out of memory|reduce your prompt; or completion",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"token.?limit|context.?length|must have less than \d+ tokens|too large to process|too many tokens"
    r"|max(imum|\.)? (model|input|sequence|token)s? ?(length|len|count)|(input|text|prompt)\b.* (exceeds|is too long)"
    r"|longer than the (maximum|model|context)|exceeds? .*\btokens?\b",
    re.IGNORECASE | re.DOTALL,
)
_OVERLOADED = re.compile(
    r"overload|rate.?limit|too many requests|(try|retry|please) again|temporarily|unavailable|at capacity"
    r"|is loading|\bbusy\b",
    re.IGNORECASE,
)
_BY_STATUS = {
    401: Reason.UNAUTHORIZED,
    403: Reason.FORBIDDEN,
    404: Reason.NOT_FOUND,
    405: Reason.NOT_FOUND,
    409: Reason.BUSY,
    413: Reason.TOO_LARGE,
    429: Reason.RATE_LIMITED,
    502: Reason.UNAVAILABLE,
    503: Reason.UNAVAILABLE,
    504: Reason.UNAVAILABLE,
}


def read_error(status: int, body: bytes) -> WireError:
    """Read the body of an answer that is no success."""
    body = body[:_READ]
    try:
        values = loads(body)
    except WireError:
        values = _strip_html(body.decode("utf-8", "replace"))
    return error_of(status, values)


def error_of(status: int, values: object) -> WireError:
    """``read_error``, from JSON that a client has read already."""
    parts = list(_said(values))
    message = " ".join("; ".join(dict.fromkeys(part for part in parts if part)).split())[:LONGEST]
    code = _code(values)
    return WireError(_reason(status, f"{message} {code}"), message or "(empty response)", status=status, code=code)


def error_in_reply(values: object) -> WireError | None:
    """Read an error that came with a status of success; None where the values hold none."""
    if not isinstance(values, dict):
        return None
    table = cast("dict[str, Any]", values)
    if not any(table.get(name) for name in ("error", "errors", "detail", "message")):
        return None
    error = error_of(_status(table), table)
    if error.reason in (Reason.INVALID, Reason.INTERNAL) and _OVERLOADED.search(f"{error.message} {error.code}"):
        error.reason = Reason.UNAVAILABLE
    error.status = 200
    return error


def _status(table: dict[str, Any]) -> int:
    """Find the status that an error names itself; 200 if it names none."""
    inner = table.get("error")
    for part in (cast("dict[str, Any]", inner) if isinstance(inner, dict) else {}, table):
        for name in ("status", "status_code", "code", "http_code"):
            value = str(part.get(name))
            if value.isdecimal() and 400 <= int(value[:4]) < 600:
                return int(value[:4])
    return 200


def _reason(status: int, words: str) -> Reason:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if _TOO_LARGE.search(words):
        return Reason.TOO_LARGE
    if _TOO_LONG.search(words):
        return Reason.TEXT_TOO_LONG
    return Reason.INTERNAL if status >= 500 else Reason.INVALID


def _said(values: object, depth: int = _DEPTH) -> Generator[str]:
    """Find the sentences: ``error``, ``detail`` or ``message``, as a string, an object, or a list of either."""
    if not depth:
        return
    if isinstance(values, str):
        yield values
    elif isinstance(values, list):
        for value in cast("list[object]", values):
            yield from _said(value, depth - 1)
    elif isinstance(values, dict):
        table = cast("dict[str, Any]", values)
        for name in ("error", "detail", "message", "reason", "msg", "errors"):
            yield from _placed(table, name, depth - 1)


def _placed(table: dict[str, Any], name: str, depth: int) -> Generator[str]:
    """Find the sentences of one field; validation errors also say which field they are about."""
    place = table.get("field") or table.get("loc")
    where = ".".join(map(str, cast("list[object]", place))) if isinstance(place, list) else place
    for sentence in _said(table.get(name), depth):
        yield f"{where}: {sentence}" if where and name in ("message", "msg") else sentence


def _code(values: object, depth: int = _DEPTH) -> str:
    """Find the short name: ``code`` where it is a word, else ``type`` or ``error_type``; also inside the error."""
    if not (isinstance(values, dict) and depth):
        return ""
    table = cast("dict[str, Any]", values)
    for name in ("code", "error_type", "type"):
        if isinstance(table.get(name), str):
            return table[name][:LONGEST]
    return _code(table.get("error"), depth - 1) or _code(table.get("detail"), depth - 1)


def _strip_html(text: str) -> str:
    """Keep the words of an HTML page, as proxies answer; in one pass, whatever is left open in it."""
    without_code = re.sub(r"<(script|style)\b.*?(?:</\1>|\Z)", " ", text, flags=re.IGNORECASE | re.DOTALL)
    return re.sub(r"<[^<>]*>?", " ", without_code) if "<" in text else text
