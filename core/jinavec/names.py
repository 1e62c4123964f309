"""Names of weights: what a path, a file or a served name says about the model and the task inside."""

from __future__ import annotations

import re

from jinavec.models import ModelProfile
from jinavec.tasks import Task

_FAMILY = "jina-embeddings-v5-text-"
_MENTION = re.compile(
    rf"(?<![a-z0-9])v5-(?:text-)?(?P<size>small|nano)(?:-(?P<task>{'|'.join(Task)}))?(?![a-z0-9])", re.IGNORECASE
)
"""``jina-embeddings-v5-text-nano-clustering`` as repositories are called, ``v5-nano-clustering-Q8_0.gguf`` as files."""


def named_task(name: str) -> Task | None:
    """Return the task that a name tells, the last one of a path; None where it tells none."""
    tasks = [mention["task"] for mention in _MENTION.finditer(name) if mention["task"]]
    return Task(tasks[-1].lower()) if tasks else None


def contradiction(name: str, profile: ModelProfile, task: Task) -> str:
    """Return what a name says against a model and task, such as "the task clustering"; empty where it does not."""
    named = named_task(name)
    if named not in (None, task):
        return f"the task {named}"
    base = profile.base or profile.name
    sizes = [mention["size"].lower() for mention in _MENTION.finditer(name)]
    if sizes and base.startswith(_FAMILY) and base != _FAMILY + sizes[-1]:
        return f"the model {_FAMILY}{sizes[-1]}"
    return ""
