"""Help pages: an example first, words never broken, readable on a narrow terminal, options of engines included.

The docstring of a command is its page; lines under ``Examples:`` are shown as they are.
"""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup

_WIDEST = 100
_FIRST, _LEAST = 30, 35
"""Characters: the first column of a table is no wider; beside a second one that would be narrower, it has lines of its
own."""
_INDENT = 2
_WORD = re.compile(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""")


class Command(TyperCommand):
    """A command with our help page."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        formatter.write(_page(self, ctx))


class Group(TyperGroup):
    """A command of commands with our help page."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        formatter.write(_page(self, ctx))


def _page(command: Command | Group, context: Any) -> str:
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    text, _, examples = (command.help or "").partition("Examples:\n")
    lines = [*_wrapped(_usage(command, context), width, hanging=4), ""]
    for paragraph in filter(None, text.split("\n\n")):
        lines += [*_wrapped(" ".join(paragraph.split()), width, _INDENT), ""]
    if examples:
        lines += ["Examples:", *(line for example in examples.split("\n") for line in _shell(example, width)), ""]
    for heading, rows in _tables(command, context):
        lines += [*_wrapped(f"{heading}:", width), *table(rows, width), ""]
    return "\n".join(lines)


def _usage(command: Command | Group, context: Any) -> str:
    arguments = [_metavar(p) for p in command.params if p.param_type_name == "argument"]
    rest = ["COMMAND [ARGS]..."] if isinstance(command, Group) else arguments
    return " ".join(["Usage:", context.command_path, "[OPTIONS]", *rest])


def _metavar(argument: Any) -> str:
    name: str = argument.metavar or argument.name.upper()
    return f"{name}..." if argument.nargs == -1 and not name.endswith("...") else name


def _tables(command: Command | Group, context: Any) -> Iterator[tuple[str, Sequence[tuple[str, str]]]]:
    """Yield heading and rows of each table that is not empty."""
    parameters: list[Any] = command.get_params(context)
    arguments = [(_metavar(p), p.help) for p in parameters if p.param_type_name == "argument"]
    options = [p.get_help_record(context) for p in parameters if p.param_type_name == "option"]
    tables = [("Arguments", arguments), ("Options", [record for record in options if record is not None])]
    if isinstance(command, Group):
        tables.append(("Commands", [(name, _first_sentence(inner.help)) for name, inner in command.commands.items()]))
    names = {p.name for p in parameters}
    if names & {"option", "backend_option"}:
        from jinavec_adapters.cli.option_help import backend_tables, engine_tables  # here: it imports the library

        tables += engine_tables() if "option" in names else []
        tables += backend_tables() if "backend_option" in names else []
    yield from ((heading, rows) for heading, rows in tables if rows)


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").partition("\n\n")[0].split())


def table(rows: Sequence[tuple[str, str]], width: int) -> Iterator[str]:
    """Yield the lines of a table of two columns; on a narrow terminal, the second one below the first."""
    first = min(max(len(name) for name, _ in rows), _FIRST) + 2 * _INDENT
    is_narrow = width - first < _LEAST
    for name, meaning in rows:
        indent = 3 * _INDENT if is_narrow else first
        meaning = " ".join(meaning.split())
        if is_narrow or len(name) > _FIRST:
            yield from _wrapped(name, width, _INDENT)
            yield from _wrapped(meaning, width, indent)
        else:
            start, *rest = _wrapped(meaning, width, indent) or [""]
            yield f"{'':{_INDENT}}{name}".ljust(first) + start[first:]
            yield from rest


def _wrapped(text: str, width: int, indent: int = 0, *, hanging: int = 0) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hanging),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _shell(command: str, width: int) -> Iterator[str]:
    """Yield the lines of a shell command, continued as a shell reads it where it is longer than the terminal."""
    line = " " * _INDENT
    for word in _WORD.findall(command):
        longer = f"{line} {word}" if line.strip() else f"{line}{word}"
        if len(longer) > width - 2 and line.strip():
            yield f"{line} \\"
            longer = f"{'':{3 * _INDENT}}{word}"
        line = longer
    if line.strip():
        yield line
