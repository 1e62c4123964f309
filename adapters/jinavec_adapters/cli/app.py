"""The commands and their flags, as a user sees them; each does its work in a module of its own.

Those modules are imported when their command runs: numpy and the engines would slow every ``--help``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from typer import Argument, Context, Exit, Option, Typer, echo

from jinavec_adapters.cli.flags import EncoderFlags, takes_encoder_flags

app = Typer(
    name="jinavec",
    help="Put text into vector search engines with jina-embeddings-v5-text, and get it out again.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
models_app = Typer(rich_markup_mode=None, help="List the catalogue of models; export weights to ONNX.")
app.add_typer(models_app, name="models")
elasticsearch_app = Typer(rich_markup_mode=None, help="Set up inference in Elasticsearch.")
app.add_typer(elasticsearch_app, name="elasticsearch")


def _set_debug(context: Context, debug: bool) -> None:
    if debug:
        said: set[str] = context.obj  # from main, which outlives the context
        said.add("debug")


def _version(asked: bool) -> None:
    if asked:
        from jinavec import __version__

        echo(f"jinavec {__version__}")
        raise Exit()


SourceNames = Annotated[
    list[str],
    Argument(
        metavar="SOURCE",
        help="JSON lines (.jsonl, .ndjson, .json), CSV (.csv, .tsv), Parquet or vectors (.npy), also .gz or .zst; a"
        " text or Markdown file, or a folder of them (hidden names are left out); - is JSON lines from standard input.",
        show_default=False,
    ),
]
Target = Annotated[str, Argument(metavar="TARGET", help="The index, such as faiss:DIR.", show_default=False)]
IdField = Annotated[
    str | None,
    Option(metavar="FIELD", help="The field of the id. [default: id; without one the SHA-256 of the text]"),
]
TextField = Annotated[str, Option(metavar="FIELD", help="The field of the text.")]
SkipBad = Annotated[bool, Option("--skip-bad", help="Skip bad records and count them. [default: stop at the first]")]
BatchSize = Annotated[int, Option(min=1, metavar="N", help="Records encoded and stored at a time.")]
EngineOption = Annotated[
    list[str], Option(metavar="NAME=VALUE", help="An option of the engine; may be repeated. [default: none]")
]
AsJson = Annotated[bool, Option("--json", help="Print one JSON object a line. [default: for people to read]")]
Debug = Annotated[
    bool,
    Option("--debug", is_eager=True, callback=_set_debug, help="Show the traceback of an error. [default: one line]"),
]


@app.callback()
def jinavec(
    version: Annotated[
        bool, Option("--version", is_eager=True, callback=_version, help="Print the version and exit.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Put text into vector search engines with jina-embeddings-v5-text, and get it out again."""


@app.command()
@takes_encoder_flags
def index(
    sources: SourceNames,
    *,
    to: Annotated[str, Option(metavar="TARGET", help="The index, such as faiss:DIR; made if it is not there.")],
    asked: EncoderFlags,
    id_field: IdField = None,
    text_field: TextField = "text",
    vector_field: Annotated[
        str | None,
        Option(
            metavar="FIELD",
            help="The field of a vector that --model made already: a list of floats, in Parquet also packed bits as"
            " uint8. [default: texts are encoded; an .npy file, or a Parquet file without texts, holds vectors]",
        ),
    ] = None,
    vectors: Annotated[
        str | None,
        Option(
            metavar="FILE.npy",
            help="The vectors that --model made already: one for each record, in their order, as encode writes them."
            " [default: none, texts are encoded]",
        ),
    ] = None,
    option: EngineOption = [],  # noqa: B006  (typer reads it, nobody changes it)
    skip_bad: SkipBad = False,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Read and check everything, say what would be done, write nothing.")
    ] = False,
    resume: Annotated[
        bool, Option("--resume", help="Pass over records that are there unchanged. [default: encode and replace them]")
    ] = False,
    batch_size: BatchSize = 1024,
    debug: Debug = False,
) -> None:
    """Read records, encode them as documents unless they bring their vectors, and store them by id.

    Every field but id and text becomes metadata, and so do the members of an object named metadata; a field of the
    record itself wins over a member of that name.
    """
    from jinavec_adapters.cli.index import run_index
    from jinavec_adapters.cli.sources import Fields

    fields = Fields(id_field, text_field, vector_field)
    run_index(sources, to, asked, fields, vectors, option, skip_bad, dry_run, batch_size, resume)


