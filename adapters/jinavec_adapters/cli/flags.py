"""Flags that several commands share; and add_command, which makes flags of the fields of dataclasses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from typer import Argument, BadParameter, Option, Typer

from jinavec_adapters.cli import completion
from jinavec_adapters.cli.help import Command
from jinavec_adapters.cli.verbosity import VerbosityFlags

if TYPE_CHECKING:
    from jinavec.filters import FilterDict
    from jinavec_adapters.cli.sources import Reading

_REMEMBERED = "[default: the index's own, else {}]"


def check_target(target: str) -> str:
    """Refuse a target that lives as long as a process: it would be gone when the command ends.

    Raises:
        BadParameter: such a target.
    """
    scheme, _, location = target.partition(":")
    if location.startswith(":memory:"):
        raise BadParameter(f"{target} is gone when the command ends: write {scheme}:DIR/NAME, or use it from Python")
    return target


TARGETS = "The index: faiss:DIR, elasticsearch:URL/INDEX, or qdrant:URL/COLLECTION"
Target = Annotated[
    str,
    Argument(
        metavar="TARGET",
        help=f"{TARGETS}.",
        show_default=False,
        callback=check_target,
        autocompletion=completion.targets,
    ),
]
SourceNames = Annotated[
    list[str],
    Argument(
        metavar="SOURCE",
        help="JSON lines (.jsonl, .ndjson, .json), CSV (.csv, .tsv), Parquet or vectors (.npy), also .gz or .zst; a"
        " text or Markdown file, or a folder of them (hidden names are left out); - is JSON lines from standard input.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, Option("--json", help="Print one JSON object a line. [default: text]")]
BackendOption = Annotated[
    list[str], Option(metavar="NAME=VALUE", help="An option of the backend; may be repeated. [default: none]")
]


@dataclass(frozen=True, kw_only=True)
class RecordFlags:
    """How records are read."""

    id_field: Annotated[
        str | None,
        Option(metavar="FIELD", help="The field of the id. [default: id; without one the SHA-256 of the text]"),
    ] = None
    text_field: Annotated[str, Option(metavar="FIELD", help="The field of the text.")] = "text"
    skip_bad: Annotated[
        bool,
        Option("--skip-bad", help="Skip records that cannot be used, and count them. [default: stop at the first]"),
    ] = False
    strings: Annotated[
        bool,
        Option("--strings", help="Keep all cells of CSV as strings. [default: columns of numbers become numbers]"),
    ] = False
    encoding: Annotated[
        str | None,
        Option(metavar="NAME", help="How text, CSV and JSON lines are encoded, such as cp1252. [default: UTF-8]"),
    ] = None
    batch_size: Annotated[
        int | None,
        Option(min=1, metavar="N", help="Records embedded at a time. [default: the engine's own, else 1024]"),
    ] = None

    def reading(self) -> Reading:
        """Return how files are read."""
        from jinavec_adapters.cli.sources import Reading

        return Reading(encoding=self.encoding, strings=self.strings)


@dataclass(frozen=True, kw_only=True)
class EngineFlags:
    """How an engine is opened."""

    option: Annotated[
        list[str], Option(metavar="NAME=VALUE", help="An option of the engine; may be repeated. [default: none]")
    ] = field(default_factory=list[str])


@dataclass(frozen=True, kw_only=True)
class FilterFlags:
    """Which records are meant."""

    filter: Annotated[
        list[str],
        Option(
            metavar="FIELD=VALUE",
            help="Only records whose metadata match; also !=, >=, <=, >, <, and field=a,b for one of several; a number"
            " also matches the string of these characters; if repeated, all must match. [default: none]",
        ),
    ] = field(default_factory=list[str])

    def condition(self) -> FilterDict | None:
        """Return the filter as engines take it, or None.

        Raises:
            InvalidFilter: an expression that cannot be read.
        """
        from jinavec.filters import parse_expressions

        return parse_expressions(self.filter, also_words=True) if self.filter else None


@dataclass(frozen=True, kw_only=True)
class EncoderFlags:
    """The encoder that is asked for; None and empty: not given."""

    model: Annotated[
        str | None,
        Option(
            metavar="NAME",
            autocompletion=completion.models,
            help=f"Model, see 'jinavec models'. {_REMEMBERED.format('lexical')}",
        ),
    ] = None
    profile: Annotated[
        str | None,
        Option(metavar="FILE.toml", help="Profile of a model outside the catalog. [default: none]"),
    ] = None
    task: Annotated[
        str | None,
        Option(
            metavar="TASK",
            autocompletion=completion.tasks,
            help=f"retrieval, text-matching, clustering or classification. {_REMEMBERED.format('retrieval')}",
        ),
    ] = None
    dimension: Annotated[
        int | None,
        Option(metavar="D", help=f"Components of a vector. {_REMEMBERED.format('the full width')}"),
    ] = None
    backend: Annotated[
        str | None,
        Option(
            metavar="NAME",
            autocompletion=completion.backends,
            help=f"What runs the model. {_REMEMBERED.format('what fits the model')}",
        ),
    ] = None
    source: Annotated[
        str | None,
        Option(metavar="DIR|REPO", help=f"Folder or hub name of the weights. {_REMEMBERED.format('the hub')}"),
    ] = None
    revision: Annotated[
        str | None,
        Option(metavar="REV", help=f"Revision of the weights. {_REMEMBERED.format('the pinned one')}"),
    ] = None
    url: Annotated[
        str | None,
        Option(
            metavar="URL",
            help="Address of the server of a remote backend. Its key is read from the environment: JINA_API_KEY,"
            " OPENAI_API_KEY or COHERE_API_KEY for the vendor's own address, JINAVEC_API_KEY for any other."
            f" {_REMEMBERED.format('the vendor')}",
        ),
    ] = None
    served_as: Annotated[
        str | None,
        Option(metavar="NAME", help=f"The served model name on that server. {_REMEMBERED.format('its own')}"),
    ] = None
    overflow: Annotated[
        Literal["truncate", "error"] | None,
        Option(
            help=f"What to do with texts over the model's limit. {_REMEMBERED.format('truncate; error on a server')}"
        ),
    ] = None
    backend_option: BackendOption = field(default_factory=list[str])


@dataclass(frozen=True, kw_only=True)
class NewEncoderFlags(EncoderFlags):
    """The encoder that is asked for, where there is no index that remembers one."""


def add_command(app: Typer, command: Callable[..., None]) -> None:
    """Add a command to an app, under the first word of its function's name; its docstring becomes its help page."""
    app.command(command.__name__.partition("_")[0], cls=Command)(with_flags(command))


