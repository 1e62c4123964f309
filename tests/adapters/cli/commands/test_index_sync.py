"""jinavec index over folders: what a file no longer holds goes, and nothing else does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jinavec import Contract, Record, open_engine
from jinavec_adapters.cli import main

Run = Callable[..., Any]
WriteJsonl = Callable[[str, Sequence[object]], Path]
FLAGS = ("--model", "lexical", "--dimension", 64)
CONTRACT = Contract.of("lexical", dimension=64)


def text(words: int, name: str = "word") -> str:
    return "\n\n".join(f"{name} {number} " + "and so on " * 60 for number in range(words))


def write(path: str, content: str | bytes) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def stored(target: str = "faiss:index") -> dict[str, Record]:
    with open_engine(target) as engine:
        return {record.id: record for page in engine.iterate() for record in page}


def fresh(*sources: object) -> dict[str, Record]:
    target = f"faiss:fresh{len(list(Path().glob('fresh*')))}"
    assert main(["index", *map(str, sources), "--to", target, *map(str, FLAGS)]) == 0
    return stored(target)


def paths(records: dict[str, Record]) -> list[str]:
    return sorted({str(record.metadata.get("path")) for record in records.values()})


@pytest.fixture
def index(run: Run) -> Callable[..., Any]:
    def call(*sources: object, to: str = "faiss:index") -> Any:
        return run("index", *sources, "--to", to, *FLAGS)

    return call


def test_a_shortened_file_leaves_no_passage_of_its_old_text(index: Run) -> None:
    write("docs/a.md", text(5))
    write("docs/b.md", text(3))
    assert index("docs").code == 0
    before = stored()
    write("docs/a.md", text(1, "other"))
    done = index("docs")
    assert (done.code, f"{len(before) - len(stored())} removed" in done.out) == (0, True)
    assert stored() == fresh("docs")
    write("docs/a.md", "")
    write("docs/b.md", text(2))
    assert index("docs", "--dry-run").out.count("2 removed") == 1
    assert index("docs").code == 0
    assert stored() == fresh("docs")


def test_only_sync_removes_a_file_that_is_gone(index: Run) -> None:
    write("docs/a.md", text(2))
    gone = write("docs/sub/b.txt", text(2))
    index("docs")
    gone.unlink()
    assert index("docs").code == 0
    assert paths(stored()) == ["a.md", "sub/b.txt"]
    rehearsed = index("docs", "--sync", "--dry-run")
    assert "would index 0 records" in rehearsed.out and "2 removed" in rehearsed.out
    assert paths(stored()) == ["a.md", "sub/b.txt"]
    assert "2 removed" in index("docs", "--sync").out
    assert stored() == fresh("docs")


def test_roots_with_equal_names_do_not_meet(index: Run, run: Run) -> None:
    write("p1/n.txt", text(2, "one"))
    write("p2/n.txt", text(3, "two"))
    index("p1")
    index("p2")
    both = stored()
    assert both == fresh("p1", "p2")
    assert len(both) == 5
    for record in both.values():
        file = Path(record.metadata["root"]) / record.metadata["path"]
        assert record.text.splitlines()[0].rstrip() in file.read_text()
    Path("p1/n.txt").unlink()
    write("p1/m.txt", "new")
    index("p1", "--sync")
    assert stored() == fresh("p1", "p2")
    assert run("delete", "faiss:index", "--filter", "path=n.txt").code == 0
    assert paths(stored()) == ["m.txt"]


def test_a_root_is_the_same_however_it_is_named(index: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("home/docs/a.md", text(2))
    index("home/docs")
    first = stored()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("home/docs/", "./home/../home/docs", tmp_path / "home/docs", "~/docs"):
        assert "2 unchanged" in index(name, "--sync").out
    assert "2 unchanged" in index("home/docs/a.md", "--sync").out
    assert stored() == first


def test_sync_leaves_everything_else(index: Run, write_jsonl: WriteJsonl) -> None:
    write("docs/a.md", text(1))
    write("docs/sub/b.md", text(1))
    write("docs/.hidden/c.md", text(1))
    write("docs2/a.md", text(1))
    note = write_jsonl("notes.jsonl", [{"id": "a.md#9", "text": "note", "path": "a.md", "passage": 9}])
    root = str(Path("docs").absolute())
    mine = [Record("own", "mine", {"root": root, "path": "gone.md", "passage": 0}), Record("plain", "plain")]
    with open_engine("faiss:index", contract=CONTRACT) as engine:
        engine.add(mine, [[1.0] * 64] * 2)
    for source in ("docs", "docs/sub", "docs/.hidden", "docs2", note):
        assert index(source).code == 0
    before = stored()
    Path("docs/a.md").unlink()
    assert "1 removed" in index("docs", "--sync").out
    after = stored()
    assert [record.metadata["path"] for id, record in before.items() if id not in after] == ["a.md"]
    assert {id: before[id] for id in after} == after


def test_sync_of_one_file_and_of_a_file_that_is_no_text(index: Run, write_jsonl: WriteJsonl) -> None:
    file = write("docs/a.md", text(3))
    write("docs/b.md", text(2))
    index("docs")
    write("docs/a.md", text(1))
    assert "2 removed" in index("docs/a.md", "--sync").out
    assert stored() == fresh("docs")
    file.unlink()
    refused = index("docs/a.md", "--sync")
    assert (refused.code, "--force removes the records" in refused.err) == (1, True)
    assert "1 removed" in index("docs/a.md", "--sync", "--force").out
    assert stored() == fresh("docs")
    note = write_jsonl("notes.jsonl", [{"text": "x"}])
    for names in ([note], ["docs", note]):
        done = index(*names, "--sync")
        assert (done.code, "--sync takes folders and text files" in done.err) == (2, True)
    assert index("docs", "--force").code == 2
    gone = index("gone.jsonl", "--sync", "--force")
    assert (gone.code, gone.err) == (1, "jinavec: error: no such file or folder: gone.jsonl\n")


@pytest.mark.parametrize("harm", ["missing", "empty", "file", "other file"])
def test_a_root_without_files_is_refused_unless_forced(index: Run, harm: str) -> None:
    write("docs/a.md", text(2))
    write("rest/a.md", text(2))
    index("docs", "rest")
    before = stored()
    Path("docs/a.md").unlink()
    if harm == "missing":
        Path("docs").rmdir()
    if harm == "other file":
        write("docs/.a.md", text(2))
        write("docs/a.py", "x")
    names = ("docs/a.md",) if harm == "file" else ("rest", "docs")
    done = index(*names, "--sync")
    assert (done.code, "--force removes the records that the index has of it" in done.err) == (1, True)
    assert stored() == before
    assert "2 removed" in index(*names, "--sync", "--force").out
    assert stored() == fresh("rest")


def test_what_cannot_be_read_is_kept(index: Run) -> None:
    write("docs/a.md", text(2))
    write("docs/bad.md", text(3))
    write("docs/link.md", text(2))
    gone = write("docs/gone.md", text(1))
    index("docs")
    before = stored()
    write("docs/bad.md", text(1).encode() + b"\n" * 300_000 + b"gr\xfc\xdfe")
    Path("docs/link.md").unlink()
    Path("docs/link.md").symlink_to("nowhere")
    gone.unlink()
    stopped = index("docs", "--sync")
    assert (stopped.code, stored()) == (1, before)
    done = index("docs", "--sync", "--skip-bad")
    assert done.code == 0
    assert "1 removed; 2 bad records skipped" in done.out
    assert "docs/bad.md: not UTF-8: byte 0xfc in line" in done.err and "nothing of this file is stored" in done.err
    assert {id for id in before if id not in stored()} == {
        id for id, record in before.items() if record.metadata["path"] == "gone.md"
    }
    assert index("docs", "--sync", "--skip-bad", "--encoding", "latin-1").code == 0
    assert [record.text for record in stored().values() if "grüße" in record.text]


def test_a_bad_file_in_a_new_index_leaves_nothing_of_it(index: Run) -> None:
    write("docs/a.md", b"fine " * 50_000 + b"\xff")
    write("docs/b.md", "good")
    assert index("docs", "--skip-bad").code == 0
    assert [record.text for record in stored().values()] == ["good"]


@pytest.mark.parametrize("target", ["faiss:index", "qdrant:folder/index"])
def test_passages_of_version_0_1_are_replaced(index: Run, target: str) -> None:
    write("docs/a.md", text(3))
    write("docs/b.md", text(2))
    old = [
        Record(f"{path}#{number}", record.text, {"path": path, "passage": number})
        for record in fresh("docs").values()
        for path, number in [(record.metadata["path"], record.metadata["passage"])]
    ]
    elsewhere = Record("b.md#7", "of another root", {"path": "c.md", "passage": 7})
    other = Record("c.md#0", "of another root", {"path": "c.md", "passage": 0})
    with open_engine(target, contract=CONTRACT) as engine:
        engine.add([*old, elsewhere, other], [[1.0] * 64] * (len(old) + 2))
    write("docs/a.md", text(2))
    assert "5 removed" in index("docs", to=target).out
    assert stored(target) == fresh("docs") | {record.id: record for record in (elsewhere, other)}


def test_in_a_qdrant_collection(index: Run, run: Run) -> None:
    target = "qdrant:folder/notes"
    write("p1/n.txt", text(3, "one"))
    write("p2/n.txt", text(3, "two"))
    gone = write("p1/gone.md", text(2))
    index("p1", "p2", to=target)
    gone.unlink()
    write("p1/n.txt", text(1, "changed"))
    assert "4 removed" in index("p1", "--sync", to=target).out
    assert stored(target) == fresh("p1", "p2")
    assert run("delete", target, "--filter", "path=n.txt").out.startswith("deleted 4 records")


def test_after_a_kill_the_same_command_sets_it_right(index: Run) -> None:
    for number in range(6):
        write(f"docs/{number}.md", text(30, f"file {number}"))
    index("docs")
    for number in range(3):
        write(f"docs/{number}.md", text(20, f"changed {number}"))
        Path(f"docs/{number + 3}.md").unlink()
    script = (
        "import os, sys; from jinavec.engine import Engine; from jinavec_adapters.cli import main\n"
        "delete = Engine.delete\n"
        "def dies(self, *given, **named):\n    delete(self, *given, **named); os._exit(9)\n"
        "Engine.delete = dies; main(sys.argv[1:])"
    )
    killed = subprocess.run([sys.executable, "-c", script, "index", "docs", "--sync", "--to", "faiss:index"])
    assert killed.returncode == 9
    assert index("docs", "--sync").code == 0
    assert stored() == fresh("docs")


NAMES = st.sampled_from(["a.md", "sub/a.md", "sub/deep/c.markdown"])
STEP = st.one_of(
    st.tuples(st.just("write"), NAMES, st.sampled_from([0, 1, 2, 4])),
    st.tuples(st.just("rename"), NAMES, NAMES),
    st.tuples(st.just("remove"), NAMES, st.none()),
)


@given(st.lists(st.lists(STEP, min_size=1, max_size=3), min_size=2, max_size=5), st.booleans())
@example([[("write", "a.md", 4)], [("write", "a.md", 1)], [("rename", "a.md", "sub/a.md")]], False)
@settings(max_examples=10)
def test_any_changes_end_as_a_fresh_index(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[list[tuple[str, str, Any]]], alone: bool
) -> None:
    folder = tmp_path_factory.mktemp("any")
    docs, target = folder / "docs", f"faiss:{folder / 'index'}"
    flags = ["--model", "lexical", "--dimension", "64"]
    (docs / "sub/deep").mkdir(parents=True)
    others: dict[str, Record] = {}
    if not alone:
        with open_engine(target, contract=CONTRACT) as engine:
            engine.add([Record("a.md#0", "x", {"path": "a.md"})], [[1.0] * 64])
        others = stored(target)
    for steps in rounds:
        for number, (step, name, what) in enumerate(steps):
            if step == "write":
                (docs / name).write_text(text(what, f"{number} {what}"))
            elif (docs / name).exists():
                (docs / name).rename(docs / what) if step == "rename" else (docs / name).unlink()
        assert main(["index", str(docs), "--to", target, "--sync", "--force", *flags]) == 0
    found = {} if not (folder / "index").exists() else stored(target)
    new = main(["index", str(docs), "--to", f"faiss:{folder / 'new'}", *flags])
    assert found == others | (stored(f"faiss:{folder / 'new'}") if new == 0 else {})
