"""A search service: FastAPI over any engine, whose event loop never waits for the index or the model.

``pip install '.[server,elasticsearch]'`` in the checkout, then ``fastapi run`` or ``uvicorn app:app`` in this folder.
``JINAVEC_TARGET`` names the index, such as elasticsearch:http://localhost:9200/notes; by default it is a folder here.
``python app.py`` stores and asks once, without a server.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from jinavec import Encoder, Record, open_engine

TARGET = os.environ.get("JINAVEC_TARGET", "faiss:notes-index")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Hold the index open while the service runs."""
    app.state.index = open_engine(TARGET, encoder=Encoder.load("lexical"))
    yield
    await app.state.index.aclose()


app = FastAPI(lifespan=lifespan)


@app.post("/notes")
async def store(notes: list[dict[str, Any]]) -> dict[str, int]:
    """Store notes: id, text, and whatever else as metadata."""
    records = [Record(str(note.pop("id")), note.pop("text"), note) for note in notes]
    ingested = await app.state.index.aingest(records)
    return {"stored": ingested.stored, "unchanged": ingested.unchanged}


@app.get("/search")
async def search(question: str, k: int = 5) -> list[dict[str, Any]]:
    """Return the notes that are nearest to a question."""
    hits = await app.state.index.asearch(question, k)
    return [{"id": hit.record.id, "text": hit.record.text, "score": hit.score} for hit in hits]


async def main() -> None:
    """Store two notes and ask for one, as requests do."""
    async with lifespan(app):
        notes = [{"id": 1, "text": "The cat sleeps on the stove."}, {"id": 2, "text": "Ships lie in the harbour."}]
        print(await store(notes))
        print(await search("where does the cat sleep?", k=1))


if __name__ == "__main__":
    asyncio.run(main())
