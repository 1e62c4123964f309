"""What the shell completes: targets, models, backends and tasks; see ``jinavec --install-completion``."""

from __future__ import annotations

import os

VARIABLE = "_JINAVEC_COMPLETE"
"""Set by the shell's script where words are to be completed in place of a run."""


def is_completing() -> bool:
    """Return whether the shell asks for completions."""
    return VARIABLE in os.environ


def targets(incomplete: str) -> list[str]:
    """Return the beginnings of targets."""
    from jinavec import plugins
    from jinavec.targets import ENGINES

    return [f"{name}:" for name in plugins.names(plugins.ENGINES, ENGINES) if name.startswith(incomplete)]


def models(incomplete: str) -> list[str]:
    """Return the names of the catalog."""
    from jinavec.models import CATALOGUE

    return [name for name in CATALOGUE if name.startswith(incomplete)]


def backends(incomplete: str) -> list[str]:
    """Return the names of backends."""
    from jinavec import plugins
    from jinavec.encoder import BACKENDS

    return [name for name in plugins.names(plugins.BACKENDS, BACKENDS) if name.startswith(incomplete)]


def tasks(incomplete: str) -> list[str]:
    """Return the tasks."""
    from jinavec import Task

    return [task.value for task in Task if task.value.startswith(incomplete)]
