"""Certificates from the Secret against a real TLS server, proxies, and what is blanked in logs."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import json
import ssl
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from towline.api.auth import Tls
from towline_connectors.engine import tls
from towline_connectors.engine.errors import ConfigInvalid, EngineError, Unreachable
from towline_connectors.engine.hosts import environment_proxy
from towline_connectors.engine.http import Client, HttpRequest
from towline_connectors.engine.interpolate import Secrets
from towline_connectors.engine.redact import Redactor


@dataclass(frozen=True)
class Pair:
    certificate: str
    key: str


def made(name: str, issuer: tuple[x509.Certificate, Any] | None = None) -> tuple[x509.Certificate, Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), True)
    )
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def written(found: tuple[x509.Certificate, Any], password: bytes | None = None) -> Pair:
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    key = found[1].private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
    return Pair(found[0].public_bytes(serialization.Encoding.PEM).decode(), key.decode())


CA = made("Test CA")
SERVER, CLIENT, STRANGER = (written(made(name, CA)) for name in ("server", "client", "stranger"))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[str]:
    """A server that wants a client certificate of our CA and says whose it was given."""

    async def who(request: web.Request) -> web.Response:
        shown = request.transport.get_extra_info("peercert") if request.transport else None
        return web.json_response({"who": dict(part[0] for part in shown["subject"])["commonName"] if shown else ""})

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = tmp_path / "server.pem"
    pair.write_text(SERVER.certificate + SERVER.key)
    context.load_cert_chain(pair)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=written(CA).certificate)
    app = web.Application()
    app.router.add_get("/", who)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


def client(secrets: dict[str, str], proxy: str | None = None, **more: str) -> Client:
    spec = Tls.model_validate({"certificate": "${secret.cert}", "key": "${secret.key}", "ca": "${secret.ca}", **more})
    scope = {"config": {}, "secret": Secrets(secrets)}
    return Client(("127.0.0.1",), tls=tls.configured(spec, scope), proxy=proxy, timeout=10)


async def who(found: Client, url: str) -> str:
    try:
        answer = await found.send(HttpRequest("GET", url, shown="/"))
        return str(json.loads(answer.body)["who"])
    finally:
        await found.close()


GOOD = {"cert": CLIENT.certificate, "key": CLIENT.key, "ca": written(CA).certificate}


async def test_a_client_certificate_and_a_private_ca_come_from_the_secret(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "mkstemp", None)  # no key touches a disk where memory files exist
    assert await who(client(GOOD), server) == "client"
    locked = written(made("locked", CA), b"pass-1")
    secrets = {**GOOD, "cert": locked.certificate, "key": locked.key, "password": "pass-1"}
    assert await who(client(secrets, keyPassword="${secret.password}"), server) == "locked"
    whole = {"cert": CLIENT.certificate + CLIENT.key, "ca": GOOD["ca"]}
    assert await who(client(whole), server) == "client", "one text may hold both"


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"key": STRANGER.key}, ConfigInvalid, "do not belong together"),
        ({"key": "nonsense"}, ConfigInvalid, "cannot be read; both have to be in PEM form"),
        ({"key": written(made("x", CA), b"p").key}, ConfigInvalid, "an encrypted key needs its password"),
        ({"ca": "nonsense"}, ConfigInvalid, "The CA in the Secret is no certificate in PEM form"),
        ({"ca": ""}, Unreachable, "shows a certificate that is not trusted"),
        ({"cert": ""}, Unreachable, "127.0.0.1"),
    ],
)
async def test_certificates_that_do_not_do_are_told_in_words(
    server: str, changed: dict[str, str], error: type[EngineError], words: str
) -> None:
    with pytest.raises(error) as told:
        await who(client({**GOOD, **changed}), server)
    assert words in told.value.message
    assert "PRIVATE KEY" not in told.value.message


# -- proxies


@pytest.fixture
async def proxy() -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy that lets through CONNECT; the first lines that it was sent."""
    asked: list[str] = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append(head.split("\r\n")[0] + (" with credentials" if "proxy-authorization" in head.lower() else ""))
        host, _, port = head.split()[1].partition(":")
        there = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pipe(reader, there[1]), pipe(there[0], writer))

    running = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://u:p@127.0.0.1:{running.sockets[0].getsockname()[1]}", asked
    running.close()


@pytest.mark.parametrize("way", ["given", "environment", "excepted"])
async def test_https_goes_through_the_proxy_unless_the_host_is_excepted(
    server: str, proxy: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    url, asked = proxy
    if way != "given":
        monkeypatch.setenv("HTTPS_PROXY", url)
        monkeypatch.setenv("NO_PROXY", "example.com,127.0.0.0/8" if way == "excepted" else "example.com")
    assert await who(client(GOOD, proxy=url if way == "given" else None), server) == "client"
    target = server.removeprefix("https://").rstrip("/")
    assert asked == ([] if way == "excepted" else [f"CONNECT {target} HTTP/1.1 with credentials"])


@pytest.mark.parametrize(
    ("no_proxy", "host", "direct"),
    [
        ("*", "a.example", True),
        ("a.example", "a.example", True),
        ("example", "a.example", True),
        (".example", "A.EXAMPLE", True),
        ("*.example", "a.example", True),
        ("b.example, 10.0.0.0/8", "10.1.2.3", True),
        ("::1", "::1", True),
        ("ample", "a.example", False),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("", "a.example", False),
    ],
)
def test_no_proxy_excepts_hosts_as_curl_does(
    monkeypatch: pytest.MonkeyPatch, no_proxy: str, host: str, direct: bool
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert (environment_proxy(host) is None) is direct
    if not direct:
        assert environment_proxy(host) == "http://proxy.example:3128"


def test_the_parts_of_a_document_are_blanked_too() -> None:
    account = json.dumps({"private_key": CLIENT.key, "token_uri": "https://oauth2.example.com/token", "id": "abc"})
    redact = Redactor([account, STRANGER.key]).text
    for line in (CLIENT.key + STRANGER.key).splitlines():
        if not line.startswith("-----"):
            assert redact(f"key {line} shown") == "key *** shown"
    assert redact("https://oauth2.example.com/token") == "https://oauth2.example.com/token"
