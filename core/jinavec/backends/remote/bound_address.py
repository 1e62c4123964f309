"""Addresses of ``jinavec serve`` that are bound to one role: whatever is sent there gets the prefix of that role."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from jinavec.errors import InvalidInput
from jinavec.http_client import shown_address
from jinavec.tasks import Role

_ROLE_WORDS = tuple(role.value for role in Role)


def refuse_bound_address(url: str, path: str) -> None:
    """Refuse an address of ``jinavec serve`` that is bound to one role: whatever is sent there gets its prefix.

    Raises:
        InvalidInput: it is one; the message names the address to use.
    """
    parts = urlsplit(url)
    steps = parts.path.strip("/").split("/")
    for place, step in enumerate(steps):
        if step in _ROLE_WORDS and (rest := "/".join(steps[place + 1 :])) in _starts(path):
            free = urlunsplit(parts._replace(path="/".join(["", *steps[:place], *filter(None, [rest])]), query=""))
            raise InvalidInput(
                f"the address {shown_address(url)} is bound to the role {step}: it adds the prefix of every {step}, as"
                f" this encoder does for both roles; use url={shown_address(free)!r} (verify=False takes it as it is)"
            )


def _starts(path: str) -> list[str]:
    """Return what may follow the role in an address: nothing, or the start of the route, or all of it."""
    steps = path.strip("/").split("/")
    return ["/".join(steps[:count]) for count in range(len(steps) + 1)]
