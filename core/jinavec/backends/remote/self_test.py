"""SelfTest: whether a server adds the prefix once and pools rightly, by relations that hold for any right one.

Two texts are embedded, a question and its answer; where the server counts tokens, those of the question are known.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from jinavec.errors import ModelError
from jinavec.models import ModelProfile
from jinavec.tasks import Role, Task, prompt
from jinavec.wire.messages import EmbedReply, Reason, WireError

QUESTION = "How fast does light travel in a vacuum?"
ANSWER = "In a vacuum, light travels 299,792,458 metres every second - a universal constant of nature."
SAME = 0.995
"""Cosine of vectors that should be equal: half precision and another batch move them by less."""
OTHER = 0.99995
"""Cosine above which two vectors that should differ are the same one."""
TOKENS = {"jina-embeddings-v5-text-small": 11, "jina-embeddings-v5-text-nano": 12}
"""Tokens of the question with either prefix, counted by each model's tokenizer."""


@dataclass(frozen=True, kw_only=True)
class SelfTest:
    """Checks a server before its first vectors are used; four or five requests."""

    profile: ModelProfile
    task: Task
    host: str
    send: Callable[[Role, Sequence[str]], Awaitable[EmbedReply]]
    """Embeds texts in a role by one request; where the server adds no prefix, they carry it."""
    adds_prompt: bool
    """Whether the server adds the prefix."""
    send_plain: Callable[[Sequence[str]], Awaitable[EmbedReply]] | None = None
    """Embeds texts to which the server shall add no prefix; None where it always adds one."""

    async def run(self) -> None:
        """Check the server.

        Raises:
            ModelError: a relation does not hold; the message says which, and what is likely wrong.
            WireError: a request failed.
        """
        alone = await self._embed(Role.QUERY, QUESTION)
        both = await self._embed(Role.QUERY, QUESTION, ANSWER)
        if _cosine(alone, both) < SAME:
            self._fail("a text's vector changes with the other texts of a request; does it pool the last real token?")
        if _cosine(both, both, 1) > OTHER:
            self._fail("different texts get the same vector; does it pool the last real token?")
        if not self.adds_prompt:
            self._check_tokens(alone)
        document = await self._embed(Role.DOCUMENT, QUESTION)
        if self._prompt(Role.QUERY) != self._prompt(Role.DOCUMENT) and _cosine(alone, document) > OTHER:
            self._fail("a query and a document of the same text get the same vector: the prefix is missing")
        if self.adds_prompt and self.send_plain is not None:
            await self._check_prefix(self.send_plain, alone, document)

    async def _embed(self, role: Role, *texts: str) -> EmbedReply:
        prefix = "" if self.adds_prompt else self._prompt(role)
        return await self.send(role, [prefix + text for text in texts])

    def _prompt(self, role: Role) -> str:
        return prompt(self.task, role, self.profile)

    def _check_tokens(self, reply: EmbedReply) -> None:
        """Count what the server read: a second prefix is two tokens more, whatever the vectors look like."""
        expected = TOKENS.get(self.profile.base or self.profile.name)
        if expected is not None and reply.tokens is not None and abs(reply.tokens - expected) > 1:
            what = "another prefix is added" if reply.tokens > expected else "part of the text is missing"
            self._fail(f"it read {reply.tokens} tokens where the prefixed question has {expected}: {what}")

    async def _check_prefix(
        self, send: Callable[[Sequence[str]], Awaitable[EmbedReply]], query: EmbedReply, document: EmbedReply
    ) -> None:
        """Compare the server's prefix with ours, put in front of the text here."""
        try:
            prefixed = await send([self._prompt(Role.QUERY) + QUESTION])
        except WireError as error:
            if error.reason is not Reason.INVALID:
                raise
            return  # the server wants a role with every text, as jinavec's own does: nothing to compare with
        if _cosine(query, prefixed) < SAME:
            bare = await send([QUESTION])
            if max(_cosine(bare, query), _cosine(bare, document)) > OTHER:
                return  # it gives a default role to texts that name none, and so another prefix to ours
            self._fail("its prefix is not that of the contract, exactly once; see its prompts, and its default prompt")

    def _fail(self, what: str) -> None:
        raise ModelError(f"{self.host} does not serve {self.profile.name} correctly: {what}")


def _cosine(a: EmbedReply, b: EmbedReply, row: int = 0) -> float:
    """Return the cosine of the first vector of one reply to a vector of another."""
    left, right = a.floats[0], b.floats[row]
    norms = float(np.linalg.norm(left)) * float(np.linalg.norm(right))
    return float(left @ right) / norms if norms else 0.0
