"""What is told of a JSON text from its bytes is what a parser says of it."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from jinavec.wire.fields import is_object
from jinavec_adapters.server.json_scan import LONGEST, WINDOW, outline, top_level_text

from .conftest import Server
from .test_limits import BODIES

NAMES = ["token", "a", '"', "\\", 'x"token', "token\\", '\\"token', "tokens", "Token", 'a":{"token']
TEXTS = ["", "k", "é\n", '"', "\\", '\\"', "{[", '"token":"x"', ',:]}"', "token", "\\u0074oken", "😀"]


def value(choose: random.Random, depth: int) -> Any:
    kind = choose.random()
    if not depth or kind < 0.4:
        return choose.choice([1, None, True, *TEXTS])
    if kind < 0.7:
        return [value(choose, depth - 1) for _ in range(choose.randrange(4))]
    return table(choose, depth)


def table(choose: random.Random, depth: int) -> dict[str, Any]:
    return {name: value(choose, depth - 1) for name in choose.sample(NAMES, choose.randrange(5))}


def parts_of(parsed: Any) -> list[Any] | None:
    return list(parsed.values()) if is_object(parsed) else parsed if isinstance(parsed, list) else None  # pyright: ignore[reportUnknownVariableType]


def depth_of(parsed: Any) -> int:
    parts = parts_of(parsed)
    return 0 if parts is None else 1 + max(map(depth_of, parts), default=0)


def count(parsed: Any) -> tuple[int, int]:
    """Return the names, and the names and values."""
    parts = [count(part) for part in parts_of(parsed) or ()]
    own = len(parsed) if is_object(parsed) else 0
    return own + sum(names for names, _ in parts), own + 1 + sum(values for _, values in parts)


@pytest.mark.parametrize("seed", range(300))
def test_as_a_parser_says(seed: int) -> None:
    choose = random.Random(seed)
    text = json.dumps(table(choose, 4), ensure_ascii=choose.random() < 0.5, indent=choose.choice([None, 1]))
    measured, parsed = outline(text.encode()), json.loads(text)
    names, values = count(parsed)
    assert (measured.depth, measured.names) == (depth_of(parsed), names)
    assert measured.values + 1 >= values
    if choose.random() < 0.5:
        text = text.replace('"token"', choose.choice([r'"t\u006fken"', r'"\u0074ok\u0065\u006E"']))
    if choose.random() < 0.5:
        more = ", " * (len(parsed) > 0) + f'"token" \n:\t{json.dumps(value(choose, 1))}'
        text = f"{text[:-1].rstrip()}{more}}}"
    if choose.random() < 0.5:  # so that a window ends somewhere in it
        ahead = "{" + " " * (WINDOW - choose.randrange(len(text) + 10)) + '"first": 1'
        text = ahead + ", " * (len(json.loads(text)) > 0) + text[1:]
    wanted = json.loads(text).get("token")
    assert top_level_text(text.encode(), "token") == (wanted if isinstance(wanted, str) else None)


@pytest.mark.parametrize("size", [1, LONGEST - 2, LONGEST - 1])
@pytest.mark.parametrize("before", [0, 10, WINDOW - 20, WINDOW - 5, WINDOW + 3])
def test_values_of_every_length_at_every_place(size: int, before: int) -> None:
    text = f'{{"a": "{"b" * before}", "token": "{"k" * size}", "c": "{"d" * WINDOW}"}}'
    assert top_level_text(text.encode(), "token") == ("k" * size if size + 2 <= LONGEST else None)


@pytest.mark.parametrize("text", [b"", b"{", b'"', b"\\", b'{"token":', b'{"token": "', b"]]]", b"\xff" * 9])
def test_what_is_no_json_is_no_key(text: bytes) -> None:
    outline(text)
    assert top_level_text(text, "token") is None


@pytest.mark.parametrize("brackets", [b"[]", b"{}"], ids=["arrays", "objects"])
@pytest.mark.parametrize("path", BODIES)
def test_depth_is_limited_by_the_server_itself(server: Server, path: str, brackets: bytes) -> None:
    _, good = BODIES[path]

    def nested(depth: int) -> bytes:
        opens = b"[" if brackets == b"[]" else b'{"a":'
        inner = opens * (depth - 2) + brackets + brackets[1:] * (depth - 2)
        return json.dumps(good).encode()[:-1] + b', "more": ' + inner + b"}"

    assert server.post(path, nested(64)).status_code == 200
    for depth in (65, 200, 1000, 20_000):
        reply = server.post(path, nested(depth))
        assert reply.status_code in (400, 422) and f"nested {depth} deep" in reply.text
