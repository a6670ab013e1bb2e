"""Defender for Endpoint's connector against its simulator: rows, quotas, tokens, rights, what vanished."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.connectors.harness import Integration, listed, served, stream
from tests.connectors.test_recorded_traffic import ROOT, replayed

from towline.api.conditions import Reason
from towline_connectors.catalogue.edr.microsoft_defender_endpoint.simulator import SMALL, Defender, Options, application
from towline_connectors.catalogue.simulating import EPOCH, handle, recently
from towline_connectors.kit.replay import Recording

KEYS = {"client_id": "simulator", "client_secret": "simulator"}
TENANT = "00000000-0000-4000-8000-000000000000"


@contextmanager
def defender(folder: Path, secrets: dict[str, str] = KEYS, **options: Any) -> Iterator[tuple[Integration, Defender]]:
    app = application(Options(**{**SMALL, **options}))
    with served(app) as url:
        config = {"tenant_id": TENANT, "base_url": url, "login_url": url, "vulnerabilities": "Both"}
        yield Integration("microsoft-defender-endpoint", config, secrets, folder / "data.db"), handle(app)


def test_every_stream_arrives_with_its_references(tmp_path: Path) -> None:
    with defender(tmp_path) as (integration, state):
        integration.config["hunting_queries"] = ["DeviceProcessEvents | limit 3"]
        result = integration.sync()
        issued = state.tokens.issued
    assert result.reason is Reason.COMPLETED, result.message
    assert issued == 1
    assert {each.name: each.read for each in result.streams} == {
        "machines": 12, "vulnerabilities": 36, "vulnerability-assessment": 48, "software": 48, "recommendations": 4,
        "alerts": 9, "indicators": 4, "hunting": 3,
        "secure-score": 1, "exposure-score": 1, "exposure-score-by-group": 2,
    }  # fmt: skip
    assert sum(each.rejected for each in result.streams) == 0
    assert integration.count("asset_vulnerabilities") == 72  # both ways, each with keys of its own
    for table in ("asset_vulnerabilities", "software", "alerts", "events"):
        unknown = (
            f"SELECT count(*) AS n FROM {table} f LEFT JOIN assets a ON a.source_key = f.asset_key WHERE a.uid IS NULL"
        )
        assert integration.one(unknown)["n"] == 0, table
    scores = {row["source_key"]: row["value"] for row in integration.rows("SELECT * FROM scores")}
    assert scores["secure-score"] == 340.0
    assert scores["exposure-score/A"] == 41.5


def test_a_machine_and_its_vulnerability_have_the_values_that_were_sent(tmp_path: Path) -> None:
    with defender(tmp_path) as (integration, state):
        integration.streams = ["machines", "vulnerabilities"]
        integration.sync()
        machine, found = state.tenant.machine(3), state.tenant.vulnerabilities(3)[0]
    row = integration.one("SELECT * FROM assets WHERE source_key = ?", machine["id"])
    assert row["hostname"] == machine["computerDnsName"]
    assert listed(row["ip"])[0] == machine["lastIpAddress"]
    assert "127.0.0.1" not in listed(row["ip"])
    assert len(listed(row["mac"])) == 1
    assert row["cloud_uid"] == (machine["vmMetadata"] or {}).get("vmId")
    assert row["is_managed"] == (machine["onboardingStatus"] == "Onboarded")
    assert row["last_observed_time"] == machine["lastSeen"][:23] + "Z"
    key = f"{machine['id']}|{found['id']}"
    finding = integration.one("SELECT * FROM asset_vulnerabilities WHERE source_key = ?", key)
    assert (finding["asset_key"], finding["vulnerability_key"]) == (machine["id"], found["id"])
    weakness = integration.one("SELECT * FROM vulnerabilities WHERE source_key = ?", found["id"])
    assert (weakness["cvss_score"], listed(weakness["cve_uids"])) == (found["cvssV3"], [found["id"]])
    assert weakness["published_time"] == "2025-05-13T00:00:00.000Z"


def test_the_assessment_names_the_software_and_leaves_out_what_has_no_weakness(tmp_path: Path) -> None:
    with defender(tmp_path) as (integration, _):
        integration.config["vulnerabilities"] = "Assessment"
        result = integration.sync()
    assert "vulnerabilities" not in [each.name for each in result.streams]
    assert integration.count("asset_vulnerabilities") == 36
    row = integration.rows("SELECT * FROM asset_vulnerabilities WHERE package = 'edge'")[0]
    assert row["package_version"].startswith("1.0.")
    assert row["first_observed_time"] == "2025-11-03T10:13:34.847Z"
    assert json.loads(row["ext"])["recommendation"] == "va-_-microsoft-_-edge"


def test_changes_are_read_between_the_assessments(tmp_path: Path) -> None:
    now = recently()
    with defender(tmp_path) as (integration, state):
        integration.config["vulnerabilities"] = "Changes"
        integration.streams = ["vulnerability-changes"]
        state.tenant.seen = now
        first = integration.sync()
        assert live_findings(integration) == assessed(state)
        for number in range(2):
            for machine in range(12):
                state.tenant.mend(machine, number, now)
        state.tenant.found(2, 1, now + 1)
        state.asked.clear()
        second = integration.sync()
        assert live_findings(integration) == assessed(state)
    assert (first.reason, second.reason) == (Reason.COMPLETED, Reason.COMPLETED), second.message
    assert (stream(first, "vulnerability-changes").full, stream(first, "vulnerability-changes").read) == (True, 48)
    changed = stream(second, "vulnerability-changes")
    assert (changed.full, changed.read, changed.deleted, changed.rejected) == (False, 24, 23, 0)
    assert all("/SoftwareVulnerabilityChangesByMachine?" in asked for asked in state.asked)
    assert len(state.asked) == 2, "a page of 20 rows and its next"
    assert "sinceTime=" in state.asked[0]
    assert integration.count("vulnerabilities", "deleted_time IS NOT NULL") == 0, "a CVE stays known"


def test_changes_of_too_long_ago_are_made_up_for_by_the_assessment(tmp_path: Path) -> None:
    with defender(tmp_path) as (integration, state):
        integration.config["vulnerabilities"] = "Changes"
        integration.streams = ["vulnerability-changes"]
        integration.sync()  # the newest row is months old
        state.tenant.fixed.add((2, 1))
        second = integration.sync()
        assert live_findings(integration) == assessed(state)
    assert second.reason is Reason.COMPLETED, second.message
    changed = stream(second, "vulnerability-changes")
    assert (changed.full, changed.read) == (True, 47)


def live_findings(integration: Integration) -> set[str]:
    return {
        row["source_key"]
        for row in integration.rows("SELECT source_key FROM asset_vulnerabilities WHERE deleted_time IS NULL")
    }


def assessed(state: Defender) -> set[str]:
    return {row["id"] for row in state.tenant.assessments() if row["cveId"]}


def test_the_list_of_the_tenant_names_the_product_of_each_finding(tmp_path: Path) -> None:
    with defender(tmp_path) as (integration, state):
        integration.config["vulnerabilities"] = "List"
        result = integration.sync()
        first = state.tenant.listed()[0]
    assert result.reason is Reason.COMPLETED, result.message
    assert not {"vulnerabilities", "vulnerability-assessment"} & {each.name for each in result.streams}
    assert integration.count("asset_vulnerabilities") == 36
    row = integration.one("SELECT * FROM asset_vulnerabilities WHERE source_key = ?", first["id"])
    assert (row["asset_key"], row["vulnerability_key"]) == (first["machineId"], first["cveId"])
    assert (row["package"], row["package_version"]) == (first["productName"], first["productVersion"])


def test_what_was_mended_and_what_vanished_is_marked_as_deleted(tmp_path: Path) -> None:
    with defender(tmp_path) as (integration, state):
        integration.streams = ["machines", "vulnerabilities"]
        integration.sync()
        state.tenant.fixed.add((2, 1))
        state.tenant.machines -= 1
        result = integration.sync()
    assert stream(result, "machines").deleted == 1
    assert stream(result, "vulnerabilities").deleted >= 4
    assert (integration.count("assets"), integration.count("asset_vulnerabilities")) == (11, 32)


def test_a_machine_that_vanishes_in_between_is_passed_over_and_nothing_is_deleted(tmp_path: Path) -> None:
    with defender(tmp_path) as (integration, _):
        integration.streams = ["vulnerabilities"]
        integration.sync()
    with defender(tmp_path, vanished=1) as (integration, _):
        integration.streams = ["vulnerabilities"]
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert integration.count("asset_vulnerabilities") == 36


def test_the_second_run_reads_only_alerts_that_were_updated(tmp_path: Path) -> None:
    with defender(tmp_path) as (integration, state):
        integration.streams = ["alerts"]
        integration.sync()
        state.tenant.resolved[4] = EPOCH + 60
        result = integration.sync()
        key = state.tenant.alert(4)["id"]
    assert 1 <= stream(result, "alerts").read <= 3
    row = integration.one("SELECT * FROM alerts WHERE source_key = ?", key)
    assert (row["status_id"], row["resolved_time"]) == (4, "2026-01-01T00:01:00.000Z")
    assert json.loads(row["evidences"])[0]["fileName"] == "rundll32.exe"


def test_no_machines_is_a_good_answer(tmp_path: Path) -> None:
    with defender(tmp_path, machines=0) as (integration, _):
        integration.streams = ["machines"]
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert integration.count("assets") == 0


def test_a_wrong_secret_is_told_as_such(tmp_path: Path) -> None:
    with defender(tmp_path, {"client_id": "simulator", "client_secret": "wrong-one"}) as (integration, _):
        for mode in ("Check", "Incremental"):
            result = integration.sync(mode)
            assert result.reason is Reason.CREDENTIALS_REJECTED
            assert "wrong-one" not in result.message


def test_a_token_that_is_revoked_is_fetched_anew(tmp_path: Path) -> None:
    with defender(tmp_path) as (integration, state):
        integration.streams = ["machines", "alerts"]
        original = state.tenant.machine

        def machine(number: int) -> dict[str, Any]:
            state.tokens.revoke()
            return original(number)

        state.tenant.machine = machine  # type: ignore[method-assign]
        result = integration.sync()
        issued = state.tokens.issued
    assert result.reason is Reason.COMPLETED, result.message
    assert issued == 2


@pytest.mark.parametrize(
    ("path", "reason"), [("machines", Reason.PERMISSION_DENIED), ("indicators", Reason.PARTIALLY_COMPLETED)]
)
def test_a_right_that_is_missing_fails_the_run_only_where_the_stream_is_needed(
    tmp_path: Path, path: str, reason: Reason
) -> None:
    with defender(tmp_path, forbidden=path) as (integration, _):
        integration.streams = ["machines", "indicators"]
        result = integration.sync()
    assert result.reason is reason, result.message


@pytest.mark.parametrize("fault", [{"rate_limit_every": 7, "retry_after": 1}, {"error_every": 6}], ids=["429", "503"])
def test_a_fault_delays_the_run_and_loses_nothing(tmp_path: Path, fault: dict[str, Any]) -> None:
    with defender(tmp_path, **fault) as (integration, _):
        integration.streams = ["machines", "software", "alerts"]
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert (integration.count("assets"), integration.count("software"), integration.count("alerts")) == (12, 48, 9)


@pytest.mark.skipif(not ROOT.is_dir(), reason="no recorded traffic: set TOWLINE_RECORDINGS")
def test_recorded_machines_and_their_vulnerabilities(tmp_path: Path) -> None:
    file = "microsoft-defender-endpoint/vulnerabilities.har"
    token = next(each for each in Recording.load(ROOT / file).entries if each.path.endswith("/token"))
    config = {"tenant_id": token.path.split("/")[1]}
    recorded = Integration("microsoft-defender-endpoint", config, KEYS, tmp_path / "data.db")
    recording = replayed(recorded, file, "machines", "vulnerabilities")
    machines = {each["id"]: each for each in _sent(recording, "/machines")}
    assert recorded.count("assets") == len(machines) == 9
    for row in recorded.rows("SELECT * FROM assets"):
        machine = machines[row["source_key"]]
        assert (row["hostname"], row["os_name"]) == (machine["computerDnsName"], machine["osPlatform"])
        assert (row["cloud_provider"], row["cloud_uid"]) == ("Azure", machine["vmMetadata"]["vmId"])
        assert listed(row["ip"])[0] == machine["lastIpAddress"]
        assert set(listed(row["mac"])).isdisjoint({"00:00:00:00:00:00"})
        assert row["last_observed_time"].startswith(machine["lastSeen"][:19])
    findings = _sent(recording, "/vulnerabilities")
    assert recorded.count("asset_vulnerabilities") == recorded.count("vulnerabilities") == len(findings) == 51
    for finding in findings:
        row = recorded.one("SELECT * FROM vulnerabilities WHERE source_key = ?", finding["id"])
        assert (row["cvss_score"], row["cvss_vector"]) == (finding["cvssV3"], finding["cvssVector"] or None)
        assert row["severity_id"] == {"Low": 2, "Medium": 3, "High": 4, "Critical": 5}[finding["severity"]]
    assert len(recorded.rows("SELECT DISTINCT asset_key FROM asset_vulnerabilities")) == 1


def _sent(recording: Recording, ending: str) -> list[dict[str, Any]]:
    bodies = [json.loads(entry.body) for entry in recording.entries if entry.path.endswith(ending)]
    return [each for body in bodies for each in body["value"]]
