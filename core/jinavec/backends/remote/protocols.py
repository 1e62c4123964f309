"""The protocols of model servers: what each says about model, task and role."""

from __future__ import annotations

from jinavec.backends.remote.backend import RemoteBackend
from jinavec.backends.remote.http import ServerAccess
from jinavec.errors import InvalidInput
from jinavec.settings import EncoderSettings
from jinavec.tasks import Role, Task, prompt_name
from jinavec.wire import cohere, jina, ollama, openai, tei
from jinavec.wire.messages import EmbedRequest

VENDOR = "api.jina.ai"


class JinaBackend(RemoteBackend):
    """Jina API, and jina-on-prem: task and role go along, the server adds the prefix."""

    name = "jina"
    codec = jina.CODEC
    vendor = f"https://{VENDOR}"
    verifies = False

    @property
    def checks_prefix(self) -> bool:
        """Not at the vendor's address."""
        return self.host != VENDOR

    def connect(self, settings: EncoderSettings, api_key: str | None) -> ServerAccess:
        """Read who is to be asked, and with which key; the vendor adds the prefix, whatever the options say."""
        access = super().connect(settings, api_key)
        if access.host == VENDOR and not self.adds_prompt:
            raise InvalidInput(f"{VENDOR} adds the prefix of every text itself: leave out adds_prompt=False")
        return access

    def ask(self, task: Task, role: Role) -> EmbedRequest:
        """Name model, task and role."""
        return EmbedRequest(texts=(), model=self.model, task=task, role=role, normalized=True)


class OpenAIBackend(RemoteBackend):
    """Whatever speaks OpenAI's protocol, vLLM and llama-server first: prefix and width are made here."""

    name = "openai"
    codec = openai.CODEC
    vendor = "https://api.openai.com"


class TeiBackend(RemoteBackend):
    """Text Embeddings Inference: the prefix by its name, one a request."""

    name = "tei"
    codec = tei.CODEC
    trusts_names = False

    def ask(self, task: Task, role: Role) -> EmbedRequest:
        """Name the prefix."""
        name = prompt_name(task, role, self.profile) if self.adds_prompt else None
        return EmbedRequest(texts=(), role=name, normalized=True)

    def ask_plainly(self) -> EmbedRequest | None:
        """Name none."""
        return EmbedRequest(texts=(), normalized=True)


class OllamaBackend(RemoteBackend):
    """Ollama: prefix and width are made here."""

    name = "ollama"
    codec = ollama.CODEC
    vendor = "http://localhost:11434"
    trusts_names = False


class CohereBackend(RemoteBackend):
    """Cohere's protocol: at Cohere with the task in its words, elsewhere (vLLM) with the prefix by its name."""

    name = "cohere"
    codec = cohere.CODEC
    vendor = "https://api.cohere.com"

    def ask(self, task: Task, role: Role) -> EmbedRequest:
        """Name model and role."""
        if self.host == "api.cohere.com":
            return EmbedRequest(texts=(), model=self.model, task=task, role=role)
        name = prompt_name(task, role, self.profile) if self.adds_prompt else None
        return EmbedRequest(texts=(), model=self.model, role=name)

    def ask_plainly(self) -> EmbedRequest | None:
        """Name no role."""
        return None if self.host == "api.cohere.com" else EmbedRequest(texts=(), model=self.model)
