"""`towline simulate`, `towline run` and `towline data` together, as the documentation shows them."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.cli.conftest import BIN

if TYPE_CHECKING:
    from tests.cli.conftest import Towline

Simulator = Callable[..., Path]


def counts(towline: Towline) -> dict[str, int]:
    found = json.loads(towline("data", "-o", "json").stdout)
    return {entry["entity"]: entry["rows"] for entry in found}


def changed(file: Path, **config: Any) -> None:
    """Write other settings into the Integration of `file`."""
    documents = list(yaml.safe_load_all(file.read_text()))
    documents[-1]["spec"]["config"].update(config)
    file.write_text(yaml.safe_dump_all(documents))


def test_simulate_run_data_and_a_second_run_that_reads_only_changes(towline: Towline, simulator: Simulator) -> None:
    file = simulator("tenable-io", "--set", "assets=300", "--set", "findings=3")
    first = towline("run", "-f", str(file))
    assert first.returncode == 0, first.stderr
    assert first.stdout == ""
    assert "300 read" in first.stderr
    assert "towline data asset_vulnerability" in first.stderr
    rows = counts(towline)
    assert rows["asset"] == 330  # hosts and web applications
    assert 0 < rows["asset_vulnerability"] <= 930

    second = towline("run", "-f", str(file), "-o", "json")
    assert second.returncode == 0, second.stderr
    result = json.loads(second.stdout)
    assert result["reason"] == "Completed"
    read = {stream["name"]: stream.get("read", 0) for stream in result["streams"]}
    assert {read[name] for name in ("assets", "deleted-assets", "vulnerabilities", "compliance", "web-findings")} == {0}
    assert counts(towline) == rows

    critical = json.loads(towline("data", "open_vulnerabilities", "--where", "severity=Critical", "-o", "json").stdout)
    assert critical
    assert all(row["hostname"] and row["cvss_score"] >= 9 for row in critical)


def test_a_full_run_reads_everything_again(towline: Towline, simulator: Simulator) -> None:
    file = simulator("tenable-io", "--set", "assets=50", "--set", "findings=1")
    assert towline("run", "-f", str(file), "--stream", "assets").returncode == 0
    again = json.loads(towline("run", "-f", str(file), "--stream", "assets", "--full", "-o", "json").stdout)
    (assets,) = again["streams"]
    assert (assets["name"], assets["read"], assets["upserted"], assets["full"]) == ("assets", 50, 0, True)


def test_manifests_come_from_standard_input_too(towline: Towline, simulator: Simulator) -> None:
    file = simulator("servicenow", "--set", "users=40", "--set", "incidents=60")
    ended = towline("run", "-f", "-", "--stream", "users", "--stream", "incidents", stdin=file.read_text())
    assert ended.returncode == 0, ended.stderr
    assert counts(towline) == {"user": 40, "incident": 60}


def test_a_connector_that_needs_no_account_runs_by_its_name(towline: Towline, simulator: Simulator) -> None:
    file = simulator("cisa-kev", "--set", "vulnerabilities=25")
    url = list(yaml.safe_load_all(file.read_text()))[-1]["spec"]["config"]["base_url"]
    ended = towline("run", "cisa-kev", "--set", f"base_url={url}")
    assert ended.returncode == 0, ended.stderr
    assert counts(towline) == {"vulnerability": 25}


def test_of_records_that_do_not_fit_it_says_where_to_read_why(towline: Towline) -> None:
    feed = {"vulnerabilities": [{"cveID": "CVE-2026-0001"}, {"vendorProject": "a record without its key"}]}
    with answering(json.dumps(feed).encode()) as url:
        ended = towline("run", "cisa-kev", "--set", f"base_url={url}")
    assert ended.returncode == 0, ended.stderr
    told = re.search(r"1 record does not fit and stayed out; why: towline (.+)", ended.stderr)
    assert told, ended.stderr
    (lost,) = json.loads(towline(*told[1].split(), "-o", "json").stdout)
    assert "the key is empty" in lost["reason"]


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """The address of a server on this machine that answers everything with this JSON."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_report_of_a_scanner_is_read_without_an_account(towline: Towline, simulator: Simulator) -> None:
    file = simulator("grype", "--set", "findings=6")
    ended = towline("run", "-f", str(file))
    assert ended.returncode == 0, ended.stderr
    rows = counts(towline)
    assert (rows["asset"], rows["asset_vulnerability"]) == (1, 6)


def test_credentials_from_the_environment(towline: Towline, simulator: Simulator) -> None:
    file = simulator("tenable-io", "--set", "assets=5", "--set", "findings=1")
    integration = file.read_text().split("---\n")[1]
    environment = {"TOWLINE_CREDENTIAL_ACCESS_KEY": "simulator", "TOWLINE_CREDENTIAL_SECRET_KEY": "simulator"}
    ended = towline("run", "-f", "-", "--check", stdin=integration, **environment)
    assert ended.returncode == 0, ended.stderr
    assert "TOWLINE_CREDENTIAL_ACCESS_KEY" in ended.stderr
    assert "127.0.0.1" in ended.stderr


@pytest.mark.parametrize("debug", ["", "1"])
def test_rejected_credentials_end_with_77_and_no_secret_is_shown(
    towline: Towline, simulator: Simulator, tmp_path: Path, debug: str
) -> None:
    file = simulator("tenable-io")
    wrong = {"TOWLINE_CREDENTIAL_ACCESS_KEY": "hunter2hunter2", "TOWLINE_DEBUG": debug}
    ended = towline("run", "-f", str(file), **wrong)
    assert ended.returncode == 77
    assert "CredentialsRejected" in ended.stderr
    assert "hunter2" not in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr
    assert b"hunter2" not in (tmp_path / "towline.db").read_bytes()


