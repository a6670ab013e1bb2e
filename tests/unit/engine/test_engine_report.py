"""The pod's side of progress: what is told, how often, and that nothing of it can hold a run up."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.unit.engine.plans import plan, spec, sync, users
from tests.unit.engine.test_engine_pod import SECRETS, begin, lay_out, result
from tests.unit.engine.vendor import Vendor

from towline import contract
from towline.api.conditions import Reason
from towline.contract import ProgressReport, SyncIdentity
from towline_connectors.engine import report as reporting
from towline_connectors.engine.report import Reporter
from towline_connectors.engine.run import Progress

WHO = SyncIdentity(uid="s-1", name="run", namespace="secops", attempt=2, created="2026-11-21T08:00:00Z")


class Operators(ThreadingHTTPServer):
    """A Service before two operators: every connection but each third meets the stand-by."""

    def __init__(self, leader_at: int = 1) -> None:
        self.leader_at = leader_at
        self.connections = 0
        self.bodies: list[dict[str, Any]] = []
        self.tokens: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1/progress"


class _Handler(BaseHTTPRequestHandler):
    server: Operators
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1
        self.leads = self.server.connections % self.server.leader_at == 0

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.leads:
            self.server.bodies.append(json.loads(body))
            self.server.tokens.append(self.headers["Authorization"])
        self.send_response(204 if self.leads else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def serve() -> Iterator[Callable[[int], Operators]]:
    running: list[Operators] = []

    def start(leader_at: int = 1) -> Operators:
        server = Operators(leader_at)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "FIRST_AFTER", 0.02)
    monkeypatch.setattr(reporting, "PROGRESS_EVERY", 0.05)


def until(look: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not look():
        assert time.monotonic() < end
        time.sleep(0.01)


def counts(read: int) -> dict[str, int]:
    return {"read": read, "upserted": read, "deleted": 0, "rejected": 0}


def test_the_newest_counts_of_all_streams_are_told_with_the_token_as_it_is_now(
    serve: Callable[[int], Operators], quick: None, tmp_path: Path
) -> None:
    server, token = serve(1), tmp_path / "token"
    token.write_text("one\n")
    reporter = Reporter(server.url, token, WHO)
    reporter.update("users", counts(10))
    reporter.update("hosts", counts(3))
    until(lambda: bool(server.bodies) and len(server.bodies[-1]["streams"]) == 2)  # the first may know of one only
    told = ProgressReport.model_validate(server.bodies[-1])
    assert (told.sync_uid, told.attempt, told.stream) == ("s-1", 2, "hosts")
    assert {entry.name: entry.read for entry in told.streams} == {"users": 10, "hosts": 3}
    token.write_text("two")
    until(lambda: server.tokens[-1] == "Bearer two")
    assert server.connections == 1, "one connection for all reports"
    reporter.close()


def test_the_leader_of_two_is_found_and_kept(serve: Callable[[int], Operators], quick: None, tmp_path: Path) -> None:
    server, token = serve(3), tmp_path / "token"
    token.write_text("one")
    reporter = Reporter(server.url, token, WHO)
    reporter.update("users", counts(1))
    until(lambda: len(server.bodies) >= 3)
    assert server.connections == 3
    reporter.close()


def test_an_operator_that_is_away_is_no_fault_of_the_run(quick: None, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1/progress"
        reporter = Reporter(url, tmp_path / "no-token", WHO)
        reporter.update("users", counts(1))
        time.sleep(0.2)
        assert reporter._thread is not None
        assert reporter._thread.is_alive()
        reporter.close()


def test_a_run_that_is_over_soon_is_silent(
    monkeypatch: pytest.MonkeyPatch, serve: Callable[[int], Operators], tmp_path: Path
) -> None:
    monkeypatch.setattr(reporting, "FIRST_AFTER", 3600)
    server, token = serve(1), tmp_path / "token"
    token.write_text("one")
    reporter = Reporter(server.url, token, WHO)
    reporter.update("users", counts(10))
    reporter.close()
    assert reporter._thread is not None
    reporter._thread.join(60)
    assert not reporter._thread.is_alive()
    assert server.connections == 0


def test_a_pod_tells_its_progress_while_it_runs(
    vendor: Vendor, serve: Callable[[int], Operators], tmp_path: Path
) -> None:
    server = serve(1)
    release = threading.Event()

    @vendor.on("GET", "/users")
    async def slow(request: web.Request) -> web.Response:
        at = int(request.query["offset"])
        if release.is_set():
            return web.json_response({"items": []})
        return web.json_response({"items": [{"id": f"u{at + n}", "name": "x", "mail": "m"} for n in range(10)]})

    made = plan(spec(vendor.url, [users()])).model_copy(update={"progress_url": server.url})
    lay_out(tmp_path, made, SECRETS)
    token = tmp_path / contract.PROGRESS_TOKEN_PATH.lstrip("/")
    token.parent.mkdir(parents=True)
    token.write_text("pod-token")
    process = begin(tmp_path)
    until(lambda: bool(server.bodies))
    release.set()
    _out, log = process.communicate(timeout=60)
    assert result(tmp_path).reason is Reason.COMPLETED, log
    told = ProgressReport.model_validate(server.bodies[0])
    assert told.stream == "users"
    assert server.tokens[0] == "Bearer pod-token"
    assert "pod-token" not in log


@pytest.mark.parametrize(("total", "expected"), [("=total", 35), (None, None)])
def test_how_many_records_there_are_is_told_where_the_system_says_so(
    vendor: Vendor, tmp_path: Path, total: str | None, expected: int | None
) -> None:
    @vendor.on("GET", "/users")
    async def page(request: web.Request) -> web.Response:
        at = int(request.query["offset"])
        found = [{"id": f"u{number}", "name": "x", "mail": "m"} for number in range(at, min(at + 10, 35))]
        return web.json_response({"items": found, "total": 35})

    paginate = {
        "kind": "Offset",
        "offset": "offset",
        "limit": "limit",
        "size": 10,
        **({"total": total} if total else {}),
    }
    told: list[Progress] = []
    sync(plan(spec(vendor.url, [users(paginate=paginate)])), tmp_path / "db", progress=told.append)
    assert (told[-1].read, told[-1].expected) == (35, expected)
