"""jinavec compact, merge and calibrate: what a large index needs now and then."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from jinavec import Engine, open_engine
from jinavec.engine import find_engine
from jinavec_adapters.cli.engineoptions import engine_options
from jinavec_adapters.cli.misuse import Misuse
from jinavec_adapters.cli.output import note, say
from jinavec_adapters.cli.progress import phases


def run_compact(target: str, options: Sequence[str]) -> None:
    """Write an index anew without what was deleted; see ``jinavec compact --help``."""
    _require(target, "compact")
    chosen = engine_options(target, options)
    with open_engine(target, options=chosen) as engine, phases() as report:
        before = engine.info()["rows"]
        plan = _upkeep(engine).compact(report)
        freed = before - engine.info()["rows"]
        say(f"compacted {target}: {engine.count()} records, {plan}, {freed} rows freed")


def run_merge(target: str, others: Sequence[str]) -> None:
    """Add what other indexes hold; see ``jinavec merge --help``."""
    for name in (target, *others):
        _require(name, "merge")
    taken = 0
    with ExitStack() as opened:
        sources = [opened.enter_context(open_engine(other)) for other in others]
        for source in sources[1:]:
            sources[0].contract.check(source.contract, ours=others[0], theirs="another source")
        index = opened.enter_context(open_engine(target, contract=sources[0].contract))
        report = opened.enter_context(phases())
        for source in sources:
            taken += _upkeep(index).merge(source, report)
        index.finish(report)
        say(f"merged {taken} records into {target}, which holds {index.count()}")


def run_calibrate(target: str, recall: float, k: int, sample: int) -> None:
    """Find and store the least effort that reaches a recall; see ``jinavec calibrate --help``."""
    _require(target, "calibrate")
    with open_engine(target) as engine:
        found = _upkeep(engine).calibrate(recall, k=k, sample=sample)
    effort = found.effort
    say(
        f"calibrated {target}: recall@{k} {found.recall:.3f} of {recall:g} with probes {effort.probes},"
        f" candidates {effort.candidates}, rows {effort.rows} ({found.queries} queries)"
    )
    if not found.reached:
        note("nothing reaches that recall: this is the most that can be done")


def _require(target: str, ability: str) -> None:
    if not hasattr(find_engine(target)[0], ability):
        raise Misuse(f"{ability} is nothing that the engine of {target} can do")


def _upkeep(engine: Engine) -> Any:
    """Return the engine as what it has shown itself to be: one with the methods of upkeep."""
    return engine
