"""Fill a Qdrant collection and search it: in a local folder, without a server, or on any server you name.

pip install '.[qdrant,static]'
python examples/qdrant_collection/collection.py
python examples/qdrant_collection/collection.py --to qdrant:http://localhost:6333/notes --preset binary
"""

from __future__ import annotations

import argparse
import tempfile

from jinavec import Encoder, Record, open_engine
from jinavec_integrations.qdrant import QdrantOptions

NOTES = [
    ("oven", "The cat sleeps on the stove.", {"topic": "cats", "year": 2021}),
    ("milk", "Kittens drink milk in the morning.", {"topic": "cats", "year": 2024}),
    ("port", "Ships anchor in the harbor.", {"topic": "ships", "year": 2019}),
    ("wind", "The sailing boat waits for wind.", {"topic": "ships", "year": 2024}),
]


def main() -> None:
    """Index the notes, twice, and search."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", help="a target such as qdrant:http://localhost:6333/notes")
    parser.add_argument("--preset", default="scalar")
    parser.add_argument("--model", default="wordllama-256")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Encoder.load(given.model) as encoder:
        options = QdrantOptions(preset=given.preset, payload_indexes={"year": "integer"})
        with open_engine(given.to or f"qdrant:{folder}/notes", encoder=encoder, options=options) as index:
            records = [Record(id, text, metadata) for id, text, metadata in NOTES]
            for _ in range(2):  # the second ingest embeds nothing
                done = index.ingest(records)
                print(f"stored={done.stored}, unchanged={done.unchanged}")
            for question, condition in [("where does the cat sleep?", None), ("boats", {"year": {"gte": 2020}})]:
                print(f"\n{question} {condition or ''}")
                for hit in index.search(question, k=2, filter=condition):
                    print(f"{hit.score:.3f} {hit.record.id}: {hit.record.text}")


if __name__ == "__main__":
    main()
