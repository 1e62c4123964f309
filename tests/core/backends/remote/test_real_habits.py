"""What hosting servers do that no protocol says: cuts without a word, empty texts, Unicode, missing routes."""

from __future__ import annotations

import unicodedata
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.support.model_checks import agree
from tests.support.remote_encoders import NANO, load, wanted
from tests.support.scripted_server import Asked, Reply, ScriptedServer, always, hash_vector

from jinavec import Encoder, JinavecWarning, ModelProfile
from jinavec.errors import InvalidInput, ServerError, TextTooLong

pytest.importorskip("httpx2")
pytest.importorskip("elasticsearch")

DECOMPOSED = ["cafe\u0301", "\u212bngstro\u0308m", "\u0915\u093c\u0932\u092e", "\u1112\u1161\u11ab"]
"""Texts that composition changes: accents, a sign for a letter, Hindi (its nukta letters stay apart), Hangul."""


class TestCuts:
    """A server that cuts without a word counts the tokens it has read."""

    @pytest.mark.parametrize("name", ["openai", "ollama"])
    @pytest.mark.parametrize("others", [0, 5])
    def test_fewer_tokens_than_words(self, name: str, others: int) -> None:
        long = " ".join(f"word{n}" for n in range(6000))
        with ScriptedServer(name, cuts_at=2048) as server, load(server) as encoder:
            with pytest.raises(TextTooLong, match="2048 tokens.*split" if not others else "tokens.*split"):
                encoder.encode_documents([*(f"text {n}" for n in range(others)), long])
        with ScriptedServer(name, cuts_at=2048) as server, load(server, overflow="truncate") as encoder:
            with pytest.warns(JinavecWarning, match="cut some of the texts"):
                assert encoder.encode_documents([long]).shape == (1, 768)

    @pytest.mark.parametrize(("limit", "counted"), [(512, 512), (4096, 4096), (4096, 4094), (8192, 8192)])
    def test_a_count_that_equals_a_limit_is_tried_out(self, limit: int, counted: int) -> None:
        """More words at the end of the text are not counted either."""
        text = "inconceivable " * 200  # more tokens than words

        def fault(asked: Asked, number: int) -> Reply:
            reply = server.answer(asked)
            reply.body["usage"] = {"prompt_tokens": counted}
            return reply

        with ScriptedServer("openai", fault=fault, headers={"x-compute-type": "cpu"}) as server:
            with load(server) as encoder, pytest.raises(TextTooLong, match=f"{counted} tokens"):
                encoder.encode_documents([text])

    @pytest.mark.parametrize("words", [255, 256, 511, 512, 513, 2046, 2048, 8192])
    @pytest.mark.parametrize("name", ["openai", "ollama"])
    def test_no_right_server_is_accused(self, name: str, words: int) -> None:
        texts = [" ".join(["word"] * (words - 2) + [f"{n}"]) for n in range(3)]  # and the prefix is a word
        with ScriptedServer(name) as server, load(server) as encoder, warnings.catch_warnings():
            warnings.simplefilter("error")
            for some in (texts[:1], texts):
                agree(encoder.encode_documents(some), wanted(some))

    def test_a_text_that_just_fits(self) -> None:
        """The longer one is refused: nothing was cut."""
        text = " ".join(["word"] * 511)

        def fault(asked: Asked, number: int) -> Reply | None:
            too_long = len(asked.body["input"][0].split()) > 512
            return Reply({"error": {"message": "maximum context length is 512 tokens"}}, 400) if too_long else None

        with ScriptedServer("openai", fault=fault) as server, load(server) as encoder:
            agree(encoder.encode_documents([text]), wanted([text]))
            assert len(server.asked) == 2


class TestEmptyTexts:
    def test_get_the_vector_of_the_prefix_alone(self, protocol: str) -> None:
        texts = ["a", "", "b"]
        with ScriptedServer(protocol) as server, load(server) as encoder:
            for role, prefix in (("query", "Query: "), ("document", "Document: ")):
                agree(encoder.encode(texts, role=role), wanted(texts, prefix))
                agree(encoder.encode([""], role=role), wanted([""], prefix))

    async def test_in_async_code_too(self) -> None:
        with ScriptedServer("tei") as server, load(server) as encoder:
            agree(await encoder.aencode_queries(["", "a"]), wanted(["", "a"], "Query: "))


