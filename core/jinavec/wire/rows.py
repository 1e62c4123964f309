"""Vectors as JSON writes them, in every encoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from jinavec.errors import InvalidVectors, brief
from jinavec.vectors import (
    Float32,
    from_base64,
    from_offset_binary,
    from_signed_bytes,
    to_base64,
    to_offset_binary,
    to_signed_bytes,
)
from jinavec.wire.fields import Fields
from jinavec.wire.messages import EmbedReply, EmbedRequest, Encoding, Reason, WireError


def write_rows(reply: EmbedReply) -> Sequence[Any]:
    """Return what stands for each vector in JSON: an array of numbers, or a base64 string."""
    match reply.encoding:
        case "base64":
            return [to_base64(vector) for vector in reply.vectors]
        case "binary":
            return list(to_offset_binary(reply.vectors))
        case "bits":
            return list(to_signed_bytes(reply.vectors))
        case _:
            return list(np.ascontiguousarray(reply.vectors))


def read_rows(rows: object, request: EmbedRequest, encoding: Encoding) -> tuple[NDArray[Any], Encoding]:
    """Read one vector per text of a request.

    Floats are accepted where base64 was asked for, and the reverse.

    Returns:
        The rows as ``EmbedReply.vectors`` has them, and the encoding they came in.

    Raises:
        WireError: not one vector per text, of one width, in the encoding.
    """
    if not isinstance(rows, list):
        raise WireError(Reason.INVALID, f"the reply has no array of vectors, but {brief(rows)}")
    items = cast("list[Any]", rows)
    _check_count(len(items), request)
    if encoding in ("float", "base64"):
        encoding = "base64" if items and isinstance(items[0], str) else "float"
    try:
        vectors = _read(items, encoding)
    except InvalidVectors as error:
        if missing := tuple(number for number, row in enumerate(items) if _is_missing(row)):
            raise WireError(Reason.INVALID, "the reply has null in place of a vector", positions=missing) from error
        raise WireError(Reason.INVALID, f"the reply's vectors cannot be read as {encoding}: {error}") from error
    if vectors.ndim != 2 or not vectors.shape[1]:
        raise WireError(Reason.INVALID, f"the reply's vectors have the shape {vectors.shape}")
    return vectors, encoding


def in_order(items: object, request: EmbedRequest) -> list[Any]:
    """Return the embeddings of ``{"index", "embedding"}`` items in the order of the texts.

    Without any index the order is that of the reply.

    Raises:
        WireError: an index is missing, doubled or out of range, or there is not one item per text.
    """
    if not isinstance(items, list):
        raise WireError(Reason.INVALID, f"the reply has no array 'data', but {brief(items)}")
    rows = [Fields(item, "an item of the reply's data").values for item in cast("list[Any]", items)]
    count = len(request.texts)
    _check_count(len(rows), request)
    indices = [row.get("index") for row in rows]
    if any(index is not None for index in indices) and indices != list(range(count)):
        if any(type(index) is not int for index in indices) or sorted(cast("list[int]", indices)) != list(range(count)):
            raise WireError(
                Reason.INVALID, f"the reply's indices are not each of 0 to {count - 1} once: {brief(indices)}"
            )
        rows.sort(key=lambda row: row["index"])
    return [row.get("embedding") for row in rows]


def _check_count(count: int, request: EmbedRequest) -> None:
    wanted = len(request.texts)
    if count != wanted:
        message = f"the reply has {count} vectors for {wanted} texts"
        raise WireError(Reason.INVALID, message, code="missing_vectors" if count < wanted else "")


def _is_missing(row: Any) -> bool:
    """Return whether there is nothing, or null, where a vector should be: what JSON has for NaN."""
    return not row or (isinstance(row, list) and None in row)


def _read(rows: list[Any], encoding: Encoding) -> NDArray[Any]:
    if not rows:
        raise InvalidVectors("there are none")
    match encoding:
        case "float":
            return _floats(rows)
        case "base64":
            return _stack([from_base64(row) for row in rows])
        case "int8":
            return from_signed_bytes(rows).view(np.int8)
        case "binary":
            return from_offset_binary(rows)
        case "bits":
            return from_signed_bytes(rows)
        case "ubinary":
            values = _numbers(rows)
            if not ((values == np.rint(values)) & (values >= 0) & (values <= 255)).all():
                raise InvalidVectors("byte values must be whole numbers from 0 to 255")
            return values.astype(np.uint8)


def _stack(vectors: Sequence[Float32]) -> Float32:
    if len({vector.shape for vector in vectors}) > 1:
        raise InvalidVectors("they are not all of one length")
    return np.stack(vectors)


def _floats(rows: list[Any]) -> Float32:
    with np.errstate(over="ignore"):
        vectors = _numbers(rows).astype(np.float32)
    if not np.isfinite(vectors).all():
        raise InvalidVectors("a number is NaN or infinity, as float32")
    return vectors


def _numbers(rows: list[Any]) -> NDArray[Any]:
    """Read arrays of numbers; NumPy alone would read the string "1.5" as a number, and true as 1."""
    try:
        numbers = np.array(rows)
    except ValueError as error:  # NumPy refuses rows of several lengths
        raise InvalidVectors("they are not arrays of numbers, all of one length") from error
    if numbers.dtype.kind not in "fiu":
        raise InvalidVectors("they are not arrays of numbers, all of one length")
    return numbers
