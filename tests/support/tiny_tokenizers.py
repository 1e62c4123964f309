"""Tiny tokenizers with the special-token behaviour of the real ones, and the profiles of tiny models.

``small`` speaks as Qwen3 does: nothing is appended. ``nano`` speaks as EuroBERT does: its EOS is appended, its pad
token is not the one that config.json names, and model_max_length says nothing.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jinavec import ModelProfile, Role, Task

Kind = Literal["small", "nano"]
KINDS: tuple[Kind, ...] = ("small", "nano")
TASKS = ("retrieval", "text-matching", "clustering", "classification")
API_TASKS = [("retrieval", "query")] + [(task, "document") for task in TASKS]
"""The five tasks of the Jina API as (task, role)."""

WIDTH = 64
DIMENSIONS = (64, 32, 16)
LIMIT = 64
VOCABULARY = 400

SPECIAL: dict[Kind, list[str]] = {
    "small": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "nano": ["<|begin_of_text|>", "<|end_of_text|>", "<|mask|>", "<|parallel_sep|>", "<|pad|>"],
}
SPECIAL_ROLES: dict[Kind, dict[str, str]] = {
    "small": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    "nano": {
        "bos_token": "<|begin_of_text|>",
        "eos_token": "<|end_of_text|>",
        "mask_token": "<|mask|>",
        "pad_token": "<|pad|>",
    },
}
TOKENIZER_CLASS: dict[Kind, str] = {"small": "Qwen2Tokenizer", "nano": "PreTrainedTokenizer"}

TEXTS = [
    "Which planet is red?",
    "Mars is red.",
    "A cat sleeps on the warm roof while the rain falls on the other houses of the street.",
    "",
    "one",
    "Query: how fast does light travel in a vacuum?",
    "Document: In a vacuum, light travels 299,792,458 metres every second.",
    "  spaces around  ",
    "tabs\tand\nlines",
    "naïve café, Straße, кот, 猫, แมว",
    "one",
    "Numbers 1 2 3 4 5 6 7 8 9 10 11 12",
]
"""Mixed lengths, a repetition, an empty text, texts that already begin with a prefix, other scripts; none is cut."""

_WORDS = (
    "query document which planet is red mars venus light travels in a vacuum the cat sleeps on warm roof rain falls"
    " every second metres how fast does it go and one two three house street of other numbers spaces around lines"
)
_QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def special_id(kind: Kind, token: str) -> int:
    """The specials follow the ordinary vocabulary, as in the real tokenizers."""
    return VOCABULARY + SPECIAL[kind].index(token)


def appended(kind: Kind) -> tuple[int, ...]:
    return (special_id("nano", "<|end_of_text|>"),) if kind == "nano" else ()


def tiny_profile(kind: Kind, **changes: Any) -> ModelProfile:
    """What a user writes about a tiny model; the prompts are spelt out, so that they do not come from the core."""
    fields: dict[str, Any] = {
        "name": f"tiny-{kind}",
        "width": WIDTH,
        "dimensions": DIMENSIONS,
        "prompts": {(Task(t), Role(r)): prefix(t, r) for t in TASKS for r in ("query", "document")},
        "pooling": "last",
        "limit": LIMIT,
        "appended": appended(kind),
        "normalizer": "NFC" if kind == "small" else "",
    }
    return ModelProfile(**fields | changes)


def prefix(task: str, role: str) -> str:
    return "Query: " if (task, role) == ("retrieval", "query") else "Document: "


def save_tokenizer(folder: Path, kind: Kind, *, side: str | None = None, appends: bool | None = None) -> None:
    """Write the tokenizer files of a hub repository.

    Args:
        folder: where to.
        kind: whose behaviour.
        side: the padding side named by tokenizer_config.json; the real ones name none.
        appends: whether the EOS is appended; as the real one does when None.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _train(kind, kind == "nano" if appends is None else appends).save(str(folder / "tokenizer.json"))
    config: dict[str, Any] = {
        "added_tokens_decoder": {str(special_id(kind, t)): _added_token(t) for t in SPECIAL[kind]},
        "clean_up_tokenization_spaces": kind == "nano",
        "extra_special_tokens": {},
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 1000000000000000019884624838656 if kind == "nano" else 131072,
        "tokenizer_class": TOKENIZER_CLASS[kind],
        **SPECIAL_ROLES[kind],
    }
    if side is not None:
        config["padding_side"] = side
    write_json(folder / "tokenizer_config.json", config)
    write_json(folder / "special_tokens_map.json", {r: _added_token(t) for r, t in SPECIAL_ROLES[kind].items()})


def token_ids(folder: Path, text: str, limit: int | None = None) -> list[int]:
    """Oracle: the ids of one text alone, cut to the limit but never losing what the tokenizer appends."""
    file = folder / "tokenizer.json"
    tokenizer = _read(file, file.stat().st_mtime_ns)
    bare: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    full: list[int] = tokenizer.encode(text).ids
    tail = full[len(bare) :]
    assert full[: len(bare)] == bare
    return full if limit is None or len(full) <= limit else bare[: limit - len(tail)] + tail


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2))


def long_text(words: int) -> str:
    return " ".join((_WORDS.split() * (words // 40 + 1))[:words])


def numbered(texts: Sequence[str]) -> list[str]:
    """Make texts differ, so that none is a repetition of another."""
    return [f"{number} {text}" for number, text in enumerate(texts)]


@cache
def _read(file: Path, written: int) -> Any:
    """Read a tokenizer once, and again when a test has written it anew."""
    tokenizer = importlib.import_module("tokenizers").Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _train(kind: Kind, appends: bool) -> Any:
    tokenizers = importlib.import_module("tokenizers")
    pre = tokenizers.pre_tokenizers
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.normalizer = tokenizers.normalizers.NFC() if kind == "small" else None
    split = pre.Split(tokenizers.Regex(_QWEN_SPLIT), behavior="isolated")
    tokenizer.pre_tokenizer = pre.Sequence([split, pre.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=pre.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([f"Query: Document: {_WORDS} {w} {w.title()}" for w in _WORDS.split()], trainer)
    assert tokenizer.get_vocab_size() == VOCABULARY
    tokenizer.add_special_tokens([tokenizers.AddedToken(t, special=True, normalized=False) for t in SPECIAL[kind]])
    byte_level = tokenizers.processors.ByteLevel(trim_offsets=False)
    if appends:
        eos = SPECIAL_ROLES[kind]["eos_token"]
        template = tokenizers.processors.TemplateProcessing(
            single=f"$A {eos}", pair=f"$A {eos} $B {eos}", special_tokens=[(eos, special_id(kind, eos))]
        )
        tokenizer.post_processor = tokenizers.processors.Sequence([byte_level, template])
    else:
        tokenizer.post_processor = byte_level
    return tokenizer


def _added_token(content: str) -> dict[str, Any]:
    flags = ("lstrip", "normalized", "rstrip", "single_word")
    return {"content": content, **{flag: False for flag in flags}, "special": True}