class TestUnicode:
    @pytest.mark.parametrize("name", ["openai", "ollama", "tei", "cohere", "jina", "elasticsearch"])
    def test_small_is_composed_and_nano_never(self, name: str) -> None:
        for model, form in (("jina-embeddings-v5-text-small", "NFC"), (NANO, None)):
            width = 1024 if form else 768
            read = [unicodedata.normalize("NFC", text) if form else text for text in DECOMPOSED]
            assert (read != DECOMPOSED) == bool(form)
            with ScriptedServer(name, width=width) as server:
                with Encoder.load(model, backend=name, url=server.url, options={"verify": False}) as encoder:
                    right = np.stack([hash_vector("Document: " + text, width) for text in read])
                    agree(encoder.encode_documents(DECOMPOSED), right)

    def test_a_profile_says_which_form(self) -> None:
        with ScriptedServer("openai", width=8) as server:
            profile = ModelProfile(name="mine", width=8, normalizer="NFKD")
            with Encoder.load(profile, backend="openai", url=server.url) as encoder:
                encoder.encode_documents(["\ufb01n\u00e9"])
            assert server.asked[0].body["input"] == ["fine\u0301"]
        with pytest.raises(InvalidInput, match="normalizer 'nfc' is none of: NFC, NFD, NFKC, NFKD"):
            ModelProfile(name="mine", width=8, normalizer="nfc")


class TestRefusals:
    @pytest.mark.parametrize(
        "reply",
        [
            Reply(b"", 404),
            Reply({"detail": "Not Found"}, 404),
            Reply(b"404 page not found", 404),
            Reply({"error": {"message": "File Not Found", "type": "not_found_error", "code": 404}}, 404),
            Reply(b"<html><head><title>404 Not Found</title></head><body>nginx</body></html>", 404),
            Reply({"detail": "Method Not Allowed"}, 405),
        ],
        ids=["tei", "fastapi", "ollama", "llama.cpp", "nginx", "405"],
    )
    def test_a_missing_route_is_named(self, reply: Reply) -> None:
        for name, route in (("tei", "/embed"), ("cohere", "/v2/embed"), ("openai", "/api/v1/embeddings")):
            with ScriptedServer(name, fault=always(reply)) as server:
                url = server.url + ("/api/v1" if name == "openai" else "")
                with load(server, url=url) as encoder, pytest.raises(ServerError) as error:
                    encoder.encode_documents(["a"])
            assert f"no route POST {route}: does this server speak {name!r}?" in str(error.value)
            assert "served_as" not in str(error.value)

    @pytest.mark.parametrize(
        "body",
        [
            {"error": {"message": f"The model `{NANO}` does not exist.", "type": "NotFoundError", "code": 404}},
            {"error": f"model '{NANO}' not found, try pulling it first"},
            {"error": {"message": "nothing here", "code": "model_not_found"}},
        ],
        ids=["vllm", "ollama", "code"],
    )
    def test_a_missing_model_is_asked_for_by_name(self, body: Any) -> None:
        with ScriptedServer("openai", fault=always(Reply(body, 404))) as server, load(server) as encoder:
            with pytest.raises(ServerError, match="served_as=") as error:
                encoder.encode_documents(["a"])
        assert "route" not in str(error.value)

    def test_llama_cpp_never_truncates(self) -> None:
        headers = {"Server": "llama.cpp"}
        with ScriptedServer("openai", headers=headers) as server, load(server, overflow="truncate") as encoder:
            with pytest.raises(InvalidInput, match="llama.cpp, which never truncates: use overflow='error'"):
                encoder.encode_documents(["short"])
        words = "request (36000 tokens) exceeds the available context size (32768 tokens), try increasing it"
        refused = Reply({"error": {"code": 400, "message": words}}, 400, headers)
        for overflow in ("error", "truncate"):
            with ScriptedServer("openai", fault=always(replace(refused))) as server:
                with load(server, overflow=overflow) as encoder, pytest.raises(TextTooLong, match="split") as error:
                    encoder.encode_documents(["a"])
            assert "overflow=" not in str(error.value)
