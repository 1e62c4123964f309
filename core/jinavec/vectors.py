"""Pure functions on arrays of vectors: narrow, binarize, int8, scores, and the encodings servers use.

Vectors are rows. One vector (1-D) is accepted wherever rows are, and gives one vector back.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Sequence
from typing import Any, Literal, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jinavec.errors import InvalidDimension, InvalidInput, InvalidVectors, brief

Float32 = NDArray[np.float32]
Bits = NDArray[np.uint8]
"""Packed sign bits, eight dimensions a byte, the first dimension in the most significant bit."""
Int8 = NDArray[np.int8]
ByteOrder = Literal["little", "big"]
F = TypeVar("F", bound=np.floating[Any])


def as_vectors(vectors: ArrayLike, width: int | None = None) -> Float32:
    """Return float32 rows (n, width) that are safe to store or compare; nothing is copied without need.

    Raises:
        InvalidVectors: another shape or width, not numbers, NaN, infinity, or a zero vector.
    """
    rows = _finite(vectors)
    if rows.ndim != 2 or (width is not None and rows.shape[1] != width):
        wanted = "(n, width)" if width is None else f"(n, {width})"
        raise InvalidVectors(f"vectors have the shape {rows.shape}; expected {wanted}")
    _refuse_zero(rows.any(axis=1))
    return np.ascontiguousarray(rows)


def normalize(vectors: ArrayLike) -> Float32:
    """Scale each vector to unit length.

    Raises:
        InvalidVectors: NaN, infinity, or a zero vector.
    """
    given: Any = vectors
    if type(given) is np.ndarray and given.dtype == np.float32 and given.ndim == 1:  # one query, in less time
        wide: NDArray[np.float64] = given.astype(np.float64)
        square = float(wide @ wide)
        if 0 < square < math.inf:  # so each of them is finite
            return (wide / math.sqrt(square)).astype(np.float32)
    return _unit(_finite(vectors))


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
    whole = isinstance(dimension, (int, np.integer)) and not isinstance(dimension, bool)
    if not whole or not 1 <= dimension <= rows.shape[-1]:
        raise InvalidDimension(f"dimension {dimension!r} cannot be cut from vectors of width {rows.shape[-1]}")
    return _unit(rows[..., :dimension])


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
    rows = normalize(vectors)
    rows *= 127 / np.abs(rows).max(axis=-1, keepdims=True, initial=0)
    return np.rint(rows, out=rows).astype(np.int8)


def refuse_bytes(vectors: object) -> None:
    """Refuse int8 and uint8, whose values do not tell whether a cosine comes out right; other types pass.

    ``to_int8`` only scales each row. The int8 and uint8 of sentence-transformers map the range of each dimension to the
    values of a byte: that moves the origin, and without the ranges the direction is lost.

    Raises:
        InvalidVectors: bytes; the message says what to give.
    """
    if (kind := _array_kind(vectors)) in ("int8", "uint8"):
        raise InvalidVectors(f"vectors of {kind}: {NO_BYTES}")


NO_BYTES = (
    "int8 and uint8 embeddings of sentence-transformers and the like are moved by the range of each dimension, and"
    " cannot be compared without the ranges: ask for floats (precision='float32'); if yours are only scaled, as to_int8"
    " does it, give them as floats (.astype('float32'))"
)


def bytes_remedy(vectors: object, width: int, dimension: int) -> str:
    """Return the end of a message about vectors of an unexpected width: what bytes may be, and what to do."""
    kind = _array_kind(vectors)
    if kind == "int8" and width == -(-dimension // 8):
        return (
            "; signed packed bits (binary of sentence-transformers, Cohere and Jina) are taken as uint8: + 128, that is"
            " (bits.astype('int16') + 128).astype('uint8')"
        )
    if kind == "uint8" and width == dimension:
        return "; uint8 is taken as packed bits, eight dimensions a byte: of other vectors, ask for floats"
    return ""


def hamming(query: Bits, documents: Bits) -> NDArray[np.int64]:
    """Count the differing bits between one packed query (bytes,) and packed documents (n, bytes)."""
    query, documents = _bytes(query), _bytes(documents)
    _same_width(query.shape[-1], documents.shape[-1], "bytes")
    return np.bitwise_count(query ^ documents).sum(axis=-1, dtype=np.int64)


def asymmetric(query: ArrayLike, documents: Bits) -> Float32:
    """Score packed documents (n, width / 8) by a float query (width,): the cosine to their +1/-1 vectors."""
    vector = normalize(query)
    if vector.ndim != 1:
        raise InvalidVectors(f"the query is one vector (width,), not an array of shape {vector.shape}")
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
    """Encode one vector of bytes (packed bits, or int8) as the hex string of Elasticsearch.

    Raises:
        InvalidVectors: not one vector of uint8 or int8.
    """
    vector = np.asarray(values)
    if vector.dtype.name not in ("uint8", "int8") or vector.ndim != 1:
        raise InvalidVectors(f"hex takes one vector of uint8 or int8, not {vector.dtype} of shape {vector.shape}")
    return vector.tobytes().hex()


def from_hex(text: str) -> Bits:
    """Decode a hex string into bytes; ``.view(np.int8)`` reads them as signed.

    Raises:
        InvalidVectors: not pairs of hex digits.
    """
    try:
        return np.frombuffer(bytearray(binascii.unhexlify(text)), np.uint8)
    except (TypeError, ValueError) as error:
        raise InvalidVectors(f"not a hex string: {brief(text)}") from error


def to_base64(vector: ArrayLike, byteorder: ByteOrder = "little") -> str:
    """Encode one float32 vector: little-endian for OpenAI and Jina, big-endian for Elasticsearch documents.

    Raises:
        InvalidVectors: not one vector, NaN, or infinity.
    """
    values = _finite(vector)
    if values.ndim != 1:
        raise InvalidVectors(f"base64 takes one vector (width,), not an array of shape {values.shape}")
    return base64.b64encode(values.astype(_float_type(byteorder)).tobytes()).decode("ascii")


def from_base64(text: str, byteorder: ByteOrder = "little") -> Float32:
    """Decode one float32 vector.

    Raises:
        InvalidVectors: not base64, not a whole number of float32, or not finite.
    """
    kind = _float_type(byteorder)
    try:
        values = np.frombuffer(bytearray(base64.b64decode(text, validate=True)), kind)
    except (TypeError, ValueError) as error:
        raise InvalidVectors(f"not base64 of float32: {brief(text)}") from error
    return _finite(values)


def _finite(vectors: ArrayLike) -> Float32:
    """Return float32 numbers as given (n, width) or (width,), all of them finite."""
    with np.errstate(over="ignore"):  # an overflow becomes infinity, which is refused below
        rows = _numbers(vectors, np.float32)
    if rows.ndim == 0:
        raise InvalidVectors(f"not a vector: {brief(vectors)}")
    if not np.isfinite(rows).all():
        row, *_ = np.argwhere(~np.isfinite(np.atleast_2d(rows)))[0]
        raise InvalidVectors(f"vector {row} holds NaN or infinity, as float32")
    return rows


def _unit(given: Float32) -> Float32:
    """Scale finite vectors to unit length.

    In float64 neither overflow nor underflow can touch a float32 input, and the rounding back hides the order in
    which a machine sums. Blocks of rows stay in the processor's cache.
    """
    rows = np.atleast_2d(given)
    if rows.ndim != 2:
        raise InvalidVectors(f"vectors have the shape {rows.shape}; expected (n, width) or (width,)")
    unit = np.empty(rows.shape, np.float32)
    for start in range(0, len(rows), 256):
        block = rows[start : start + 256].astype(np.float64)
        norms = np.sqrt(np.einsum("ij,ij->i", block, block))
        _refuse_zero(norms != 0, start)
        unit[start : start + 256] = np.divide(block, norms[:, None], out=block)
    return unit.reshape(given.shape)


def _refuse_zero(directed: NDArray[np.bool_] | np.bool_, first: int = 0) -> None:
    if not directed.all():
        raise InvalidVectors(f"vector {first + int(directed.argmin())} is all zeros: it has no direction to compare")


def _array_kind(vectors: object) -> str:
    """Return the type of an array of bytes, of a tensor, or of a list of such rows: int8; of anything else nothing."""
    rows = cast("list[object]", vectors) if isinstance(vectors, (list, tuple)) else [vectors]
    kind = getattr(rows[0], "dtype", "") if rows else ""
    if isinstance(kind, np.dtype):
        return kind.name if kind.itemsize == 1 else ""  # a name is not quickly made, and only those of bytes are asked
    return str(kind).removeprefix("torch.")


def _bytes(bits: ArrayLike) -> Bits:
    packed = np.asarray(bits)
    if packed.dtype != np.uint8:
        raise InvalidVectors(
            f"packed bits are uint8, not {packed.dtype}; decode signed bytes first (from_offset_binary)"
        )
    if packed.ndim == 0:
        raise InvalidVectors(f"not a vector of bytes: {brief(bits)}")
    return np.ascontiguousarray(packed)


def _whole(values: ArrayLike, low: int, high: int) -> NDArray[np.int16]:
    numbers = _numbers(values, np.float64)
    if not ((numbers == np.rint(numbers)) & (numbers >= low) & (numbers <= high)).all():
        raise InvalidVectors(f"byte values must be whole numbers from {low} to {high}")
    return numbers.astype(np.int16)


def _numbers(values: ArrayLike, kind: type[F]) -> NDArray[F]:
    try:  # without the rule for casting, NumPy reads the string "1.5" as a number and drops imaginary parts
        return np.asarray(values).astype(kind, casting="same_kind", copy=False)
    except (TypeError, ValueError) as error:
        raise InvalidVectors(f"not an array of numbers: {error}") from error


def _float_type(byteorder: ByteOrder) -> np.dtype[np.float32]:
    if byteorder not in ("little", "big"):
        raise InvalidInput(f"byte order {byteorder!r} is neither 'little' nor 'big'")
    return np.dtype("<f4" if byteorder == "little" else ">f4")


def _same_width(a: int, b: int, unit: str) -> None:
    if a != b:
        raise InvalidVectors(f"query and documents differ in width: {a} and {b} {unit}")
