"""jinavec calibrate: find the cheapest search parameters that reach a recall."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from jinavec_adapters.cli.flags import Target
from jinavec_adapters.cli.output import say

Recall = Annotated[float, Option(metavar="R", help="The share of the exact best k that a search finds.")]
K = Annotated[int, Option("-k", min=1, metavar="K", help="The number of hits that count.")]
Sample = Annotated[int, Option(min=1, metavar="N", help="Queries made of stored vectors, with noise.")]


def calibrate(target: Target, recall: Recall = 0.95, k: K = 10, sample: Sample = 200) -> None:
    """Find the cheapest search for a recall.

    The search parameters found are stored in the index.

    Examples:
        jinavec calibrate faiss:notes --recall 0.95
    """
    from jinavec import open_engine
    from jinavec_adapters.cli.engines import require_capability

    require_capability(target, "calibrate")
    with open_engine(target) as engine:
        found = engine.calibrate(recall, k=k, sample=sample)
    say(f"calibrated {target}: {found}")
