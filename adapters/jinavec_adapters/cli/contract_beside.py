"""The contract beside a file of vectors: ``encode`` writes it, and whoever indexes the file compares it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, cast

from jinavec import Contract
from jinavec.errors import ContractMismatch, InvalidInput
from jinavec_adapters.cli.atomic_file import atomic_file

_SUFFIX = ".contract.json"


def write_contract(out: str, contract: Contract, role: str) -> None:
    """Write contract and role of the vectors in a file beside it, as ``FILE.contract.json``.

    Raises:
        JinavecError: the file cannot be written.
    """
    with atomic_file(_beside(out)) as file:
        file.write(json.dumps({"contract": contract.sealed(), "role": role}, indent=1).encode())


def check_contract(name: str, contract: Contract) -> None:
    """Compare the contract beside a file of vectors, where there is one, with that of the index.

    Raises:
        ContractMismatch: another contract; or vectors of queries, which get another prefix than documents.
        InvalidInput: what is there is no contract.
    """
    path = _beside(name)
    if not path.is_file():
        return
    try:
        found: Any = json.loads(path.read_text("utf-8"))
        values = cast("dict[str, Any]", found if isinstance(found, dict) else {})
        made = Contract.from_json(values.get("contract"))
    except (OSError, ValueError, RecursionError, InvalidInput) as error:
        raise InvalidInput(
            f"{path} holds no contract of {name}; remove it if it is of other vectors: {error}"
        ) from error
    contract.check(made, ours="the index", theirs=f"{name}, as {path.name} says,")
    if values.get("role") == "query" and made.query_prefix != made.document_prefix:
        raise ContractMismatch(
            f"{name} holds vectors of queries, as {path.name} says, and an index takes those of documents:"
            " jinavec encode --role document"
        )


def _beside(name: str) -> Path:
    path = Path(os.path.expanduser(name))
    return path.with_name(path.name + _SUFFIX)
