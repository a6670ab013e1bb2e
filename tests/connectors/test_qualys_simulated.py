"""Qualys' connector against its simulator: XML, batches by URL, limits told by 409 and errors told with 200."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.connectors.harness import Integration, listed, served, stream

from towline.api.conditions import Reason
from towline_connectors.catalogue.simulating import handle
from towline_connectors.catalogue.vulnerability.qualys_vmdr.simulator import SMALL, Options, Platform, application

LOGIN = {"username": "simulator", "password": "simulator"}


@contextmanager
def qualys(
    folder: Path, secrets: dict[str, str] = LOGIN, config: dict[str, Any] | None = None, **options: Any
) -> Iterator[tuple[Integration, Platform]]:
    app = application(Options(**{**SMALL, **options}))
    with served(app) as url:
        yield Integration("qualys-vmdr", {"base_url": url, **(config or {})}, secrets, folder / "data.db"), handle(app)


def test_hosts_detections_knowledge_and_scans_arrive_over_several_batches(tmp_path: Path) -> None:
    with qualys(tmp_path) as (integration, platform):
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert [name for name, _ in platform.queries].count("HOST_LIST_OUTPUT") == 3
    assert integration.count("assets") == 60
    assert integration.count("vulnerabilities") == 120
    assert integration.count("asset_vulnerabilities") == 360
    assert integration.count("scans") == 10
    dangling = """SELECT count(*) AS n FROM asset_vulnerabilities f LEFT JOIN assets a ON a.source_key = f.asset_key
        LEFT JOIN vulnerabilities v ON v.source_key = f.vulnerability_key WHERE a.uid IS NULL OR v.uid IS NULL"""
    assert integration.one(dangling)["n"] == 0


def test_a_vulnerability_has_what_the_knowledge_base_says(tmp_path: Path) -> None:
    with qualys(tmp_path) as (integration, _):
        integration.streams = ["knowledge-base"]
        integration.sync()
    row = integration.one("SELECT * FROM vulnerabilities WHERE source_key = '38002'")
    assert row["title"] == "Example Product 2 Remote Code Execution <CVSS 5.2>"
    assert listed(row["cve_uids"]) == ["CVE-2025-10004", "CVE-2025-10005"]
    assert (row["cvss3_score"], row["cvss2_score"], row["severity_id"]) == (5.2, 5.2, 3)
    assert row["is_fix_available"] == 0
    without = integration.one("SELECT * FROM vulnerabilities WHERE source_key = '38000'")
    assert without["cve_uids"] is None


def test_the_second_run_reads_the_hosts_that_were_scanned_anew(tmp_path: Path) -> None:
    with qualys(tmp_path) as (integration, platform):
        integration.streams = ["host-detections"]
        integration.sync()
        platform.world.fix(7, 2)
        platform.queries.clear()
        second = integration.sync()
    assert stream(second, "host-detections").upserted == 6
    assert "detection_updated_since" in platform.queries[0][1]
    row = integration.one("SELECT * FROM asset_vulnerabilities WHERE source_key = '5007002'")
    assert row["status_id"] == 4
    assert row["fixed_time"] is not None


def test_a_host_that_was_removed_is_found_by_a_full_run(tmp_path: Path) -> None:
    with qualys(tmp_path) as (integration, platform):
        integration.sync()
        platform.world.hosts.discard(3)
        result = integration.sync("Full")
    assert stream(result, "hosts").deleted == 1
    assert stream(result, "host-detections").deleted == 6


def test_results_are_read_when_asked_for_and_never_with_the_whole_host(tmp_path: Path) -> None:
    with qualys(tmp_path, config={"results": True, "statuses": "New,Active"}) as (integration, _):
        integration.streams = ["host-detections"]
        integration.sync()
    rows = integration.rows("SELECT evidence, raw, status_id FROM asset_vulnerabilities")
    assert rows
    assert {row["status_id"] for row in rows} <= {1, 3}
    assert all(row["evidence"].startswith("Package <b>") and row["raw"] is None for row in rows)


@pytest.mark.parametrize("fault", [{"limit_every": 3}, {"busy_every": 3}, {"limit_every": 4, "softly": True}], ids=str)
def test_a_limit_is_waited_out_and_loses_nothing(tmp_path: Path, fault: dict[str, Any]) -> None:
    with qualys(tmp_path, hosts=30, retry_after=0, **fault) as (integration, _):
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert integration.count("assets") == 30
    assert integration.count("asset_vulnerabilities") == 180


def test_a_session_is_opened_once_and_closed(tmp_path: Path) -> None:
    with qualys(tmp_path, config={"login": "Session"}) as (integration, platform):
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert (len(platform.sessions), platform.ended) == (0, 1)


def test_a_wrong_password_is_told_as_such_and_never_shown(tmp_path: Path) -> None:
    for login in ("Basic", "Session"):
        with qualys(tmp_path, {"username": "simulator", "password": "not-it"}, {"login": login}) as (integration, _):
            result = integration.sync()
        assert result.reason is Reason.CREDENTIALS_REJECTED
        assert "not-it" not in result.message


def test_scans_that_the_user_may_not_see_are_left_out(tmp_path: Path) -> None:
    with qualys(tmp_path, forbid_scans=True) as (integration, _):
        result = integration.sync()
    assert result.reason is Reason.PARTIALLY_COMPLETED
    assert [each.name for each in result.streams if each.skipped] == ["scans"]


def test_an_account_without_hosts_is_empty_and_no_fault(tmp_path: Path) -> None:
    with qualys(tmp_path, hosts=0, vulnerabilities=0, scans=0) as (integration, _):
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert integration.count("assets") == 0
