"""Killed at any moment, an index has everything that was acknowledged, and nothing twice."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from jinavec_integrations.faiss import BinaryIndex

from .child import CONTRACT, add, check_vectors, state_after, state_of
from .conftest import Start

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("JINAVEC_TORTURE", "5"))
"""How often a process is killed; ``make torture`` asks for more."""
SEED = int(os.environ.get("JINAVEC_TORTURE_SEED", "1"))
"""Seed of the moments."""


def test_killed_at_random_moments(tmp_path: Path, start: Start) -> None:
    """Additions, replacements, deletions, merges and compactions, flat and in lists, one after the other."""
    folder, done, random_moment = tmp_path / "index", 0, random.Random(SEED)
    BinaryIndex.create(folder, CONTRACT).close()
    for _ in range(ROUNDS):
        output = killed(start("work", folder, done, done + 10_000), random_moment.uniform(0, 0.2))
        acknowledged = int(output[-1]) + 1
        with BinaryIndex.open(folder) as index:
            state = state_of(index)
            assert state in (state_after(acknowledged), state_after(acknowledged + 1))
            assert index.count() == len(state)
            check_vectors(index, state)
            index.verify()
        done = acknowledged if state == state_after(acknowledged) else acknowledged + 1


def test_a_build_killed_at_random_moments(tmp_path: Path, start: Start) -> None:
    folder, random_moment, acknowledged = tmp_path / "index", random.Random(SEED), 0
    for _ in range(ROUNDS):
        output = killed(start("build", folder), random_moment.uniform(0, 1))
        acknowledged = max(acknowledged, *(int(word) for word in output if word != "done"))
        with BinaryIndex.open(folder) as index:
            state = state_of(index)
            assert acknowledged <= len(state) == index.count()
            assert state == {str(id): 1 for id in range(len(state))}
            check_vectors(index, {id: 1 for id in list(state)[::50]})
            index.verify()
        if "done" in output:
            shutil.rmtree(folder)
            acknowledged = 0
    output, _ = start("build", folder).communicate()
    assert output.endswith("done\n")
    with BinaryIndex.open(folder, options={"nprobe": 12}) as index:
        assert index.info()["plan"] == "12 lists, as asked"
        assert state_of(index) == {str(id): 1 for id in range(3000)}


def test_a_merge_killed_at_random_moments(tmp_path: Path, start: Start) -> None:
    """A large merge stores part after part: what was acknowledged is there, and merging again completes it."""
    ids, random_moment = [str(id) for id in range(2000)], random.Random(SEED)
    with BinaryIndex.create(tmp_path / "other", CONTRACT) as other:
        add(other, {id: 2 for id in ids})
    for number in range(-(-ROUNDS // 5)):
        folder = tmp_path / str(number)
        with BinaryIndex.create(folder, CONTRACT) as index:
            add(index, {id: 1 for id in ids[::3]})
        for _ in range(5):
            output = killed(start("merge_in_parts", folder), random_moment.uniform(0, 0.2))
            least = max((int(word) for word in output if word != "done"), default=0)
            with BinaryIndex.open(folder) as index:
                state = state_of(index)
                replaced = [id for id, revision in state.items() if revision == 2]
                assert sorted(replaced, key=int) == ids[: len(replaced)]
                assert len(replaced) >= least
                assert state == {**{id: 1 for id in ids[::3]}, **{id: 2 for id in replaced}}
                assert index.count() == len(state)
                check_vectors(index, {id: state[id] for id in list(state)[::50]})
                index.verify()
        assert start("merge_in_parts", folder).communicate()[0].endswith("done\n")
        with BinaryIndex.open(folder) as index:
            assert state_of(index) == {id: 2 for id in ids}
            index.verify()


def killed(process: subprocess.Popen[str], seconds: float) -> list[str]:
    """Kill a process so long after its first acknowledgement, and return all it gave."""
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first
    time.sleep(seconds)
    process.kill()
    return [*first.split(), *process.communicate()[0].split()]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("what", "least"), [("create", 20), ("add", 40), ("delete", 20), ("compact", 40), ("merge", 40)]
)
def test_killed_around_every_call_that_touches_the_disk(tmp_path: Path, start: Start, what: str, least: int) -> None:
    output, _ = start("crash_everywhere", tmp_path, what).communicate()
    assert output.startswith("done")
    assert int(output.split()[1]) > least
