"""Names: what the fields of an index are called."""

from __future__ import annotations

import re
from dataclasses import dataclass

from jinavec.errors import InvalidInput, brief


@dataclass(frozen=True, kw_only=True)
class Names:
    """What the fields of an index are called; a dot leads into an object."""

    text: str = "text"
    vector: str = "vector"
    metadata: str = "metadata"
    prefix: str = ""
    """Of those below, which are nobody's but ours."""

    @property
    def id(self) -> str:
        """Ids that are no ``_id``."""
        return f"{self.prefix}id"

    @property
    def bits(self) -> str:
        """Packed sign bits."""
        return f"{self.prefix}bits"

    @property
    def terms(self) -> str:
        """What filters find and no field of metadata holds."""
        return f"{self.prefix}filter"

    @property
    def original(self) -> str:
        """Metadata as they were given, where the fields do not hold all of them."""
        return f"{self.prefix}original"

    @property
    def source(self) -> list[str]:
        """The fields a record is made of."""
        return [self.id, self.text, self.metadata, self.original]

    def check(self) -> None:
        """Refuse names that Elasticsearch does not take, or of which one is, or lies in, another.

        Raises:
            InvalidInput: names two fields, or one.
        """
        seen = [self.id, self.terms, self.bits, self.original]
        for name in (self.text, self.vector, self.metadata):
            if not re.fullmatch(r"[^\s.*_][^\s.*]*(\.[^\s.*]+)*", name):
                raise InvalidInput(
                    f"no field can be named {brief(name)}: no space, no *, no _ in front, no empty part between dots"
                )
            for other in seen:
                if f"{name}.".startswith(f"{other}.") or f"{other}.".startswith(f"{name}."):
                    raise InvalidInput(f"the field {name!r} cannot be beside {other!r}: take another name")
            seen.append(name)