def with_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command for typer: a flag for each field of its parameters that are dataclasses, --quiet and such."""
    signature = inspect.signature(command, eval_str=True)
    groups = {name: p.annotation for name, p in signature.parameters.items() if _is_group(p.annotation)}

    def run(**given: Any) -> None:
        for noted in fields(VerbosityFlags):  # while the command line was read
            del given[noted.name]
        for name, kind in groups.items():
            given[name] = kind(**{f.name: given.pop(f.name) for f in fields(kind)})
        command(**given)

    parameters = [flag for p in signature.parameters.values() for flag in _flags(p)]
    run.__signature__ = inspect.Signature([*parameters, *_flags_of(VerbosityFlags)])  # pyright: ignore[reportFunctionMemberAccess]
    run.__annotations__ = {}  # typer would read them in place of the signature
    run.__doc__ = command.__doc__
    return run


def _flags(parameter: inspect.Parameter) -> Iterator[inspect.Parameter]:
    """Yield a parameter, or one for each field of its dataclass; keyword-only, so that defaults may come first."""
    kind = parameter.annotation
    if not _is_group(kind):
        yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        return
    yield from _flags_of(kind)


def _flags_of(kind: Any) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    for f in fields(kind):
        default = f.default_factory() if f.default_factory is not MISSING else f.default
        default = inspect.Parameter.empty if default is MISSING else default
        hint = _without_index(hints[f.name]) if kind is NewEncoderFlags else hints[f.name]
        yield inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _without_index(hint: Any) -> Any:
    """Return the hint of a flag whose help does not speak of what an index remembers."""
    option = copy(hint.__metadata__[0])
    option.help = option.help.replace(_REMEMBERED.partition("{")[0], "[default: ")
    option.help = option.help.replace("[default: lexical]", "[default: none; this or --profile is needed]")
    return Annotated[hint.__origin__, option]


def _is_group(annotation: Any) -> bool:
    return isinstance(annotation, type) and is_dataclass(annotation)
