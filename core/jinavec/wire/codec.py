"""Codec: the pure functions of one protocol, between bytes and messages, for client and server alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from jinavec.errors import InvalidInput
from jinavec.wire.errors import read_error
from jinavec.wire.messages import EmbedReply, EmbedRequest, ServerTraits, WireError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Codec:
    """How a protocol writes and reads its bodies; nothing here touches a socket.

    A body holds a sequence of requests, and its reply one reply to each, in their order. In most protocols that
    sequence has one element, and more of them raise InvalidInput; Qdrant's has one for each text.
    """

    name: str
    server: ServerTraits
    """What a server of the protocol does by itself."""
    encode_requests: Callable[[Sequence[EmbedRequest]], bytes]
    """Raises InvalidInput for what the protocol cannot say."""
    decode_requests: Callable[[bytes], tuple[EmbedRequest, ...]]
    """Raises WireError for a body that is no such request."""
    encode_replies: Callable[[Sequence[EmbedReply]], bytes]
    decode_replies: Callable[[bytes, Sequence[EmbedRequest]], tuple[EmbedReply, ...]]
    """Given the body and the requests it answers. Raises WireError unless it holds one vector per text."""
    encode_error: Callable[[WireError], tuple[int, bytes]]
    """Returns the HTTP status and the body."""
    decode_error: Callable[[int, bytes], WireError]
    """Given the HTTP status and the body, whatever stands in it; never raises."""


def single_request_codec(
    *,
    name: str,
    server: ServerTraits,
    encode_request: Callable[[EmbedRequest], bytes],
    decode_request: Callable[[bytes], EmbedRequest],
    encode_reply: Callable[[EmbedReply], bytes],
    decode_reply: Callable[[bytes, EmbedRequest], EmbedReply],
    encode_error: Callable[[WireError], tuple[int, bytes]],
    decode_error: Callable[[int, bytes], WireError] = read_error,
) -> Codec:
    """Return the codec of a protocol whose body holds one request."""

    def encode_requests(requests: Sequence[EmbedRequest]) -> bytes:
        return encode_request(_only(name, requests))

    def encode_replies(replies: Sequence[EmbedReply]) -> bytes:
        return encode_reply(_only(name, replies))

    def decode_replies(body: bytes, requests: Sequence[EmbedRequest]) -> tuple[EmbedReply, ...]:
        return (decode_reply(body, _only(name, requests)),)

    return Codec(
        name=name,
        server=server,
        encode_requests=encode_requests,
        decode_requests=lambda body: (decode_request(body),),
        encode_replies=encode_replies,
        decode_replies=decode_replies,
        encode_error=encode_error,
        decode_error=decode_error,
    )


def _only(protocol: str, messages: Sequence[T]) -> T:
    if len(messages) != 1:
        raise InvalidInput(f"one body of the protocol {protocol!r} holds one request, not {len(messages)}")
    return messages[0]
