"""Tenable.io's connector against its simulator: the way of an export, changes, deletions and every fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.connectors.harness import Integration, listed, served, stream

from towline.api.conditions import Reason
from towline_connectors.catalogue.simulating import handle
from towline_connectors.catalogue.vulnerability.tenable_io.simulator import Options, Tenable, application

KEYS = {"access_key": "simulator", "secret_key": "simulator"}
EXPORTS = ["assets", "deleted-assets", "vulnerabilities"]
QUICK = {"queued_polls": 0, "chunks_per_poll": 100}  # exports that are finished at the first look


@contextmanager
def tenable(folder: Path, secrets: dict[str, str] = KEYS, **options: Any) -> Iterator[tuple[Integration, Tenable]]:
    app = application(Options(**{"assets": 120, "findings": 5, **QUICK, **options}))
    with served(app) as url:
        severities = ["info", "low", "medium", "high", "critical"]
        config = {"base_url": url, "severities": severities}
        yield Integration("tenable-io", config, secrets, folder / "data.db", streams=EXPORTS), handle(app)


def test_assets_plugins_and_findings_arrive_with_their_references(tmp_path: Path) -> None:
    with tenable(tmp_path) as (integration, _):
        result = integration.sync()
    assert result.reason is Reason.COMPLETED
    assert integration.count("assets") == 120
    assert integration.count("asset_vulnerabilities") == 600
    unknown = """SELECT count(*) AS n FROM asset_vulnerabilities f
        LEFT JOIN assets a ON a.source_key = f.asset_key
        LEFT JOIN vulnerabilities v ON v.source_key = f.vulnerability_key
        WHERE a.uid IS NULL OR v.uid IS NULL"""
    assert integration.one(unknown)["n"] == 0


def test_an_asset_has_the_values_that_tenable_sent(tmp_path: Path) -> None:
    with tenable(tmp_path) as (integration, state):
        integration.sync()
        expected = state.world.asset(7)
    row = integration.one("SELECT * FROM assets WHERE source_key = ?", expected["id"])
    assert row["hostname"] == "host-000007"
    assert listed(row["fqdn"]) == ["host-000007.example.com"]
    assert listed(row["ip"]) == expected["ipv4s"]
    assert row["os_name"] == expected["operating_systems"][0]
    assert row["cloud_uid"] == expected["aws_ec2_instance_id"]
    assert row["cloud_provider"] == ("AWS" if expected["aws_ec2_instance_id"] else None)
    assert listed(row["labels"]) == [f"Site:{expected['tags'][0]['value']}"]
    assert row["last_observed_time"] == expected["last_seen"]


def test_every_stream_arrives_with_its_references(tmp_path: Path) -> None:
    with tenable(tmp_path, scans=3, scan_runs=60) as (integration, state):
        integration.streams = None
        integration.config |= {"asset_export": "v2", "all_plugins": True}
        result = integration.sync()
        expected = state.world.asset_v2(7)
    assert result.reason is Reason.COMPLETED, result.message
    assert [each.name for each in result.streams if each.skipped] == []
    read = {each.name: each.read for each in result.streams}
    assert read == {
        "assets-v2": 120,
        "deleted-assets-v2": 0,
        "vulnerabilities": 600,
        "compliance": 120,
        "web-findings": 12,
        "plugins": 400,
        "scans": 3,
        "scan-history": 180,
        "users": 3,
    }
    row = integration.one("SELECT * FROM assets WHERE source_key = ?", expected["id"])
    assert (row["serial"], row["hostname"]) == (expected["serial_number"], "host-000007")
    assert json.loads(row["ext"])["acr_score"] == expected["ratings"]["acr"]["score"]
    assert integration.count("scans") == 183
    first = integration.one("SELECT * FROM scans WHERE started_time = '2026-01-01T00:00:00.000Z' AND name LIKE '% 2'")
    assert (first["type"], first["ended_time"]) == ("remote", "2026-01-01T01:00:00.000Z")
    failed = integration.one("SELECT count(*) AS n FROM findings WHERE status_id = 1 AND severity_id = 3")["n"]
    assert 0 < failed < integration.count("findings") == 120
    assert integration.count("users", "type_id = 2") == 1


def test_a_plugin_tells_how_it_can_be_exploited(tmp_path: Path) -> None:
    with tenable(tmp_path) as (integration, _):
        integration.sync()
    known = integration.rows("SELECT * FROM vulnerabilities WHERE vpr_score IS NOT NULL")
    assert {row["cvss2_vector"] for row in known} == {"AV:N/AC:L/Au:N/C:P/I:P/A:P"}
    assert {listed(row["cwe_uids"])[0] for row in known} == {"CWE-79"}
    for row in known:
        assert (row["exploitability"] == "Exploits are available") == bool(row["is_exploit_available"])
        assert 0 <= row["epss"] <= 1
    finding = integration.rows("SELECT evidence FROM asset_vulnerabilities LIMIT 1")[0]
    assert finding["evidence"].startswith("Installed version")


def test_an_asset_deleted_at_tenable_is_marked_by_the_second_version_of_the_export_too(tmp_path: Path) -> None:
    with tenable(tmp_path) as (integration, state):
        integration.streams = ["assets-v2", "deleted-assets-v2"]
        integration.config["asset_export"] = "v2"
        integration.sync()
        state.world.delete(11)
        result = integration.sync()
    assert stream(result, "deleted-assets-v2").deleted == 1
    assert integration.count("assets") == 119


def test_the_second_run_reads_only_what_changed(tmp_path: Path) -> None:
    with tenable(tmp_path) as (integration, state):
        integration.sync()
        state.world.touch(3)
        state.world.touch(4)
        second = integration.sync()
    assert stream(second, "assets").read == 2
    assert stream(second, "vulnerabilities").read <= 2 * 5
    assert not stream(second, "assets").full


def test_a_finding_that_is_fixed_is_closed_and_keeps_its_row(tmp_path: Path) -> None:
    with tenable(tmp_path) as (integration, state):
        integration.sync()
        before = integration.count("asset_vulnerabilities", "status_id = 4")
        rows = integration.count("asset_vulnerabilities")
        open_ones = [number for number in range(5) if b'"FIXED"' not in state.world._findings(9, _everything())[number]]
        state.world.fix(9, open_ones[0])
        integration.sync()
    assert integration.count("asset_vulnerabilities", "status_id = 4") == before + 1
    assert integration.count("asset_vulnerabilities") == rows


def _everything() -> Any:
    from towline_connectors.catalogue.vulnerability.tenable_io.simulated_data import selection

    return selection({"state": ["OPEN", "REOPENED", "FIXED"]})


def test_an_asset_deleted_at_tenable_is_marked_as_deleted(tmp_path: Path) -> None:
    with tenable(tmp_path) as (integration, state):
        integration.sync()
        state.world.delete(11)
        result = integration.sync()
        key = state.world.uuid(11)
    assert integration.one("SELECT deleted_time FROM assets WHERE source_key = ?", key)["deleted_time"]
    assert stream(result, "deleted-assets").deleted == 1
    assert integration.count("assets") == 119


def test_a_full_run_marks_assets_that_vanished_without_a_trace(tmp_path: Path) -> None:
    with tenable(tmp_path) as (integration, state):
        integration.sync()
        state.world.assets -= 2
        integration.sync()
        assert integration.count("assets") == 120
        integration.sync("Full")
    assert integration.count("assets") == 118


def test_chunks_are_read_while_the_export_still_runs(tmp_path: Path) -> None:
    with tenable(tmp_path, queued_polls=1, chunks_per_poll=1) as (integration, _):
        integration.streams = ["vulnerabilities"]
        result = integration.sync()
    assert result.reason is Reason.COMPLETED
    assert integration.count("asset_vulnerabilities") == 600


def test_only_the_severities_that_were_asked_for_are_exported(tmp_path: Path) -> None:
    with tenable(tmp_path) as (integration, _):
        integration.config["severities"] = ["critical"]
        integration.sync()
    assert integration.count("asset_vulnerabilities") == integration.count("asset_vulnerabilities", "severity_id = 5")
    assert 0 < integration.count("asset_vulnerabilities") < 600


def test_wrong_keys_are_told_as_such(tmp_path: Path) -> None:
    with tenable(tmp_path, {"access_key": "simulator", "secret_key": "wrong-one"}) as (integration, _):
        for mode in ("Check", "Incremental"):
            result = integration.sync(mode)
            assert result.reason is Reason.CREDENTIALS_REJECTED
            assert "wrong-one" not in result.message
            assert "API Keys" in result.message


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with tenable(tmp_path, {"access_key": "simulator"}) as (integration, _):
        result = integration.sync()
    assert result.reason is Reason.KEY_MISSING
    assert '"secret_key"' in result.message


@pytest.mark.parametrize(
    "fault",
    [
        {"fail_chunk": 2},
        {"rate_limit_every": 5, "retry_after": 1},
        {"error_every": 6},
        {"lose_chunk": 1},
        {"expire_after": 1},
        {"error_export": True},
    ],
    ids=lambda fault: "-".join(fault),
)
def test_a_fault_delays_the_run_and_loses_nothing(tmp_path: Path, fault: dict[str, Any]) -> None:
    with tenable(tmp_path, **fault) as (integration, state):
        result = integration.sync()
        kinds = list(state.created)
    assert result.reason is Reason.COMPLETED, result.message
    assert integration.count("assets") == 120
    assert integration.count("asset_vulnerabilities") == 600
    if set(fault) & {"lose_chunk", "expire_after", "error_export"}:
        assert kinds.count("vulns") == 2  # made anew once


def test_an_export_that_runs_already_is_adopted(tmp_path: Path) -> None:
    """A run that died between making a job and committing its id leaves such a job behind."""
    with tenable(tmp_path, queued_polls=2, chunks_per_poll=100) as (integration, state):
        integration.streams = ["assets"]
        state.create("assets", 1000, {"updated_at": 1})
        result = integration.sync()
        made = list(state.created)
    assert result.reason is Reason.COMPLETED
    assert integration.count("assets") == 120
    assert made == ["assets"]


def test_the_limit_of_exports_at_once_is_waited_out(tmp_path: Path) -> None:
    with tenable(tmp_path, running_exports=1, queued_polls=0, chunks_per_poll=1) as (integration, state):
        integration.streams = ["assets"]
        state.create("vulns", 50, {"since": 5})  # somebody else's; ends when it is cancelled
        blocking = next(iter(state.jobs.values()))

        refused = {"n": 0}
        original = state.create

        def create(kind: str, size: int, filters: dict[str, Any]) -> Any:
            if refused["n"] == 1:
                blocking.cancelled = True
            refused["n"] += 1
            return original(kind, size, filters)

        state.create = create  # type: ignore[method-assign]
        result = integration.sync()
    assert result.reason is Reason.COMPLETED
    assert refused["n"] == 2
    assert result.http["429"] == 1


def test_an_unreachable_address_is_named(tmp_path: Path) -> None:
    integration = Integration("tenable-io", {"base_url": "http://127.0.0.1:1"}, KEYS, tmp_path / "data.db")
    result = integration.sync(manifest=_impatient(integration))
    assert result.reason is Reason.UNREACHABLE
    assert "127.0.0.1" in result.message


def _impatient(integration: Integration) -> dict[str, Any]:
    manifest = dict(integration.plan().manifest)
    manifest["http"] = {**manifest["http"], "retry": {"attempts": 1}}
    return manifest
