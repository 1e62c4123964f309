"""EmbedRequest, EmbedReply, WireError: what every protocol says, in the words of none of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from jinavec.errors import InvalidInput, InvalidVectors, JinavecError
from jinavec.tasks import Role, Task
from jinavec.vectors import Float32, binarize, to_int8, unpack

Encoding = Literal["float", "base64", "int8", "binary", "ubinary", "bits"]
"""How the numbers of a vector are written: JSON floats, base64 of little-endian float32, whole numbers of one byte, or
packed sign bits (Jina's ``binary``: each byte minus 128; ``ubinary``: as they are; ``bits``: Elasticsearch's signed
bytes)."""

MODEL_HEADER = "X-Jinavec-Model"
"""Header of a reply in which ``jinavec serve`` names model and task, whatever its protocol tells."""

_KINDS: dict[Encoding, type[np.generic]] = {
    "float": np.float32,
    "base64": np.float32,
    "int8": np.int8,
    "binary": np.uint8,
    "ubinary": np.uint8,
    "bits": np.uint8,
}


@dataclass(frozen=True, kw_only=True)
class EmbedRequest:
    """Texts to embed, and all that a protocol may say about how. None means: the request does not say."""

    texts: tuple[str, ...]
    model: str = ""
    task: Task | None = None
    role: Role | None = None
    dimension: int | None = None
    encoding: Encoding = "float"
    truncate: bool | None = None
    """Whether texts over the model's limit are cut, instead of refused."""
    normalized: bool | None = None
    """Whether vectors are scaled to unit length; every server does so unless told otherwise."""
    user: str = ""
    """Who asks, where the protocol carries it."""
    num_ctx: int | None = None
    """Tokens of context that the server makes room for; Ollama's."""
    keep_alive: str | int | None = None
    """How long the server keeps the model in memory, as a duration or in seconds; Ollama's."""

    def check_carried(self, protocol: str, *carried: str) -> None:
        """Refuse what a protocol has no field for, so that nothing is dropped in silence.

        Raises:
            InvalidInput: a field outside ``carried`` is set.
        """
        for f in fields(self):
            if f.name not in ("texts", *carried) and getattr(self, f.name) != f.default:
                raise InvalidInput(f"a request of {protocol} carries no {f.name}, but it is {getattr(self, f.name)!r}")


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbedReply:
    """Vectors in the order of the texts.

    Raises:
        InvalidInput: no such encoding.
        InvalidVectors: not rows (n, width) of the encoding's type.
    """

    vectors: NDArray[Any]
    """float32 (n, width); int8 (n, width) for int8; packed bits, uint8 (n, width / 8), for the three binary ones."""
    encoding: Encoding = "float"
    model: str = ""
    tokens: int | None = None
    """Tokens the server counted."""

    def __post_init__(self) -> None:
        if self.encoding not in _KINDS:
            raise InvalidInput(f"unknown encoding {self.encoding!r}; known: {', '.join(get_args(Encoding))}")
        kind = np.dtype(_KINDS[self.encoding])
        if self.vectors.ndim != 2 or self.vectors.dtype != kind:
            raise InvalidVectors(
                f"a reply in {self.encoding} takes rows of {kind}, not {self.vectors.dtype} {self.vectors.shape}"
            )

    @classmethod
    def of(cls, vectors: Float32, request: EmbedRequest, *, tokens: int | None = None) -> Self:
        """Answer a request with unit vectors, float32 (n, width), packed as it asks for.

        Raises:
            InvalidDimension: bits were asked of a width that is not a multiple of 8.
        """
        match request.encoding:
            case "float" | "base64":
                packed: NDArray[Any] = vectors
            case "int8":
                packed = to_int8(vectors)
            case _:
                packed = binarize(vectors)
        return cls(vectors=packed, encoding=request.encoding, model=request.model, tokens=tokens)

    @property
    def width(self) -> int:
        """Components of a vector."""
        return self.vectors.shape[1] * (8 if self.vectors.dtype == np.uint8 else 1)

    @property
    def floats(self) -> Float32:
        """The vectors as float32 (n, width); bits as +1 and -1."""
        if self.vectors.dtype == np.uint8:
            return unpack(self.vectors)
        return self.vectors.astype(np.float32, copy=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EmbedReply):
            return NotImplemented
        ours, theirs = self.vectors, other.vectors
        same = ours.dtype == theirs.dtype and np.array_equal(ours, theirs)
        said = (self.encoding, self.model, self.tokens) == (other.encoding, other.model, other.tokens)
        return bool(same) and said


class Reason(StrEnum):
    """Why a request is refused, in the words of no protocol."""

    INVALID = "invalid"
    TEXT_TOO_LONG = "text_too_long"
    TOO_LARGE = "too_large"
    """The request as a whole: fewer texts may pass."""
    UNAUTHORIZED = "unauthorized"
    """No key, or an unknown one."""
    FORBIDDEN = "forbidden"
    """A known key that may not, or has no balance left."""
    NOT_FOUND = "not_found"
    """Such as an unknown model."""
    BUSY = "busy"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


STATUS: dict[Reason, int] = {
    Reason.INVALID: 400,
    Reason.TEXT_TOO_LONG: 400,
    Reason.TOO_LARGE: 413,
    Reason.UNAUTHORIZED: 401,
    Reason.FORBIDDEN: 403,
    Reason.NOT_FOUND: 404,
    Reason.BUSY: 409,
    Reason.RATE_LIMITED: 429,
    Reason.UNAVAILABLE: 503,
    Reason.INTERNAL: 500,
}
"""The HTTP status of a reason, where a protocol has no other."""


class WireError(JinavecError):
    """A request that is refused, or a message outside its protocol.

    A server raises it with a reason and lets ``encode_error`` choose the status; ``decode_error`` gives it back.

    Attributes:
        reason: why.
        message: the server's own words.
        status: the HTTP status that came with it; 0 where none did.
        code: the protocol's short name of the error, such as AUTH_INVALID_API_KEY.
        retry_after: seconds after which another try makes sense; travels in a header, never in the body.
        server: the software that refused, where its headers tell: llama.cpp or TEI.
        positions: the texts of the request that are to blame, where that is known.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        status: int = 0,
        code: str = "",
        retry_after: float | None = None,
        positions: tuple[int, ...] = (),
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.server = ""
        self.positions = positions


@dataclass(frozen=True, kw_only=True)
class ServerTraits:
    """What a server of a protocol does by itself; a client does the rest."""

    path: str
    """Its route, below the address of the server."""
    adds_prompt: bool = False
    """The request names the role, and the server adds the prefix."""
    applies_task: bool = False
    """The request names the task, and the server picks the weights; else they serve one task."""
    narrows: bool = False
    """The request may ask for a dimension."""
    renormalizes: bool = True
    """Narrowed vectors come back at unit length; Infinity's, of OpenAI's protocol, do not."""
    truncates: bool = False
    """The request may ask for long texts to be cut."""
    refuses_empty: bool = False
    """An empty text is refused, even where the server would add a prefix to it."""
    base64: bool = False
    """Vectors may be asked for in base64."""
    batch: int = 32
    """Texts a request, unless the user says otherwise; no server is known to refuse as many."""
