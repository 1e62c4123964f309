"""Every error jinavec raises, in one tree.

JinavecError
├── InvalidInput (ValueError)      a value that cannot be used; the message names it and the remedy
│   ├── UnknownModel               a model name outside the catalogue
│   ├── UnknownTask                a task or role that does not exist
│   ├── InvalidDimension           a width the model was not trained for
│   ├── InvalidVectors             wrong shape, not finite, or zero
│   ├── InvalidRecord              an id, text or metadata that cannot be stored
│   ├── InvalidFilter              a filter outside the one filter form
│   ├── InvalidTarget              an engine address that cannot be read
│   ├── TextTooLong                a text over the model's limit, with overflow="error"; carries its position
│   └── ContractMismatch           two contracts whose vectors must not meet
├── InvalidType (TypeError)        a value of the wrong type
├── MissingExtra (ImportError)     an optional library is not installed; carries the pip line
├── ModelError                     weights or tokenizer missing, damaged or not what the profile says
├── ServerError                    a model server failed, refused, or cannot be reached
└── EngineError                    a vector engine failed
    ├── IndexNotFound              nothing there to open
    ├── IndexDamaged               there, but not readable
    ├── IndexLocked                another process is writing
    ├── Unsupported                the engine does not have this ability
    └── RecordsFailed              some records could not be stored; carries the reason of each

JinavecWarning (UserWarning)       something was done that the user should know, once a call
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from jinavec.requirements import pip_line


class JinavecError(Exception):
    """Base of every error jinavec raises; it keeps type, text and attributes through pickle and copy.

    So it reaches the caller of a process pool, which by itself would make the error anew from its text alone, and wait
    for ever where the constructor takes more than that.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args, dict(vars(self)))


class InvalidInput(JinavecError, ValueError):
    """A value that cannot be used."""


class UnknownModel(InvalidInput):
    """A model name outside the catalogue."""


class UnknownTask(InvalidInput):
    """A task or role that does not exist."""


class InvalidDimension(InvalidInput):
    """A width the model was not trained for."""


class InvalidVectors(InvalidInput):
    """Vectors of the wrong shape, not finite, or zero."""


class InvalidRecord(InvalidInput):
    """An id, text or metadata that cannot be stored."""


class InvalidFilter(InvalidInput):
    """A filter outside the one filter form."""


class InvalidTarget(InvalidInput):
    """An engine address that cannot be read."""


class TextTooLong(InvalidInput):
    """A text over the model's token limit.

    Attributes:
        positions: where the texts stand in the list given, from 0; empty where that is not known.
    """

    def __init__(self, message: str, *, positions: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.positions = tuple(positions)

    def __str__(self) -> str:
        return _of_texts(self.positions) + super().__str__()


class ContractMismatch(InvalidInput):
    """Two contracts whose vectors must not meet."""


class InvalidType(JinavecError, TypeError):
    """A value of the wrong type."""


class MissingExtra(JinavecError, ImportError):
    """An optional library is not installed.

    Attributes:
        module: what could not be imported.
        extras: the extras of jinavec that bring it; any one of them will do.
    """

    def __init__(self, module: str, *extras: str) -> None:
        self.module = module
        self.extras = extras
        lines = " or: ".join(pip_line(extra, module) for extra in extras)
        super().__init__(f"{module} is not installed; run: {lines}")


class ModelError(JinavecError):
    """Weights or tokenizer missing, damaged, or not what the profile says."""


class ServerError(JinavecError):
    """A model server failed, refused, or cannot be reached.

    Attributes:
        server: its host and port.
        status: the HTTP status; 0 where there was no answer.
        said: the server's own words.
        done: texts of the call whose vectors had arrived, and are lost.
        positions: where the texts that it refused stand in the list given, from 0; empty where no text is to blame.
    """

    def __init__(
        self,
        message: str,
        *,
        server: str = "",
        status: int = 0,
        said: str = "",
        done: int = 0,
        positions: Sequence[int] = (),
    ) -> None:
        super().__init__(message)
        self.server = server
        self.status = status
        self.said = said
        self.done = done
        self.positions = tuple(positions)

    def __str__(self) -> str:
        return _of_texts(self.positions) + super().__str__()


class EngineError(JinavecError):
    """A vector engine failed."""


class IndexNotFound(EngineError):
    """There is no index at the target."""


HOW_TO_CREATE = "create it by jinavec index, or in Python with contract= or encoder="
"""What to do where there is no index."""


class IndexDamaged(EngineError):
    """The index is there but cannot be read."""


class IndexLocked(EngineError):
    """Another process is writing to the index."""


class Unsupported(EngineError):
    """An ability that the engine does not have; ``Engine.capabilities`` lists those it has."""


class RecordsFailed(EngineError):
    """Some records were refused; the others are stored.

    Attributes:
        reasons: why, by the id of the record.
        stored: records of the call that are stored.
    """

    def __init__(self, engine: str, total: int, reasons: Mapping[str, str], *, stored: int) -> None:
        self.reasons = dict(reasons)
        self.stored = stored
        first = "; ".join(f"{id[:100]!r}: {reason}" for id, reason in list(self.reasons.items())[:3])
        more = f"; and {len(self.reasons) - 3} more" if len(self.reasons) > 3 else ""
        super().__init__(
            f"{engine} did not store {len(self.reasons)} of {total} records: {first}{more}; {stored} records are stored"
        )


def _restored(kind: type[JinavecError], args: tuple[Any, ...], attributes: dict[str, Any]) -> JinavecError:
    error = kind.__new__(kind, *args)
    super(JinavecError, error).__init__(*args)  # what Python's own class keeps, such as the text of an ImportError
    vars(error).update(attributes)
    return error


class JinavecWarning(UserWarning):
    """Something was done that the user should know."""


def _of_texts(positions: Sequence[int]) -> str:
    """Begin a message with the texts that it is about."""
    if not positions:
        return ""
    more = f" and {len(positions) - 5} more" if len(positions) > 5 else ""
    return f"text{'s' * (len(positions) > 1)} {', '.join(map(str, positions[:5]))}{more}: "


def warn(message: str) -> None:
    """Give a JinavecWarning that names the line outside jinavec which led here."""
    frame, depth = sys._getframe(1), 2  # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("jinavec"):
        frame, depth = frame.f_back, depth + 1
    warnings.warn(message, JinavecWarning, stacklevel=depth)


def brief(value: object) -> str:
    """Show a value in a message: its repr on one line, cut where it gets long."""
    try:
        text = " ".join(repr(value).split())
    except RecursionError:
        text = f"a {type(value).__name__} nested too deeply to be shown"
    return text if len(text) <= 100 else f"{text[:97]}..."


def first_names(names: Iterable[str]) -> str:
    """Show names of fields or columns in a message: the first few, each cut where it gets long."""
    shown = [brief(name) for name in islice(names, 9)]
    return ", ".join([*shown[:8], "..."] if len(shown) > 8 else shown) or "none"
