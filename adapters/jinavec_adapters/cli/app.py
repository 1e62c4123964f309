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
from jinavec_adapters.cli.flags import Debug, add_command

app = Typer(
    name="jinavec",
    help="Put text into vector search engines with jina-embeddings-v5-text, and get it out again.",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},  # of every command below, too
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        from jinavec import __version__

        echo(f"jinavec {__version__}")
        raise Exit()


@app.callback()
def jinavec(
    version: Annotated[
        bool, Option("--version", is_eager=True, callback=_version, help="Print the version and exit.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Put text into vector search engines with jina-embeddings-v5-text, and get it out again."""


for command in (index, search, list_records, get, export, encode, delete, info, compact, merge, calibrate, serve):
    add_command(app, command)

models_app = Typer(
    rich_markup_mode=None, help="List the catalog of models; export weights to ONNX; compare golden values."
)
models_app.callback(invoke_without_command=True)(models)
add_command(models_app, export_model)
add_command(models_app, golden_values)
app.add_typer(models_app, name="models")

elasticsearch_app = Typer(rich_markup_mode=None, help="Set up inference in Elasticsearch.")
elasticsearch_app.callback()(elasticsearch)
add_command(elasticsearch_app, setup)
app.add_typer(elasticsearch_app, name="elasticsearch")
