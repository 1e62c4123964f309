"""EncoderSettings: how an encoder is loaded. An index remembers them, so that nobody repeats them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from jinavec.errors import InvalidInput
from jinavec.models import ModelProfile
from jinavec.tasks import Task

Overflow = Literal["truncate", "error"]
"""What happens to texts over the token limit."""


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """Everything ``Encoder.load`` was told, defaults filled in, but never a key."""

    profile: ModelProfile
    task: Task
    dimension: int
    backend: str
    source: str = ""
    """Folder or hub name of the weights; a relative path stays relative."""
    revision: str = ""
    overflow: Overflow | None = None
    """None leaves it to the backend: those in this process truncate, servers refuse."""
    url: str = field(default="", repr=False)
    """Address of a server; not in the repr, since it may carry a user name and password."""
    served_as: str = ""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The backend's own options by name."""

    def check_local(self, api_key: str | None) -> None:
        """Refuse a server's address or key, for a backend that runs in this process.

        Raises:
            InvalidInput: one was given.
        """
        for name, value in (("url", self.url), ("api_key", api_key), ("served_as", self.served_as)):
            if value:
                raise InvalidInput(f"backend {self.backend!r} runs in this process and takes no {name}")

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON values, without user names and passwords in the URL."""
        return {
            "profile": self.profile.to_json(),
            "task": self.task.value,
            "dimension": self.dimension,
            "backend": self.backend,
            "source": self.source,
            "revision": self.revision,
            "overflow": self.overflow,
            "url": without_user(self.url),
            "served_as": self.served_as,
            "options": written_options(self.options),
        }

    @classmethod
    def from_json(cls, values: object) -> EncoderSettings:
        """Read settings back.

        Raises:
            InvalidInput: not encoder settings.
        """
        try:
            given = dict(cast("Mapping[str, Any]", values))
            profile, task = ModelProfile.from_json(given.pop("profile")), Task(given.pop("task"))
            return cls(profile=profile, task=task, **given)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"not encoder settings: {error}") from error


def written_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those options that can be written as JSON; client objects cannot."""
    return {name: value for name, value in options.items() if _is_plain(value)}


def without_user(url: str) -> str:
    """Return an address without user name and password."""
    return re.sub(r"^([^/?#]*//)?[^/?#]*@", r"\1", url)


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float, bool, list, tuple, Mapping))