def test_credentials_of_a_secret_go_only_where_it_allows(towline: Towline, simulator: Simulator) -> None:
    file = simulator("tenable-io")
    changed(file, base_url="http://localhost:1")
    ended = towline("run", "-f", str(file))
    assert ended.returncode == 78
    assert "HostNotAllowed" in ended.stderr
    assert "towline.dev/allowed-hosts" in ended.stderr


def test_a_mistake_in_one_of_several_integrations_shows_before_any_starts(
    towline: Towline, simulator: Simulator, tmp_path: Path
) -> None:
    first = simulator("cisa-kev", "--set", "vulnerabilities=5")
    second = simulator("feodo-tracker")
    changed(second, base_url="not a url")
    ended = towline("run", "-f", str(first), "-f", str(second))
    assert ended.returncode == 78
    assert "spec.config.base_url" in ended.stderr
    assert not (tmp_path / "towline.db").exists()
    changed(second, base_url=list(yaml.safe_load_all(first.read_text()))[-1]["spec"]["config"]["base_url"])
    assert towline("run", "-f", str(first), "-f", str(second), "cisa-kev-simulated").returncode == 0


def test_ctrl_c_stops_between_batches_and_the_same_command_goes_on(
    towline: Towline, simulator: Simulator, tmp_path: Path
) -> None:
    file = simulator("tenable-io", "--set", "assets=6000", "--set", "findings=1", "--set", "chunks_per_poll=1")
    command = [BIN / "towline", "run", "-f", str(file), "--stream", "assets"]
    environment = {**os.environ, "PYTHONUTF8": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment)
    database = tmp_path / "towline.db"
    deadline = time.monotonic() + 120
    while stored(database) == 0:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 130, talk
    assert "What was committed stays. To go on from there: towline run -f" in talk
    kept = stored(database)
    assert 0 < kept < 6000

    finished = towline("run", "-f", str(file), "--stream", "assets", "-o", "json")
    assert finished.returncode == 0, finished.stderr
    (assets,) = json.loads(finished.stdout)["streams"]
    assert assets["read"] == 6000 - kept  # parts that were committed are not read again
    assert counts(towline) == {"asset": 6000}


def stored(database: Path) -> int:
    if not database.exists():
        return 0
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM assets").fetchone()[0])
    except sqlite3.OperationalError:  # the tables are just being made
        return 0
    finally:
        connection.close()


def test_a_connector_of_ones_own_runs_from_its_manifest(towline: Towline, simulator: Simulator, tmp_path: Path) -> None:
    file = simulator("cisa-kev", "--set", "vulnerabilities=7")
    url = list(yaml.safe_load_all(file.read_text()))[-1]["spec"]["config"]["base_url"]
    path = "/sites/default/files/feeds/known_exploited_vulnerabilities.json"
    own = {
        "apiVersion": "towline.dev/v1alpha1",
        "kind": "Connector",
        "metadata": {"name": "own-feed"},
        "spec": {
            "title": "Own feed",
            "version": "0.1.0",
            "category": "ThreatIntel",
            "capabilities": ["Pull"],
            "egress": ["127.0.0.1"],
            "http": {"baseURL": url},
            "streams": [
                {
                    "name": "list",
                    "request": {"path": path},
                    "records": "=vulnerabilities",
                    "sync": {"mode": "Full"},
                    "emit": [{"entity": "vulnerability", "key": "=cveID", "fields": {"title": "=upper(product)"}}],
                }
            ],
        },
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    ended = towline("run", "own-feed", "--connector-file", "own.yaml")
    assert ended.returncode == 0, ended.stderr
    rows = json.loads(towline("data", "vulnerability", "-o", "json").stdout)
    assert len(rows) == 7
    assert all(row["title"] == row["title"].upper() for row in rows)


@pytest.mark.parametrize("target", ["mysql://user:hunter2@host/db", "postgresql://user:hunter2@[host/db"])
def test_a_destination_that_is_none_is_refused_without_its_password(towline: Towline, target: str) -> None:
    ended = towline("run", "cisa-kev", "--to", target)
    assert ended.returncode == 64
    assert "--to: " in ended.stderr
    assert "hunter2" not in ended.stderr


def test_a_simulator_that_does_not_exist_and_an_option_that_does_not(towline: Towline) -> None:
    ended = towline("simulate", "tenable")
    assert ended.returncode == 1
    assert "Did you mean tenable-io?" in ended.stderr
    ended = towline("simulate", "tenable-io", "--set", "asset=5")
    assert ended.returncode == 1
    assert "There is no option asset" in ended.stderr


def test_simulators_and_their_options_are_listed(towline: Towline) -> None:
    names = [entry["name"] for entry in json.loads(towline("simulate", "-o", "json").stdout)]
    assert {"cisa-kev", "servicenow", "tenable-io"} <= set(names)
    options = json.loads(towline("simulate", "tenable-io", "--options", "-o", "json").stdout)
    assert {"option": "assets", "type": "int", "default": 1000} in options


def test_the_printed_manifests_are_valid(towline: Towline) -> None:
    for name in json.loads(towline("simulate", "-o", "json").stdout):
        printed = towline("simulate", name["name"], "--print-manifests", "--port", "18099")
        checked = towline("validate", "-f", "-", stdin=printed.stdout)
        assert checked.returncode == 0, checked.stderr
