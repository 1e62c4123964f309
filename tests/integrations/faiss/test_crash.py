"""Killed at any moment, an index has everything that was acknowledged, and nothing twice."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from jinavec_integrations.faiss import BinaryIndex

from .child import CONTRACT, check_vectors, state_after, state_of
from .conftest import Start

ROUNDS = int(os.environ.get("JINAVEC_TORTURE", "5"))
"""How often a process is killed; ``make torture`` asks for more."""


def test_killed_at_random_moments(tmp_path: Path, start: Start) -> None:
    folder, done, random_moment = tmp_path / "index", 0, random.Random(1)
    BinaryIndex.create(folder, CONTRACT).close()
    for _ in range(ROUNDS):
        process = start("work", folder, done, done + 10_000)
        assert process.stdout is not None
        assert process.stdout.readline()
        time.sleep(random_moment.uniform(0, 0.2))
        process.kill()
        last = process.communicate()[0].split()
        acknowledged = int(last[-1]) + 1 if last else done + 1
        with BinaryIndex.open(folder) as index:
            state = state_of(index)
            assert state in (state_after(acknowledged), state_after(acknowledged + 1))
            assert index.count() == len(state)
            check_vectors(index, state)
        done = acknowledged if state == state_after(acknowledged) else acknowledged + 1


def test_a_build_killed_at_random_moments(tmp_path: Path, start: Start) -> None:
    folder, random_moment, acknowledged = tmp_path / "index", random.Random(2), 0
    for _ in range(ROUNDS):
        process = start("build", folder)
        assert process.stdout is not None
        assert process.stdout.readline() == "100\n"
        time.sleep(random_moment.uniform(0, 1))
        process.kill()
        numbers = [int(word) for word in process.communicate()[0].split() if word != "done"]
        acknowledged = max(acknowledged, 100, *numbers)
        with BinaryIndex.open(folder) as index:
            state = state_of(index)
            assert acknowledged <= len(state) == index.count()
            assert state == {str(id): 1 for id in range(len(state))}
            check_vectors(index, {id: 1 for id in list(state)[::50]})
            index.verify()
    output, _ = start("build", folder).communicate()
    assert output.endswith("done\n")
    with BinaryIndex.open(folder, options={"probes": 12}) as index:
        assert index.info()["plan"] == "12 lists, as asked"
        assert state_of(index) == {str(id): 1 for id in range(3000)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("what", "least"), [("create", 20), ("add", 40), ("delete", 20), ("compact", 40), ("merge", 40)]
)
def test_killed_around_every_call_that_touches_the_disk(tmp_path: Path, start: Start, what: str, least: int) -> None:
    output, _ = start("crash_everywhere", tmp_path, what).communicate()
    assert output.startswith("done")
    assert int(output.split()[1]) > least
