"""ApiKeys: who may ask."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence

from starlette.datastructures import Headers

from jinavec.wire.messages import Reason, WireError


class ApiKeys:
    """The keys that open a server; none are needed where there are none."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    def know(self, sent: Iterable[str]) -> bool:
        """Return whether one of some keys is ours, or none is needed; how long that takes says nothing about them."""
        same = [hmac.compare_digest(_digest(key), own) for key in sent for own in self._digests]
        return any(same) or not self._digests

    def check(self, sent: Sequence[str]) -> None:
        """Refuse whoever shows no key that is ours.

        Raises:
            WireError: no key, or an unknown one.
        """
        if not self.know(sent):
            words = "invalid API key" if sent else "missing API key: send Authorization: Bearer KEY"
            raise WireError(Reason.UNAUTHORIZED, words)


def sent_keys(headers: Headers) -> list[str]:
    """Return the keys of a request's headers: the bearer's, and any ``...-api-key``, as Qdrant passes them on."""
    kind, _, bearer = headers.get("authorization", "").partition(" ")
    sent = [bearer.strip()] if kind.lower() == "bearer" and bearer.strip() else []
    return sent + [value for name, value in headers.items() if name.endswith("-api-key")]


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
