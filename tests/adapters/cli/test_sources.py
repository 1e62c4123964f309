"""What the readers make of files: records, and one clear line for everything else."""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import hashlib
import io
import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinavec.errors import InvalidInput, InvalidRecord, JinavecError
from jinavec.extras import require
from jinavec.records import Record
from jinavec_adapters.cli.sources import Fields, Item, Reading, Rejects, Sources

Read = Callable[..., list[Item]]
arrow: Any = require("pyarrow", "parquet")
parquet: Any = require("pyarrow.parquet", "parquet")
zstd: Any = require("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd", "zstd")

THREE = [
    {"id": "a", "text": "one", "kind": "x", "size": 3, "ratio": 0.5, "ok": True, "tags": ["p", "q"], "none": None},
    {"id": 7, "text": "two\nlines", "deep": {"er": [1, {"x": "y"}]}},
    {"text": "ünïcode 猫 \u2028 \u0000"},
]


def expected(value: Mapping[str, Any]) -> Record:
    metadata = {name: item for name, item in value.items() if name not in ("id", "text")}
    id = str(value["id"]) if "id" in value else hashlib.sha256(value["text"].encode()).hexdigest()
    return Record(id, value["text"], metadata)


def passage(root: Path, path: str, number: int, text: str) -> Record:
    tag = hashlib.sha256(str(root).encode()).hexdigest()[:12]
    return Record(f"{tag}/{path}#{number}", text, {"root": str(root), "path": path, "passage": number})


def lines(*values: object) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        data = gzip.compress(data)
    if path.suffix == ".zst":
        data = zstd.compress(data)
    path.write_bytes(data)
    return path


def as_parquet(table: Mapping[str, Any]) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(arrow.table(dict(table)), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.ndjson", "a.json", "A.JSONL", "a.jsonl.gz", "a.ndjson.zst", "a.b.json.GZ"]
)
def test_json_lines(read: Read, tmp_path: Path, name: str) -> None:
    data = lines(*THREE)
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith((".gz", ".GZ")) else data)
    if name.endswith(".zst"):
        write(path, data)
    items = read(path)
    assert [item.record for item in items] == [expected(value) for value in THREE]
    assert [item.derived for item in items] == [False, False, True]
    assert [item.place for item in items] == [f"{path}:{number}" for number in (1, 2, 3)]


def test_json_lines_with_byte_order_mark_blank_lines_and_windows_line_ends(read: Read, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"id": "a", "text": "x"}\r\n\r\n  \t\n{"id": "b", "text": ""}')
    assert [(i.record.id, i.record.text, i.place) for i in read(path)] == [
        ("a", "x", f"{path}:1"),
        ("b", "", f"{path}:4"),
    ]


def test_standard_input(give: Callable[[bytes], None], read: Read) -> None:
    give(lines(*THREE))
    assert [item.record for item in read("-")] == [expected(value) for value in THREE]


