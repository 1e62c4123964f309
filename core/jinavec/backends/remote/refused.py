"""What a server refused, in our own words and with the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jinavec.backends.remote.http import ServerAccess
from jinavec.backends.remote.retries import TIMEOUT
from jinavec.errors import ServerError, TextTooLong
from jinavec.settings import Overflow
from jinavec.wire.messages import Reason, WireError

NEVER_TRUNCATES = ("llama.cpp",)
"""Servers that take no wish to truncate, whatever the protocol has for it."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """Who was asked for what, as messages need it."""

    protocol: str
    model: str
    """The name that the server was asked for."""
    access: ServerAccess
    route: str
    truncates: bool
    """Whether the protocol has a wish to truncate."""
    overflow: Overflow

    def explain(
        self, error: WireError, *, done: int, texts: int, positions: Sequence[int]
    ) -> TextTooLong | ServerError:
        """Return a failure as users see it, without secrets; the failure itself loses them too.

        Args:
            error: what the server said; a traceback shows it as the cause.
            done: texts of the call that were embedded before.
            texts: texts of the call.
            positions: those to blame, where they are known.
        """
        said, host = error.message, self.access.host
        for secret in filter(None, self.access.secrets):
            said = said.replace(secret, "***")
        error.message, error.args = said, (said,)
        did = f"refused with status {error.status}" if error.status >= 300 else "failed"
        code = f" [{error.code}]" if error.code.isupper() else ""
        message = f"{host} {did}: {said}{code}{self._advice(error)}"
        if not positions:
            message += f" ({done} of {texts} texts were done before)"
        if error.reason is Reason.TEXT_TOO_LONG:
            return TextTooLong(message, positions=positions)
        return ServerError(message, server=host, status=error.status, said=said, done=done, positions=positions)

    def _advice(self, error: WireError) -> str:
        if "physical batch size" in error.message:
            return "; start llama-server with -ub and -b of at least the tokens of the longest text, such as -ub 8192"
        if error.code == TIMEOUT:
            return "; give it more time by the options timeout and deadline, or less work by concurrency and batch"
        match error.reason:
            case Reason.TEXT_TOO_LONG:
                if self.overflow == "truncate":
                    return "; it does not truncate as it was asked to: split the text"
                truncates = self.truncates and error.server not in NEVER_TRUNCATES
                return "; split the text" + (" or use overflow='truncate'" if truncates else "")
            case Reason.UNAUTHORIZED if not self.access.secrets[0]:
                return f"; no key was sent: give api_key= or set {self.access.key_variable}"
            case Reason.NOT_FOUND if self._is_about_model(error):
                return f"; asked for {self.model!r}: give the model's name on this server as served_as="
            case Reason.NOT_FOUND:
                return f"; it seems to have no route POST {self.route}: does this server speak {self.protocol!r}?"
            case _:
                return ""

    def _is_about_model(self, error: WireError) -> bool:
        """Return whether a server that did not find something is looking for a model, and not for its route."""
        words = f"{error.message} {error.code}".lower()
        return any(word in words for word in (self.model.lower(), "model", "endpoint", "deployment"))
