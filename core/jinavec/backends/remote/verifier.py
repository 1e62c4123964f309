"""Verifier: whether a server gives the model's own vectors, by a few texts of which the right answer is known.

What is asked depends on who adds the prefix. Of one task at most four requests, and sixteen texts:

* where the client does: texts of all lengths together, some that are equally long, and one alone;
* where the server does: queries, equally long queries, and documents, each with the role named; and texts that bring
  their prefix along, or one query alone where the server always adds a prefix;
* of a task without golden values, where a request may name another: retrieval's queries and documents instead of the
  last two.

What holds of every right server is compared first, because it names the fault: a text's vector does not depend on the
texts beside it, two roles differ, a prefix that is typed is worth one that is added. Golden similarities decide the
rest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from jinavec.backends.verification import ASPECTS, LENGTH, OTHER, SAME, Aspect, Comparison, Verification, cosine
from jinavec.errors import ModelError
from jinavec.golden import QUESTION, GoldenValues, Similarities
from jinavec.models import ModelProfile
from jinavec.tasks import Role, Task, prompt
from jinavec.vectors import Float32
from jinavec.wire.messages import EmbedReply, Reason, WireError

SHUFFLED = "How fast does vacuum travel in a light?"
"""As many tokens as the question: the same words."""
LONGER = "In a vacuum, light travels 299,792,458 metres every second - a universal constant of nature."
NONE_PUBLISHED = "no values of {task} are known, and the relations that hold are those of other weights, too"
TEXTS = 16


@dataclass(frozen=True, kw_only=True)
class Verifier:
    """Checks a server before its first vectors are used."""

    profile: ModelProfile
    task: Task
    host: str
    send: Callable[[Task, Role, Sequence[str]], Awaitable[EmbedReply]]
    """Embeds texts, in one request where the server takes them all; without a prefix of ours."""
    adds_prompt: bool
    """Whether the server adds the prefix."""
    applies_task: bool
    """Whether a request names the task, so that other tasks can be asked for."""
    send_plain: Callable[[Sequence[str]], Awaitable[EmbedReply]] | None = None
    """Embeds texts to which the server shall add no prefix; None where it always adds one."""

    async def run(self) -> Verification:
        """Check the server.

        Raises:
            ModelError: it does not give the model's vectors; the message says what is likely wrong.
            WireError: a request failed.
        """
        seen = _Seen()
        if self.adds_prompt:
            await self._ask_by_role(seen)
        else:
            await self._ask_prefixed(seen)
        self._check_texts(seen)
        self._check_roles(seen)
        return self._conclude(seen)

    async def check_prefix(self) -> None:
        """Compare the two roles of one text, by two requests, where they have different prefixes.

        Raises:
            ModelError: the server adds no prefix where it should, or one of its own to ours.
            WireError: a request failed.
        """
        task = self.task if self._two_prompts(self.task) or not self.applies_task else Task.RETRIEVAL
        if not self._two_prompts(task):
            return
        typed = "" if self.adds_prompt else self._prompt(Role.QUERY, task)
        try:
            query, document = [(await self.send(task, role, [typed + QUESTION])).floats[0] for role in Role]
        except WireError as error:
            if task is self.task or error.reason not in _NOT_OFFERED:
                raise
            return  # it serves no retrieval, and the task has one prefix for both roles
        if self.adds_prompt and cosine(query, document) > OTHER:
            self._fail(_MISSING)
        if not self.adds_prompt:
            self._check_doubled(query, document)

    # -- what is asked

    async def _ask_prefixed(self, seen: _Seen) -> None:
        query, document = (self._prompt(role) for role in Role)
        golden = self._golden
        mixed = [query + QUESTION, document + QUESTION, query + LONGER]
        if golden is not None:
            mixed += [query + golden.query, *(document + text for text in golden.documents)]
        reply = await self._ask(seen, Role.DOCUMENT, mixed)
        seen.mixed, seen.document, seen.longer = reply.floats[:3]
        if golden is not None:
            seen.compared = Comparison.of(golden, reply.floats[3], reply.floats[4:])
        await self._ask_equal(seen, query)
        alone = await self._ask(seen, Role.QUERY, [query + QUESTION])
        seen.alone, seen.tokens = alone.floats[0], alone.tokens
        if self.applies_task:
            self._check_doubled(alone.floats[0], (await self._ask(seen, Role.DOCUMENT, [query + QUESTION])).floats[0])
        elif query and seen.tokens and self._values.count(query + QUESTION) is None:
            again = await self._ask(seen, Role.QUERY, [f"{query}{QUESTION} {query}{QUESTION}"])
            seen.is_counted = self._check_added(seen.tokens, again.tokens)

    async def _ask(self, seen: _Seen, role: Role, texts: Sequence[str]) -> EmbedReply:
        reply = await self.send(self.task, role, texts)
        lengths = np.linalg.norm(reply.floats, axis=1)
        seen.is_float &= reply.encoding in ("float", "base64")
        seen.is_long |= bool((abs(lengths - 1) > LENGTH).any())
        return reply

    async def _ask_equal(self, seen: _Seen, prefix: str) -> None:
        reply = await self._ask(seen, Role.QUERY, [prefix + SHUFFLED, prefix + QUESTION])
        seen.equal = reply.floats[1]

    async def _ask_by_role(self, seen: _Seen) -> None:
        golden = self._golden
        queries = [QUESTION, LONGER, *([] if golden is None else [golden.query])]
        reply = await self._ask(seen, Role.QUERY, queries)
        seen.mixed, seen.longer = reply.floats[:2]
        await self._ask_equal(seen, "")
        if golden is None and self.applies_task and Task.RETRIEVAL in self._values.similarities:
            await self._ask_retrieval(seen)
            return
        room = TEXTS - len(queries) - 2 - 1 - (1 if self.send_plain is None else 4)
        documents = () if golden is None else golden.documents[:room]
        found = await self._ask(seen, Role.DOCUMENT, [QUESTION, *documents])
        seen.document = found.floats[0]
        if golden is not None:
            part = Similarities(query=golden.query, documents=documents, cosines=golden.cosines[: len(documents)])
            seen.compared = Comparison.of(part, reply.floats[2], found.floats[1:])
        if self.send_plain is None:
            seen.alone = (await self._ask(seen, Role.QUERY, [QUESTION])).floats[0]
        else:
            await self._ask_plainly(self.send_plain, seen)

    async def _ask_retrieval(self, seen: _Seen) -> None:
        """Let the values of retrieval prove the model, where the server gives them, too."""
        golden = self._values.similarities[Task.RETRIEVAL]
        try:
            queries = await self.send(Task.RETRIEVAL, Role.QUERY, [golden.query, QUESTION])
            documents = await self.send(Task.RETRIEVAL, Role.DOCUMENT, [QUESTION, *golden.documents])
        except WireError as error:
            if error.reason not in _NOT_OFFERED:
                raise
            return
        seen.compared = Comparison.of(golden, queries.floats[0], documents.floats[1:])
        seen.of_retrieval = queries.floats[1], documents.floats[0]

    async def _ask_plainly(self, send: Callable[[Sequence[str]], Awaitable[EmbedReply]], seen: _Seen) -> None:
        query, document = (self._prompt(role) for role in Role)
        try:
            reply = await send([query + QUESTION, document + QUESTION, QUESTION, query + query + QUESTION])
        except WireError as error:
            if error.reason not in _NOT_OFFERED:
                raise
            return  # the server wants a role with every text, as jinavec's own does: nothing to compare with
        seen.typed, seen.typed_document, seen.bare, seen.typed_twice = reply.floats

    # -- what is wrong

    def _check_texts(self, seen: _Seen) -> None:
        """Compare one text alone, beside others of its length, and beside longer ones."""
        if cosine(seen.mixed, seen.longer) > OTHER:
            self._fail("different texts get the same vector: the first token is pooled, or the text is lost")
        alone = seen.typed if seen.alone is None else seen.alone
        if cosine(seen.mixed, seen.equal) < SAME:
            if alone is not None and cosine(alone, seen.equal) >= SAME:
                self._fail(f"{_CHANGES} of a request that are longer: the padding is pooled")
            if alone is not None and cosine(alone, seen.mixed) >= SAME:
                self._fail(
                    f"{_CHANGES} of a request where all are equally long, and none is padded: no causal mask, as in the"
                    " build of TEI for processors and Metal; its ONNX build is right"
                )
            self._fail(f"{_CHANGES} of a request: the padding is pooled, or texts see each other")
        if seen.alone is not None and cosine(seen.alone, seen.equal) < SAME:
            self._fail(f"{_CHANGES} of a request, to what it is alone")

    def _check_roles(self, seen: _Seen) -> None:
        """Compare the two roles, and the prefix that the server adds with ours, typed in front of the text."""
        pairs = [seen.of_retrieval] if seen.of_retrieval else []
        if self._two_prompts(self.task) and seen.document is not None:
            pairs.append((seen.mixed, seen.document))
        if any(cosine(*pair) > OTHER for pair in pairs):
            self._fail(_MISSING)
        if seen.of_retrieval and cosine(seen.of_retrieval[1], seen.mixed) > OTHER:
            self._fail(f"its vectors for {self.task} are those for retrieval: the task is ignored")
        if seen.typed is None or cosine(seen.mixed, seen.typed) >= SAME:
            return
        assert seen.typed_document is not None and seen.bare is not None and seen.typed_twice is not None
        if self._two_prompts(self.task) and cosine(seen.mixed, seen.typed_document) >= SAME:
            self._fail("the prefixes are swapped: a query gets that of documents")
        if cosine(seen.mixed, seen.typed_twice) >= SAME:
            self._fail("the prefix is there twice: the server adds it to its own; see its default prompt")
        given = [vector for vector in (seen.mixed, seen.document) if vector is not None]
        if max(cosine(seen.bare, vector) for vector in given) > OTHER:
            seen.gives_default = True  # of texts that name no role, and so another prefix to ours
            return
        self._fail("its prefix is not that of the contract, exactly once; see its prompts, and its default prompt")

    def _check_doubled(self, query: Float32, document: Float32) -> None:
        """Compare two roles of one text that carries its prefix: a server that adds nothing gives one vector."""
        if cosine(query, document) < SAME:
            self._fail("the prefix is there twice: the server adds one of its own (leave out adds_prompt=False)")

    def _check_added(self, once: int, twice: int | None) -> bool:
        """Refuse what is read with every request beside the text: a text and its double tell how many tokens that is.

        Where the profile does not say, two special tokens are nothing odd, and one may fuse at the seam.

        Returns:
            Whether the server counts tokens at all.
        """
        if twice is None or twice <= once:
            return False
        known = 2 if self.profile.appended is None else len(self.profile.appended)
        if 2 * once - twice > known + 1:
            self._fail(f"it reads {2 * once - twice} tokens more than the text: the prefix is there twice")
        return True

    def _check_tokens(self, seen: _Seen, *, is_right: bool) -> None:
        """Count what the server read: a second prefix is two tokens more, whatever the vectors look like.

        Where golden values hold, any other way to count is no fault, such as one without special tokens.
        """
        prefix = self._prompt(Role.QUERY)
        expected = self._values.count(prefix + QUESTION)
        if expected is None or seen.tokens is None:
            return
        seen.is_counted = True
        if seen.tokens == expected:
            return
        more = seen.tokens - expected
        if is_right and more != _PREFIX_TOKENS:
            return
        named = {
            -_PREFIX_TOKENS: "the prefix is missing",
            _PREFIX_TOKENS: "the prefix is there twice, another prefix is added",
            -1: "the token at the end of a text (EOS) is missing" if self.profile.appended else "a token is missing",
            1: "the token at the end of a text (EOS) is there twice"
            if self.profile.appended
            else "a token is added at the end (EOS), where the model has none",
        }
        what = named.get(more, "another text is added, another prefix" if more > 0 else "part of the text is missing")
        self._fail(f"it read {seen.tokens} tokens where the prefixed question has {expected}: {what}")

    def _conclude(self, seen: _Seen) -> Verification:
        compared = seen.compared if seen.is_float else None
        if compared is not None and compared.is_refused:
            self._check_tokens(seen, is_right=False)
            what = f"not these weights, this task or this pooling: {compared}"
            self._fail(f"{what}; its vectors are not of unit length" if seen.is_long else what)
        self._check_tokens(seen, is_right=compared is not None)
        warnings = [] if compared is None else [f"{self.host}: {said}" for said in compared.warnings]
        if seen.is_long:
            warnings.append(f"{self.host} gives vectors that are not of unit length; they are scaled here")
        unproved = self._unproved(seen, compared)
        return Verification(
            proved=tuple(aspect for aspect in ASPECTS if aspect not in unproved),
            unproved=unproved,
            deviation=None if compared is None else compared.deviation,
            warnings=tuple(warnings),
        )

    def _unproved(self, seen: _Seen, compared: Comparison | None) -> dict[Aspect, str]:
        if not seen.is_float:
            return dict.fromkeys(
                ASPECTS, "the server gives less than float32, by which similarities cannot be compared"
            )
        if compared is not None and self._golden is not None:
            return {}
        why = NONE_PUBLISHED.format(task=self.task)
        unproved: dict[Aspect, str] = {"task": why}
        if compared is None:
            unproved |= {"model": why, "pooling": why}
            if not seen.is_counted and (seen.typed is None or seen.gives_default):
                unproved["prefix"] = "the server counts no tokens, and compares no text that brings its prefix along"
        return {aspect: unproved[aspect] for aspect in ASPECTS if aspect in unproved}

    @property
    def _values(self) -> GoldenValues:
        return self.profile.golden or GoldenValues()

    @property
    def _golden(self) -> Similarities | None:
        return self._values.similarities.get(self.task)

    def _prompt(self, role: Role, task: Task | None = None) -> str:
        return prompt(task or self.task, role, self.profile)

    def _two_prompts(self, task: Task) -> bool:
        return self._prompt(Role.QUERY, task) != self._prompt(Role.DOCUMENT, task)

    def _fail(self, what: str) -> None:
        raise ModelError(f"{self.host} does not serve {self.profile.name} correctly: {what}")


_MISSING = "a query and a document of the same text get the same vector: the prefix is missing"
_CHANGES = "a text's vector changes with the other texts"
_NOT_OFFERED = (Reason.INVALID, Reason.NOT_FOUND, Reason.FORBIDDEN)
_PREFIX_TOKENS = 2
"""Tokens of either prefix, a word and a colon: its space belongs to the word that follows."""


@dataclass
class _Seen:
    """The vectors of the question, as they came, and what else was noticed."""

    mixed: Float32 = field(default_factory=lambda: np.zeros(0, np.float32))
    """Beside longer texts."""
    equal: Float32 = field(default_factory=lambda: np.zeros(0, np.float32))
    """Beside one of the same length."""
    longer: Float32 = field(default_factory=lambda: np.zeros(0, np.float32))
    """Of a longer text of the same role."""
    alone: Float32 | None = None
    document: Float32 | None = None
    typed: Float32 | None = None
    """Sent without a role, with the prefix of queries typed."""
    typed_document: Float32 | None = None
    typed_twice: Float32 | None = None
    bare: Float32 | None = None
    of_retrieval: tuple[Float32, Float32] | None = None
    """As query and document of retrieval, of a server that is asked for another task."""
    compared: Comparison | None = None
    tokens: int | None = None
    """Of the question alone, prefix included."""
    is_counted: bool = False
    """Whether its tokens tell that the prefix is there once."""
    is_float: bool = True
    is_long: bool = False
    """Whether vectors are not of unit length."""
    gives_default: bool = False
