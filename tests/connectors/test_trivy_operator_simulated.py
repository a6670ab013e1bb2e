"""The Trivy Operator's connector against its simulator: lists in chunks, workloads that go, a token that is wrong."""

from __future__ import annotations

from pathlib import Path

from tests.connectors.harness import Integration, served, stream

from towline.api.conditions import Reason
from towline_connectors.catalogue.vulnerability.trivy_operator.simulator import Options, application


def test_reports_of_all_kinds_arrive_with_their_references(tmp_path: Path) -> None:
    with served(application(Options(workloads=230, findings=2))) as url:
        integration = Integration("trivy-operator", {"base_url": url}, {"token": "simulator"}, tmp_path / "data.db")
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert {each.name: each.read for each in result.streams} == {
        "vulnerability-reports": 230,
        "config-audit-reports": 230,
        "exposed-secret-reports": 230,
    }
    assert (integration.count("assets"), integration.count("asset_vulnerabilities")) == (230, 460)
    assert integration.count("findings", "standard = 'Secret'") == 23
    assert integration.count("findings", "control = 'KSV012'") == 115
    assert integration.count("findings", "control = 'KSV001'") == 0
    dangling = """SELECT count(*) AS n FROM asset_vulnerabilities f
        LEFT JOIN assets a ON a.source_key = f.asset_key
        LEFT JOIN vulnerabilities v ON v.source_key = f.vulnerability_key WHERE a.uid IS NULL OR v.uid IS NULL"""
    assert integration.one(dangling)["n"] == 0
    row = integration.one("SELECT * FROM assets WHERE source_key = 'team-3/ReplicaSet/web-3/app'")
    assert (row["os_name"], row["labels"]) == ("debian", '["registry.example.com/web:3"]')


def test_a_workload_that_is_gone_takes_its_rows_along(tmp_path: Path) -> None:
    integration = Integration("trivy-operator", {}, {"token": "simulator"}, tmp_path / "data.db")
    for workloads in (20, 15):
        with served(application(Options(workloads=workloads, findings=2))) as url:
            integration.config = {"base_url": url}
            result = integration.sync()
    assert (integration.count("assets"), integration.count("asset_vulnerabilities")) == (15, 30)
    assert stream(result, "vulnerability-reports").deleted >= 15


def test_a_wrong_token_is_told_as_such(tmp_path: Path) -> None:
    with served(application(Options(workloads=1))) as url:
        integration = Integration("trivy-operator", {"base_url": url}, {"token": "of-another"}, tmp_path / "data.db")
        result = integration.sync("Check")
    assert result.reason is Reason.CREDENTIALS_REJECTED
    assert "expired or is of another cluster" in result.message
