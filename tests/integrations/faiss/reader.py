"""A reader of FAISS binary indexes that was written from FORMAT.md alone; it knows nothing of jinavec."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def read(folder: Path) -> Iterator[tuple[str, str, dict[str, Any], Array, Array | None]]:
    """Yield (id, text, metadata, packed bits, int8 vector or None) of the live records, in the order of docids."""
    with closing(sqlite3.connect(folder / "records.sqlite", isolation_level=None)) as database:
        for _ in range(10):
            database.execute("BEGIN")
            docids, purged, generation, id = database.execute("SELECT rows, gone, generation, id FROM state").fetchone()
            try:
                codes, vectors, places = files(folder, generation, docids - purged, id, purged)
            except (FileNotFoundError, StopIteration):  # a compaction has just ended
                database.execute("ROLLBACK")
                continue
            for docid, *texts, metadata in database.execute("SELECT row, id, text, metadata FROM records ORDER BY row"):
                slot = places[docid] if docid < len(places) else docid - purged
                yield *texts, json.loads(metadata), codes[slot], None if vectors is None else vectors[slot]
            return
    raise FileNotFoundError(f"{folder} lacks files of the generation that counts")


def files(folder: Path, generation: int, slots: int, id: str, purged: int) -> tuple[Array, Array | None, Array]:
    found = (read_manifest(folder / name) for name in ("manifest.json", "manifest.json.next"))
    manifest = next(manifest for manifest in found if manifest["generation"] == generation)
    counts, dimension = manifest["counts"], manifest["contract"]["dimension"]
    assert (manifest["id"], counts["purged" if manifest["version"] == 4 else "gone"]) == (id, purged)
    width, suffix = -(-dimension // 8), f".{generation}" if generation else ""
    codes = np.fromfile(folder / f"codes{suffix}.faiss", "u1", slots * width, offset=33).reshape(slots, width)
    places = np.fromfile(folder / f"places{suffix}.int64", "<i8") if generation else np.empty(0, "<i8")
    if manifest["vectors"] == "none":
        return codes, None, places
    vectors = np.fromfile(folder / f"vectors{suffix}.int8", "i1", slots * dimension, offset=4096)
    return codes, vectors.reshape(slots, dimension), places


def read_manifest(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text("utf-8"))
    checksum = content.pop("checksum")
    assert hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest() == checksum, f"{path} is damaged"
    return content


def search(folder: Path, query: Array, k: int) -> list[tuple[str, float]]:
    """Return (id, cosine) of the best k, exactly: to the int8 vectors, or to the bits as +1 and -1."""
    ids, _, _, bits, int8 = zip(*read(folder), strict=True)
    found = np.unpackbits(bits, axis=1, count=len(query)) * 2.0 - 1 if int8[0] is None else np.array(int8, float)
    scores = found @ query / np.linalg.norm(found, axis=1) / np.linalg.norm(query)
    return [(ids[n], scores.tolist()[n]) for n in np.argsort(-scores, kind="stable")[:k]]
