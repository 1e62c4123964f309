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

ROUNDS = 5


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(("what", "least"), [("create", 20), ("add", 40), ("delete", 20)])
def test_killed_around_every_call_that_touches_the_disk(tmp_path: Path, start: Start, what: str, least: int) -> None:
    output, _ = start("crash_everywhere", tmp_path, what).communicate()
    assert output.startswith("done")
    assert int(output.split()[1]) > least
