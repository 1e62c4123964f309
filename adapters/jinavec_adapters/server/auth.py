"""ApiKeys: who may ask."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from starlette.datastructures import Headers

from jinavec.wire.messages import Reason, WireError


class ApiKeys:
    """The keys that open a server; none are needed where there are none."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    def check(self, sent: Iterable[str]) -> None:
        """Refuse whoever shows no key that is ours; how long that takes says nothing about the keys.

        Raises:
            WireError: no key, or an unknown one.
        """
        if not self._digests:
            return
        digests = [_digest(key) for key in sent]
        if not digests:
            raise WireError(Reason.UNAUTHORIZED, "missing API key: send Authorization: Bearer KEY")
        same = [hmac.compare_digest(digest, own) for digest in digests for own in self._digests]
        if not any(same):
            raise WireError(Reason.UNAUTHORIZED, "invalid API key")


def sent_keys(headers: Headers) -> list[str]:
    """Return the keys of a request's headers: the bearer's, and any ``...-api-key``, as Qdrant passes them on."""
    kind, _, bearer = headers.get("authorization", "").partition(" ")
    sent = [bearer.strip()] if kind.lower() == "bearer" and bearer.strip() else []
    return sent + [value for name, value in headers.items() if name.endswith("-api-key")]


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
