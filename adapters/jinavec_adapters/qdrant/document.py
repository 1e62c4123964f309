"""Document options: what ``models.Document(options=...)`` may say, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinavec.encoder import Encoder
from jinavec.errors import InvalidInput, brief
from jinavec.models import ModelProfile
from jinavec.tasks import Role, Task, parse_task, prompt, task_name

_NAMES = ("task", "dimensions", "mrl")


@dataclass(frozen=True)
class DocumentOptions:
    """The view of a model that a Document asks for."""

    task: Task
    dimension: int
    role: Role | None = None
    """The side that a task such as ``retrieval.query`` names."""

    @classmethod
    def read(
        cls, profile: ModelProfile, options: Mapping[str, Any] | None, encoder: Encoder | None = None
    ) -> DocumentOptions:
        """Read ``task`` (bare or with its role), and ``dimensions`` or ``mrl``, which mean the same.

        What is left out is as the encoder has it that was registered for the model, else the model's own default.

        Raises:
            InvalidInput: an unknown option, or two different dimensions.
            UnknownTask, InvalidDimension: the model does not offer it.
        """
        given = dict(options or {})
        if unknown := sorted(given.keys() - set(_NAMES)):
            raise InvalidInput(f"unknown option {unknown[0]!r} for {profile.name}; known: {', '.join(_NAMES)}")
        asked, role = (None, None) if given.get("task") is None else parse_task(given["task"])
        widths = [given[name] for name in ("dimensions", "mrl") if given.get(name) is not None] or [None]
        if widths[0] != widths[-1]:
            raise InvalidInput(f"'dimensions' and 'mrl' mean the same, but were given {brief(widths)}")
        task, dimension = (None, None) if encoder is None else (encoder.task, encoder.dimension)
        return cls(profile.check_task(asked or task), profile.check_dimension(widths[0] or dimension), role)

    def check_role(self, profile: ModelProfile, role: Role) -> None:
        """Refuse an operation that contradicts the side the task names.

        Raises:
            UnknownTask: the task is of the other side.
        """
        prompt(self.task if self.role is None else task_name(self.task, self.role), role, profile)
