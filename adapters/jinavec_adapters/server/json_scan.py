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

_QUOTE, _BACKSLASH, _COLON, _COMMA, _OPEN, _CLOSE = b'"\\:,{}'
_BRACE = 0x20
"""The bit that makes a brace of a bracket."""
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
    top = b"".join(np.compress(depths <= 1, window).tobytes() for window, _, depths in _windows(text))
    found = _last(name).match(top)
    value = found and _STRING.match(top[found.end() : found.end() + LONGEST])
    try:
        return loads(value[0]) if value else None
    except WireError:
        return None


def _last(name: str) -> re.Pattern[bytes]:
    """Match up to the value of the last such name.

    No quote that begins a string follows a backslash, and none that ends one is followed by a letter, so that a match
    is a whole string; and what is left of the top level shows no value of another level as a name, since of that value
    its last bracket stays.
    """
    letters = "".join(rf"(?:{letter}|\\u(?i:{ord(letter):04x}))" for letter in name)
    return re.compile(rf'.*"(?<!\\"){letters}"[ \t\r\n]*+:[ \t\r\n]*+'.encode(), re.DOTALL)


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