@app.command()
@takes_encoder_flags
def search(
    target: Target,
    question: Annotated[str, Argument(metavar="QUESTION", help="What to look for.", show_default=False)],
    *,
    asked: EncoderFlags,
    k: Annotated[int, Option("-k", min=1, metavar="K", help="The number of hits.")] = 10,
    filter: Annotated[
        list[str],
        Option(
            metavar="FIELD=VALUE",
            help="Only records whose metadata match; also !=, >=, <=, >, <, and field=a,b for one of several; if"
            " repeated, all must match. [default: none]",
        ),
    ] = [],  # noqa: B006
    option: EngineOption = [],  # noqa: B006
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Print the records that answer a question best; the index knows its model, task and dimension."""
    from jinavec_adapters.cli.search import run_search

    run_search(target, question, k, filter, option, as_json, asked)


@app.command()
@takes_encoder_flags
def encode(
    sources: SourceNames,
    *,
    role: Annotated[Literal["query", "document"], Option(help="The side the texts stand on.")],
    asked: EncoderFlags,
    format: Annotated[Literal["float32", "int8", "bits"], Option(help="How the vectors are written.")] = "float32",
    out: Annotated[
        str | None,
        Option(metavar="FILE", help="A file ending in .npy or .jsonl. [default: JSON lines on standard output]"),
    ] = None,
    id_field: IdField = None,
    text_field: TextField = "text",
    skip_bad: SkipBad = False,
    batch_size: BatchSize = 1024,
    debug: Debug = False,
) -> None:
    """Write the vectors of records, in their order; needs --model or --profile.

    An .npy file holds an array (records, dimension) of float32 or int8, or of bits packed eight to a byte, the first
    dimension in the highest bit; JSON lines hold id and vector.
    """
    from jinavec_adapters.cli.encode import run_encode
    from jinavec_adapters.cli.sources import Fields

    run_encode(sources, role, asked, Fields(id_field, text_field), format, out, skip_bad, batch_size)


@app.command()
def delete(
    target: Target,
    ids: Annotated[list[str], Argument(metavar="ID", help="Ids of records.", show_default=False)],
    debug: Debug = False,
) -> None:
    """Delete records by id, and name the ids that are not there."""
    from jinavec_adapters.cli.info import run_delete

    run_delete(target, ids)


@app.command()
def info(
    target: Target,
    verify: Annotated[
        bool, Option("--verify", help="Compare every byte with its checksum. [default: sizes and the manifest's]")
    ] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show an index: its contract, how it was encoded, how many records it holds, its size."""
    from jinavec_adapters.cli.info import run_info

    run_info(target, verify, as_json)


@app.command()
def compact(target: Target, option: EngineOption = [], debug: Debug = False) -> None:  # noqa: B006
    """Write an index anew without the rows of deleted records, arranged by the plan for its size.

    Readers go on meanwhile. It needs as much free space as the index takes.
    """
    from jinavec_adapters.cli.upkeep import run_compact

    run_compact(target, option)


@app.command()
def merge(
    target: Target,
    sources: Annotated[list[str], Argument(metavar="SOURCE", help="Indexes of the same contract.", show_default=False)],
    debug: Debug = False,
) -> None:
    """Add the records of other indexes to an index, which is made if it is not there; nothing is encoded again."""
    from jinavec_adapters.cli.upkeep import run_merge

    run_merge(target, sources)


@app.command()
def calibrate(
    target: Target,
    recall: Annotated[float, Option(metavar="R", help="The share of the exact best k that a search finds.")] = 0.95,
    k: Annotated[int, Option("-k", min=1, metavar="K", help="The number of hits that count.")] = 10,
    sample: Annotated[int, Option(min=1, metavar="N", help="Queries made of stored vectors, with noise.")] = 200,
    debug: Debug = False,
) -> None:
    """Find the least work a search must do to reach a recall, and let the index remember it."""
    from jinavec_adapters.cli.upkeep import run_calibrate

    run_calibrate(target, recall, k, sample)


@models_app.callback(invoke_without_command=True)
def models(context: Context, as_json: AsJson = False, debug: Debug = False) -> None:
    """List the models: width, dimensions, token limit, tasks, licence, what runs them."""
    if context.invoked_subcommand is None:
        from jinavec_adapters.cli.models import run_models

        run_models(as_json)


@models_app.command()
def export(
    model: Annotated[
        str, Argument(metavar="MODEL", help="A name of the catalogue, or a profile FILE.toml.", show_default=False)
    ],
    *,
    out: Annotated[str, Option(metavar="DIR", help="The folder to write.")],
    task: Annotated[str | None, Option(metavar="TASK", help="The task. [default: the model's, else retrieval]")] = None,
    source: Annotated[
        str, Option(metavar="DIR|REPO", help="Folder or hub name of the weights. [default: the hub]")
    ] = "",
    revision: Annotated[str, Option(metavar="REV", help="Revision of the weights. [default: the pinned one]")] = "",
    precision: Annotated[Literal["float32", "int8"], Option(help="Arithmetic of the exported weights.")] = "float32",
    debug: Debug = False,
) -> None:
    """Export a model to the ONNX graph that the onnx backend runs."""
    from jinavec_adapters.cli.models import run_export

    run_export(model, out, task, source, revision, precision)


@elasticsearch_app.callback()
def elasticsearch() -> None:
    """Set up inference in Elasticsearch."""


@elasticsearch_app.command()
def setup(
    server: Annotated[
        str,
        Argument(
            metavar="URL",
            help="Address of Elasticsearch; credentials come from ELASTICSEARCH_API_KEY, or ELASTICSEARCH_USERNAME and"
            " ELASTICSEARCH_PASSWORD.",
            show_default=False,
        ),
    ],
    *,
    name: Annotated[str, Option(metavar="ID", help="The endpoint to make; a pair gets -passage and -query.")],
    model: Annotated[str, Option(metavar="NAME", help="Model, see 'jinavec models'.")],
    task: Annotated[str | None, Option(metavar="TASK", help="The task. [default: the model's, else retrieval]")] = None,
    dimension: Annotated[int | None, Option(metavar="D", help="Components. [default: the full width]")] = None,
    service: Annotated[
        Literal["elastic", "custom", "openai", "hugging_face", "cohere", "jinaai", "nvidia"],
        Option(
            help="elastic, cohere, jinaai and nvidia carry the role; for the others a pair of endpoints is bound to the"
            " roles."
        ),
    ] = "elastic",
    served_as: Annotated[str, Option(metavar="NAME", help="The model's name there. [default: its own]")] = "",
    url: Annotated[
        str,
        Option(
            metavar="URL",
            help="Of the service; for custom an address of the Jina protocol, for openai and hugging_face one with"
            " {role} in it, which becomes document or query. Its key is read from JINAVEC_API_KEY. [default: none]",
        ),
    ] = "",
    index: Annotated[str, Option(metavar="INDEX", help="A semantic_text index to make. [default: none]")] = "",
    field: Annotated[str, Option(metavar="FIELD", help="The field of the text.")] = "content",
    pipeline: Annotated[str, Option(metavar="ID", help="An ingest pipeline to make. [default: none]")] = "",
    connect: Annotated[
        bool, Option("--connect", help="Switch on cloud connected mode with the key in JINAVEC_API_KEY. [default: no]")
    ] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Print every request, send none.")] = False,
    debug: Debug = False,
) -> None:
    """Make inference endpoints for a model, and verify that the roles arrive; again is harmless."""
    from jinavec_adapters.cli.elasticsearch import run_setup

    run_setup(server, name, model, task, dimension, service, served_as, url, index, field, pipeline, connect, dry_run)


@app.command()
def serve(
    *,
    model: Annotated[
        list[str],
        Option(
            metavar="NAME",
            help="A model to serve, see 'jinavec models', or a profile FILE.toml; may be repeated."
            " [default: those of the configuration]",
        ),
    ] = [],  # noqa: B006
    task: Annotated[
        list[str],
        Option(
            metavar="TASK",
            help="A task to serve; may be repeated, the first one counts where a request names none."
            " [default: retrieval; all, where the model makes no difference]",
        ),
    ] = [],  # noqa: B006
    backend: Annotated[
        str | None, Option(metavar="NAME", help="What runs the models. [default: what fits each]")
    ] = None,
    source: Annotated[
        str, Option(metavar="DIR|REPO", help="Folder or hub name of the weights. [default: the hub]")
    ] = "",
    revision: Annotated[str, Option(metavar="REV", help="Revision of the weights. [default: the pinned one]")] = "",
    url: Annotated[
        str, Option(metavar="URL", help="Address of the server behind a remote backend. [default: the vendor]")
    ] = "",
    backend_option: Annotated[
        list[str], Option(metavar="NAME=VALUE", help="An option of the backend; may be repeated. [default: none]")
    ] = [],  # noqa: B006
    default_role: Annotated[
        Literal["query", "document"] | None,
        Option(help="The role of texts whose request names none. [default: such requests are refused]"),
    ] = None,
    overflow: Annotated[
        Literal["truncate", "error"] | None,
        Option(help="What to do with texts over the limit where the request does not say. [default: error]"),
    ] = None,
    host: Annotated[str | None, Option(metavar="HOST", help="The address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, Option(metavar="PORT", help="The port to listen on. [default: 8080]")] = None,
    workers: Annotated[
        int | None,
        Option(metavar="N", help="Processes, each with the models and limits of its own. [default: 1]"),
    ] = None,
    api_keys_file: Annotated[
        str | None,
        Option(metavar="FILE", help="API keys, one a line. [default: those in JINAVEC_SERVE_API_KEYS, with commas]"),
    ] = None,
    no_auth: Annotated[
        bool, Option("--no-auth", help="Let strangers ask. [default: only on a loopback address]")
    ] = False,
    tls_certificate: Annotated[str | None, Option(metavar="FILE", help="PEM certificate. [default: no TLS]")] = None,
    tls_key: Annotated[str | None, Option(metavar="FILE", help="Its PEM key. [default: no TLS]")] = None,
    config: Annotated[
        str | None,
        Option(
            "--config",
            metavar="FILE.toml",
            help="Settings by name; flags win over the environment (JINAVEC_SERVE_NAME), and that over this file."
            " [default: none]",
        ),
    ] = None,
    set: Annotated[
        list[str],
        Option(metavar="NAME=VALUE", help="Any other setting, such as max_inputs=512; repeatable. [default: none]"),
    ] = [],  # noqa: B006
    check: Annotated[
        bool, Option("--check", help="Print the settings, without keys, and leave. [default: serve]")
    ] = False,
    debug: Debug = False,
) -> None:
    """Serve models over HTTP to whoever speaks EIS, Qdrant's inference, Jina, OpenAI, TEI or Cohere.

    Ends well on SIGTERM: what was accepted is answered first. See --check for every setting.
    """
    from jinavec_adapters.cli.misuse import read_pairs
    from jinavec_adapters.cli.serve import run_serve

    how = {
        "tasks": task,
        "backend": backend,
        "source": source,
        "revision": revision,
        "url": url,
        "options": read_pairs("--backend-option", backend_option),
    }
    flags = {
        "default_role": default_role,
        "overflow": overflow,
        "host": host,
        "port": port,
        "workers": workers,
        "api_keys_file": api_keys_file,
        "no_auth": no_auth,
        "tls_certificate": tls_certificate,
        "tls_key": tls_key,
    }
    run_serve(model, how, flags, set, config, check)
