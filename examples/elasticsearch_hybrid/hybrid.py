"""Search by words and by meaning at once: what only one of them finds, the fusion finds too.

Needs a server (``docker compose up --wait`` in this folder) and ``pip install '.[elasticsearch,static]'``. Where
the server's license has no rrf or linear retriever, the same fusion is done here.
"""

import os

from jinavec import Encoder, Record, open_engine
from jinavec_integrations.elasticsearch import ElasticsearchIndex

SERVER = os.environ.get("ELASTICSEARCH_URL", "http://localhost:9200")
TEXTS = {
    "E-4711": "Error E-4711: the pump does not start.",
    "E-4712": "Error E-4712: the valve is stuck.",
    "noise": "The machine is loud and shakes while it runs.",
    "start": "Nothing happens when I press the button to switch the device on.",
    "price": "How much does a new filter cost?",
}


def main() -> None:
    """Ask two questions three ways."""
    encoder = Encoder.load("wordllama-256")
    with open_engine(f"elasticsearch:{SERVER}/jinavec-example-hybrid", encoder=encoder) as index:
        assert isinstance(index, ElasticsearchIndex)
        index.add([Record(id, text) for id, text in TEXTS.items()])
        for question in ("E-4712", "my machine will not turn on"):
            print(question)
            print("  by meaning:", [hit.record.id for hit in index.search(question, k=3)])
            for fusion in ("rrf", "linear"):
                print(f"  by {fusion}:", [hit.record.id for hit in index.hybrid(question, k=3, fusion=fusion)])
        index.client.indices.delete(index="jinavec-example-hybrid")


if __name__ == "__main__":
    main()
