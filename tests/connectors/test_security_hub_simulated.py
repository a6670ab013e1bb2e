"""Security Hub's connector against its simulator, which checks signatures, and against moto's server."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.connectors.harness import Integration, listed, served, stream
from tests.moto import Moto, moto  # noqa: F401

from towline.api.conditions import Reason
from towline_connectors.catalogue.cloud.aws_security_hub.simulator import SMALL, Hub, Options, application
from towline_connectors.catalogue.simulating import handle
from towline_connectors.engine.auth.aws import region_of

KEYS = {"access_key_id": "simulator", "secret_access_key": "simulator"}


@contextmanager
def security_hub(
    folder: Path, secrets: dict[str, str] = KEYS, config: dict[str, Any] | None = None, **options: Any
) -> Iterator[tuple[Integration, Hub]]:
    app = application(Options(**{**SMALL, **options}))
    with served(app) as url:
        yield (
            Integration("aws-security-hub", {"base_url": url, **(config or {})}, secrets, folder / "d.db"),
            handle(app),
        )


def test_findings_standards_controls_and_accounts_arrive(tmp_path: Path) -> None:
    with security_hub(tmp_path) as (integration, _):
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert integration.count("findings") == 260
    assert integration.count("policies", "stream = 'enabled-standards'") == 2
    assert integration.count("policies", "stream = 'standards-controls'") == 240
    assert integration.count("cloud_accounts") == 120


def test_a_finding_about_a_package_becomes_a_vulnerability_on_its_instance(tmp_path: Path) -> None:
    with security_hub(tmp_path) as (integration, hub):
        integration.streams = ["findings"]
        integration.sync()
        sent = hub.finding(4)
    found = integration.one("SELECT * FROM asset_vulnerabilities WHERE vulnerability_key = 'CVE-2025-10004'")
    assert found["asset_key"] == sent["Resources"][0]["Id"]
    assert (found["package"], found["package_version"], found["fixed_in_version"]) == ("openssl", "3.0.1", "3.0.7")
    asset = integration.one("SELECT * FROM assets WHERE source_key = ?", found["asset_key"])
    assert (asset["name"], asset["cloud_provider"]) == ("web-4", "AWS")
    assert asset["cloud_uid"].startswith("i-")
    vulnerability = integration.one("SELECT * FROM vulnerabilities WHERE source_key = 'CVE-2025-10004'")
    assert listed(vulnerability["cve_uids"]) == ["CVE-2025-10004"]
    assert (vulnerability["cvss_score"], vulnerability["severity_id"]) == (7.5, 4)


def test_the_second_run_asks_for_what_was_updated_since(tmp_path: Path) -> None:
    with security_hub(tmp_path) as (integration, hub):
        integration.streams = ["findings"]
        integration.sync()
        hub.touch(8)
        second = integration.sync()
    assert stream(second, "findings").upserted == 1
    assert set(hub.searches[-1]["Filters"]["UpdatedAt"][0]) == {"Start", "End"}
    row = integration.one("SELECT * FROM findings WHERE source_key = ?", hub.finding(8)["Id"])
    assert row["status_id"] == 4
    assert row["resolved_time"] is not None


@pytest.mark.parametrize("mode", ["Check", "Incremental"])
def test_a_region_without_security_hub_is_told_as_such_and_not_as_empty(tmp_path: Path, mode: str) -> None:
    with security_hub(tmp_path, disabled=True) as (integration, _):
        result = integration.sync(mode)
    assert result.reason is Reason.CONFIG_INVALID
    assert "switch on Security Hub in this region" in result.message


def test_a_finding_that_is_gone_is_found_by_a_full_run(tmp_path: Path) -> None:
    with security_hub(tmp_path) as (integration, hub):
        integration.streams = ["findings"]
        integration.sync()
        hub.numbers.discard(0)
        result = integration.sync("Full")
    assert stream(result, "findings").deleted == 1


@pytest.mark.parametrize(
    ("secrets", "hint"),
    [
        ({"access_key_id": "nobody", "secret_access_key": "simulator"}, "access_key_id"),
        ({"access_key_id": "simulator", "secret_access_key": "not-it"}, "secret_access_key"),
        ({**KEYS, "session_token": "not-it"}, "session_token"),
    ],
    ids=["key id", "secret", "token"],
)
def test_wrong_keys_are_told_with_what_to_check(tmp_path: Path, secrets: dict[str, str], hint: str) -> None:
    with security_hub(tmp_path, secrets) as (integration, _):
        for mode in ("Check", "Incremental"):
            result = integration.sync(mode)
            assert result.reason is Reason.CREDENTIALS_REJECTED
            assert hint in result.message
            assert "not-it" not in result.message


def test_temporary_keys_are_sent_with_their_token(tmp_path: Path) -> None:
    with security_hub(tmp_path, {**KEYS, "session_token": "simulator"}) as (integration, _):
        assert integration.sync().reason is Reason.COMPLETED


def test_a_policy_that_lacks_a_right_and_an_account_without_members_leave_out_what_is_optional(tmp_path: Path) -> None:
    with security_hub(tmp_path, forbidden="controls", administrator=False) as (integration, _):
        result = integration.sync()
    assert result.reason is Reason.PARTIALLY_COMPLETED
    assert {each.name for each in result.streams if each.skipped} == {"standards-controls", "members"}
    assert integration.count("findings") == 260


def test_a_missing_right_for_findings_is_named(tmp_path: Path) -> None:
    with security_hub(tmp_path, forbidden="findings") as (integration, _):
        result = integration.sync()
    assert result.reason is Reason.PERMISSION_DENIED
    assert "securityhub:GetFindings" in result.message


def test_a_rate_limit_delays_the_run_and_loses_nothing(tmp_path: Path) -> None:
    with security_hub(tmp_path, rate_limit_every=3, retry_after=0) as (integration, _):
        integration.streams = ["findings", "members"]
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert (integration.count("findings"), integration.count("cloud_accounts")) == (260, 120)


def test_findings_and_members_of_motos_security_hub_arrive(moto: Moto, tmp_path: Path) -> None:  # noqa: F811
    moto.reset()
    hub = Hub(Options())
    sent = [hub.finding(number) for number in range(130)]
    _ask(moto, "POST", "/accounts", {})
    for start in (0, 100):
        answer = _ask(moto, "POST", "/findings/import", {"Findings": sent[start : start + 100]})
        assert answer["FailedCount"] == 0
    accounts = [{"AccountId": f"{444400000000 + n}", "Email": f"account{n}@example.com"} for n in range(3)]
    _ask(moto, "POST", "/members", {"AccountDetails": accounts})

    config = {"base_url": moto.url, "region": "eu-west-1"}
    integration = Integration("aws-security-hub", config, KEYS, tmp_path / "data.db", ["findings", "members"])
    assert integration.sync("Check").reason is Reason.COMPLETED
    result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert integration.count("findings") == 130
    assert integration.count("asset_vulnerabilities") == 26
    assert integration.count("cloud_accounts") == 3
    assert stream(integration.sync(), "findings").upserted == 0


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("securityhub.eu-west-1.amazonaws.com", "eu-west-1"),
        ("securityhub.us-gov-east-1.amazonaws.com", "us-gov-east-1"),
        ("securityhub.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("vpce-1a2b.securityhub.ap-southeast-2.vpce.amazonaws.com", "ap-southeast-2"),
        ("securityhub.eu-west-1.amazonaws.com.example.com", "us-east-1"),
        ("localhost", "us-east-1"),
    ],
)
def test_the_region_is_the_one_that_the_host_names(host: str, region: str) -> None:
    assert region_of(f"https://{host}/findings") == region


def _ask(moto: Moto, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:  # noqa: F811
    """A request of an administrator, who has set the hub up."""
    scope = "simulator/20260101/eu-west-1/securityhub/aws4_request"
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
    }
    request = urllib.request.Request(f"{moto.url}{path}", json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request) as answer:
        return dict(json.loads(answer.read() or b"{}"))
