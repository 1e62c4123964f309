"""How much a run tells: --debug, --quiet and --verbose, which every command has, before or after its name."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from typer import BadParameter, CallbackParam, Context, Option

if TYPE_CHECKING:
    import logging


@dataclass
class Verbosity:
    """What was asked for."""

    debug: bool = False
    """Tracebacks of errors are shown."""
    quiet: bool = False
    """Nothing but results and errors is shown."""
    verbose: bool = False
    """The log of the library is shown."""
    log: logging.Handler | None = None

    def show_log(self) -> None:
        """Show the log on standard error, until it is hidden again."""
        import logging

        from jinavec.log import LOGGER

        self.log = logging.StreamHandler(sys.stderr)
        self.log.setFormatter(logging.Formatter("jinavec: %(asctime)s.%(msecs)03d %(message)s", "%H:%M:%S"))
        LOGGER.addHandler(self.log)
        LOGGER.setLevel(logging.DEBUG)

    def hide_log(self) -> None:
        """Leave the logger as it was."""
        if self.log is not None:
            from jinavec.log import LOGGER

            LOGGER.removeHandler(self.log)
            LOGGER.setLevel("NOTSET")


_CURRENT: ContextVar[Verbosity | None] = ContextVar("verbosity", default=None)


def verbosity() -> Verbosity:
    """Return what the present run was asked for."""
    return _CURRENT.get() or Verbosity()


@contextmanager
def fresh_verbosity() -> Generator[Verbosity]:
    """Begin a run for which nothing was asked yet."""
    asked = Verbosity()
    token = _CURRENT.set(asked)
    try:
        yield asked
    finally:
        asked.hide_log()
        _CURRENT.reset(token)


def _note(context: Context, parameter: CallbackParam, given: bool) -> None:
    asked, name = verbosity(), str(parameter.name)
    if not given or context.resilient_parsing or getattr(asked, name):
        return
    setattr(asked, name, True)
    if asked.quiet and asked.verbose:
        raise BadParameter("--quiet and --verbose are mutually exclusive")
    if name == "verbose":
        asked.show_log()


@dataclass(frozen=True, kw_only=True)
class VerbosityFlags:
    """The flags; what they say is noted while the command line is read."""

    quiet: Annotated[
        bool,
        Option(
            "--quiet",
            "-q",
            is_eager=True,
            callback=_note,
            help="Show results and errors only. [default: also progress, notes and warnings]",
        ),
    ] = False
    verbose: Annotated[
        bool,
        Option(
            "--verbose",
            "-v",
            is_eager=True,
            callback=_note,
            help="Show requests, batches and their time on standard error. [default: no]",
        ),
    ] = False
    debug: Annotated[
        bool,
        Option("--debug", is_eager=True, callback=_note, help="Show the traceback of an error. [default: one line]"),
    ] = False
