"""jinavec index and records that an engine refuses: the run stops at the first, or sets them aside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.list_engine import ListEngine

from jinavec import Record, targets
from jinavec.errors import InvalidRecord

Run = Callable[..., Any]
WriteJsonl = Callable[[str, Sequence[object]], Path]

NOTES = [{"id": str(number), "text": f"note {number}"} for number in range(40)]
FLAGS = ("--to", "picky:notes", "--model", "lexical", "--dimension", 64, "--batch-size", 10)


class PickyEngine(ListEngine):
    """Refuses ids that end with 7 when it stores them, and those that end with 9 at once."""

    name = "picky"
    shelf: ClassVar[dict[str, Any]] = {}

    def _check(self, record: Record) -> None:
        if record.id.endswith("9"):
            raise InvalidRecord(f"record {record.id!r}: nines are too large")

    def _store(self, records: list[Record], vectors: NDArray[np.float32]) -> dict[str, str]:
        kept = [position for position, record in enumerate(records) if not record.id.endswith("7")]
        super()._store([records[position] for position in kept], np.ascontiguousarray(vectors[kept]))
        return {record.id: "sevens are odd" for record in records if record.id.endswith("7")}


@pytest.fixture(autouse=True)
def picky(monkeypatch: pytest.MonkeyPatch) -> None:
    engines = dict(targets.ENGINES) | {"picky": f"{__name__}:PickyEngine"}
    monkeypatch.setattr(targets, "ENGINES", engines)
    monkeypatch.setattr(PickyEngine, "shelf", {})


def stored() -> set[str]:
    return set(PickyEngine.shelf["notes"].rows)


def test_the_run_stops_at_the_first_and_names_its_line(run: Run, write_jsonl: WriteJsonl) -> None:
    notes = write_jsonl("notes.jsonl", [note for note in NOTES if not note["id"].endswith("9")])
    done = run("index", notes, *FLAGS)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"jinavec: error: {notes}:8: sevens are odd (--skip-bad skips such records); ")
    assert f"{len(stored())} records are stored" in done.err
    assert "7" not in stored() and {str(number) for number in range(7)} <= stored()


def test_a_record_that_is_refused_at_once(run: Run, write_jsonl: WriteJsonl) -> None:
    notes = write_jsonl("notes.jsonl", [note for note in NOTES if not note["id"].endswith("7")])
    done = run("index", notes, *FLAGS)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"jinavec: error: {notes}:9: record '9': nines are too large (--skip-bad ")
    assert "records are stored" in done.err


def test_others_are_stored_where_such_records_are_skipped(run: Run, write_jsonl: WriteJsonl) -> None:
    notes = write_jsonl("notes.jsonl", NOTES)
    done = run("index", notes, *FLAGS, "--skip-bad")
    assert done.code == 0
    assert done.out == (
        "indexed 32 records into picky:notes (lexical, retrieval, 64 dimensions; 8 bad records skipped)\n"
    )
    assert stored() == {note["id"] for note in NOTES if note["id"][-1] not in "79"}
    assert f"jinavec: skipped {notes}:8: sevens are odd\n" in done.err
    assert f"jinavec: skipped {notes}:10: record '9': nines are too large\n" in done.err
    assert "jinavec: skipped 3 more\n" in done.err


def test_nothing_but_such_records(run: Run, write_jsonl: WriteJsonl) -> None:
    notes = write_jsonl("notes.jsonl", [note for note in NOTES if note["id"].endswith("7")])
    done = run("index", notes, *FLAGS, "--skip-bad")
    assert (done.code, done.out) == (1, "")
    assert f"no record could be used; 4 were skipped, the first: {notes}:1: sevens are odd" in done.err
