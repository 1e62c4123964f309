"""jinavec elasticsearch setup: endpoints, a semantic_text index and a pipeline for a contract."""

from __future__ import annotations

import os
from contextlib import closing

from jinavec import Contract
from jinavec_adapters.cli.misuse import misuse
from jinavec_adapters.cli.output import note, say
from jinavec_integrations.elasticsearch.connect import connect
from jinavec_integrations.elasticsearch.inference import InferenceSetup
from jinavec_integrations.elasticsearch.services import Service
from jinavec_integrations.elasticsearch.setup import set_up_inference


def run_setup(
    server: str,
    name: str,
    model: str,
    task: str | None,
    dimension: int | None,
    service: Service,
    served_as: str,
    url: str,
    index: str,
    field: str,
    pipeline: str,
    connect_cloud: bool,
    dry_run: bool,
) -> None:
    """Set up inference, or print the requests that would; see ``jinavec elasticsearch setup --help``."""
    with misuse():
        wanted = InferenceSetup(
            name=name,
            contract=Contract.of(model, task, dimension),
            service=service,
            served_as=served_as,
            url=url,
            index=index,
            text_field=field,
            pipeline=pipeline,
            connect=connect_cloud,
            api_key=os.environ.get("JINAVEC_API_KEY") or ("not shown" if dry_run else None),
        )
    if dry_run:
        for request in wanted.requests():
            say(f"{request}\n")
        return
    with closing(connect(server, any_key=False)) as client:  # JINAVEC_API_KEY is the service's
        set_up_inference(client, wanted, note)
    say(f"inference is set up at {server} for {wanted.contract.model}, {wanted.contract.dimension} dimensions")
