"""jinavec merge: add the records of other indexes to an index."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from jinavec_adapters.cli import completion
from jinavec_adapters.cli.flags import Target
from jinavec_adapters.cli.output import say

Others = Annotated[
    list[str],
    Argument(
        metavar="SOURCE", help="Indexes of the same contract.", show_default=False, autocompletion=completion.targets
    ),
]


def merge(target: Target, others: Others) -> None:
    """Add the records of other indexes to an index.

    It is created if there is none. Nothing is embedded again.

    Examples:
        jinavec merge faiss:all faiss:notes faiss:pages
    """
    from contextlib import ExitStack

    from jinavec import open_engine
    from jinavec_adapters.cli.engines import require_capability
    from jinavec_adapters.cli.progress import progress_bar

    for name in (target, *others):
        require_capability(name, "merge")
    merged = 0
    with ExitStack() as opened:
        sources = [opened.enter_context(open_engine(other)) for other in others]
        for source in sources[1:]:
            sources[0].contract.check(source.contract, ours=others[0], theirs="another source")
        index = opened.enter_context(open_engine(target, contract=sources[0].contract))
        show = opened.enter_context(progress_bar())
        for source in sources:
            merged += index.merge(source, show)
        index.optimize(show)
        say(f"merged {merged} records into {target}, which holds {index.count()}")
