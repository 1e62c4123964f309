"""Chains: values as lists of numbers that, compared link by link, order as the values do; pure.

Qdrant compares numbers as floats, which JSON libraries may read a digit off, and gives strings no order. So a number is
the chain of itself to 15 digits, then of how many floats it lies above or below, then of what no float holds. A string
is the chain of its UTF-8 bytes, six at a time. Missing links count as 0. Every link is a number that survives any JSON
library.
"""

from __future__ import annotations

import struct
import sys

from jinavec.filters import Value

LONGEST = 96
"""Bytes of UTF-8 that a string bound may have."""

_MAX = sys.float_info.max
_BYTES = 6  # of a link: 257**6 is less than 2**53, so a float is exact, and less than 10**15, so JSON keeps its digits
_LINKS = LONGEST // _BYTES  # of a bound; a value keeps one more, to show that it goes on
_SMALL, _LARGE = 1e-6, 1e15  # between them, 15 digits are read alike everywhere


def stored_chain(value: str | int | float) -> dict[str, float]:
    """Return the links of a stored value by name; of the zeros only the first."""
    links = chain(value)[: _LINKS + 1] if isinstance(value, str) else chain(value)
    return {f"c{number}": link for number, link in enumerate(links) if link or not number}


def chain(value: str | int | float) -> list[float]:
    """Return numbers that, compared link by link, order as values do.

    Strings order by code points, which is the order of their UTF-8 bytes. Of numbers, rounding never changes the order
    but makes some equal; among those, the next links decide: by how many floats each lies above what it was rounded to,
    and, for integers between two floats, by what is left, in the same way again until nothing is.
    """
    if isinstance(value, str):
        data = utf8(value)
        return [_digits(data[start : start + _BYTES]) for start in range(0, len(data), _BYTES)] or [0.0]
    if not storable(value):
        return [_LARGE, 2.0**33] if value > 0 else [-_LARGE, -(2.0**33)]  # beyond all that is stored
    near = float(value)
    links = [_rounded(near), *_split(_rank(near) - _rank(_rounded(near)))]
    rest = value - int(near) if isinstance(value, int) else 0
    while rest:
        near = float(rest)
        links += _split(_rank(near))
        rest -= int(near)
    return links


def _rounded(number: float) -> float:
    """Return a number to 15 digits, which any JSON library reads alike; beyond that range, the end of the range."""
    if abs(number) < _SMALL:
        return 0.0
    return max(-_LARGE, min(_LARGE, float(f"{number:.15g}")))


def _rank(number: float) -> int:
    """Return how many floats lie between 0 and a number, negative below 0.

    The bits of positive IEEE 754 numbers, read as integers, count up in the order of the numbers.
    """
    (bits,) = struct.unpack(">q", struct.pack(">d", number))
    return bits if bits >= 0 else -(bits & 0x7FFF_FFFF_FFFF_FFFF)


def _split(number: int) -> list[float]:
    """Return a 64-bit number as two links; the second is never negative, so the first decides unless it is equal."""
    return [float(number >> 32), float(number & 0xFFFF_FFFF)]


def _digits(data: bytes) -> float:
    """Read six bytes as a number to the base 257.

    A byte counts one more than it is, and 0 is the end of a string, which so comes before all that continue it.
    """
    number = 0
    for position in range(_BYTES):
        number = number * 257 + (data[position] + 1 if position < len(data) else 0)
    return float(number)


def storable(value: Value) -> bool:
    """Return whether a record can have a value: no float is beyond some bounds."""
    return isinstance(value, str) or abs(value) <= _MAX


def utf8(text: str) -> bytes:
    """Return the bytes of a string."""
    return text.encode("utf-8", "surrogatepass")  # a filter may name half a surrogate pair; no record does
