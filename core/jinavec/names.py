"""Names of weights: what a path, a file or a served name says about the model and the task inside."""

from __future__ import annotations

import re
from collections.abc import Iterator

from jinavec.models import ModelProfile
from jinavec.tasks import Task

_FAMILY = "jina-embeddings-v5-text-"
_NAME = re.compile(
    rf"(?:jina-embeddings-)?v5-(?:text-)?(?P<size>small|nano)(?:-(?P<task>{'|'.join(Task)}))?"
    r"(?:-(?:gguf|mlx|onnx|merged|i?q\d\w*|b?f\d+|fp\d+|int8))*(?:\.gguf)?(?::.*)?",
    re.IGNORECASE,
)
"""A repository (``jina-embeddings-v5-text-nano-clustering-GGUF``) or a file (``v5-nano-clustering-Q8_0.gguf``).
Whole parts of a path only: a folder may be called after a model and hold another one."""


def named_task(name: str) -> Task | None:
    """Return the task that a name tells, the last one of a path; None where it tells none."""
    tasks = [found["task"] for found in _known_parts(name) if found["task"]]
    return Task(tasks[-1].lower()) if tasks else None


def mentioned_task(text: str, profile: ModelProfile) -> Task | None:
    """Return the one task whose merged weights of a model a text mentions, such as a model card; else None."""
    base = re.escape(profile.base or profile.name)
    tasks = set(re.findall(rf"{base}-({'|'.join(Task)})\b", text))
    return Task(tasks.pop()) if len(tasks) == 1 else None


def contradiction(name: str, profile: ModelProfile, task: Task) -> str:
    """Return what a name says against a model and task, such as "the task clustering"; empty where it does not."""
    named = named_task(name)
    if named not in (None, task):
        return f"the task {named}"
    base = profile.base or profile.name
    sizes = [found["size"].lower() for found in _known_parts(name)]
    if sizes and base.startswith(_FAMILY) and base != _FAMILY + sizes[-1]:
        return f"the model {_FAMILY}{sizes[-1]}"
    return ""


def _known_parts(name: str) -> Iterator[re.Match[str]]:
    """Yield the parts of a path that name weights; the hub's cache writes ``models--OWNER--NAME``."""
    return filter(None, map(_NAME.fullmatch, re.split(r"[/\\]|--", name)))
