"""Pure functions on arrays of vectors: narrow, binarize, int8, scores, and the encodings servers use.

Vectors are rows. One vector (1-D) is accepted wherever rows are, and gives one vector back.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jinavec.errors import InvalidDimension, InvalidInput, InvalidVectors

Float32 = NDArray[np.float32]
Bits = NDArray[np.uint8]
"""Packed sign bits, eight dimensions a byte, the first dimension in the most significant bit."""
Int8 = NDArray[np.int8]
ByteOrder = Literal["little", "big"]


def as_vectors(vectors: ArrayLike, width: int | None = None) -> Float32:
    """Return float32 rows (n, width) that are safe to store or compare; nothing is copied without need.

    Raises:
        InvalidVectors: another shape or width, not numbers, NaN, infinity, or a zero vector.
    """
    rows = _finite(vectors)
    if rows.ndim != 2 or (width is not None and rows.shape[1] != width):
        wanted = "(n, width)" if width is None else f"(n, {width})"
        raise InvalidVectors(f"vectors have the shape {rows.shape}; expected {wanted}")
    zero = ~rows.any(axis=1)
    if zero.any():
        raise InvalidVectors(f"vector {int(zero.argmax())} is all zeros: it has no direction to compare")
    return np.ascontiguousarray(rows)


def normalize(vectors: ArrayLike) -> Float32:
    """Scale each vector to unit length.

    Raises:
        InvalidVectors: NaN, infinity, or a zero vector.
    """
    given = _finite(vectors)
    rows = as_vectors(np.atleast_2d(given))
    # In float64 neither overflow nor underflow can touch a float32 input, and the rounding back hides the order
    # in which a machine sums. Both steps convert piece by piece: no float64 copy of the rows exists.
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    unit = np.empty_like(rows)
    np.divide(rows, norms[:, None], out=unit, dtype=np.float64, casting="same_kind")
    return unit.reshape(given.shape)


def narrow(vectors: ArrayLike, dimension: int, *, allowed: Sequence[int] | None = None) -> Float32:
    """Cut vectors to their first ``dimension`` components, then renormalise.

    This is the order of the reference implementation (jina-embeddings-v5, modeling code); slicing a unit
    vector and renormalising gives the same, since a positive factor cancels.

    Args:
        vectors: (n, width) or (width,).
        dimension: the components to keep.
        allowed: the Matryoshka widths the model was trained for; None allows every width.

    Raises:
        InvalidDimension: the width is not allowed, or wider than the vectors.
        InvalidVectors: NaN, infinity, or a vector whose kept part is zero.
    """
    rows = _finite(vectors)
    if allowed is not None and dimension not in allowed:
        raise InvalidDimension(
            f"dimension {dimension!r} is not offered; offered: {', '.join(map(str, sorted(allowed)))}"
        )
    if isinstance(dimension, bool) or not 1 <= dimension <= rows.shape[-1]:
        raise InvalidDimension(f"dimension {dimension!r} cannot be cut from vectors of width {rows.shape[-1]}")
    return normalize(rows[..., :dimension])


def binarize(vectors: ArrayLike) -> Bits:
    """Pack sign bits: a bit is 1 where the component is > 0, the first component in the most significant bit.

    The convention of NumPy's packbits, sentence-transformers and Jina's ``ubinary``.

    Returns:
        uint8 (n, width / 8).

    Raises:
        InvalidVectors: NaN or infinity.
        InvalidDimension: the width is not a multiple of 8.
    """
    rows = _finite(vectors)
    if rows.shape[-1] % 8:
        raise InvalidDimension(f"width {rows.shape[-1]} is not a multiple of 8, so it cannot be packed into bytes")
    return np.packbits(rows > 0, axis=-1)


def unpack(bits: Bits) -> Float32:
    """Return the +1/-1 vectors (n, 8 * bytes) that packed bits stand for."""
    return np.unpackbits(_bytes(bits), axis=-1).astype(np.float32) * 2 - 1


def to_int8(vectors: ArrayLike) -> Int8:
    """Scale each vector so that its largest component is +-127, and round.

    Only the direction is kept: compare by cosine. No scale is stored, so rows can be written one at a time.

    Raises:
        InvalidVectors: NaN, infinity, or a zero vector.
    """
    given = _finite(vectors)
    rows = normalize(np.atleast_2d(given))
    rows *= 127 / np.abs(rows).max(axis=1, keepdims=True)
    return np.rint(rows, out=rows).astype(np.int8).reshape(given.shape)


def hamming(query: Bits, documents: Bits) -> NDArray[np.int64]:
    """Count the differing bits between one packed query (bytes,) and packed documents (n, bytes)."""
    query, documents = _bytes(query), _bytes(documents)
    _same_width(query.shape[-1], documents.shape[-1], "bytes")
    return np.bitwise_count(query ^ documents).sum(axis=-1, dtype=np.int64)


def asymmetric(query: ArrayLike, documents: Bits) -> Float32:
    """Score packed documents (n, width / 8) by a float query (width,): the cosine to their +1/-1 vectors."""
    vector = normalize(query)
    _same_width(vector.shape[-1], _bytes(documents).shape[-1] * 8, "components")
    return (unpack(documents) @ vector) / np.float32(np.sqrt(vector.shape[-1]))


def to_offset_binary(bits: Bits) -> Int8:
    """Encode packed bits as Jina's and sentence-transformers' ``binary``: each byte minus 128."""
    return (_bytes(bits).astype(np.int16) - 128).astype(np.int8)


def from_offset_binary(values: ArrayLike) -> Bits:
    """Decode Jina's ``binary`` (each byte minus 128); whole numbers given as floats are accepted.

    Raises:
        InvalidVectors: a value is not a whole number from -128 to 127.
    """
    return (_whole(values, -128, 127) + 128).astype(np.uint8)


def to_signed_bytes(bits: Bits) -> Int8:
    """Encode packed bits as Elasticsearch does: the same bytes read as two's complement."""
    return _bytes(bits).view(np.int8)


