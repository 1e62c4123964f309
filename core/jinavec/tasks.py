"""Task, Role, and prompt(): the only place where a prefix is decided."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

from jinavec.errors import UnknownTask


class Task(StrEnum):
    """What the vectors are for; picks the adapter of the weights."""

    RETRIEVAL = "retrieval"
    TEXT_MATCHING = "text-matching"
    CLUSTERING = "clustering"
    CLASSIFICATION = "classification"

    @classmethod
    def _missing_(cls, value: object) -> Task:
        raise UnknownTask(_explain_task(value))


class Role(StrEnum):
    """Which side of a comparison a text stands on."""

    QUERY = "query"
    DOCUMENT = "document"

    @classmethod
    def _missing_(cls, value: object) -> Role:
        raise UnknownTask(f"unknown role {value!r}; a role is one of: {', '.join(cls)}")


V5_PROMPTS: Mapping[tuple[Task, Role], str] = MappingProxyType(
    {
        (task, role): "Query: " if (task, role) == (Task.RETRIEVAL, Role.QUERY) else "Document: "
        for task in Task
        for role in Role
    }
)
"""The prefixes jina-embeddings-v5-text was trained with (config_sentence_transformers.json)."""


class HasPrompts(Protocol):
    """A model, as far as prefixes go: a ``ModelProfile``."""

    @property
    def prompts(self) -> Mapping[tuple[Task, Role], str]:
        """The prefix of each task and role; a missing one is none."""
        ...


_ROLE_SUFFIX = {Role.QUERY: "query", Role.DOCUMENT: "passage"}


def prompt(task: Task | str, role: Role | str, profile: HasPrompts | None = None) -> str:
    """Return the exact prefix of a text.

    Args:
        task: a task; an API spelling such as ``retrieval.query`` is accepted when it agrees with ``role``.
        role: the side the text stands on.
        profile: the model whose prompts count; jina-embeddings-v5-text without one.

    Raises:
        UnknownTask: the task or role does not exist, or the two contradict each other.
    """
    task, implied = parse_task(task)
    role = Role(role)
    if implied not in (None, role):
        raise UnknownTask(f"task {task_name(task, implied)!r} embeds a {implied}, but role={role.value!r} was asked")
    prompts = V5_PROMPTS if profile is None else profile.prompts
    return prompts.get((task, role), "")


def prompt_name(task: Task | str, role: Role | str, profile: HasPrompts | None = None) -> Role | None:
    """Return the name of a text's prefix where servers know it by name, as in config_sentence_transformers.json.

    There a model has one prefix for queries and one for documents, and the other tasks use one of the two.

    Returns:
        The role whose prefix for retrieval it is; None where the text has no prefix.
    """
    prefix, role = prompt(task, role, profile), Role(role)
    if not prefix:
        return None
    return next((name for name in (role, *Role) if prompt(Task.RETRIEVAL, name, profile) == prefix), role)


def parse_task(name: Task | str) -> tuple[Task, Role | None]:
    """Read a task as APIs spell it: ``retrieval.query`` is (retrieval, query), ``clustering`` has no role.

    Raises:
        UnknownTask: the name is none of the spellings.
    """
    for role, suffix in _ROLE_SUFFIX.items():
        if name == f"{Task.RETRIEVAL}.{suffix}":
            return Task.RETRIEVAL, role
    return Task(name), None


def task_name(task: Task | str, role: Role | str) -> str:
    """Spell a task as the Jina API does: ``retrieval.passage``, ``text-matching``."""
    task, role = Task(task), Role(role)
    return f"{task}.{_ROLE_SUFFIX[role]}" if task is Task.RETRIEVAL else task.value


def _explain_task(value: object) -> str:
    known = f"a task is one of: {', '.join(Task)}"
    if value == "separation":
        return "task 'separation' is the v3 name; v5 calls it 'clustering'"
    if isinstance(value, str) and value.startswith("retrieval."):
        return f"task {value!r} also names a role; give the task 'retrieval' and the role where texts are embedded"
    return f"unknown task {value!r}; {known}"
