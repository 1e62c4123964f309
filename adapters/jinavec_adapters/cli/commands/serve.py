"""jinavec serve: one HTTP server, many protocols."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from typer import Option

from jinavec_adapters.cli import completion
from jinavec_adapters.cli.flags import BackendOption
from jinavec_adapters.cli.output import say
from jinavec_adapters.cli.usage import UsageError, read_pairs, usage_errors


@dataclass(frozen=True, kw_only=True)
class ModelFlags:
    """The models to serve, and what holds for each of them."""

    model: Annotated[
        list[str],
        Option(
            metavar="NAME",
            autocompletion=completion.models,
            help="A model to serve, see 'jinavec models', or a profile FILE.toml; may be repeated."
            " [default: those of the configuration]",
        ),
    ] = field(default_factory=list[str])
    task: Annotated[
        list[str],
        Option(
            metavar="TASK",
            autocompletion=completion.tasks,
            help="A task to serve; may be repeated, the first one is for requests that name none."
            " [default: retrieval; all, where the model makes no difference]",
        ),
    ] = field(default_factory=list[str])
    backend: Annotated[
        str,
        Option(
            metavar="NAME", autocompletion=completion.backends, help="What runs the models. [default: what fits each]"
        ),
    ] = ""
    source: Annotated[str, Option(metavar="DIR|REPO", help="Folder or hub name of the weights. [default: the hub]")] = (
        ""
    )
    revision: Annotated[str, Option(metavar="REV", help="Revision of the weights. [default: the pinned one]")] = ""
    url: Annotated[
        str, Option(metavar="URL", help="Address of the server behind a remote backend. [default: the vendor]")
    ] = ""
    backend_option: BackendOption = field(default_factory=list[str])


@dataclass(frozen=True, kw_only=True)
class ServerFlags:
    """Settings of the server by their names there; None and False: not given."""

    default_role: Annotated[
        Literal["query", "document"] | None,
        Option(help="The role of texts whose request names none. [default: such requests are refused]"),
    ] = None
    overflow: Annotated[
        Literal["truncate", "error"] | None,
        Option(help="What to do with texts over the limit where the request does not say. [default: error]"),
    ] = None
    host: Annotated[str | None, Option(metavar="HOST", help="The address to listen on. [default: 127.0.0.1]")] = None
    port: Annotated[int | None, Option(metavar="PORT", help="The port to listen on. [default: 8080]")] = None
    workers: Annotated[
        int | None,
        Option(metavar="N", help="Processes, each with the models and limits of its own. [default: 1]"),
    ] = None
    api_keys_file: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="API keys, one a line; # begins a comment. [default: those in JINAVEC_SERVE_API_KEYS, with commas]",
        ),
    ] = None
    no_auth: Annotated[
        bool, Option("--no-auth", help="Disable authentication. [default: only on a loopback address]")
    ] = False
    public_info: Annotated[
        bool,
        Option(
            "--public-info",
            help="Tell of models and routes (/ready, /docs, /openapi.json) without a key, too."
            " [default: without a key, only that the server is ready]",
        ),
    ] = False
    tls_certificate: Annotated[str | None, Option(metavar="FILE", help="PEM certificate. [default: no TLS]")] = None
    tls_key: Annotated[str | None, Option(metavar="FILE", help="Its PEM key. [default: no TLS]")] = None


@dataclass(frozen=True, kw_only=True)
class ConfigFlags:
    """Settings that come from elsewhere, and their check."""

    config: Annotated[
        str | None,
        Option(
            "--config",
            metavar="FILE.toml",
            help="Settings by name; flags win over the environment (JINAVEC_SERVE_NAME), and that over this file."
            " [default: none]",
        ),
    ] = None
    set: Annotated[
        list[str],
        Option(metavar="NAME=VALUE", help="Any other setting, such as max_inputs=512; repeatable. [default: none]"),
    ] = field(default_factory=list[str])
    check: Annotated[bool, Option("--check", help="Print the settings, without keys, and exit. [default: serve]")] = (
        False
    )


def serve(models: ModelFlags, server: ServerFlags, more: ConfigFlags) -> None:
    """Serve models over HTTP.

    Clients may speak EIS, Qdrant inference, Jina, OpenAI, TEI or Cohere. Shuts down gracefully on SIGTERM and SIGHUP.
    See --check for every setting.

    Examples:
        jinavec serve --model wordllama-256 --port 8080
        jinavec serve --config server.toml --check
    """
    from jinavec_adapters.server import ServerSettings, serve

    given = {name: value for name, value in asdict(server).items() if value is not None and value is not False}
    given |= read_pairs("--set", more.set) | _models(models)
    with usage_errors():
        settings = ServerSettings.read(more.config, **given)
    if more.check:
        say(json.dumps(settings.effective(), indent=2))
    else:
        serve(settings)


def _models(flags: ModelFlags) -> dict[str, Any]:
    """Return the setting ``models``; empty if no model is named."""
    given = asdict(flags)
    del given["model"]
    given = {name: value for name, value in given.items() if value}
    if not flags.model:
        if given:
            raise UsageError(f"--{next(iter(given)).replace('_', '-')} applies to the models that --model names")
        return {}
    names = {"task": "tasks", "backend_option": "options"}
    same = {names.get(name, name): value for name, value in given.items()}
    if "options" in same:
        same["options"] = read_pairs("--backend-option", flags.backend_option)
    return {"models": [{"name": name, **same} for name in flags.model]}
