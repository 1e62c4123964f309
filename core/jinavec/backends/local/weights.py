"""Weights: from a folder, or a hub name and revision, to files on this machine."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jinavec.backends.local.errors import first_line, model_errors
from jinavec.backends.local.quiet import quiet
from jinavec.errors import ModelError
from jinavec.extras import require
from jinavec.limits import SMALL_FILE
from jinavec.settings import EncoderSettings
from jinavec.tasks import Task

HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
MERGED = re.compile(rf"v5-(?:text-)?(?:small|nano)-({'|'.join(Task)})")
"""The name of weights for one task, as hub repositories and their files have it."""
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Weights:
    """The files of one model on this machine."""

    folder: Path
    revision: str = ""
    """The commit of a hub snapshot; of any other folder, what the user says it is."""
    task: Task | None = None
    """The task that the path or a file of the folder names, if one does."""

    def file(self, name: str) -> Path:
        """Return a file of the folder.

        Raises:
            ModelError: it is not there.
        """
        path = self.folder / name
        if not path.is_file():
            raise ModelError(f"there is no {name} in {self.folder}")
        return path


def read_json(path: Path) -> object:
    """Read a JSON file that came with weights.

    Raises:
        ModelError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"cannot read {path}: {first_line(error)}") from error


def find_weights(settings: EncoderSettings, patterns: Sequence[str], extra: str) -> Weights:
    """Return the weights that settings name, downloaded where they are not on this machine yet.

    A hub name is taken as one snapshot at the pinned revision: loading its files one by one by name would mix
    revisions.

    Args:
        settings: ``source`` is a folder or a hub name; without it the profile's repository for the task.
        patterns: what to download of a hub repository.
        extra: the extra that brings the hub's client.

    Raises:
        ModelError: no source is named, the folder is not there, or the hub cannot give it.
    """
    profile = settings.profile
    source = settings.source or profile.repository(settings.task)
    if not source:
        raise ModelError(f"{profile.name} names no weights; give source= (--source), a folder or a hub name")
    folder = Path(os.path.expanduser(source))  # unlike Path.expanduser, it leaves the ~name of nobody as it is
    task = _check_task(folder, settings)
    if folder.is_dir():
        return Weights(folder, _commit(folder) or settings.revision, task)
    if folder.exists() or not HUB_NAME.fullmatch(source):
        raise ModelError(f"{source!r} is neither a folder on this machine nor a hub name (OWNER/NAME)")
    found = _download(source, settings.revision or profile.revisions.get(source, ""), patterns, extra)
    return replace(found, task=task)


def _check_task(folder: Path, settings: EncoderSettings) -> Task | None:
    """Return the task that a folder, or a hub's repository, is of by its path or its own files, if they tell.

    Raises:
        ModelError: it is another one than that of the settings.
    """
    if not (folder / "adapters").is_dir():
        for where, said in _names(folder):
            tasks = set(MERGED.findall(said))
            if len(tasks) != 1:
                continue
            task = Task(tasks.pop())
            if task is not settings.task:
                raise ModelError(f"{folder} holds the weights for {task}, by {where}, not for {settings.task}")
            return task
    return None


def _names(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield what may name the task of a folder, the nearest first: the parts of its path, then files in it."""
    yield from (("its path", part) for path in (folder, folder.resolve()) for part in reversed(path.parts))
    for name in ("config.json", "README.md"):
        try:
            with (folder / name).open(encoding="utf-8", errors="replace") as file:
                yield f"its {name}", file.read(SMALL_FILE)
        except OSError:  # it has none
            continue


def _commit(folder: Path) -> str:
    resolved = folder.resolve()
    return resolved.name if resolved.parent.name == "snapshots" and COMMIT.fullmatch(resolved.name) else ""


def _download(repository: str, revision: str, patterns: Sequence[str], extra: str) -> Weights:
    hub: Any = require("huggingface_hub", extra)
    asked: dict[str, Any] = {"revision": revision or None, "allow_patterns": list(patterns)}
    wanted = f"{repository} at revision {revision}" if revision else repository
    missing = f"there is no folder {repository!r}, and the hub did not give {wanted}"
    try:
        with model_errors(missing), quiet("huggingface_hub"):
            folder = hub.snapshot_download(repository, **asked)
    except ModelError:
        with quiet("huggingface_hub"):
            folder = _cached(hub, repository, asked)
        if folder is None:
            raise
    return Weights(Path(folder), _commit(Path(folder)))


def _cached(hub: Any, repository: str, asked: dict[str, Any]) -> str | None:
    """Return the snapshot of an earlier download; the client does not look there itself for a pinned commit."""
    try:
        return hub.snapshot_download(repository, local_files_only=True, **asked)
    except (OSError, ValueError):  # it is not there, or cannot be a name
        return None
