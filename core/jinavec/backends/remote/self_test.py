"""verify: whether a server adds the prefix once and pools rightly, by relations that hold for any right one.

Two texts are embedded, a question and its answer; where the server counts tokens, those of the question are known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jinavec.errors import ModelError
from jinavec.tasks import Role, prompt
from jinavec.wire.messages import Reason, WireError

if TYPE_CHECKING:
    from jinavec.backends.remote.run import Call, Session
    from jinavec.wire.messages import EmbedReply

QUESTION = "How fast does light travel in a vacuum?"
ANSWER = "In a vacuum, light travels 299,792,458 metres every second - a universal constant of nature."
SAME = 0.995
"""Cosine of vectors that should be equal: half precision and another batch move them by less."""
OTHER = 0.99995
"""Cosine above which two vectors that should differ are the same one."""


TOKENS = {"jina-embeddings-v5-text-small": 11, "jina-embeddings-v5-text-nano": 12}
"""Tokens of the question with either prefix, counted by each model's tokenizer."""


async def verify(call: Call, session: Session) -> None:
    """Check the server before its first vectors are used.

    Raises:
        ModelError: a relation does not hold; the message says which, and what is likely wrong.
        WireError: a request failed.
    """
    backend = call.backend

    async def embed(role: Role, *texts: str) -> EmbedReply:
        prefix = "" if backend.adds_prompt else prompt(call.task, role, backend.profile)
        return await call.send(session, [prefix + text for text in texts], backend.ask(call.task, role))

    alone = await embed(Role.QUERY, QUESTION)
    both = await embed(Role.QUERY, QUESTION, ANSWER)
    if _cosine(alone, both) < SAME:
        _fail(call, "a text's vector changes with the texts beside it; does it pool the last real token?")
    if _cosine(both, both, 1) > OTHER:
        _fail(call, "different texts get the same vector; does it pool the last real token?")
    if not backend.adds_prompt:
        _check_tokens(call, alone)
    document = await embed(Role.DOCUMENT, QUESTION)
    if prompt(call.task, Role.QUERY, backend.profile) != prompt(call.task, Role.DOCUMENT, backend.profile):
        if _cosine(alone, document) > OTHER:
            _fail(call, "a query and a document of the same text get the same vector: the prefix is missing")
    plainly = backend.ask_plainly() if backend.adds_prompt else None
    if plainly is not None:
        prefixed = prompt(call.task, Role.QUERY, backend.profile) + QUESTION
        try:
            bare = await call.send(session, [prefixed], plainly)
        except WireError as error:
            if error.reason is not Reason.INVALID:
                raise
            return  # the server wants a role with every text, as jinavec's own does: nothing to compare with
        if _cosine(alone, bare) < SAME:
            unmarked = await call.send(session, [QUESTION], plainly)
            if max(_cosine(unmarked, alone), _cosine(unmarked, document)) > OTHER:
                return  # it gives a default role to texts that name none, and so another prefix to ours
            _fail(call, "its prefix is not that of the contract, exactly once; see its prompts, and its default prompt")


def _check_tokens(call: Call, reply: EmbedReply) -> None:
    """Count what the server read: a second prefix is two tokens more, whatever the vectors look like."""
    profile = call.backend.profile
    expected = TOKENS.get(profile.base or profile.name)
    if expected is not None and reply.tokens is not None and abs(reply.tokens - expected) > 1:
        what = "another prefix is added" if reply.tokens > expected else "part of the text is missing"
        _fail(call, f"it read {reply.tokens} tokens where the prefixed question has {expected}: {what}")


def _cosine(a: EmbedReply, b: EmbedReply, row: int = 0) -> float:
    """Return the cosine of the first vector of one reply to a vector of another."""
    left, right = a.floats[0], b.floats[row]
    norms = float(np.linalg.norm(left)) * float(np.linalg.norm(right))
    return float(left @ right) / norms if norms else 0.0


def _fail(call: Call, what: str) -> None:
    raise ModelError(f"{call.backend.host} does not serve {call.backend.profile.name} rightly: {what}")
