"""The role of a text: what the address, the request or the text itself says, and nothing guessed."""

from __future__ import annotations

from collections.abc import Sequence

from jinavec.models import ModelProfile
from jinavec.tasks import Role, Task, prompt
from jinavec.wire.messages import Reason, WireError


def agreed(*said: Role | None) -> Role | None:
    """Return the one role that was said, or None where none was.

    Raises:
        WireError: two that contradict each other.
    """
    roles = {role for role in said if role is not None}
    if len(roles) > 1:
        raise WireError(Reason.INVALID, "the request says query in one place and document in another")
    return roles.pop() if roles else None


def knows_roles(task: Task, profile: ModelProfile) -> bool:
    """Return whether queries and documents have different prefixes."""
    return prompt(task, Role.QUERY, profile) != prompt(task, Role.DOCUMENT, profile)


def carried(texts: Sequence[str], task: Task, profile: ModelProfile) -> list[tuple[Role, str]] | None:
    """Read the roles of texts that bring their prefix along.

    Returns:
        Role and text without the prefix, of each; None unless every text has one.
    """
    prefixes = [(prefix, role) for role in Role if (prefix := prompt(task, role, profile))]
    prefixes.sort(key=lambda pair: -len(pair[0]))  # one may begin with the other
    found: list[tuple[Role, str]] = []
    for text in texts:
        match = next(((role, text[len(prefix) :]) for prefix, role in prefixes if text.startswith(prefix)), None)
        if match is None:
            return None
        found.append(match)
    return found
