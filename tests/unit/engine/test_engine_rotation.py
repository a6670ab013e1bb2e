"""Credentials that are rotated while a run goes on: read anew once after a rejection, and never a storm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.unit.engine.plans import plan, rows, spec, users
from tests.unit.engine.test_engine_pod import SECRETS, begin, lay_out, result
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
