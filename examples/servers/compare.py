"""Embed the same texts through two backends, and compare the vectors."""

from __future__ import annotations

import argparse

from jinavec import Encoder

TEXTS = [
    "Which planet is known as the Red Planet?",
    "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
    "The cat sleeps on the stove.",
    "Ein wunderschöner Sonnenuntergang am Strand",
    "海滩上美丽的日落",
]


def main() -> None:
    """Read the command line, embed, and print the cosines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "backends", nargs=2, metavar="BACKEND[=URL]", help="such as jina, or openai=http://localhost:8000"
    )
    parser.add_argument("--model", default="jina-embeddings-v5-text-small")
    parser.add_argument("--task", help="retrieval by default")
    parser.add_argument("--served-as", help="the model's name on the second backend, if it has another there")
    parser.add_argument("--verify", action="store_true", help="check prefix and pooling of both servers first")
    given = parser.parse_args()
    left, right = (load(given, spec, name) for spec, name in zip(given.backends, (None, given.served_as), strict=True))
    with left, right:
        for role in ("query", "document"):
            cosines = (left.encode(TEXTS, role=role) * right.encode(TEXTS, role=role)).sum(axis=1)
            for text, cosine in zip(TEXTS, cosines, strict=True):
                print(f"{role:8}  {cosine:.4f}  {text}")


def load(given: argparse.Namespace, spec: str, served_as: str | None) -> Encoder:
    """Load the encoder of one backend."""
    backend, _, url = spec.partition("=")
    options = {"verify": True} if given.verify else None
    return Encoder.load(
        given.model, task=given.task, backend=backend, url=url or None, served_as=served_as, options=options
    )


if __name__ == "__main__":
    main()
