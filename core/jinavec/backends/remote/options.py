"""RemoteOptions: how a server is used; ElasticsearchInferenceOptions: also, how Elasticsearch is reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from jinavec.errors import InvalidInput


@dataclass(frozen=True, kw_only=True)
class RemoteOptions:
    """How a server is used.

    Raises:
        InvalidInput: a number that is not more than 0.
    """

    batch: int | None = None
    """Texts a request; by default what servers of the protocol take."""
    concurrency: int = 16
    """Requests at once."""
    timeout: float = 60.0
    """Seconds for one answer."""
    deadline: float = 180.0
    """Seconds for one request with all its retries."""
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    """Tokens are not counted here, but guessed: three bytes each, which is more than there are."""
    encoding: Literal["float", "base64"] | None = None
    """How vectors travel; by default base64 where the protocol has it."""
    narrow: Literal["local", "server"] = "local"
    """Who truncates vectors to the Matryoshka dimension; both give the same, the server's way is fewer bytes."""
    adds_prompt: bool | None = None
    """Whether the server adds the prefix; by default what servers of the protocol do."""
    verify: bool | None = None
    """Whether to check on first use, by at most four small requests, that the server gives the model's own vectors. By
    default ``openai``, ``tei``, ``ollama`` and ``cohere`` do for a model with golden values, as v5 is, once a process
    for each address, served name and task; ``jina`` away from the vendor's address compares the two prefixes."""

    def __post_init__(self) -> None:
        for name in ("batch", "concurrency", "timeout", "deadline", "requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InvalidInput(f"option {name} must be more than 0, not {value!r}")


@dataclass(frozen=True, kw_only=True)
class ElasticsearchInferenceOptions(RemoteOptions):
    """How Elasticsearch's inference API is reached, and used."""

    cloud_id: str = ""
    """An Elastic Cloud deployment, in place of ``url``."""
    client: object = field(default=None, repr=False)
    """An ``Elasticsearch`` client of one's own, in place of an address; it stays open, and is never stored."""