@given(
    st.lists(
        st.dictionaries(
            st.text(min_size=1).filter(lambda name: name not in ("id", "text", "metadata")),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers()
                | st.floats(allow_nan=False, allow_infinity=False)
                | st.text(),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
                max_leaves=5,
            ),
            max_size=4,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_every_json_value_survives(tmp_path_factory: pytest.TempPathFactory, metadata: list[dict[str, Any]]) -> None:
    path = tmp_path_factory.mktemp("any") / "a.jsonl"
    path.write_bytes(lines(*({"id": str(n), "text": "t", **values} for n, values in enumerate(metadata))))
    assert [dict(item.record.metadata) for item in Sources([str(path)], Fields(), Rejects())] == metadata


def test_named_fields(read: Read, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", lines({"uid": "k", "body": "b", "id": 5, "text": "t", "metadata": "m"}))
    [item] = read(path, fields=Fields("uid", "body"))
    assert item.record == Record("k", "b", {"id": 5, "text": "t", "metadata": "m"})


def test_an_object_named_metadata_is_merged_and_the_records_own_field_wins(read: Read, tmp_path: Path) -> None:
    value = {"id": "a", "text": "t", "kind": "own", "metadata": {"kind": "inner", "id": 9, "metadata": 1, "n": [1]}}
    path = write(tmp_path / "a.jsonl", lines(value, {"id": "b", "text": "t", "metadata": None}))
    first, second = read(path)
    assert first.record.metadata == {"kind": "own", "id": 9, "metadata": 1, "n": [1]}
    assert second.record.metadata == {}


@pytest.mark.parametrize("name, delimiter", [("a.csv", ","), ("a.tsv", "\t"), ("a.csv.gz", ","), ("a.tsv.zst", "\t")])
def test_delimited(read: Read, tmp_path: Path, name: str, delimiter: str) -> None:
    rows = [
        ["id", "text", "n", "f", "b", "s", "big", "empty", "v"],
        ["007", "true", "-12", "1500.0", "false", "True", "1", "", "1.9"],
        ["2", 'quoted, "twice"\tand\nlong', "0", "", "true", "true", "1e999", "", "1.10"],
        ["c", "猫", "", "-3", "", "1", "NaN", "", "1.11"],
    ]
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter).writerows(rows)
    path = write(tmp_path / name, b"\xef\xbb\xbf" + buffer.getvalue().encode())
    items = read(path)
    assert [item.record for item in items] == [
        Record("007", "true", {"n": -12, "f": 1500.0, "b": False, "s": "True", "big": "1", "empty": "", "v": "1.9"}),
        Record(
            "2",
            'quoted, "twice"\tand\nlong',
            {"n": 0, "f": "", "b": True, "s": "true", "big": "1e999", "empty": "", "v": "1.10"},
        ),
        Record("c", "猫", {"n": "", "f": -3, "b": "", "s": "1", "big": "NaN", "empty": "", "v": "1.11"}),
    ]
    assert [type(item.record.metadata["n"]) for item in items] == [int, int, str]
    kept = read(path, how=Reading(strings=True))
    assert [[i.record.id, i.record.text, *i.record.metadata.values()] for i in kept] == rows[1:]
    assert [item.place for item in items] == [f"{path}:2", f"{path}:3", f"{path}:5"]


@given(
    st.lists(
        st.text(alphabet="0123456789-+.eE truefalsnN_x٣", max_size=8)
        | st.integers().map(str)
        | st.floats().map(str)
        | st.sampled_from(["true", "false", "1.10", "1E5", "-0", "-0.0", "1e+16", "9223372036854775808"]),
        min_size=1,
        max_size=3,
    )
)
def test_a_column_is_numbers_only_if_every_cell_survives(
    tmp_path_factory: pytest.TempPathFactory, cells: list[str]
) -> None:
    path = tmp_path_factory.mktemp("cells") / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text", "cell"], *(["t", cell] for cell in cells)])
    stored = [item.record.metadata["cell"] for item in Sources([str(path)], Fields(), Rejects())]
    said = [value for value in stored if value != ""]
    assert len({str if isinstance(value, str) else bool if isinstance(value, bool) else float for value in said}) <= 1
    assert [str(value).lower() if isinstance(value, bool) else str(value) for value in stored] == cells
    if all(re.fullmatch("-?[1-9][0-9]{0,17}|-?[1-9][0-9]?[.][1-9]|", cell) for cell in cells):
        assert not any(isinstance(value, str) for value in said)


def test_a_csv_without_ids_and_with_a_huge_cell(read: Read, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b"text\n" + b"x" * 1_000_000 + b"\n")
    [item] = read(path)
    assert item.record == expected({"text": "x" * 1_000_000})


@pytest.mark.parametrize("name", ["a.parquet", "a.parquet.gz", "a.parquet.zst"])
def test_parquet(read: Read, tmp_path: Path, name: str) -> None:
    utc = datetime.UTC
    path = write(
        tmp_path / name,
        as_parquet(
            {
                "id": [1, 2],
                "text": ["one", "two"],
                "day": [datetime.date(2024, 2, 29), None],
                "moment": arrow.array([1_700_000_000_123_456_789, 0], arrow.timestamp("ns", "UTC")),
                "clock": [datetime.time(12, 30), None],
                "price": [decimal.Decimal("1.25"), None],
                "x": [math.nan, 2.5],
                "flag": [True, False],
                "list": [[1.5, math.nan], []],
                "kind": arrow.array(["k", "k"]).dictionary_encode(),
                "metadata": [{"a": 1}, {"a": None}],
            }
        ),
    )
    items = read(path)
    assert [item.record.id for item in items] == ["1", "2"]
    assert items[0].record.metadata == {
        "day": "2024-02-29",
        "moment": datetime.datetime.fromtimestamp(1_700_000_000, utc).replace(microsecond=123456).isoformat(),
        "clock": "12:30:00",
        "price": 1.25,
        "x": None,
        "flag": True,
        "list": [1.5, None],
        "kind": "k",
        "a": 1,
    }
    assert items[1].record.metadata["day"] is None
    assert items[1].place == f"{path}, row 2"


def test_parquet_is_read_by_batches(read: Read, tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", as_parquet({"text": [f"text {n}" for n in range(5000)]}))
    assert [item.record.text for item in read(path)] == [f"text {n}" for n in range(5000)]


def test_a_folder_of_texts(read: Read, tmp_path: Path) -> None:
    long = "\n\n".join(f"Paragraph {n} says: " + "all about number, " * 20 for n in range(9))
    write(tmp_path / "docs/b.md", b"# Title\n\nhello world\n")
    write(tmp_path / "docs/a.txt", long.encode())
    write(tmp_path / "docs/sub/c.MARKDOWN", b"deep")
    write(tmp_path / "docs/sub/skip.py", b"no text")
    write(tmp_path / "docs/blank.txt", b" \n")
    write(tmp_path / "docs/.hidden/d.txt", b"hidden")
    items = read(tmp_path / "docs")
    passages = [item.record for item in items if item.record.metadata["path"] == "a.txt"]
    assert passages == [passage(tmp_path / "docs", "a.txt", n, p.text) for n, p in enumerate(passages)]
    assert [item.record.metadata["path"] for item in items[len(passages) :]] == ["b.md", "sub/c.MARKDOWN"]
    assert len(passages) > 3
    assert all(len(passage.text) <= 1000 for passage in passages)
    assert "".join("".join(p.text.split()) for p in passages) == "".join(long.split())
    assert items[-1].record == passage(tmp_path / "docs", "sub/c.MARKDOWN", 0, "deep")


@pytest.mark.parametrize("name", ["n.txt", "n.md", "n.md.gz", "n.txt.zst"])
def test_a_single_text_has_the_ids_it_has_in_its_folder(read: Read, tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, "\ufeffgrüße".encode())
    assert [item.record for item in read(path)] == [passage(tmp_path, name, 0, "grüße")]


def test_a_text_larger_than_the_blocks_it_is_read_in(read: Read, tmp_path: Path) -> None:
    text = "".join(f"Zeile {n}: Straße, 猫 und 犬.\n" for n in range(20_000))
    items = read(write(tmp_path / "big.txt", text.encode()))
    assert "".join("".join(item.record.text.split()) for item in items) == "".join(text.split())
    assert [item.record.metadata["passage"] for item in items] == list(range(len(items)))


def test_a_text_without_a_single_line_end(read: Read, tmp_path: Path) -> None:
    text = "猫犬" * 20_000
    items = read(write(tmp_path / "one.txt", text.encode()))
    assert "".join(item.record.text for item in items) == text


def test_several_frames_and_members(read: Read, tmp_path: Path) -> None:
    parts = [lines({"id": str(n), "text": "t"}) for n in range(3)]
    gz, zst = tmp_path / "a.jsonl.gz", tmp_path / "a.jsonl.zst"
    gz.write_bytes(b"".join(map(gzip.compress, parts)))
    zst.write_bytes(b"".join(zstd.compress(part) for part in parts))
    assert [i.record.id for i in read(gz)] == [i.record.id for i in read(zst)] == ["0", "1", "2"]


BAD_LINES = {
    b"{": "not JSON: Expecting property name enclosed in double quotes at column 3; JSON lines have one whole object",
    b"nonsense": "not JSON: Expecting value at column 1",
    b'{"id": "a", "text": "x"': "not JSON: Expecting ',' delimiter",
    b"[1, 2]": "not a JSON object, one a line: [1, 2]",
    b'"word"': "not a JSON object",
    b"null": "not a JSON object",
    b"{}": "no field 'text'; it has: none (--text-field names another)",
    b'{"id": "a", "body": "x"}': "no field 'text'; it has: 'id', 'body'",
    b'{"text": null}': "the text must be a string, not None",
    b'{"text": 5}': "the text must be a string, not 5",
    b'{"text": ["x"]}': "the text must be a string, not ['x']",
    b'{"text": "x", "id": null}': "the id must be a string or a whole number, not None",
    b'{"text": "x", "id": true}': "the id must be a string or a whole number, not True",
    b'{"text": "x", "id": 1.0}': "the id must be a string or a whole number, not 1.0",
    b'{"text": "x", "id": ""}': "the id is empty",
    b'{"text": "x", "id": {}}': "the id must be a string or a whole number, not {}",
    b'{"text": "x", "n": NaN}': "not JSON: NaN is not a JSON value",
    b'{"text": "x", "n": -Infinity}': "not JSON: -Infinity is not a JSON value",
    b'{"text": "x", "n": 1e999}': "metadata is not JSON",
    b'{"text": "\\ud800"}': "half a surrogate pair",
    b'{"text": "x", "id": "\\udfff"}': "half a surrogate pair",
    b'{"text": "x", "k": "\\udfff"}': "metadata is not JSON",
    b'{"text": "gr\xfc\xdfe"}': "not UTF-8: byte 0xfc at column 13",
    b'{"text": "x", "deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}": "nested deeper than 100 levels",
    b'{"text": "x", "n": ' + b"1" * 5000 + b"}": "not JSON: Exceeds the limit",
}


@pytest.mark.parametrize("line, reason", BAD_LINES.items(), ids=range(len(BAD_LINES)))
def test_a_bad_line_names_file_line_and_reason(read: Read, tmp_path: Path, line: bytes, reason: str) -> None:
    path = write(tmp_path / "a.jsonl", lines({"text": "good"}) + b"\n" + line + b"\n" + lines({"text": "also good"}))
    with pytest.raises(InvalidRecord) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:3: ")
    assert reason in message
    assert "--skip-bad" in message
    assert len(message) < 600

    rejects = Rejects(skip=True)
    assert [item.record.text for item in read(path, rejects=rejects)] == ["good", "also good"]
    assert (rejects.count, len(rejects.reasons)) == (1, 1)


def test_an_id_field_that_was_named_must_be_there(read: Read, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", lines({"text": "x", "id": "a"}))
    with pytest.raises(InvalidRecord, match=r"a.jsonl:1: no field 'uid' for the id; it has: 'text', 'id'"):
        read(path, fields=Fields("uid"))


BAD_ROWS = {
    b"b,two,x": "3 cells, but the header has 2",
    b"b": "1 cells, but the header has 2",
    b'b,"x"y': "not CSV",
    b"b,gr\xfc\xdfe": "not UTF-8",
    b",two": "the id is empty",
}


@pytest.mark.parametrize("row, reason", BAD_ROWS.items())
def test_a_bad_row_names_file_line_and_reason(read: Read, tmp_path: Path, row: bytes, reason: str) -> None:
    path = write(tmp_path / "a.csv", b'id,text\na,"one\nand\nmore"\n' + row + b"\nc,three\n")
    with pytest.raises(InvalidRecord) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:5: {reason}")

    rejects = Rejects(skip=True)
    assert [item.record.id for item in read(path, rejects=rejects)] == ["a", "c"]
    assert rejects.count == 1


def test_a_csv_with_an_unclosed_quote(read: Read, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b'id,text\na,one\nb,"two\nc,three\n')
    with pytest.raises(InvalidRecord, match=r"a.csv:3: not CSV: unexpected end of data"):
        read(path)


@pytest.mark.parametrize(
    "header, reason",
    [
        (b"id,body", "no column 'text'; it has: 'id', 'body'"),
        (b"text,text", "two columns are named 'text'"),
        (b"text,gr\xfc", "not UTF-8"),
        (b"id;text", "no column 'text'; it has: 'id;text'"),
    ],
)
def test_a_bad_header_is_not_skipped(read: Read, tmp_path: Path, header: bytes, reason: str) -> None:
    path = write(tmp_path / "a.csv", header + b"\na,b\n")
    with pytest.raises(InvalidInput, match=reason) as caught:
        read(path, rejects=Rejects(skip=True))
    assert str(caught.value).startswith(f"{path}:1: ")


@pytest.mark.parametrize(
    "table, reason",
    [
        ({"text": ["x", None]}, ", row 2: the text must be a string, not None"),
        ({"text": ["x", "y"], "id": ["a", None]}, ", row 2: the id must be a string or a whole number, not None"),
        ({"text": ["x", "y"], "raw": [None, b"\0"]}, ", row 2: a column holds bytes"),
        ({"text": ["x", "y"], "f": [1.0, math.inf]}, ", row 2: "),
        ({"text": ["x", "y"], "t": [None, datetime.timedelta(1)]}, ", row 2: a column holds timedelta"),
    ],
)
def test_a_bad_parquet_row(read: Read, tmp_path: Path, table: dict[str, Any], reason: str) -> None:
    path = write(tmp_path / "a.parquet", as_parquet(table))
    with pytest.raises(InvalidRecord) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}{reason}")
    assert len(read(path, rejects=Rejects(skip=True))) == 1


@pytest.mark.parametrize("fields, column", [(Fields(), "text"), (Fields("uid", "body"), "uid")])
def test_a_parquet_without_a_column(read: Read, tmp_path: Path, fields: Fields, column: str) -> None:
    path = write(tmp_path / "a.parquet", as_parquet({"body": ["x"]}))
    with pytest.raises(InvalidInput, match=f"no column '{column}'; it has: 'body'"):
        read(path, fields=fields)


@pytest.mark.parametrize("data", [b"PAR1 but not for long", b"\0" * 100, "truncated", "damaged"])
def test_a_damaged_parquet(read: Read, tmp_path: Path, data: bytes | str) -> None:
    whole = as_parquet({"text": [f"text {n}" for n in range(2000)]})
    damaged = whole[:50] + b"\xff" * 200 + whole[250:]
    content = {"truncated": whole[: len(whole) // 2], "damaged": damaged}[data] if isinstance(data, str) else data
    path = write(tmp_path / "a.parquet", content)
    with pytest.raises(InvalidInput, match="cannot read .*a.parquet as Parquet: "):
        read(path)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.csv.gz", "a.csv.zst", "a.txt.zst", "a.parquet.zst"])
@pytest.mark.parametrize("harm", ["truncated", "no magic", "one byte"])
def test_a_damaged_compressed_file(read: Read, tmp_path: Path, name: str, harm: str) -> None:
    data = lines(*({"text": hashlib.sha256(bytes([n])).hexdigest()} for n in range(200)))
    if ".csv" in name:
        data = b"text\n" + data.replace(b'"', b"").replace(b",", b"")
    path = write(tmp_path / name, data)
    content = path.read_bytes()
    harmed = {"truncated": content[: len(content) // 2], "no magic": b"{" + content, "one byte": content[:1]}
    path.write_bytes(harmed[harm])
    with pytest.raises(InvalidInput, match="cannot read"):
        read(path, rejects=Rejects(skip=True))


def test_what_is_not_there_is_named_before_anything_is_read(read: Read, tmp_path: Path) -> None:
    good = write(tmp_path / "good.jsonl", lines({"text": "x"}))
    for name, reason in [
        (tmp_path / "gone.jsonl", "no such file or folder: .*gone.jsonl"),
        (write(tmp_path / "empty.jsonl", b""), "empty.jsonl is empty"),
        (write(tmp_path / "a.xml", b"<a/>"), "cannot tell the format of .*a.xml; known suffixes: .jsonl, .*.parquet"),
        (write(tmp_path / "plain", b"x"), "cannot tell the format of .*plain"),
        (write(tmp_path / "b.gz", b"x"), "cannot tell the format of .*b.gz"),
    ]:
        with pytest.raises(InvalidInput, match=reason):
            Sources([str(good), str(name)], Fields(), Rejects())
    with pytest.raises(InvalidInput, match="once only"):
        Sources(["-", "-"], Fields(), Rejects())


@pytest.mark.parametrize(
    "name, data",
    [("a.jsonl", b"\n \n"), ("a.csv", b"text\n"), ("a.csv", b"\n"), ("a.txt", b" \n"), ("a.jsonl.gz", b"")],
)
def test_a_source_without_records(read: Read, tmp_path: Path, name: str, data: bytes) -> None:
    path = write(tmp_path / name, data)
    with pytest.raises(InvalidInput, match=f"{name} holds no record"):
        read(path)


def test_a_parquet_file_without_rows(read: Read, tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", as_parquet({"text": arrow.array([], arrow.string())}))
    with pytest.raises(InvalidInput, match="holds no record"):
        read(path)


def test_a_folder_without_texts_and_an_empty_standard_input(
    read: Read, tmp_path: Path, give: Callable[[bytes], None]
) -> None:
    with pytest.raises(InvalidInput, match=r"holds no record|looked for .txt, .md"):
        read(tmp_path)
    give(b"")
    with pytest.raises(InvalidInput, match="standard input holds no record"):
        read("-")


def test_a_closed_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(InvalidInput, match="is closed"):
        Sources(["-"], Fields(), Rejects())


def test_a_text_that_is_not_utf8(read: Read, tmp_path: Path) -> None:
    write(tmp_path / "docs/a.txt", b"fine")
    bad_file = write(tmp_path / "docs/b.txt", b"one\ntwo gr\xfc\xdfe\n")
    with pytest.raises(InvalidRecord, match=f"{bad_file}: not UTF-8: byte 0xfc in line 2"):
        read(tmp_path / "docs")
    rejects = Rejects(skip=True)
    assert [item.record.text for item in read(tmp_path / "docs", rejects=rejects)] == ["fine"]
    assert rejects.count == 1


def test_a_file_that_may_not_be_read(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.mkdir()
    (path / "x.txt").symlink_to(tmp_path / "gone")
    with pytest.raises(JinavecError, match="no such file or folder: .*x.txt"):
        read(path)


def test_a_zstd_window_as_large_as_the_tool_writes(read: Read, tmp_path: Path) -> None:
    data = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 28})
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(data.compress(lines({"text": "x"})) + data.flush())
    assert len(read(path)) == 1
