"""RemoteOptions: how a server is used; ElasticsearchInferenceOptions: also, how Elasticsearch is reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from jinavec.errors import InvalidInput
from jinavec.http_client import check_headers
from jinavec.options import inherit_meanings


@dataclass(frozen=True, kw_only=True)
class RemoteOptions:
    """How a server is used.

    Raises:
        InvalidInput: a number that is not more than 0, or a header that no request carries.

    Attributes:
        batch: The most texts a request; by default what servers of the protocol take. A slow server gets fewer.
        concurrency: The most requests at once; it begins with one, and a server that does not gain by more gets fewer.
        timeout: Seconds for one answer; then its texts are sent again, half as many in a request.
        deadline: Seconds for one request with all its retries; and how long a server may answer nothing at all before a
            call is given up.
        requests_per_minute: The most requests that are begun in a minute; None: no limit.
        tokens_per_minute: The most tokens sent in a minute; None: no limit. Tokens are not counted here, but guessed:
            three bytes each, which is more than they take.
        encoding: How vectors travel; by default base64 where the protocol has it.
        narrow: Who truncates vectors to the Matryoshka dimension; both give the same, the server's way is fewer bytes.
        adds_prompt: Whether the server adds the prefix; by default what servers of the protocol do.
        verify: Whether to check on first use, by at most four small requests, that the server gives the model's own
            vectors. By default ``openai``, ``tei``, ``ollama`` and ``cohere`` do for a model with golden values, as v5
            is, once a process for each address, served name and task; ``jina`` away from the vendor's address compares
            the two prefixes.
        headers: Headers of every request, such as those of a proxy; never stored.
        ca_certs: File of the certificates of a private authority; by default that of JINAVEC_CA_CERTS.
        client_cert: File of the certificate that shows who the client is; by default that of JINAVEC_CLIENT_CERT.
        client_key: File of its key, where that is another one; by default that of JINAVEC_CLIENT_KEY.
    """

    batch: int | None = None
    concurrency: int = 16
    timeout: float = 60.0
    deadline: float = 180.0
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    encoding: Literal["float", "base64"] | None = None
    narrow: Literal["local", "server"] = "local"
    adds_prompt: bool | None = None
    verify: bool | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    ca_certs: str | None = None
    client_cert: str | None = None
    client_key: str | None = None

    def __init_subclass__(cls) -> None:
        inherit_meanings(cls, RemoteOptions)

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

    Attributes:
        num_ctx: Tokens of context that it makes room for; by default what the model was pulled with. Longer texts are
            refused.
        keep_alive: How long it keeps the model in memory, such as ``"10m"`` or seconds; -1: always.
    """

    num_ctx: int | None = None
    keep_alive: str | int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_ctx is not None and self.num_ctx < 1:
            raise InvalidInput(f"option num_ctx must be more than 0, not {self.num_ctx!r}")


@dataclass(frozen=True, kw_only=True)
class ElasticsearchInferenceOptions(RemoteOptions):
    """How Elasticsearch's inference API is reached, and used.

    Attributes:
        cloud_id: An Elastic Cloud deployment, in place of ``url``.
        client: An ``Elasticsearch`` client of one's own, in place of an address; it stays open, and is never stored.
    """

    cloud_id: str = ""
    client: object = field(default=None, repr=False)
