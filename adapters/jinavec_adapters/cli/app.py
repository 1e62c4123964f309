"""The commands of ``jinavec``, in the order in which --help lists them.

A command's module holds its flags and its function, and imports the library inside the function: importing NumPy and
the engines here would slow every ``--help``.
"""

from __future__ import annotations

from typing import Annotated

from typer import Exit, Option, Typer, echo

from jinavec_adapters.cli.commands.calibrate import calibrate
from jinavec_adapters.cli.commands.compact import compact
from jinavec_adapters.cli.commands.delete import delete
from jinavec_adapters.cli.commands.elasticsearch import elasticsearch, setup
from jinavec_adapters.cli.commands.encode import encode
from jinavec_adapters.cli.commands.export import export
from jinavec_adapters.cli.commands.get import get
from jinavec_adapters.cli.commands.index import index
from jinavec_adapters.cli.commands.info import info
from jinavec_adapters.cli.commands.list import list_records
from jinavec_adapters.cli.commands.merge import merge
from jinavec_adapters.cli.commands.models import export_model, golden_values, models
from jinavec_adapters.cli.commands.search import search
from jinavec_adapters.cli.commands.serve import serve
from jinavec_adapters.cli.flags import add_command, with_flags
from jinavec_adapters.cli.help import Group

app = Typer(
    name="jinavec",
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},  # of every command below, too
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        from jinavec import __version__

        echo(f"jinavec {__version__}")
        raise Exit()


def jinavec(
    version: Annotated[
        bool, Option("--version", is_eager=True, callback=_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Put text into vector search engines with jina-embeddings-v5-text, and get it out again.

    Examples:
        jinavec index notes.jsonl --to faiss:notes --model wordllama-256
        jinavec search faiss:notes "where does the cat sleep?"
        jinavec index --help
    """


app.callback()(with_flags(jinavec))

for command in (index, search, list_records, get, export, encode, delete, info, compact, merge, calibrate, serve):
    add_command(app, command)

models_app = Typer(cls=Group, rich_markup_mode=None)
models_app.callback(invoke_without_command=True)(with_flags(models))
add_command(models_app, export_model)
add_command(models_app, golden_values)
app.add_typer(models_app, name="models")

elasticsearch_app = Typer(cls=Group, rich_markup_mode=None)
elasticsearch_app.callback()(with_flags(elasticsearch))
add_command(elasticsearch_app, setup)
app.add_typer(elasticsearch_app, name="elasticsearch")
