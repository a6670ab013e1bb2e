from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiohttp import web
from tests.unit.engine.plans import plan, rows, spec, users
from tests.unit.engine.vendor import Vendor

from towline import contract
from towline.api.conditions import Reason
from towline.contract import Destination, Egress, Plan, RunResult, StreamResult
from towline_connectors.engine.pod import to_message


def lay_out(root: Path, plan_: Plan, secrets: dict[str, str]) -> None:
    def put(path: str, text: str) -> None:
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    put(contract.PLAN_PATH, plan_.model_dump_json())
    for key, value in secrets.items():
        put(f"{contract.CREDENTIALS_PATH}/{key}", value)
    put(contract.TERMINATION_LOG_PATH, "")
    (root / contract.DATA_PATH.lstrip("/")).mkdir(parents=True, exist_ok=True)


def begin(root: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "TOWLINE_POD_ROOT": str(root), "TOWLINE_POD_UID": "pod-9"}
    command = [sys.executable, "-m", "towline_connectors.engine.pod"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def result(root: Path) -> RunResult:
    return RunResult.model_validate_json((root / contract.TERMINATION_LOG_PATH.lstrip("/")).read_bytes())


SECRETS = {"token": "tok-secret-123\n", "client_id": "c", "client_secret": "s", "user": "u"}


def test_a_pod_syncs_and_leaves_its_result(vendor: Vendor, tmp_path: Path) -> None:
    vendor.json("/users", {"items": [{"id": "u1", "name": "A", "mail": "a@b"}]})
    lay_out(tmp_path, plan(spec(vendor.url, [users()])), SECRETS)
    process = begin(tmp_path)
    _out, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    left = result(tmp_path)
    assert (left.reason, left.pod_uid, left.streams[0].read) == (Reason.COMPLETED, "pod-9", 1)
    database = tmp_path / contract.DATA_PATH.lstrip("/") / "towline.db"
    assert rows(database, "select source_key from users") == [("u1",)]
    assert vendor.headers[0]["authorization"] == "Bearer tok-secret-123"
    assert "tok-secret" not in log
    assert all(json.loads(line) for line in log.splitlines())


def test_a_missing_key_is_named_and_exits_78(vendor: Vendor, tmp_path: Path) -> None:
    lay_out(tmp_path, plan(spec(vendor.url, [users()])), {**SECRETS, "token": ""})
    process = begin(tmp_path)
    process.communicate(timeout=60)
    assert process.returncode == 78
    assert result(tmp_path).reason is Reason.KEY_MISSING
    assert 'Key "token" is missing' in result(tmp_path).message


def test_a_plan_of_another_version_exits_64(tmp_path: Path) -> None:
    lay_out(tmp_path, plan(spec("http://127.0.0.1:1", [users()])), SECRETS)
    file = tmp_path / contract.PLAN_PATH.lstrip("/")
    file.write_text(file.read_text().replace('"v":1', '"v":9'))
    process = begin(tmp_path)
    process.communicate(timeout=60)
    assert process.returncode == 64
    assert result(tmp_path).reason is Reason.INVALID_MANIFEST


def test_rejected_credentials_exit_77_and_show_no_secret(vendor: Vendor, tmp_path: Path) -> None:
    vendor.json("/users", {"error": "tok-secret-123 is wrong, says the vendor"}, status=401)
    lay_out(tmp_path, plan(spec(vendor.url, [users()])), SECRETS)
    process = begin(tmp_path)
    _out, log = process.communicate(timeout=60)
    assert process.returncode == 77
    assert "tok-secret" not in log
    assert "says the vendor" not in log + result(tmp_path).message


@pytest.mark.parametrize(
    "url",
    ["postgresql://u:p@127.0.0.1:1/d", "postgresql://u:p@169.254.169.254/d", "s3://k:s@b?endpoint=http://[::1]:1"],
)
def test_a_destination_at_a_closed_address_ends_the_run_for_good(vendor: Vendor, tmp_path: Path, url: str) -> None:
    egress = Egress(allow=[f"127.0.0.1/32:{vendor.url.rpartition(':')[2]}"])
    destination = Destination(kind="Secret")
    lay_out(tmp_path, plan(spec(vendor.url, [users()]), egress=egress, destination=destination), SECRETS)
    file = tmp_path / contract.DESTINATION_PATH.lstrip("/") / "url"
    file.parent.mkdir(parents=True)
    file.write_text(url)
    process = begin(tmp_path)
    process.communicate(timeout=60)
    assert process.returncode == 78
    left = result(tmp_path)
    assert left.reason is Reason.ADDRESS_NOT_ALLOWED
    assert left.message.startswith("The destination's host ")
    assert "egress.allow" in left.message


def test_sigterm_stops_between_batches_and_is_no_failure_of_the_integration(vendor: Vendor, tmp_path: Path) -> None:
    @vendor.on("GET", "/users")
    async def endless(request: web.Request) -> web.Response:
        at = int(request.query["offset"])
        return web.json_response({"items": [{"id": f"u{at + n}", "name": "x", "mail": "m"} for n in range(10)]})

    lay_out(tmp_path, plan(spec(vendor.url, [users()])), SECRETS)
    process = begin(tmp_path)
    deadline = time.monotonic() + 60
    while len(vendor.seen) < 20:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 75
    left = result(tmp_path)
    assert left.reason is Reason.DISRUPTED
    database = tmp_path / contract.DATA_PATH.lstrip("/") / "towline.db"
    assert rows(database, "select count(*) from users") == [(left.streams[0].read,)]
    assert left.streams[0].read >= 100


@pytest.mark.parametrize("count", [1, 20, 50])
def test_the_termination_message_stays_within_what_the_kubelet_keeps(count: int) -> None:
    streams = [
        StreamResult(name=f"stream-{n:02}" + "x" * 50, read=n, skipped="é" * 250, checkpoint="c" * 250)
        for n in range(count)
    ]
    big = RunResult(sync_uid="u", attempt=1, reason=Reason.COMPLETED, message="ü" * 600, streams=streams)
    body = to_message(big)
    assert len(body) <= contract.MAX_RESULT_BYTES
    assert RunResult.model_validate_json(body).reason is Reason.COMPLETED