def from_signed_bytes(values: ArrayLike) -> Bits:
    """Decode Elasticsearch's signed bytes.

    Raises:
        InvalidVectors: a value is not a whole number from -128 to 127.
    """
    return _whole(values, -128, 127).astype(np.int8).view(np.uint8)


def to_hex(values: Bits | Int8) -> str:
    """Encode one vector of bytes (packed bits, or int8) as the hex string of Elasticsearch."""
    return np.ascontiguousarray(values).tobytes().hex()


def from_hex(text: str) -> Bits:
    """Decode a hex string into bytes; ``.view(np.int8)`` reads them as signed.

    Raises:
        InvalidVectors: not pairs of hex digits.
    """
    try:
        return np.frombuffer(bytes.fromhex(text), np.uint8)
    except ValueError as error:
        raise InvalidVectors(f"not a hex string: {text[:40]!r}") from error


def to_base64(vector: ArrayLike, byteorder: ByteOrder = "little") -> str:
    """Encode one float32 vector: little-endian for OpenAI and Jina, big-endian for Elasticsearch documents."""
    return base64.b64encode(_finite(vector).astype(_float_type(byteorder)).tobytes()).decode("ascii")


def from_base64(text: str, byteorder: ByteOrder = "little") -> Float32:
    """Decode one float32 vector.

    Raises:
        InvalidVectors: not base64, not a whole number of float32, or not finite.
    """
    try:
        values = np.frombuffer(base64.b64decode(text, validate=True), _float_type(byteorder))
    except ValueError as error:
        raise InvalidVectors(f"not base64 of float32: {text[:40]!r}") from error
    return _finite(values)


def _finite(vectors: ArrayLike) -> Float32:
    with np.errstate(over="ignore"):  # an overflow becomes infinity, which is refused below
        try:
            rows = np.asarray(vectors, np.float32)
        except (TypeError, ValueError) as error:
            raise InvalidVectors(f"not an array of numbers: {error}") from error
    if rows.ndim == 0:
        raise InvalidVectors(f"not a vector: {vectors!r}")
    if not np.isfinite(rows).all():
        row, *_ = np.argwhere(~np.isfinite(np.atleast_2d(rows)))[0]
        raise InvalidVectors(f"vector {row} holds NaN or infinity")
    return rows


def _bytes(bits: NDArray[Any]) -> Bits:
    if bits.dtype != np.uint8:
        raise InvalidVectors(f"packed bits are uint8, not {bits.dtype}; decode signed bytes first (from_offset_binary)")
    return np.ascontiguousarray(bits)


def _whole(values: ArrayLike, low: int, high: int) -> NDArray[np.int16]:
    numbers = np.asarray(values, np.float64)
    if not ((numbers == np.rint(numbers)) & (numbers >= low) & (numbers <= high)).all():
        raise InvalidVectors(f"byte values must be whole numbers from {low} to {high}")
    return numbers.astype(np.int16)


def _float_type(byteorder: ByteOrder) -> np.dtype[np.float32]:
    if byteorder not in ("little", "big"):
        raise InvalidInput(f"byte order {byteorder!r} is neither 'little' nor 'big'")
    return np.dtype("<f4" if byteorder == "little" else ">f4")


def _same_width(a: int, b: int, unit: str) -> None:
    if a != b:
        raise InvalidVectors(f"query and documents differ in width: {a} and {b} {unit}")
