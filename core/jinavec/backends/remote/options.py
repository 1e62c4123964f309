"""RemoteOptions: how a server is used; ElasticsearchInferenceOptions: also, how Elasticsearch is reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from jinavec.errors import InvalidInput
from jinavec.http_client import check_headers


@dataclass(frozen=True, kw_only=True)
class RemoteOptions:
    """How a server is used.

    Raises:
        InvalidInput: a number that is not more than 0, or a header that no request carries.
    """

    batch: int | None = None
    """The most texts a request; by default what servers of the protocol take. A slow server gets fewer."""
    concurrency: int = 16
    """The most requests at once; it begins with one, and a server that does not gain by more gets fewer."""
    timeout: float = 60.0
    """Seconds for one answer; then its texts are sent again, half as many in a request."""
    deadline: float = 180.0
    """Seconds for one request with all its retries; and how long a server may answer nothing at all before a call is
    given up."""
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
    headers: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    """Headers of every request, such as those of a proxy; never stored."""
    ca_certs: str | None = None
    """File of the certificates of a private authority; by default that of JINAVEC_CA_CERTS."""
    client_cert: str | None = None
    """File of the certificate that shows who the client is; by default that of JINAVEC_CLIENT_CERT."""
    client_key: str | None = None
    """File of its key, where that is another one; by default that of JINAVEC_CLIENT_KEY."""

    def __post_init__(self) -> None:
        for name in ("batch", "concurrency", "timeout", "deadline", "requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InvalidInput(f"option {name} must be more than 0, not {value!r}")
        check_headers(self.headers)


@dataclass(frozen=True, kw_only=True)
class OllamaOptions(RemoteOptions):
    """How Ollama is used, and how it runs the model.

    Raises:
        InvalidInput: a number that is not more than 0.
    """

    num_ctx: int | None = None
    """Tokens of context that it makes room for; by default what the model was pulled with. Longer texts are refused."""
    keep_alive: str | int | None = None
    """How long it keeps the model in memory, such as ``"10m"`` or seconds; -1: always."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_ctx is not None and self.num_ctx < 1:
            raise InvalidInput(f"option num_ctx must be more than 0, not {self.num_ctx!r}")


@dataclass(frozen=True, kw_only=True)
class ElasticsearchInferenceOptions(RemoteOptions):
    """How Elasticsearch's inference API is reached, and used."""

    cloud_id: str = ""
    """An Elastic Cloud deployment, in place of ``url``."""
    client: object = field(default=None, repr=False)
    """An ``Elasticsearch`` client of one's own, in place of an address; it stays open, and is never stored."""
