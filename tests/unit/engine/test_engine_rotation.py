"""Credentials that are rotated while a run goes on: read anew once after a rejection, and never a storm."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web
from tests.unit.engine.plans import plan, rows, spec, users
from tests.unit.engine.test_engine_pod import SECRETS, begin, lay_out, result
from tests.unit.engine.test_engine_tls import CA, SERVER, STRANGER, made, written
from tests.unit.engine.vendor import Vendor

from towline import contract
from towline.api.conditions import Reason
from towline_connectors.engine.interpolate import Secrets


class Rotating:
    """Accepts the first credential for two pages, then only what `accepted` says; notes who was refused."""

    def __init__(self, vendor: Vendor, accepted: str) -> None:
        self.refused: list[str] = []
        self.pages = 0
        self.rotate = lambda: None

        @vendor.on("GET", "/users")
        async def page(request: web.Request) -> web.Response:
            at = int(request.query["offset"])
            token = request.headers["authorization"].removeprefix("Bearer ")
            if self.pages == 2:
                self.rotate()
            if token != ("tok-secret-123" if self.pages < 2 else accepted):
                self.refused.append(token)
                self.pages = max(self.pages, 3)
                return web.json_response({}, status=401)
            self.pages += 1
            items = [{"id": f"u{at + n}", "name": "x", "mail": "m"} for n in range(10)] if at < 50 else []
            return web.json_response({"items": items})


def run(vendor: Vendor, root: Path, stored: str, accepted: str) -> tuple[Rotating, int, str]:
    lay_out(root, plan(spec(vendor.url, [users()])), SECRETS)
    system = Rotating(vendor, accepted)
    file = root / contract.CREDENTIALS_PATH.lstrip("/") / "token"
    system.rotate = lambda: (file.write_text(stored), None)[1]
    process = begin(root)
    _out, log = process.communicate(timeout=60)
    return system, process.returncode, log


def test_a_sync_goes_on_with_the_new_credentials(vendor: Vendor, tmp_path: Path) -> None:
    system, code, log = run(vendor, tmp_path, "tok-second-456", "tok-second-456")
    assert code == 0, log
    assert system.refused == ["tok-secret-123"]
    database = tmp_path / contract.DATA_PATH.lstrip("/") / "towline.db"
    assert rows(database, "select count(*) from users") == [(50,)]
    assert "trying the new ones" in log
    assert "tok-" not in log


@pytest.mark.parametrize(
    ("stored", "refused"),
    [("tok-secret-123", ["tok-secret-123"]), ("tok-third-789", ["tok-secret-123", "tok-third-789"])],
    ids=["not changed", "changed to others that are not taken either"],
)
def test_otherwise_it_ends_rejected_with_what_is_committed_and_no_storm(
    vendor: Vendor, tmp_path: Path, stored: str, refused: list[str]
) -> None:
    system, code, log = run(vendor, tmp_path, stored, "tok-second-456")
    assert code == 77, log
    assert system.refused == refused
    left = result(tmp_path)
    assert left.reason is Reason.CREDENTIALS_REJECTED
    database = tmp_path / contract.DATA_PATH.lstrip("/") / "towline.db"
    assert rows(database, "select count(*) from users") == [(20,)]
    assert "tok-" not in log + left.message


def test_new_credentials_are_tried_once_until_the_system_has_taken_them() -> None:
    stored: dict[str, Any] = {"token": "a"}
    secrets = Secrets({"token": "a"}, reread=lambda: stored)
    assert not secrets.refresh(0), "the same ones"
    stored = {"token": "b"}
    assert secrets.refresh(0)
    assert secrets["token"].reveal() == "b"
    assert secrets.refresh(0), "another request that was sent before the change"
    stored = {"token": "c"}
    assert not secrets.refresh(1), "b was rejected too: who rotates that fast would be locked out"
    secrets.proved()
    assert secrets.refresh(1), "b was good for a while, c is the next"


# -- client certificates


class Gate(ThreadingHTTPServer):
    """A TLS server of records that trusts one CA for client certificates, and from the third page on another one. It
    says so by an alert, as servers do; those of asyncio close the connection without a word."""

    daemon_threads = True

    def __init__(self, folder: Path, first: str, then: str) -> None:
        self.shown: list[str] = []
        self.rotate: Callable[[], object] = lambda: None
        self._pair = folder / "server.pem"
        self._pair.write_text(SERVER.certificate + SERVER.key)
        self.context, self.then = self._trusting(first), self._trusting(then)
        super().__init__(("127.0.0.1", 0), Pages)
        self.url = f"https://127.0.0.1:{self.server_address[1]}"

    def _trusting(self, ca: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._pair)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=ca)
        return context

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self.context.wrap_socket(request, server_side=True, do_handshake_on_connect=False) as connection:
            try:
                connection.do_handshake()
            except ssl.SSLError:
                socket.socket.shutdown(connection, socket.SHUT_WR)
                while os.read(connection.fileno(), 65536):
                    """What the client sent already; unread, it would take the alert along."""
                return
            super().finish_request(connection, client_address)


class Pages(BaseHTTPRequestHandler):
    server: Gate
    connection: ssl.SSLSocket

    def do_GET(self) -> None:
        parts = (self.connection.getpeercert() or {})["subject"]
        self.server.shown.append({str(key): str(value) for ((key, value),) in parts}["commonName"])  # type: ignore[misc]
        at = int(parse_qs(urlsplit(self.path).query)["offset"][0])
        items = [{"id": f"u{at + n}", "name": "x", "mail": "m"} for n in range(10)] if at < 50 else []
        if at == 10:
            self.server.rotate()
            self.server.context = self.server.then
        self.send_response(200)
        self.end_headers()  # HTTP/1.0: each page is a connection of its own, which has to show a certificate
        self.wfile.write(json.dumps({"items": items}).encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


OTHER_CA = made("Other CA")
OLD, NEW = written(made("old", CA)), written(made("new", OTHER_CA))
TRUSTED = {"ca": written(CA).certificate}


def synced(root: Path, stored: dict[str, str]) -> tuple[Gate, int, str]:
    """A sync with the old certificate; at the second page the Secret gets `stored`."""
    with Gate(root, written(CA).certificate, written(OTHER_CA).certificate) as gate:
        threading.Thread(target=gate.serve_forever, daemon=True).start()
        keys = ("certificate", "key", "ca")
        manifest = spec(gate.url, [users()], tls={key: f"${{secret.{key}}}" for key in keys})
        del manifest["http"]["auth"]
        manifest["credentials"] = [{"key": key} for key in keys]
        lay_out(root, plan(manifest), {"certificate": OLD.certificate, "key": OLD.key, **TRUSTED})
        folder = root / contract.CREDENTIALS_PATH.lstrip("/")
        gate.rotate = lambda: [(folder / key).write_text(value) for key, value in stored.items()]
        process = begin(root)
        _out, log = process.communicate(timeout=60)
        gate.shutdown()
        return gate, process.returncode, log


def test_a_sync_goes_on_with_the_new_client_certificate(tmp_path: Path) -> None:
    gate, code, log = synced(tmp_path, {"certificate": NEW.certificate, "key": NEW.key})
    assert code == 0, log
    assert gate.shown == ["old", "old", "new", "new", "new", "new"]
    database = tmp_path / contract.DATA_PATH.lstrip("/") / "towline.db"
    assert rows(database, "select count(*) from users") == [(50,)]
    assert "trying the new ones" in log
    assert "PRIVATE" not in log


@pytest.mark.parametrize("stored", [{}, {"certificate": STRANGER.certificate, "key": STRANGER.key}])
def test_a_client_certificate_that_is_not_accepted_any_more_ends_rejected(
    tmp_path: Path, stored: dict[str, str]
) -> None:
    gate, code, log = synced(tmp_path, stored)
    assert code == 77, log
    assert gate.shown == ["old", "old"]
    left = result(tmp_path)
    assert left.reason is Reason.CREDENTIALS_REJECTED
    assert "127.0.0.1 does not accept the client certificate: its issuer is not one that the system" in left.message
    assert "Secret" in left.message
    database = tmp_path / contract.DATA_PATH.lstrip("/") / "towline.db"
    assert rows(database, "select count(*) from users") == [(20,)]
