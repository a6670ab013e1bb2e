"""Falcon's connector against its simulator: ids and what is behind them, changes, rights, regions, limits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.connectors.harness import Integration, listed, served, stream

from towline.api.conditions import Reason
from towline_connectors.catalogue.edr.crowdstrike_falcon.simulator import SMALL, Falcon, Options, application
from towline_connectors.catalogue.simulating import EPOCH, handle

KEYS = {"client_id": "simulator", "client_secret": "simulator"}


@contextmanager
def falcon(folder: Path, secrets: dict[str, str] = KEYS, **options: Any) -> Iterator[tuple[Integration, Falcon]]:
    app = application(Options(**{**SMALL, **options}))
    with served(app) as url:
        yield Integration("crowdstrike-falcon", {"base_url": url}, secrets, folder / "data.db"), handle(app)


def test_every_stream_arrives_with_its_references(tmp_path: Path) -> None:
    with falcon(tmp_path) as (integration, _):
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert {each.name: each.read for each in result.streams} == {
        "hosts": 12, "host-groups": 3, "vulnerabilities": 24, "alerts": 12, "incidents": 7, "indicators": 5,
        "zero-trust": 11, "prevention-policies": 4,
    }  # fmt: skip
    assert sum(each.rejected for each in result.streams) == 0
    for table in ("asset_vulnerabilities", "alerts", "incidents", "scores"):
        join = f"{table} f LEFT JOIN assets a ON a.source_key = f.asset_key"
        assert integration.one(f"SELECT count(*) AS n FROM {join} WHERE a.uid IS NULL")["n"] == 0, table
    joined = "memberships m JOIN groups g ON g.source_key = m.group_key JOIN assets a ON a.source_key = m.member_key"
    assert integration.one(f"SELECT count(*) AS n FROM {joined}")["n"] == integration.count("memberships") > 0


def test_a_host_and_a_finding_have_the_values_that_falcon_sent(tmp_path: Path) -> None:
    with falcon(tmp_path) as (integration, state):
        integration.streams = ["hosts", "vulnerabilities"]
        integration.sync()
        host, found = state.customer.host(state.customer.aid(4)), state.customer.finding(9)
    assert host is not None
    row = integration.one("SELECT * FROM assets WHERE source_key = ?", host["device_id"])
    assert (row["hostname"], row["serial"], row["os_name"]) == (
        host["hostname"],
        host["serial_number"],
        host["os_version"],
    )
    assert listed(row["mac"]) == [host["mac_address"].replace("-", ":")]
    assert listed(row["ip"]) == [host["local_ip"], host["external_ip"]]
    assert row["cloud_uid"] == host.get("instance_id")
    finding = integration.one("SELECT * FROM asset_vulnerabilities WHERE source_key = ?", found["id"])
    assert (finding["asset_key"], finding["vulnerability_key"]) == (found["aid"], found["cve"]["id"])
    weakness = integration.one("SELECT * FROM vulnerabilities WHERE source_key = ?", found["cve"]["id"])
    assert (weakness["cvss_score"], listed(weakness["cve_uids"])) == (found["cve"]["base_score"], [found["cve"]["id"]])
    assert weakness["is_exploit_available"] == (found["cve"]["exploit_status"] >= 30)
    assert weakness["remediation"] == "Update the product"


def test_the_second_run_reads_only_findings_and_alerts_that_changed(tmp_path: Path) -> None:
    with falcon(tmp_path) as (integration, state):
        integration.streams = ["vulnerabilities", "alerts"]
        integration.sync()
        state.customer.closed[2] = EPOCH + 60
        state.customer.states[1] = ("closed", EPOCH + 60)
        result = integration.sync()
        finding, alert = state.customer.finding(2)["id"], state.customer.alert_id(1)
    assert stream(result, "alerts").read <= 12
    row = integration.one("SELECT * FROM asset_vulnerabilities WHERE source_key = ?", finding)
    assert (row["status_id"], row["fixed_time"]) == (4, "2026-01-01T00:01:00.000Z")
    row = integration.one("SELECT * FROM alerts WHERE source_key = ?", alert)
    assert (row["status_id"], listed(row["attacks"])) == (4, ["T1059"])
    assert json.loads(row["evidences"])["file"] == "powershell.exe"
    assert integration.count("asset_vulnerabilities") == 24


def test_software_comes_where_it_is_asked_for_with_paths_and_without_what_has_no_name(tmp_path: Path) -> None:
    with falcon(tmp_path) as (integration, state):
        integration.config["software"] = True
        integration.streams = ["hosts", "software"]
        result = integration.sync()
        first = state.customer.application(0)
    assert result.reason is Reason.COMPLETED, result.message
    assert (stream(result, "software").read, integration.count("software")) == (20, 16)
    row = integration.one("SELECT * FROM software WHERE source_key = ?", first["id"])
    assert (row["asset_key"], row["name"], row["path"]) == (first["host"]["aid"], "App 0", "/opt/app0")
    joined = "software s LEFT JOIN assets a ON a.source_key = s.asset_key"
    assert integration.one(f"SELECT count(*) AS n FROM {joined} WHERE a.uid IS NULL")["n"] == 0


def test_a_host_that_was_removed_is_marked_as_deleted_with_its_memberships(tmp_path: Path) -> None:
    with falcon(tmp_path) as (integration, state):
        integration.streams = ["hosts"]
        integration.sync()
        gone = state.customer.aid(11)
        state.customer.hosts -= 1
        integration.sync()
    assert integration.count("assets") == 11
    assert integration.count("memberships", f"deleted_time IS NULL AND member_key = '{gone}'") == 0


def test_an_address_of_another_cloud_is_told_as_such(tmp_path: Path) -> None:
    with falcon(tmp_path, region="us-2") as (integration, _):
        result = integration.sync("Check")
    assert result.reason is Reason.CONFIG_INVALID
    assert "redirects" in result.message


def test_a_wrong_secret_is_told_as_such(tmp_path: Path) -> None:
    with falcon(tmp_path, {"client_id": "simulator", "client_secret": "wrong-one"}) as (integration, _):
        for mode in ("Check", "Incremental"):
            result = integration.sync(mode)
            assert result.reason is Reason.CREDENTIALS_REJECTED
            assert "wrong-one" not in result.message


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/devices/queries/devices-scroll", Reason.PERMISSION_DENIED), ("/spotlight", Reason.PARTIALLY_COMPLETED)],
)
def test_a_scope_that_is_missing_fails_the_run_only_where_the_stream_is_needed(
    tmp_path: Path, path: str, reason: Reason
) -> None:
    with falcon(tmp_path, forbidden=path) as (integration, _):
        integration.streams = ["hosts", "vulnerabilities"]
        result = integration.sync()
    assert result.reason is reason, result.message
    assert ("Hosts: Read" if "devices" in path else "Vulnerabilities: Read") in result.message


@pytest.mark.parametrize("fault", [{"rate_limit_every": 6, "retry_after": 1}, {"error_every": 5}], ids=["429", "503"])
def test_a_fault_delays_the_run_and_loses_nothing(tmp_path: Path, fault: dict[str, Any]) -> None:
    with falcon(tmp_path, **fault) as (integration, _):
        integration.streams = ["hosts", "vulnerabilities", "alerts"]
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert (integration.count("assets"), integration.count("asset_vulnerabilities")) == (12, 24)
