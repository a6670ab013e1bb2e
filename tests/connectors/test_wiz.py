"""Wiz' connector against its simulator: GraphQL pages, changes, errors with status 200, scopes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.connectors.harness import Integration, served, stream

from towline.api.conditions import Reason
from towline_connectors.catalogue.cloud.wiz.simulator import SMALL, Options, Wiz, application
from towline_connectors.catalogue.simulating import EPOCH, handle

KEYS = {"client_id": "simulator", "client_secret": "simulator"}


@contextmanager
def wiz(folder: Path, secrets: dict[str, str] = KEYS, **options: Any) -> Iterator[tuple[Integration, Wiz]]:
    app = application(Options(**{**SMALL, **options}))
    with served(app) as url:
        yield Integration("wiz", {"base_url": url, "login_url": url}, secrets, folder / "data.db"), handle(app)


def test_every_stream_arrives_with_its_references(tmp_path: Path) -> None:
    with wiz(tmp_path) as (integration, state):
        result = integration.sync()
        asked = list(state.asked)
    assert result.reason is Reason.COMPLETED, result.message
    assert {each.name: each.read for each in result.streams} == {
        "resources": 12, "issues": 11, "vulnerabilities": 24, "configuration-findings": 7,
    }  # fmt: skip
    assert sum(each.rejected for each in result.streams) == 0
    for table in ("asset_vulnerabilities", "findings"):
        join = f"{table} f LEFT JOIN assets a ON a.source_key = f.asset_key"
        assert integration.one(f"SELECT count(*) AS n FROM {join} WHERE a.uid IS NULL")["n"] == 0, table
    pages = [variables.get("after") for root, variables in asked if root == "cloudResources"]
    assert len(pages) == 3
    assert pages[0] is None


def test_an_issue_and_a_vulnerability_have_the_values_that_wiz_sent(tmp_path: Path) -> None:
    with wiz(tmp_path) as (integration, state):
        integration.sync()
        issue, found, resource = state.issue(3), state.vulnerability(5), state.resource(4)
    row = integration.one("SELECT * FROM findings WHERE source_key = ?", issue["id"])
    assert (row["title"], row["severity_id"]) == (issue["sourceRule"]["name"], 5)
    assert (row["status_id"], row["asset_key"]) == (2, issue["entitySnapshot"]["id"])
    assert json.loads(row["ext"])["projects"] == ["Shop"]
    row = integration.one("SELECT * FROM asset_vulnerabilities WHERE source_key = ?", found["id"])
    assert (row["package"], row["fixed_in_version"]) == ("openssl", "3.0.9")
    row = integration.one("SELECT * FROM vulnerabilities WHERE source_key = ?", found["name"])
    assert (row["cvss_score"], row["epss"]) == (found["score"], found["epssProbability"])
    row = integration.one("SELECT * FROM assets WHERE source_key = ?", resource["id"])
    assert (row["hostname"], row["cloud_uid"]) == (resource["name"], resource["graphEntity"]["providerUniqueId"])


def test_the_second_run_reads_only_issues_whose_state_changed(tmp_path: Path) -> None:
    with wiz(tmp_path) as (integration, state):
        integration.streams = ["issues"]
        integration.sync()
        state.resolved["issuesV2", 2] = EPOCH
        integration.sync()
        third = integration.sync()
        key = state.issue(2)["id"]
    assert stream(third, "issues").read == 1
    row = integration.one("SELECT * FROM findings WHERE source_key = ?", key)
    assert (row["status_id"], row["resolved_time"]) == (4, "2026-01-01T00:00:00.000Z")


def test_only_the_severities_that_were_asked_for_are_read(tmp_path: Path) -> None:
    with wiz(tmp_path) as (integration, _):
        integration.config["severities"] = ["CRITICAL"]
        integration.streams = ["issues"]
        integration.sync()
    assert integration.count("findings") == integration.count("findings", "severity_id = 5") == 2


def test_a_resource_that_vanished_is_marked_as_deleted(tmp_path: Path) -> None:
    with wiz(tmp_path) as (integration, state):
        integration.streams = ["resources"]
        integration.sync()
        state.resources -= 1
        result = integration.sync()
    assert (stream(result, "resources").deleted, integration.count("assets")) == (1, 11)


def test_a_wrong_secret_is_told_as_such(tmp_path: Path) -> None:
    with wiz(tmp_path, {"client_id": "simulator", "client_secret": "wrong-one"}) as (integration, _):
        for mode in ("Check", "Incremental"):
            result = integration.sync(mode)
            assert result.reason is Reason.CREDENTIALS_REJECTED
            assert "wrong-one" not in result.message


@pytest.mark.parametrize(
    ("root", "reason"),
    [("issuesV2", Reason.PERMISSION_DENIED), ("vulnerabilityFindings", Reason.PARTIALLY_COMPLETED)],
)
def test_a_scope_that_is_missing_is_named_although_the_status_is_200(tmp_path: Path, root: str, reason: Reason) -> None:
    with wiz(tmp_path, forbidden=root) as (integration, _):
        integration.streams = ["issues", "vulnerabilities"]
        result = integration.sync()
    assert result.reason is reason, result.message
    assert ("read:issues" if root == "issuesV2" else "read:vulnerabilities") in result.message


@pytest.mark.parametrize(
    "fault", [{"limited_every": 4, "retry_after": 1}, {"error_every": 5}], ids=["limited with 200", "503"]
)
def test_a_fault_delays_the_run_and_loses_nothing(tmp_path: Path, fault: dict[str, Any]) -> None:
    with wiz(tmp_path, **fault) as (integration, _):
        integration.streams = ["resources", "vulnerabilities"]
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert (integration.count("assets"), integration.count("asset_vulnerabilities")) == (12, 24)
