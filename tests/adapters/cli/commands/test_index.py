"""jinavec index, then search: what goes in is found, and what cannot go in leaves nothing behind."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from jinavec import Record, open_engine

Run = Callable[..., Any]
WriteJsonl = Callable[[str, Sequence[object]], Path]

NOTES = [
    {"id": "cat", "text": "The cat sleeps on the warm radiator.", "topic": "cats", "legs": 4},
    {"id": "dog", "text": "A dog barks at the postman every morning.", "topic": "dogs", "legs": 4},
    {
        "id": "hen",
        "text": "The hen lays an egg in the straw.",
        "topic": "birds",
        "legs": 2,
        "metadata": {"wild": False},
    },
    {"id": "owl", "text": "At night the owl hunts mice over the fields.", "topic": "birds", "legs": 2},
]


@pytest.fixture
def notes(write_jsonl: WriteJsonl) -> Path:
    return write_jsonl("notes.jsonl", NOTES)


def stored(target: str = "faiss:index") -> dict[str, Record]:
    ids = [str(note["id"]) for note in NOTES]
    with open_engine(target) as engine:
        return {record.id: record for record in engine.get([*ids, "new"])}


def count(target: str = "faiss:index") -> int:
    with open_engine(target) as engine:
        return engine.count()


def test_index_and_search(run: Run, notes: Path) -> None:
    done = run("index", notes, "--to", "faiss:index")
    assert done.code == 0
    assert done.out == "indexed 4 records into faiss:index (lexical, retrieval, 768 dimensions)\n"
    assert "'lexical', which is built in and matches wording, not meaning" in done.err
    assert "--model jina-embeddings-v5-text-nano" in done.err

    found = run("search", "faiss:index", "where does the cat sleep?", "-k", 2, "--json")
    assert (found.code, found.err) == (0, "")
    best, second = found.lines
    assert list(best) == ["id", "score", "text", "metadata"]
    assert (best["id"], best["text"]) == ("cat", NOTES[0]["text"])
    assert best["metadata"] == {"topic": "cats", "legs": 4}
    assert 1 >= best["score"] >= second["score"] >= -1


def test_what_was_stored_is_what_was_read(run: Run, notes: Path) -> None:
    run("index", notes, "--to", "faiss:index", "--batch-size", 3)
    hen = {"topic": "birds", "legs": 2, "wild": False}
    assert stored()["hen"] == Record("hen", "The hen lays an egg in the straw.", hen)
    assert len(stored()) == count() == 4


def test_indexing_again_replaces(run: Run, notes: Path, write_jsonl: WriteJsonl) -> None:
    run("index", notes, "--to", "faiss:index")
    changed = write_jsonl("more.jsonl", [{"id": "dog", "text": "The dog is asleep."}, {"id": "new", "text": "A newt."}])
    again = run("index", changed, notes.name, "--to", "faiss:index", "--id-field", "id")
    assert again.code == 1  # dog stands in both files
    again = run("index", changed, "--to", "faiss:index")
    assert (again.code, again.err) == (0, "jinavec: plan: flat, by size\n")
    assert again.out == "indexed 2 records into faiss:index (lexical, retrieval, 768 dimensions; 1 replaced)\n"
    assert count() == 5
    assert stored()["dog"] == Record("dog", "The dog is asleep.")


def test_several_sources_of_every_kind(run: Run, notes: Path, tmp_path: Path, give: Callable[[bytes], None]) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# Newts\n\nA newt is an amphibian.\n")
    (tmp_path / "table.csv").write_text("id,text,year\n007,James,1953\n")
    give(b'{"text": "from standard input"}\n')
    done = run("index", notes, "docs", "table.csv", "-", "--to", "faiss:index")
    assert (done.code, done.out[:15]) == (0, "indexed 7 recor")
    with open_engine("faiss:index") as engine:
        digest = hashlib.sha256(b"from standard input").hexdigest()
        [page] = engine.iterate(filter={"path": "a.md"})
        [newt] = page
        metadata = {"root": str(tmp_path / "docs"), "path": "a.md", "passage": 0}
        assert (newt.text, newt.metadata) == ("# Newts\n\nA newt is an amphibian.", metadata)
        assert engine.get(["007", digest]) == [
            Record("007", "James", {"year": 1953}),
            Record(digest, "from standard input"),
        ]


def test_the_same_text_without_id_is_stored_once_and_counted(run: Run, write_jsonl: WriteJsonl) -> None:
    path = write_jsonl("a.jsonl", [{"text": "twin", "n": 1}, {"text": "twin", "n": 2}, {"text": "other"}])
    done = run("index", path, "--to", "faiss:index")
    assert done.code == 0
    assert "indexed 2 records" in done.out
    assert "1 repeated texts stored once" in done.out
    assert count() == 2


@pytest.mark.parametrize("between", [0, 1, 5])
def test_a_repeated_id_is_refused_with_both_places(run: Run, write_jsonl: WriteJsonl, between: int) -> None:
    others = [{"id": f"x{n}", "text": "x"} for n in range(between)]
    path = write_jsonl("a.jsonl", [{"id": "a", "text": "one"}, *others, {"id": "a", "text": "two"}])
    done = run("index", path, "--to", "faiss:index", "--batch-size", 2)
    assert done.code == 1
    assert f"{path}:{between + 2}: the id 'a' was already given at {path}:1" in done.err
    if between == 0:
        assert "nothing was stored" in done.err
        assert not Path("index").exists()
    else:
        assert f"; {between + 1} records are stored" in done.err
        assert count() == between + 1


def test_skip_bad_counts_and_names_the_first(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"id": "a", "text": "x"}\n' + "nonsense\n" * 8 + '{"id": "a", "text": "y"}\n{"id": "b", "text": ""}\n'
    )
    with_skip = run("index", path, "--to", "faiss:index", "--skip-bad", "--model", "lexical")
    assert with_skip.code == 0
    assert "indexed 2 records" in with_skip.out
    assert "9 bad records skipped" in with_skip.out
    assert f"skipped {path}:2: not JSON" in with_skip.err
    assert "skipped 4 more" in with_skip.err
    assert stored("faiss:index").keys() == set()
    assert count() == 2

    nothing = tmp_path / "b.jsonl"
    nothing.write_text("nonsense\n")
    done = run("index", nothing, "--to", "faiss:other", "--skip-bad", "--model", "lexical")
    assert (done.code, Path("other").exists()) == (1, False)
    assert f"no record could be used; 1 were skipped, the first: {nothing}:1: not JSON" in done.err


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("a.jsonl", '{"id": "a", "text": "x"}\nnonsense\n', "a.jsonl:2: not JSON"),
        ("a.jsonl", '{"id": "a"}\n', "a.jsonl:1: no field 'text'"),
        ("a.jsonl", '{"text": 5}\n', "a.jsonl:1: the text must be a string"),
        ("a.jsonl", "", "a.jsonl is empty"),
        ("a.csv", "text\n", "a.csv holds no record"),
        ("a.csv", "text,b\nx\n", "a.csv:2: 1 cells, but the header has 2"),
        ("a.xml", "<a/>", "cannot tell the format"),
        ("a.parquet", "PAR1", "cannot read a.parquet as Parquet"),
        ("a.jsonl.gz", "not gzip", "cannot read a.jsonl.gz"),
    ],
)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["", "dry"])
def test_bad_input_is_one_line_and_leaves_nothing(
    run: Run, tmp_path: Path, name: str, content: str, reason: str, dry: tuple[str, ...]
) -> None:
    (tmp_path / name).write_text(content)
    done = run("index", name, "--to", "faiss:index", "--model", "lexical", *dry)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("jinavec: error: ")
    assert reason in done.err
    assert done.err.count("\n") == 1
    assert not Path("index").exists()


def test_a_missing_source_is_found_before_the_first_is_indexed(run: Run, notes: Path) -> None:
    done = run("index", notes, "gone.jsonl", "--to", "faiss:index", "--model", "lexical")
    assert (done.code, done.err) == (1, "jinavec: error: no such file or folder: gone.jsonl\n")
    assert not Path("index").exists()


def test_dry_run_says_what_would_be_done_and_does_nothing(run: Run, notes: Path) -> None:
    dry = run("index", notes, "--to", "faiss:index", "--dimension", 256, "--dry-run")
    assert dry.code == 0
    assert dry.out == "would index 4 records into faiss:index, a new index (lexical, retrieval, 256 dimensions)\n"
    assert not Path("index").exists()

    run("index", notes, "--to", "faiss:index", "--dimension", 256)
    before = {path: path.read_bytes() for path in Path("index").iterdir() if path.suffix != ".sqlite-shm"}
    dry = run("index", notes, "--to", "faiss:index", "--dry-run", "--no-resume")
    assert dry.out == "would index 4 records into faiss:index (lexical, retrieval, 256 dimensions; 4 replaced)\n"
    dry = run("index", notes, "--to", "faiss:index", "--dry-run")
    assert dry.out == "would index 0 records into faiss:index (lexical, retrieval, 256 dimensions; 4 unchanged)\n"
    assert {path: path.read_bytes() for path in before} == before


def test_dry_run_needs_no_weights(run: Run, notes: Path) -> None:
    model = "jina-embeddings-v5-text-nano"
    dry = run("index", notes, "--to", "faiss:index", "--model", model, "--source", "gone", "--dry-run")
    assert (dry.code, dry.err) == (0, "")
    assert f"a new index ({model}, retrieval, 768 dimensions)" in dry.out


def test_the_index_decides_model_task_and_dimension(run: Run, notes: Path) -> None:
    run("index", notes, "--to", "faiss:index", "--model", "lexical", "--dimension", 128, "--task", "text-matching")
    again = run("index", notes, "--to", "faiss:index", "--no-resume")
    assert again.out == "indexed 4 records into faiss:index (lexical, text-matching, 128 dimensions; 4 replaced)\n"
    assert again.err == "jinavec: plan: flat, by size\n"
    assert run("search", "faiss:index", "the owl hunts mice", "--json").lines[0]["id"] == "owl"


@pytest.mark.parametrize(
    "flags, field",
    [
        (("--model", "wordllama-256"), "model"),
        (("--task", "clustering"), "task"),
        (("--dimension", "64"), "dimension"),
        (("--model", "jina-embeddings-v5-text-small"), "query_prefix"),
        (("--model", "jina-embeddings-v5-text-nano-clustering"), "task"),
    ],
)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["", "dry"])
def test_another_contract_is_refused_before_anything_is_read(
    run: Run, notes: Path, flags: tuple[str, ...], field: str, dry: tuple[str, ...]
) -> None:
    run("index", notes, "--to", "faiss:index", "--dimension", 768)
    # what is asked for needs weights that are not there, and a source that is not there: neither is looked at
    refused = run("index", "gone.jsonl", "--to", "faiss:index", *flags, *dry)
    assert refused.code == 1
    assert f"{field}: this index has" in refused.err
    assert "what was asked for has" in refused.err
    searched = run("search", "faiss:index", "cat", *flags)
    assert (searched.code, searched.out) == (1, "")
    assert f"{field}: this index has" in searched.err


def test_a_user_defined_model_is_remembered(run: Run, notes: Path, tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text('name = "mine"\nwidth = 192\nbackend = "lexical"\n[prompts.retrieval]\nquery = "find: "\n')
    done = run("index", notes, "--to", "faiss:index", "--profile", profile)
    assert (done.code, done.err) == (0, "jinavec: plan: flat, by size\n")
    profile.unlink()
    assert run("search", "faiss:index", "the owl hunts mice", "--json").lines[0]["id"] == "owl"
    described = json.loads(run("info", "faiss:index", "--json").out)
    assert described["contract"]["model"] == "mine"
    assert described["contract"]["query_prefix"] == "find: "


def test_named_fields(run: Run, write_jsonl: WriteJsonl) -> None:
    path = write_jsonl("a.jsonl", [{"uid": 12, "body": "the words", "text": "other"}])
    assert run("index", path, "--to", "faiss:index", "--id-field", "uid", "--text-field", "body").code == 0
    with open_engine("faiss:index") as engine:
        assert engine.get("12") == Record("12", "the words", {"text": "other"})


def test_options_of_the_engine_are_checked(run: Run, notes: Path) -> None:
    done = run("index", notes, "--to", "faiss:index", "--option", "no_such_thing=1")
    assert done.code == 2
    assert "--option" in done.err
    assert not Path("index").exists()


def test_a_folder_that_is_no_index(run: Run, notes: Path, tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "holiday.jpg").write_bytes(b"x")
    for command in [("index", notes, "--to"), ("search",), ("info",), ("delete",)]:
        words = {"search": ("cat",), "delete": ("cat",)}.get(str(command[0]), ())
        done = run(*command, "faiss:index", *words)
        assert (done.code, done.out) == (1, "")
        assert "not a jinavec index" in done.err
    assert [path.name for path in (tmp_path / "index").iterdir()] == ["holiday.jpg"]


def test_an_index_of_a_newer_format(run: Run, notes: Path) -> None:
    run("index", notes, "--to", "faiss:index")
    manifest = Path("index/manifest.json")
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": 99}))
    done = run("search", "faiss:index", "cat")
    assert (done.code, done.out) == (1, "")
    assert "version 99" in done.err


def test_filters(run: Run, notes: Path) -> None:
    run("index", notes, "--to", "faiss:index")
    for filters, ids in [
        (["topic=birds"], {"hen", "owl"}),
        (["topic=cats,dogs"], {"cat", "dog"}),
        (["legs>2", "topic!=dogs"], {"cat"}),
        (["legs<=2", "wild=false"], {"hen"}),
        (["topic=fish"], set[str]()),
    ]:
        flags = [word for condition in filters for word in ("--filter", condition)]
        found = run("search", "faiss:index", "the animal", "--json", *flags)
        assert found.code == 0
        assert {hit["id"] for hit in found.lines} == ids
        assert found.err == ("" if ids else "jinavec: no hits\n")


def test_hits_for_people(run: Run, write_jsonl: WriteJsonl) -> None:
    long = "word " * 100 + "\x1b[31mred\nlines"
    run(
        "index", write_jsonl("a.jsonl", [{"id": "a", "text": long}, {"id": "bb", "text": "[bold]b"}]), "--to", "faiss:i"
    )
    found = run("search", "faiss:i", "word")
    first, second = found.out.splitlines()
    assert first.split()[0::2][:2] == ["1", "a"]
    assert second.split()[0] == "2"
    assert second.endswith("bb  [bold]b")
    assert len(first) < 140
    assert "\x1b" not in found.out


def test_delete(run: Run, notes: Path) -> None:
    run("index", notes, "--to", "faiss:index")
    done = run("delete", "faiss:index", "cat", "unicorn", "dog")
    assert (done.code, done.out) == (0, "deleted 2 records from faiss:index\n")
    assert done.err == "jinavec: not found: unicorn\n"
    assert count() == 2
    assert {hit["id"] for hit in run("search", "faiss:index", "cat", "--json").lines} == {"hen", "owl"}


def test_info(run: Run, notes: Path) -> None:
    run("index", notes, "--to", "faiss:index", "--dimension", 256)
    values = json.loads(run("info", "faiss:index", "--json").out)
    assert values["target"] == "faiss:index"
    assert values["contract"]["model"] == "lexical"
    assert values["contract"]["dimension"] == values["encoder"]["dimension"] == 256
    assert 4 in values.values()
    text = run("info", "faiss:index").out
    assert "contract.dimension:" in text
    assert "256" in text


@pytest.mark.parametrize(
    "command", [("search", "faiss:gone", "q"), ("info", "faiss:gone"), ("delete", "faiss:gone", "a")]
)
def test_an_index_that_is_not_there(run: Run, command: tuple[str, ...]) -> None:
    done = run(*command)
    assert (done.code, done.out) == (1, "")
    assert "there is no index at" in done.err
    assert not Path("gone").exists()


def test_two_writers(run: Run, notes: Path) -> None:
    """The application that has the index open writes before and after."""
    run("index", notes, "--to", "faiss:index")
    with open_engine("faiss:index") as engine:
        engine.add([Record("before", "x")], [[1.0] * 768])
        assert run("index", notes, "--to", "faiss:index", "--no-resume").code == 0
        engine.add([Record("after", "x")], [[1.0] * 768])
        count = engine.count()
    assert {"before", "after"} < {line["id"] for line in run("list", "faiss:index", "--json").lines}
    assert run("info", "faiss:index", "--json").lines[0]["records"] == count == 6
