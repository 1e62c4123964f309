"""Remote backends: texts to full-width vectors through a server, over any codec of ``wire``.

One piece of logic serves all protocols and both doors: batches run side by side on one background event loop, which
keeps the connections; ``embed`` waits for it in the caller's thread, ``aembed`` awaits it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, Self

from jinavec.backends.base import Backend, Overflow, Report
from jinavec.backends.remote.api_keys import find_key, key_variable
from jinavec.backends.remote.event_loop import Closed, LoopThread
from jinavec.backends.remote.http import Address, Answer, HttpTransport, Transport, read_address
from jinavec.backends.remote.run import Call, Carried, open_session
from jinavec.errors import InvalidInput, ModelError, ServerError, TextTooLong
from jinavec.extras import require
from jinavec.models import ModelProfile
from jinavec.options import read_options
from jinavec.settings import EncoderSettings
from jinavec.tasks import Role, Task, prompt_name
from jinavec.vectors import Float32
from jinavec.wire import cohere, jina, ollama, openai, tei
from jinavec.wire.messages import EmbedRequest, Reason, ServerTraits, WireError


@dataclass(frozen=True, kw_only=True)
class RemoteOptions:
    """How a server is used.

    Raises:
        InvalidInput: a number that cannot be meant.
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
    """Who cuts vectors to the dimension; both give the same, the server's way is fewer bytes."""
    adds_prompt: bool | None = None
    """Whether the server adds the prefix; by default what servers of the protocol do."""
    verify: bool = False
    """Whether to check on first use, by a few small requests, that prefixes and pooling are right."""

    def __post_init__(self) -> None:
        for name in ("batch", "concurrency", "timeout", "deadline", "requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InvalidInput(f"option {name} must be more than 0, not {value!r}")


class RemoteBackend(Backend):
    """Embeds through a server; a subclass is a protocol."""

    codec: ClassVar[Any]
    """A module of ``wire``."""
    vendor: ClassVar[str] = ""
    """The address used without ``url``."""
    trusts_names: ClassVar[bool] = True
    """Whether servers of the protocol name the model they serve, and not a file or a tag."""
    options_type: ClassVar[type[RemoteOptions]] = RemoteOptions
    overflow: Overflow = "error"

    def __init__(self, settings: EncoderSettings, api_key: str | None = None) -> None:
        """Read the settings; nothing is sent before the first text.

        Raises:
            InvalidInput: an address, key or option that cannot be used.
            MissingExtra: the client's library is not installed.
        """
        for name in ("source", "revision"):
            if getattr(settings, name):
                raise InvalidInput(f"backend {self.name!r} runs on a server and takes no {name}")
        self.profile = settings.profile
        self.options = read_options(self.options_type, settings.options)
        self.served_as = settings.served_as
        self.model = settings.served_as or self.own_name(settings.profile)
        self.adds_prompt = self.traits.adds_prompt if self.options.adds_prompt is None else self.options.adds_prompt
        self.known = False
        """Whether a server has answered, as the right model."""
        self.verified = not self.options.verify
        if self.options.narrow == "server":
            if not self.traits.narrows:
                raise InvalidInput(f"backend {self.name!r} cannot ask for a dimension: leave narrow='local'")
            self.narrowed = settings.dimension
        self._check_overflow(settings.overflow or self.overflow)
        open_transport = self.connect(settings, api_key)
        self._loop = LoopThread(partial(open_session, open_transport, self.options), f"jinavec-{self.name}")
        weakref.finalize(self, self._loop.close)

    @classmethod
    def load(cls, settings: EncoderSettings, api_key: str | None) -> Self:
        """Return the backend of settings; raises as the constructor does."""
        return cls(settings, api_key)

    @property
    def traits(self) -> ServerTraits:
        """What servers of the protocol do by themselves."""
        return self.codec.SERVER

    def embed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        """Embed texts that already carry their prompt (unless ``adds_prompt``).

        Returns:
            float32 (n, width), in the order of the texts; any length.

        Raises:
            TextTooLong: the server refuses a text for its length.
            ServerError: it failed, refused, or cannot be reached; says how many texts were done before.
            ModelError: it serves another model, by its name or its width.
        """
        call = self._call(texts, task, role, report)
        with self._failures(call):
            future = self._loop.submit(call.run)
            try:
                future.result()
            except BaseException:  # also Ctrl-C
                future.cancel()
                raise
        return call.finish()

    async def aembed(self, texts: Sequence[str], *, task: Task, role: Role, report: Report | None = None) -> Float32:
        """``embed`` without blocking the event loop."""
        call = self._call(texts, task, role, report)
        with self._failures(call):
            future = await asyncio.to_thread(self._loop.submit, call.run)
            done = asyncio.wrap_future(future)
            await asyncio.gather(done, return_exceptions=True)  # cancels the call when its caller is cancelled
            future.result()
        return call.finish()

    def close(self) -> None:
        """Cancel what runs and close the connections."""
        self._loop.close()

    def ask(self, task: Task, role: Role) -> dict[str, Any]:
        """Return what a request says about model, task and role, as fields of EmbedRequest."""
        return {"model": self.model}

    def ask_plainly(self) -> dict[str, Any] | None:
        """Return ``ask`` for texts that bring their prefix along; None where the server always adds one."""
        return None

    def request(self, texts: Sequence[str], ask: dict[str, Any], overflow: Overflow) -> EmbedRequest:
        """Return the request for texts."""
        said = dict(ask)
        if self.traits.truncates:
            said["truncate"] = overflow == "truncate"
        if self.narrowed is not None:
            said["dimension"] = self.narrowed
        encoding = self.options.encoding or ("base64" if self.traits.base64 else "float")
        return EmbedRequest(texts=tuple(texts), encoding=encoding, **said)

    def check(self, answer: Answer, task: Task, notes: list[str]) -> None:
        """Refuse the vectors of another model; what is only odd goes to the notes.

        Raises:
            ModelError: another width or another model.
        """
        given, width = answer.reply.width, self.narrowed or self.profile.width
        if given != width:
            raise ModelError(
                f"{self.host} gives vectors of width {given}, where {self.profile.name} should give {width}:"
                " is it another model?"
            )
        if not self.known:
            self._check_name(answer, task, notes)
            if answer.reply.encoding not in ("float", "base64"):
                notes.append(f"{self.host} gives vectors as {answer.reply.encoding}, which is less than float32")
            self.known = True

    def own_name(self, profile: ModelProfile) -> str:
        """Return the model's name on a server; one that picks the task itself knows no merged models."""
        return profile.base if profile.base and self.traits.applies_task else profile.name

    def connect(
        self, settings: EncoderSettings, api_key: str | None
    ) -> Callable[[], AbstractAsyncContextManager[Transport]]:
        """Read address and key, and return what opens the transport.

        That holds no reference to the backend, which can so be collected while its loop still runs.
        """
        if not (settings.url or self.vendor):
            raise InvalidInput(f"backend {self.name!r} needs the address of its server: url='http://host:port'")
        require("httpx2", "remote")
        address: Address = read_address(settings.url or self.vendor, self.traits.path)
        self.host = address.host
        self._variable = key_variable(address.url)
        self._secrets = [find_key(address.url, api_key), *(address.user or ())]
        return partial(HttpTransport.open, self.codec, address, self._secrets[0], self.options.concurrency)

    def _call(self, texts: Sequence[str], task: Task, role: Role, report: Report | None) -> Call:
        report = report or Report(self.overflow)
        self._check_overflow(report.overflow)
        return Call(self, texts, task, role, report)

    def _check_overflow(self, overflow: Overflow) -> None:
        if overflow == "truncate" and not self.traits.truncates:
            raise InvalidInput(f"backend {self.name!r} cannot ask its server to truncate: use overflow='error'")

    def _check_name(self, answer: Answer, task: Task, notes: list[str]) -> None:
        name = answer.reply.model
        base = self.profile.base or self.profile.name
        known = (self.model, self.profile.name, base, f"{base}-{task}")
        if not name or _plain_name(name) in map(_plain_name, known):
            return
        message = (
            f"{self.host} says that it serves {name!r}, not {self.model!r}; if it is the same, give served_as={name!r}"
        )
        if self.trusts_names and not answer.server:
            raise ModelError(message)
        notes.append(message)

    @contextmanager
    def _failures(self, call: Call) -> Generator[None]:
        """Raise what went wrong on the loop in our own words."""
        try:
            yield
        except Carried as carried:
            raise carried.original from None
        except (concurrent.futures.CancelledError, Closed) as error:
            raise ServerError(
                f"the encoder of {self.profile.name} is closed", server=self.host, done=call.done
            ) from error
        except WireError as error:
            raise self._error(error, call) from error

    def _error(self, error: WireError, call: Call) -> Exception:
        said = error.message
        for secret in filter(None, self._secrets):
            said = said.replace(secret, "***")
        did = f"refused with status {error.status}" if error.status >= 300 else "failed"
        code = f" [{error.code}]" if error.code.isupper() else ""
        done = f"{call.done} of {len(call.texts)} texts were done before"
        message = f"{self.host} {did}: {said}{code}{self._advice(error)} ({done})"
        if error.reason is Reason.TEXT_TOO_LONG:
            return TextTooLong(message)
        return ServerError(message, server=self.host, status=error.status, said=said, done=call.done)

    def _advice(self, error: WireError) -> str:
        if "physical batch size" in error.message:
            return "; start llama-server with -ub and -b of at least the tokens of the longest text, such as -ub 8192"
        match error.reason:
            case Reason.TEXT_TOO_LONG:
                return "; split the text" + (" or use overflow='truncate'" if self.traits.truncates else "")
            case Reason.UNAUTHORIZED if not self._secrets[0]:
                return f"; no key was sent: give api_key= or set {self._variable}"
            case Reason.NOT_FOUND:
                return f"; asked for {self.model!r}: give the model's name on this server as served_as="
            case _:
                return ""


class JinaBackend(RemoteBackend):
    """Jina API, and jina-on-prem: task and role go along, the server adds the prefix."""

    name = "jina"
    codec = jina
    vendor = "https://api.jina.ai"

    def ask(self, task: Task, role: Role) -> dict[str, Any]:
        """Name model, task and role."""
        return {"model": self.model, "task": task, "role": role, "normalized": True}


class OpenAIBackend(RemoteBackend):
    """Whatever speaks OpenAI's protocol, vLLM and llama-server first: prefix and width are made here."""

    name = "openai"
    codec = openai
    vendor = "https://api.openai.com"


class TeiBackend(RemoteBackend):
    """Text Embeddings Inference: the prefix by its name, one a request."""

    name = "tei"
    codec = tei
    trusts_names = False

    def ask(self, task: Task, role: Role) -> dict[str, Any]:
        """Name the prefix."""
        return {"role": prompt_name(task, role, self.profile) if self.adds_prompt else None, "normalized": True}

    def ask_plainly(self) -> dict[str, Any] | None:
        """Name none."""
        return {"normalized": True}


class OllamaBackend(RemoteBackend):
    """Ollama: prefix and width are made here."""

    name = "ollama"
    codec = ollama
    vendor = "http://localhost:11434"
    trusts_names = False


class CohereBackend(RemoteBackend):
    """Cohere's protocol: at Cohere with the task in its words, elsewhere (vLLM) with the prefix by its name."""

    name = "cohere"
    codec = cohere
    vendor = "https://api.cohere.com"

    def ask(self, task: Task, role: Role) -> dict[str, Any]:
        """Name model and role."""
        if self.host == "api.cohere.com":
            return {"model": self.model, "task": task, "role": role}
        return {"model": self.model, "role": prompt_name(task, role, self.profile) if self.adds_prompt else None}

    def ask_plainly(self) -> dict[str, Any] | None:
        """Name no role."""
        return None if self.host == "api.cohere.com" else {"model": self.model}


def _plain_name(name: str) -> str:
    """Return a model's name without its owner."""
    return name.rpartition("/")[2].lower()
