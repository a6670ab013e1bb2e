"""The connectors against traffic recorded from real Tenable and ServiceNow tenants.

The recordings are no part of the project: they are looked for at TOWLINE_RECORDINGS, or beside the checkout in
shared/recordings, and the tests skip where there are none. What a row has to hold is read from the recording itself.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from tests.connectors.harness import Integration, listed, stream

from towline.api.conditions import Reason
from towline_connectors.kit.replay import Recording, replaying

ROOT = Path(os.environ.get("TOWLINE_RECORDINGS") or Path(__file__).parents[3] / "shared" / "recordings")
pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason="no recorded traffic: set TOWLINE_RECORDINGS")

TENABLE = {"access_key": "recorded", "secret_key": "recorded"}
SERVICENOW = {"username": "recorded", "password": "recorded"}
Record = dict[str, Any]


def replayed(integration: Integration, file: str, *streams: str) -> Recording:
    """Sync those streams from a recording; nothing may be asked that it does not have."""
    integration.streams = list(streams)
    recording = Recording.load(ROOT / file)
    with replaying(recording, lenient=True) as replay:
        integration.reroute = replay.url
        result = integration.sync()
        assert replay.unanswered == []
    assert result.reason is Reason.COMPLETED, result.message
    assert [stream(result, name).rejected for name in streams] == [0] * len(streams)
    return recording


def sent(recording: Recording, ending: str) -> list[Record]:
    """All records of the answers whose path ends so, as the vendor sent them."""
    found: list[Record] = []
    for entry in recording.entries:
        if entry.path.endswith(ending):
            body = json.loads(entry.body)
            found += body["result"] if isinstance(body, dict) else body
    return found


def from_servicenow(time: str) -> str | None:
    return f"{time.replace(' ', 'T')}.000Z" if time else None


@pytest.fixture
def tenable(tmp_path: Path) -> Integration:
    return Integration("tenable-io", {}, TENABLE, tmp_path / "data.db")


def test_recorded_tenable_assets(tenable: Integration) -> None:
    assets = sent(replayed(tenable, "tenable-io/assets-export.har", "assets"), "/chunks/1")
    assert tenable.count("assets") == len(assets) == 4
    for asset in assets:
        row = tenable.one("SELECT * FROM assets WHERE source_key = ?", asset["id"])
        assert row["hostname"] == (asset["hostnames"] or asset["ipv4s"])[0]
        assert row["os_name"] == asset["operating_systems"][0]
        assert listed(row["ip"]) == [str(ip_address(each)) for each in asset["ipv4s"] + asset["ipv6s"]]
        assert listed(row["mac"]) == [mac.lower() for mac in asset["mac_addresses"]]
        assert row["cloud_uid"] == asset["azure_vm_id"]
        assert row["cloud_provider"] == ("Azure" if asset["azure_vm_id"] else None)
        assert row["last_observed_time"] == asset["last_seen"]
        assert json.loads(row["raw"]) == asset
    assert tenable.count("assets", "cloud_provider = 'Azure'") == 2


def test_recorded_tenable_findings(tenable: Integration) -> None:
    recording = replayed(tenable, "tenable-io/vulnerabilities-export.har", "vulnerabilities")
    findings = sent(recording, "/chunks/1")
    assert tenable.count("asset_vulnerabilities") == len(findings) == 103
    assert tenable.count("vulnerabilities") == 58
    severities = tenable.rows(
        "SELECT severity_id AS id, count(*) AS n FROM asset_vulnerabilities GROUP BY 1 ORDER BY 1"
    )
    assert [(row["id"], row["n"]) for row in severities] == [(1, 84), (3, 5), (4, 12), (5, 2)]
    rated = 0
    for finding in findings:
        plugin = finding["plugin"]
        row = tenable.one("SELECT * FROM vulnerabilities WHERE source_key = ?", str(plugin["id"]))
        assert (row["title"], row["category"]) == (plugin["name"], plugin["family"])
        assert listed(row["cve_uids"]) == plugin.get("cve", [])
        assert (row["cvss2_score"], row["cvss3_score"]) == (plugin["cvss_base_score"], plugin["cvss3_base_score"])
        assert row["cvss3_vector"] == plugin.get("cvss3_vector", {}).get("raw")
        assert row["vpr_score"] == plugin.get("vpr", {}).get("score")
        assert bool(row["is_exploit_available"]) == plugin["exploit_available"]
        rated += row["vpr_score"] is not None
    assert rated == 18
    finding = next(each for each in findings if each["port"]["port"] > 0)
    row = tenable.one(
        "SELECT * FROM asset_vulnerabilities WHERE vulnerability_key = ? AND port = ?",
        str(finding["plugin"]["id"]),
        finding["port"]["port"],
    )
    assert (row["asset_key"], row["protocol"]) == (finding["asset"]["uuid"], finding["port"]["protocol"].lower())
    assert (row["status_id"], row["first_observed_time"]) == (1, finding["first_found"])


def test_recorded_servicenow_users_groups_and_servers(tmp_path: Path) -> None:
    integration = Integration("servicenow", {"host": "recorded.service-now.com"}, SERVICENOW, tmp_path / "data.db")
    recording = replayed(integration, "servicenow/cmdb.har", "users", "groups", "servers")
    assert (integration.count("users"), integration.count("groups"), integration.count("assets")) == (626, 46, 40)
    users = {user["sys_id"]: user for user in sent(recording, "/sys_user")}
    for row in integration.rows("SELECT * FROM users"):
        user = users.pop(row["source_key"])
        assert (row["name"] or "", row["full_name"] or "") == (user["user_name"], user["name"])
        assert (row["email_addr"] or "") == user["email"].lower()
        assert row["manager_key"] == (user["manager"]["value"] if user["manager"] else None)
        assert row["is_enabled"] == (user["active"] == "true")
        assert row["created_time"] == from_servicenow(user["sys_created_on"])
        assert row["last_login_time"] == from_servicenow(user["last_login_time"])
    assert users == {}
    assert integration.count("users", "manager_key IS NOT NULL") > 0
    for server in sent(recording, "/cmdb_ci_server"):
        row = integration.one("SELECT * FROM assets WHERE source_key = ?", server["sys_id"])
        assert (row["name"], row["os_name"] or "") == (server["name"], server["os"])
        assert (row["hostname"], row["type_id"]) == (server["host_name"] or server["fqdn"] or server["name"], 1)
        assert (row["serial"] or "") == server["serial_number"]
        assert row["vendor_name"] == (server["manufacturer"]["value"] if server["manufacturer"] else None)
        assert json.loads(row["ext"])["class"] == server["sys_class_name"]


def test_recorded_servicenow_incidents(tmp_path: Path) -> None:
    integration = Integration("servicenow", {"host": "recorded.service-now.com"}, SERVICENOW, tmp_path / "data.db")
    recording = replayed(integration, "servicenow/incidents.har", "users", "incidents")
    assert (integration.count("users"), integration.count("incidents")) == (626, 67)
    statuses = integration.rows("SELECT status_id AS id, count(*) AS n FROM incidents GROUP BY 1 ORDER BY 1")
    assert [(row["id"], row["n"]) for row in statuses] == [(1, 13), (2, 20), (3, 7), (5, 27)]
    incidents = sent(recording, "/incident")
    for incident in incidents:
        row = integration.one("SELECT * FROM incidents WHERE source_key = ?", incident["sys_id"])
        assert (row["number"], row["title"]) == (incident["number"], incident["short_description"])
        assert row["caller_key"] == incident["caller_id"]["value"]
        assert row["asset_key"] == (incident["cmdb_ci"]["value"] if incident["cmdb_ci"] else None)
        assert row["assignee_user_key"] == (incident["assigned_to"]["value"] if incident["assigned_to"] else None)
        assert row["opened_time"] == from_servicenow(incident["opened_at"])
        assert row["closed_time"] == from_servicenow(incident["closed_at"])
    priorities = Counter({"1": 4, "2": 3, "3": 2}.get(incident["priority"], 1) for incident in incidents)
    found = integration.rows("SELECT priority_id AS id, count(*) AS n FROM incidents GROUP BY 1")
    assert {row["id"]: row["n"] for row in found} == dict(priorities)
    callers = "SELECT count(*) AS n FROM incidents i JOIN users u ON u.source_key = i.caller_key"
    assert integration.one(callers)["n"] == 67
