"""Fill an Elasticsearch index from a stream of records, resume, and search it with a filter.

Needs a server (``docker compose up --wait`` in this folder) and ``pip install '.[elasticsearch,static]'``.
"""

import os
from collections.abc import Iterator

from jinavec import Encoder, Record, open_engine
from jinavec_integrations.elasticsearch import ElasticsearchIndex, ElasticsearchOptions

SERVER = os.environ.get("ELASTICSEARCH_URL", "http://localhost:9200")
PLACES = ["stove", "harbour", "garden", "station", "library"]
ANIMALS = ["cat", "dog", "gull", "hedgehog"]


def records() -> Iterator[Record]:
    """Yield records one by one; a real source would be a file or a database."""
    for number in range(2000):
        animal, place = ANIMALS[number % 4], PLACES[number // 4 % 5]
        text = f"Report {number}: a {animal} was seen near the {place}."
        yield Record(f"report-{number}", text, {"animal": animal, "number": number})


def main() -> None:
    """Ingest twice and search."""
    encoder = Encoder.load("wordllama-256")
    options = ElasticsearchOptions(storage="bit")  # packed sign bits, rescored with floats
    with open_engine(f"elasticsearch:{SERVER}/jinavec-example-ingest", encoder=encoder, options=options) as index:
        assert isinstance(index, ElasticsearchIndex)
        first = index.ingest(records(), progress=lambda progress: print(f"{progress.done} records"))
        again = index.ingest(records())  # what is stored unchanged is not embedded again
        print(f"stored {first.stored}, and {again.stored} the second time")
        for hit in index.search("a bird by the sea", k=3, filter={"number": {"lt": 1000}}):
            print(f"{hit.score:.3f}  {hit.record.id}  {hit.record.text}")
        index.client.indices.delete(index="jinavec-example-ingest")


if __name__ == "__main__":
    main()
