"""jinavec elasticsearch setup: inference endpoints, a semantic_text index and a pipeline for a contract."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument, Option

from jinavec_adapters.cli import completion
from jinavec_adapters.cli.output import note, say
from jinavec_adapters.cli.usage import usage_errors

if TYPE_CHECKING:
    from jinavec_integrations.elasticsearch.inference import InferenceSetup

Server = Annotated[
    str,
    Argument(
        metavar="URL",
        help="Address of Elasticsearch; credentials come from ELASTICSEARCH_API_KEY, or ELASTICSEARCH_USERNAME and"
        " ELASTICSEARCH_PASSWORD.",
        show_default=False,
    ),
]


@dataclass(frozen=True, kw_only=True)
class SetupFlags:
    """What is set up."""

    name: Annotated[str, Option(metavar="ID", help="The endpoint to create; a pair gets -passage and -query.")]
    model: Annotated[str, Option(metavar="NAME", autocompletion=completion.models, help="Model, see 'jinavec models'.")]
    task: Annotated[
        str | None,
        Option(
            metavar="TASK", autocompletion=completion.tasks, help="The task. [default: the model's, else retrieval]"
        ),
    ] = None
    dimension: Annotated[int | None, Option(metavar="D", help="Components. [default: the full width]")] = None
    service: Annotated[
        Literal["elastic", "custom", "openai", "hugging_face", "cohere", "jinaai", "nvidia"],
        Option(
            metavar="SERVICE",
            help="elastic, cohere, jinaai or nvidia, which send the role; or custom, openai or hugging_face, for which"
            " a pair of endpoints is bound to the roles.",
        ),
    ] = "elastic"
    served_as: Annotated[str, Option(metavar="NAME", help="The served model name. [default: its own]")] = ""
    url: Annotated[
        str,
        Option(
            metavar="URL",
            help="Of the service; for custom an address of the Jina protocol, for openai and hugging_face one with"
            " {role} in it, which becomes document or query. Its key is read from JINAVEC_API_KEY. [default: none]",
        ),
    ] = ""
    index: Annotated[str, Option(metavar="INDEX", help="A semantic_text index to create. [default: none]")] = ""
    field: Annotated[str, Option(metavar="FIELD", help="The field of the text.")] = "content"
    pipeline: Annotated[str, Option(metavar="ID", help="An ingest pipeline to create. [default: none]")] = ""
    connect: Annotated[
        bool, Option("--connect", help="Switch on cloud connected mode with the key in JINAVEC_API_KEY. [default: no]")
    ] = False
    dry_run: Annotated[bool, Option("--dry-run", help="Print every request, send none.")] = False


def elasticsearch() -> None:
    """Set up inference in Elasticsearch.

    Examples:
        jinavec elasticsearch setup --help
    """


def setup(server: Server, flags: SetupFlags) -> None:
    """Create inference endpoints for a model, and verify that queries and passages differ. Idempotent.

    Examples:
        jinavec elasticsearch setup https://localhost:9200 --name jina --model jina-embeddings-v5-text-small --dry-run
    """
    from jinavec_integrations.elasticsearch.connect import connect
    from jinavec_integrations.elasticsearch.setup import set_up_inference

    with usage_errors():
        wanted = _inference_setup(flags)
    if flags.dry_run:
        for request in wanted.requests():
            say(f"{request}\n")
        return
    with closing(connect(server)) as client:
        set_up_inference(client, wanted, note)
    say(f"inference is set up at {server} for {wanted.contract.model}, {wanted.contract.dimension} dimensions")


def _inference_setup(flags: SetupFlags) -> InferenceSetup:
    from jinavec import Contract
    from jinavec_integrations.elasticsearch.inference import InferenceSetup

    return InferenceSetup(
        name=flags.name,
        contract=Contract.of(flags.model, flags.task, flags.dimension),
        service=flags.service,
        served_as=flags.served_as,
        url=flags.url,
        index=flags.index,
        text_field=flags.field,
        pipeline=flags.pipeline,
        connect=flags.connect,
        api_key=os.environ.get("JINAVEC_API_KEY") or ("not shown" if flags.dry_run else None),
    )
