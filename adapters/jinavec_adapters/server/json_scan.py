"""What a JSON text holds, told from its bytes before any object is built: its depth, its values, a name at its top.

A body is scanned by NumPy in windows, whose size bounds the memory; a stranger's text costs a few milliseconds a MiB.
Text that is no JSON gives some outline, too: it is refused when it is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jinavec.wire.fields import loads
from jinavec.wire.messages import WireError

WINDOW = 64 * 1024
"""Bytes looked at in one step."""
LONGEST = 16 * 1024
"""Bytes of a value that is looked for; a longer one is none."""

_QUOTE, _BACKSLASH, _COLON, _COMMA, _OPEN, _CLOSE, _SPACE = b'"\\:,{} '
_BRACE = 0x20
"""The bit that makes a brace of a bracket."""
_LONGEST_LETTER = 6
"""Bytes of a letter that is written as an escape."""
_HEX = np.full(256, 16, np.uint8)
"""The value of a hexadecimal digit; 16 of what is none."""
_HEX[list(b"0123456789")] = range(10)
_HEX[list(b"abcdef")] = _HEX[list(b"ABCDEF")] = range(10, 16)
_EVEN = int.from_bytes(b"\x55" * (WINDOW // 8 + 1), "little")
"""The bits of even places."""
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


@dataclass(frozen=True)
class Outline:
    """How large a JSON text is, as objects."""

    depth: int
    """Objects and arrays around the innermost value."""
    names: int
    """Names of fields, repeated ones included."""
    values: int
    """At least as many as there are values and names."""


def outline(text: bytes) -> Outline:
    """Measure a JSON text, in linear time and constant memory."""
    depth = names = values = 0
    for window, outside, depths in _windows(text):
        depth = max(depth, int(depths.max()))
        colons = int(np.count_nonzero((window == _COLON) & outside))
        commas = int(np.count_nonzero((window == _COMMA) & outside))
        opened = int(np.count_nonzero(((window | _BRACE) == _OPEN) & outside))
        names += colons
        values += colons + commas + opened
    return Outline(depth, names, values)


def top_level_text(text: bytes, name: str) -> str | None:
    """Return the string under a name of the object that a JSON text is; None where there is none.

    As to every reader, the last of repeated names counts, and letters may be written as escapes.
    """
    found, tail = None, b""
    for window, outside, depths in _windows(text):
        kept = (depths <= 1) & ~(outside & (window <= _SPACE))
        top = window if kept.all() else np.compress(kept, window)
        if len(top):
            part = tail + top.tobytes()
            place = _behind_last(part, name)
            found = found if place is None else _string(part[place : place + LONGEST])
            tail = part[-LONGEST - _LONGEST_LETTER * len(name) - 4 :]  # a value cut off here is read with the next part
    return found


def _behind_last(part: bytes, name: str) -> int | None:
    """Return where the value of the last such name begins, in a top level without spaces.

    There a string that ends before a colon is a name. A quote behind a backslash begins none.
    """
    letters, places = np.frombuffer(part, np.uint8), None
    if b"\\u00" in part:
        letters, places = _without_letter_escapes(letters, name)
    wanted = f'"{name}":'.encode()
    count = len(letters) - len(wanted) + 1
    if count < 1:
        return None
    same = letters[:count] == wanted[0]
    for shift in range(1, len(wanted)):
        same &= letters[shift : shift + count] == wanted[shift]
    same[1:] &= letters[: count - 1] != _BACKSLASH
    hits = np.flatnonzero(same)
    if not len(hits):
        return None
    end = int(hits[-1]) + len(wanted)
    return end if places is None else int(places[end - 1]) + 1


def _without_letter_escapes(text: NDArray[np.uint8], name: str) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    """Write the letters of a name as themselves; return the text, and where each of its bytes stood."""
    count = max(0, len(text) - _LONGEST_LETTER + 1)
    found = text[:count] == _BACKSLASH
    for shift, byte in enumerate(b"u00", 1):
        found &= text[shift : shift + count] == byte
    at = np.flatnonzero(found)
    high, low = _HEX[text[at + 4]], _HEX[text[at + 5]]
    letters = np.zeros(256, np.bool_)
    letters[list(name.encode())] = True
    ours = np.flatnonzero(letters[high << 4 | low] & (high < 16) & (low < 16))
    at, codes = at[ours], (high << 4 | low)[ours]
    plain = text.copy()
    plain[at] = codes
    kept = np.ones(len(text), np.bool_)
    for shift in range(1, _LONGEST_LETTER):
        kept[at + shift] = False
    return np.compress(kept, plain), np.flatnonzero(kept)


def _string(text: bytes) -> str | None:
    match = _STRING.match(text)
    try:
        return loads(match[0]) if match else None
    except WireError:
        return None


def _windows(text: bytes) -> Generator[tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.int32]]]:
    """Yield parts of a text; of each byte, whether it is outside of strings, and how many brackets it leaves open."""
    within = escaped = False
    depths = np.zeros(1, np.int32)
    for start in range(0, len(text), WINDOW):
        window = np.frombuffer(text, np.uint8, min(WINDOW, len(text) - start), start)
        escapes = _escaped(_bits(window == _BACKSLASH), escaped)
        escaped = bool(escapes >> len(window))
        outside = ~_inside(_bits(window == _QUOTE) & ~escapes, len(window), within)
        within = not outside[-1]
        folded = window | _BRACE
        steps = ((folded == _OPEN) & outside).view(np.int8) - ((folded == _CLOSE) & outside).view(np.int8)
        depths = np.cumsum(steps, dtype=np.int32) + depths[-1] if steps.any() else np.full(len(window), depths[-1])
        yield window, outside, depths


# One integer holds a bit a byte, the first byte's as the lowest: what runs through a window is a sum or a few shifts.


def _bits(which: NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(which, bitorder="little").tobytes(), "little")


def _escaped(backslashes: int, first: bool) -> int:
    """Return the bytes behind an odd number of backslashes, one of which may be the byte behind the window.

    Adding a row's first bit to the row carries to the byte behind it. That is escaped if one of the two places is even
    and the other odd, so rows are added apart by where they begin.

    Args:
        backslashes: their bits.
        first: whether the window's first byte is escaped.
    """
    backslashes &= ~int(first)
    begins = backslashes & ~(backslashes << 1)
    behind_even = (backslashes + (begins & _EVEN)) & ~backslashes & ~_EVEN
    behind_odd = (backslashes + (begins & ~_EVEN)) & ~backslashes & _EVEN
    return behind_even | behind_odd | int(first)


def _inside(quotes: int, size: int, within: bool) -> NDArray[np.bool_]:
    """Return of each byte whether it is inside of a string: behind an odd number of quotes, or begun before."""
    shift = 1
    while shift < size:
        quotes ^= quotes << shift
        shift *= 2
    packed = np.frombuffer((quotes & (1 << size) - 1).to_bytes(-(-size // 8), "little"), np.uint8)
    inside = np.unpackbits(packed, count=size, bitorder="little").view(np.bool_)
    return ~inside if within else inside
