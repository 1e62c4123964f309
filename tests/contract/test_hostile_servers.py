"""What engines do with the answers of a hostile server: each is one clear error, and no more is read than a limit."""

from __future__ import annotations

import importlib.util

import pytest
from tests.support.hostile_server import ATTACKS, ENDLESS, MEGABYTE, Attack, HostileServer, assert_harmless, once

from jinavec import Contract, ModelProfile, open_engine
from jinavec.errors import EngineError, InvalidInput, JinavecError, JinavecWarning

ENGINES = {"elasticsearch": ("elasticsearch", "ELASTICSEARCH_API_KEY"), "qdrant": ("qdrant_client", "QDRANT_API_KEY")}
CONTRACT = Contract.of(ModelProfile(name="hostile", width=8))
LIMIT = 256 * MEGABYTE
QUICK = [name for name in ATTACKS if name != "deflate"]


@pytest.fixture(params=ENGINES, autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    module, _ = ENGINES[request.param]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"needs {module}")
    for _, name in ENGINES.values():
        monkeypatch.delenv(name, raising=False)
    return request.param


def refused(engine: str, attack: Attack) -> tuple[str, HostileServer]:
    with HostileServer(attack) as server, pytest.raises(JinavecError) as error:
        open_engine(
            f"{engine}:{server.url}/notes", contract=CONTRACT, options={"deadline": 0} if engine == "qdrant" else None
        )
    return str(error.value), server


@pytest.mark.parametrize("name", [*QUICK, pytest.param("deflate", marks=pytest.mark.slow)])
def test_an_attack_is_one_error(engine: str, name: str) -> None:
    message, server = refused(engine, ATTACKS[name])
    assert_harmless(message, ATTACKS[name], server)


def test_an_error_that_is_cut_keeps_its_status_and_first_words(engine: str) -> None:
    body = b'{"error": {"type": "parsing", "reason": "no such query ' + b"x" * 100_000 + b'"}}'
    message, _ = refused(engine, Attack(once(body), 400))
    assert "no such query" in message
    assert "400" in message or "bad request" in message


def test_a_number_of_too_many_digits(engine: str) -> None:
    message, _ = refused(engine, Attack(once(b'{"result": ' + b"1" * 5000 + b"}"), 200))
    assert "a number of too many digits" in message or "could not be read as JSON" in message
    assert len(message) < 1000


@pytest.mark.slow
def test_no_more_is_read_than_a_limit(engine: str) -> None:
    message, server = refused(engine, ENDLESS)
    assert "larger than 268,435,456 bytes" in message
    assert server.sent < LIMIT + 40 * MEGABYTE


def test_the_key_of_embedding_servers_goes_to_no_engine(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, variable = ENGINES[engine]
    monkeypatch.setenv("JINAVEC_API_KEY", "sk-of-another")
    for other, name in ENGINES.values():
        if other != module:
            monkeypatch.setenv(name, "sk-of-another")
    _, server = refused(engine, Attack(once(b"{}"), 401))
    assert server.requests
    assert not any(b"sk-of-another" in head for head in server.requests)
    monkeypatch.setenv(variable, "sk-of-this")
    message, server = refused(
        engine, Attack(once(b'{"status": {"error": "bad key sk-of-this"}, "error": "sk-of-this"}'), 401)
    )
    assert any(b"sk-of-this" in head for head in server.requests)
    assert "sk-of-this" not in message
    assert "***" in message


def test_a_key_that_no_header_can_carry(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENGINES[engine][1], "sk-secret\n")
    _, server = refused(engine, Attack(once(b"{}"), 401))
    assert any(b"sk-secret\r\n" in head for head in server.requests)
    monkeypatch.setenv(ENGINES[engine][1], "sk-secret\r\nX: y")
    with pytest.raises(InvalidInput, match="a line break") as error:
        open_engine(f"{engine}:http://127.0.0.1:1/notes", contract=CONTRACT)
    assert "secret" not in str(error.value)


def test_a_key_in_clear_text_is_warned_of(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv(ENGINES[engine][1], "sk-secret")
    options = {"deadline": 0} if engine == "qdrant" else None
    with pytest.warns(JinavecWarning, match=r"key for host\.invalid is sent in clear text: use https://host\.invalid"):
        with pytest.raises(EngineError):
            open_engine(f"{engine}:http://host.invalid:1/notes", contract=CONTRACT, options=options)


@pytest.mark.parametrize(
    "location", ["http://h:1/x?key=secret-1", "http://h:1?key=secret-1/notes", "ftp://me:secret-1@h/notes"]
)
def test_a_target_is_not_shown_with_its_secrets(engine: str, location: str) -> None:
    with pytest.raises(InvalidInput) as error:
        open_engine(f"{engine}:{location}", contract=CONTRACT)
    assert "secret-1" not in str(error.value)


def test_certificates_that_are_not_there(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variable = "ELASTICSEARCH_CA_CERTS" if engine == "elasticsearch" else "SSL_CERT_FILE"
    monkeypatch.setenv(variable, "/not/there.pem")
    with pytest.raises(InvalidInput, match=f"{variable}=/not/there.pem"):
        open_engine(f"{engine}:https://127.0.0.1:1/notes", contract=CONTRACT)
