"""RemoteBackend: texts to full-width vectors through a server, over any codec of ``wire``.

One piece of logic serves all protocols and both doors: batches run side by side on one background event loop, which
keeps the connections; ``embed`` waits for it in the caller's thread, ``aembed`` awaits it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
import unicodedata
import weakref
from collections.abc import Awaitable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

import numpy as np

from jinavec.backends.base import Backend, Overflow, Report
from jinavec.backends.remote.api_keys import find_key, key_variable
from jinavec.backends.remote.batches import Batches, CallbackFailed
from jinavec.backends.remote.bound_address import refuse_bound_address
from jinavec.backends.remote.cuts import is_cut
from jinavec.backends.remote.event_loop import Closed, EventLoop
from jinavec.backends.remote.http import TLS_PREFIX, Answer, HttpTransport, ServerAccess, read_address
from jinavec.backends.remote.options import RemoteOptions
from jinavec.backends.remote.refused import NEVER_TRUNCATES, Refused
from jinavec.backends.remote.session import Session, open_session
from jinavec.backends.remote.verifier import Verifier
from jinavec.backends.verification import Verification
from jinavec.errors import InvalidInput, ModelError, ServerError, TextTooLong, UnknownTask, warn
from jinavec.extras import require
from jinavec.http_client import tls_context, warn_of_clear_text
from jinavec.models import ModelProfile
from jinavec.names import contradiction
from jinavec.options import read_options
from jinavec.settings import EncoderSettings
from jinavec.tasks import Role, Task, prompt
from jinavec.vectors import Float32
from jinavec.wire.codec import Codec
from jinavec.wire.messages import EmbedReply, EmbedRequest, Reason, ServerTraits, WireError


class RemoteBackend(Backend):
    """Embeds through a server; a subclass is a protocol."""

    codec: ClassVar[Codec]
    vendor: ClassVar[str] = ""
    """The address used without ``url``."""
    trusts_names: ClassVar[bool] = True
    """Whether servers of the protocol name the model they serve, and not a file or a tag."""
    verifies: ClassVar[bool] = True
    """Whether a server of the protocol is checked on first use, where the model has golden values."""
    options_type: ClassVar[type[RemoteOptions]] = RemoteOptions
    overflow: Overflow = "error"

    def __init__(self, settings: EncoderSettings, api_key: str | None = None) -> None:
        """Read the settings; nothing is sent before the first text.

        Raises:
            InvalidInput: an address, key or option that cannot be used.
            MissingExtra: the client's library is not installed.
        """
        for name, value in (("source", settings.source), ("revision", settings.revision)):
            if value:
                raise InvalidInput(f"backend {self.name!r} runs on a server and takes no {name}")
        self.profile = settings.profile
        self.options = read_options(self.options_type, settings.options)
        self.served_as = settings.served_as
        self._loaded_for = settings.task
        if settings.profile.prompts and not self.traits.applies_task:
            self.task = settings.task
        self._check_served_as(settings)
        self.model = settings.served_as or self.own_name(settings.profile)
        self._asks_by_task = False
        """Whether the server is asked for ``NAME-TASK``, since it said that ``NAME`` alone could be several."""
        self.adds_prompt = self.traits.adds_prompt if self.options.adds_prompt is None else self.options.adds_prompt
        if self.options.narrow == "server":
            if not self.traits.narrows:
                raise InvalidInput(f"backend {self.name!r} cannot ask for a dimension: leave narrow='local'")
            self.narrowed = settings.dimension
        self._check_overflow(settings.overflow or self.overflow)
        if self.options.verify is not False:
            refuse_bound_address(settings.url, self.traits.path)
        self._access = self.connect(settings, api_key)
        self.host = self._access.host
        self._place = (self.name, settings.url or self.vendor or object(), self.model, self.adds_prompt, self.profile)
        """What is verified once a process, for each task."""
        self._known: set[Task] = set()
        """The tasks for which a server has answered, as the right model."""
        batch = self.options.batch or self.traits.batch
        self._loop = EventLoop(partial(open_session, self._access.open, self.options, batch), f"jinavec-{self.name}")
        weakref.finalize(self, self._loop.close)

    @classmethod
    def load(cls, settings: EncoderSettings, api_key: str | None) -> Self:
        """Return the backend of settings; raises as the constructor does."""
        return cls(settings, api_key)

    @property
    def traits(self) -> ServerTraits:
        """What servers of the protocol do by themselves."""
        return self.codec.server

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
            future = self._loop.submit(partial(self._run, call))
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
            future = await asyncio.to_thread(self._loop.submit, partial(self._run, call))
            done = asyncio.wrap_future(future)
            await asyncio.gather(done, return_exceptions=True)  # cancels the call when its caller is cancelled
            future.result()
        return call.finish()

    def verify(self, profile: ModelProfile, task: Task) -> Verification:
        """Ask the server for texts whose vectors are known, whatever the option ``verify`` says.

        Raises:
            ModelError: it does not give the model's vectors; the message says what is likely wrong.
            ServerError: it failed, refused, or cannot be reached.
        """
        call = self._call([], task, Role.DOCUMENT, None)
        with self._failures(call):
            return self._loop.submit(partial(self._prove, call)).result()

    def close(self) -> None:
        """Cancel what runs and close the connections. Idempotent."""
        self._loop.close()

    def own_name(self, profile: ModelProfile) -> str:
        """Return the model's name on a server; one that picks the task itself knows no merged models."""
        return profile.base if profile.base and self.traits.applies_task else profile.name

    def ask(self, task: Task, role: Role) -> EmbedRequest:
        """Return a request without texts: what it says about model, task and role."""
        return EmbedRequest(texts=(), model=self.named(task))

    def named(self, task: Task) -> str:
        """Return the name by which a server is asked for the weights of a task."""
        return f"{self.model}-{task}" if self._asks_by_task else self.model

    def ask_plainly(self) -> EmbedRequest | None:
        """Return ``ask`` for texts that bring their prefix along; None where the server always adds one."""
        return None

    def connect(self, settings: EncoderSettings, api_key: str | None) -> ServerAccess:
        """Read who is to be asked, and with which key.

        What is returned holds no reference to the backend, which can so be collected while its loop still runs.
        """
        if not (settings.url or self.vendor):
            raise InvalidInput(f"backend {self.name!r} needs the address of its server: url='http://host:port'")
        require("httpx2", "remote")
        address = read_address(settings.url or self.vendor, self.traits.path)
        tls_context(self.options, TLS_PREFIX)  # files that cannot be read are refused before the first text
        key = find_key(address.url, api_key)
        if key or address.user:
            warn_of_clear_text(address.url)
        return ServerAccess(
            address.host,
            partial(HttpTransport.open, self.codec, address, key, self.options, self.profile.width),
            key_variable(address.url),
            (key, *(address.user or ()), address.query, *self.options.headers.values()),
            urlsplit(address.url).path,
        )

    def _call(self, texts: Sequence[str], task: Task, role: Role, report: Report | None) -> _Call:
        report = report or Report(self.overflow)
        self._check_overflow(report.overflow)
        if self.task not in (None, task):
            raise UnknownTask(
                f"the encoder of {self.profile.name} was loaded for {self.task}, the one task of its server's weights:"
                f" load another one for {task}"
            )
        batches = Batches(texts, self.narrowed or self.profile.width, report)
        return _Call(batches, task, role, self.ask(task, role), report.overflow)

    def _check_overflow(self, overflow: Overflow) -> None:
        if overflow == "truncate" and not self.traits.truncates:
            raise InvalidInput(f"backend {self.name!r} cannot ask its server to truncate: use overflow='error'")

    async def _run(self, call: _Call, session: Session) -> None:
        """Embed the texts of a call, on the loop."""
        await self._verify_once(call, session)
        await call.batches.embed(
            lambda texts, patience: self._send_all(call, session, texts, patience),
            session,
            explain=lambda error, positions: self._error(error, call, positions),
            is_known=lambda: call.task in self._known,
        )

    async def _verify_once(self, call: _Call, session: Session) -> None:
        place, asked = (*self._place, call.task), self.options.verify
        verifies = self.verifies and self.profile.golden is not None if asked is None else asked
        checks = asked is None and self.checks_prefix
        if not (verifies or checks) or place in VERIFIED:
            return
        async with session.verifying:
            if place in VERIFIED:
                return
            if verifies:
                call.notes.extend((await self._prove(call, session)).warnings)
            else:
                await self._verifier(call, session).check_prefix()
                VERIFIED.add(place)

    @property
    def checks_prefix(self) -> bool:
        """Whether two requests tell, of a server that is not verified, if it adds the prefix that it should."""
        return False

    async def _prove(self, call: _Call, session: Session) -> Verification:
        verification = await self._verifier(call, session).run()
        VERIFIED.add((*self._place, call.task))
        return verification

    def _verifier(self, call: _Call, session: Session) -> Verifier:
        plain = self.ask_plainly()

        async def send(asked: EmbedRequest, texts: Sequence[str]) -> EmbedReply:
            """Embed texts at full width; in several requests, where the server takes fewer texts at once."""
            if len(texts) <= (self.options.batch or len(texts)):
                try:
                    return await self._send(call, session, asked, texts, None)
                except WireError as error:
                    if error.reason is not Reason.TOO_LARGE or len(texts) == 1:
                        raise
            half = len(texts) // 2
            first, second = await send(asked, texts[:half]), await send(asked, texts[half:])
            return replace(first, vectors=np.concatenate([first.vectors, second.vectors]), tokens=None)

        return Verifier(
            profile=self.profile,
            task=call.task,
            host=self.host,
            adds_prompt=self.adds_prompt,
            applies_task=self.traits.applies_task,
            send=lambda task, role, texts: send(self.ask(task, role), texts),
            send_plain=None if plain is None else lambda texts: send(plain, texts),
        )

    async def _send_all(self, call: _Call, session: Session, texts: Sequence[str], patience: float) -> EmbedReply:
        """Embed texts of a call; an empty one, where the server takes none, as its prefix alone, without a role.

        Raises:
            WireError: refused, failed once too often, or cut where that is an error.
            ModelError, InvalidInput: as ``_send`` does.
        """
        plain = self.ask_plainly() if self.adds_prompt and self.traits.refuses_empty and "" in texts else None
        if plain is None:
            return await self._send_whole(call, session, call.asked, texts, patience)
        prefix = prompt(call.task, call.role, self.profile)
        fixed = await self._send(call, session, plain, [prefix], self.narrowed, patience=patience)
        vectors, filled = fixed.floats.repeat(len(texts), axis=0), [row for row, text in enumerate(texts) if text]
        if filled:
            try:
                reply = await self._send_whole(call, session, call.asked, [texts[row] for row in filled], patience)
            except WireError as error:
                error.positions = tuple(filled[position] for position in error.positions)
                raise
            vectors[filled] = reply.floats
        return EmbedReply(vectors=vectors)

    async def _send_whole(
        self, call: _Call, session: Session, asked: EmbedRequest, texts: Sequence[str], patience: float
    ) -> EmbedReply:
        """``_send``, and an error or a note where the server's count shows that it cut a text."""

        def send(texts: Sequence[str]) -> Awaitable[EmbedReply]:
            return self._send(call, session, asked, texts, self.narrowed, patience=patience)

        reply = await send(texts)
        if await is_cut(reply, texts, self.profile.limit, send):
            if call.overflow == "error":
                raise WireError(
                    Reason.TEXT_TOO_LONG, f"it cut what it was sent to {reply.tokens} tokens, and did not say so"
                )
            call.note(f"{self.host} cut some of the texts, as its count of their tokens shows")
        return reply

    async def _send(
        self,
        call: _Call,
        session: Session,
        asked: EmbedRequest,
        texts: Sequence[str],
        dimension: int | None,
        *,
        patience: float | None = None,
    ) -> EmbedReply:
        """Embed texts by one request, at a dimension or the full width; see ``Session.post`` for its patience.

        Raises:
            WireError: refused, or failed once too often.
            ModelError: another model answered.
            InvalidInput: the server is known not to truncate, as was asked.
        """
        task = Task(asked.task) if asked.task else call.task  # retrieval's values prove the model of other tasks
        request = replace(
            asked,
            model=asked.model and self.named(task),
            texts=tuple(map(self._normalize, texts)),
            encoding=self.options.encoding or ("base64" if self.traits.base64 else "float"),
            dimension=dimension,
            truncate=call.overflow == "truncate" if self.traits.truncates else None,
        )
        try:
            answer = await session.post(
                request,
                is_new=lambda: task not in self._known,
                has_more=lambda: call.batches.has_more,
                patience=patience,
            )
        except WireError as error:
            if not self._is_ambiguous(request, task, error):
                raise
            self._asks_by_task = True
            return await self._send(call, session, asked, texts, dimension, patience=patience)
        self._check_identity(answer, call, task, dimension or self.profile.width)
        return answer.reply

    def _normalize(self, text: str) -> str:
        """Bring a text into the Unicode form that the model's tokenizer reads; not every server does."""
        form: Any = self.profile.normalizer
        return unicodedata.normalize(form, text) if form else text

    def _check_identity(self, answer: Answer, call: _Call, task: Task, width: int) -> None:
        """Refuse the vectors of another model; what is only odd goes to the notes.

        Raises:
            ModelError: another width or another model.
            InvalidInput: the server is known not to truncate, as was asked.
        """
        if call.overflow == "truncate" and answer.server in NEVER_TRUNCATES:
            raise InvalidInput(f"{self.host} is {answer.server}, which never truncates: use overflow='error'")
        given = answer.reply.width
        if given != width:
            raise ModelError(
                f"{self.host} gives vectors of width {given}, where {self.profile.name} should give {width}:"
                " is it another model?"
            )
        if task not in self._known:
            self._check_name(answer, call, task)
            if answer.reply.encoding not in ("float", "base64"):
                call.note(f"{self.host} gives vectors as {answer.reply.encoding}, which is less than float32")
            self._known.add(task)

    def _is_ambiguous(self, request: EmbedRequest, task: Task, error: WireError) -> bool:
        """Return whether a server refuses a model's name because it has one model for each task, and lists them."""
        refused = error.reason in (Reason.INVALID, Reason.NOT_FOUND) and request.model == self.model
        return refused and f"{self.model}-{task}" in re.split(r"[\s,;]+", error.message)

    def _check_served_as(self, settings: EncoderSettings) -> None:
        """Refuse a served name that tells another task or model.

        Raises:
            InvalidInput: it does.
        """
        if said := contradiction(settings.served_as, settings.profile, settings.task):
            raise InvalidInput(
                f"served_as={settings.served_as!r} is a name of {said}, but {settings.profile.name} was asked for"
                f" {settings.task}"
            )

    def _check_name(self, answer: Answer, call: _Call, task: Task) -> None:
        name = answer.model or answer.reply.model
        base = self.profile.base or self.profile.name
        if said := contradiction(name, self.profile, task):
            raise ModelError(f"{self.host} serves {said} ({name!r}), but {base} was asked for {task}")
        known = (self.model, f"{self.model}-{task}", self.profile.name, base, f"{base}-{task}")
        if not name or _plain_name(name) in map(_plain_name, known):
            return
        message = (
            f"{self.host} says that it serves {name!r}, not {self.model!r}; if it is the same, give served_as={name!r}"
        )
        if answer.model or (self.trusts_names and not answer.server):
            raise ModelError(message)
        call.note(message)

    @contextmanager
    def _failures(self, call: _Call) -> Generator[None]:
        """Raise what went wrong on the loop in our own words."""
        try:
            yield
        except CallbackFailed as failed:
            raise failed.original from None
        except (concurrent.futures.CancelledError, Closed) as error:
            raise ServerError(
                f"the encoder of {self.profile.name} is closed", server=self.host, done=call.batches.done
            ) from error
        except WireError as error:
            raise self._error(error, call) from error

    def _error(self, error: WireError, call: _Call, positions: Sequence[int] = ()) -> TextTooLong | ServerError:
        refused = Refused(
            protocol=self.name,
            model=self.model,
            access=self._access,
            route=self._access.route or self.traits.path.format(model=self.model),
            truncates=self.traits.truncates,
            overflow=call.overflow,
        )
        return refused.explain(error, done=call.batches.done, texts=len(call.batches.texts), positions=positions)


VERIFIED: set[tuple[object, ...]] = set()
"""What was found to be right in this process: protocol, address, served name, who adds the prefix, profile, task."""


@dataclass(frozen=True)
class _Call:
    """One call of embed: its texts and vectors, how they are asked for, and what is to be said at its end."""

    batches: Batches
    task: Task
    role: Role
    asked: EmbedRequest
    overflow: Overflow
    notes: list[str] = field(default_factory=list[str])

    def note(self, message: str) -> None:
        """Keep what is to be said once."""
        if message not in self.notes:
            self.notes.append(message)

    def finish(self) -> Float32:
        """Say what is to be said, in the caller's thread, and return the vectors."""
        for note in self.notes:
            warn(note)
        return self.batches.vectors


def _plain_name(name: str) -> str:
    """Return a model's name without its owner."""
    return name.rpartition("/")[2].lower()
