"""The role of a text: what the address, the request or the text itself says, and nothing guessed."""

from __future__ import annotations

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


def carried(text: str, task: Task, profile: ModelProfile) -> tuple[Role | None, str]:
    """Return the role whose prefix a text brings along, and the text without it; no role where it brings none."""
    prefixes = [(prefix, role) for role in Role if (prefix := prompt(task, role, profile))]
    prefixes.sort(key=lambda pair: -len(pair[0]))  # one may begin with the other
    for prefix, role in prefixes:
        if text.startswith(prefix):
            return role, text[len(prefix) :]
    return None, text
