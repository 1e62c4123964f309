"""run: runs a command, and turns whatever goes wrong into one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

from typer import Exit, TyperException, echo
from typer.main import get_command

from jinavec_adapters.cli.app import app
from jinavec_adapters.cli.completion import is_completing
from jinavec_adapters.cli.output import one_line, replace_unprintable
from jinavec_adapters.cli.verbosity import fresh_verbosity, verbosity

DONE, FAILED, USAGE = 0, 1, 2
_WARNINGS_SHOWN = 10


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code: 0 done, 1 failed, 2 usage error.

    Raises:
        KeyboardInterrupt: as it came.
    """
    replace_unprintable()
    with fresh_verbosity() as asked, warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _Warnings()
        try:
            code = _invoke(arguments)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader of our output, such as head, has seen enough
            code = FAILED
            _flush_or_drop_output()
        except (Exception, KeyboardInterrupt) as error:
            if asked.debug:
                traceback.print_exc()
            _flush_or_drop_output()
            if isinstance(error, KeyboardInterrupt):
                raise
            code = _report(error)
    return code


def _invoke(arguments: Sequence[str]) -> int:
    command = get_command(app)
    if is_completing():
        command(list(arguments), prog_name="jinavec")  # prints the completions, and exits
    try:
        with command.make_context("jinavec", list(arguments)) as context:
            command.invoke(context)
    except Exit as exit:
        return exit.exit_code
    return DONE


def _report(error: BaseException) -> int:
    """Print an error in one line and return the exit code it means."""
    message, code = _explain(error)
    notes = getattr(error, "__notes__", [])
    _print_line("error", f"{message} ({'; '.join(notes)})" if notes else message)
    return code


def _explain(error: BaseException) -> tuple[str, int]:
    if isinstance(error, TyperException):
        return f"{error.format_message()}{_help_hint(error)}", error.exit_code
    from jinavec import errors  # here: the core imports numpy, which would slow every --help

    usage = (
        errors.UnknownModel,
        errors.UnknownTask,
        errors.InvalidDimension,
        errors.InvalidFilter,
        errors.InvalidTarget,
    )
    if isinstance(error, usage):
        return str(error), USAGE
    if isinstance(error, errors.JinavecError):
        return str(error), FAILED
    if isinstance(error, OSError):
        return ": ".join(str(part) for part in (error.filename, error.strerror or error) if part), FAILED
    return f"{type(error).__name__}: {error}; this is a bug; --debug shows the traceback", FAILED


def _help_hint(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    return "" if context is None else f" (see: {context.command_path} --help)"


class _Warnings:
    """Prints each warning as one line; after the tenth it is silent."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, message: Warning | str, *_: Any) -> None:
        if verbosity().quiet:
            return
        self._count += 1
        if self._count <= _WARNINGS_SHOWN:
            _print_line("warning", str(message))
        elif self._count == _WARNINGS_SHOWN + 1:
            _print_line("warning", "more warnings are not shown")


def _print_line(kind: str, text: str) -> None:
    echo(f"jinavec: {kind}: {one_line(text)}", err=True)


def _flush_or_drop_output() -> None:
    """Make sure that the interpreter's own last flush of standard output has nothing to complain about."""
    try:
        sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
