"""EncoderFlags: what index, search and encode may be told about the encoder, each flag declared once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal, get_type_hints

from typer import Option

_REMEMBERED = "[default: the index's own, else {}]"


@dataclass(frozen=True, kw_only=True)
class EncoderFlags:
    """The encoder as asked for; None and empty mean: not said."""

    model: Annotated[
        str | None,
        Option(metavar="NAME", help=f"Model, see 'jinavec models'. {_REMEMBERED.format('lexical')}"),
    ] = None
    profile: Annotated[
        str | None,
        Option(metavar="FILE.toml", help="Profile of a model outside the catalogue. [default: none]"),
    ] = None
    task: Annotated[
        str | None,
        Option(
            metavar="TASK",
            help=f"retrieval, text-matching, clustering or classification. {_REMEMBERED.format('retrieval')}",
        ),
    ] = None
    dimension: Annotated[
        int | None,
        Option(metavar="D", help=f"Components of a vector. {_REMEMBERED.format('the full width')}"),
    ] = None
    backend: Annotated[
        str | None,
        Option(metavar="NAME", help=f"What runs the model. {_REMEMBERED.format('what fits the model')}"),
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
        Option(metavar="NAME", help=f"The model's name on that server. {_REMEMBERED.format('its own')}"),
    ] = None
    overflow: Annotated[
        Literal["truncate", "error"] | None,
        Option(
            help=f"What to do with texts over the model's limit. {_REMEMBERED.format('truncate; error on a server')}"
        ),
    ] = None
    backend_option: Annotated[
        list[str],
        Option(metavar="NAME=VALUE", help="An option of the backend; may be repeated. [default: none]"),
    ] = field(default_factory=list[str])


def takes_encoder_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the fields of ``EncoderFlags`` as flags, in place of its parameter ``asked``."""
    hints = get_type_hints(EncoderFlags, include_extras=True)
    names = [f.name for f in fields(EncoderFlags)]
    unset = EncoderFlags()

    def run(**given: Any) -> None:
        asked = EncoderFlags(**{name: given.pop(name) for name in names})
        command(asked=asked, **given)

    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "asked"]
    flags = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=getattr(unset, name), annotation=hints[name])
        for name in names
    ]
    run.__signature__ = inspect.Signature([*own, *flags])  # pyright: ignore[reportFunctionMemberAccess]
    run.__annotations__ = {}
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run
