"""Cortex XDR's connector against its simulator, which checks each signature: windows, increments and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.connectors.harness import Integration, listed, served, stream

from towline.api.conditions import Reason
from towline_connectors.catalogue.edr.cortex_xdr.simulator import SMALL, Options, Tenant, application
from towline_connectors.catalogue.simulating import handle

KEY = {"api_key_id": "simulator", "api_key": "simulator"}


@contextmanager
def cortex(
    folder: Path, secrets: dict[str, str] = KEY, config: dict[str, Any] | None = None, **options: Any
) -> Iterator[tuple[Integration, Tenant]]:
    app = application(Options(**{**SMALL, **options}))
    with served(app) as url:
        settings = {"host": url.removeprefix("http://"), "scheme": "http", **(config or {})}
        yield Integration("cortex-xdr", settings, secrets, folder / "data.db"), handle(app)


def test_endpoints_incidents_and_alerts_arrive_with_their_references(tmp_path: Path) -> None:
    with cortex(tmp_path) as (integration, tenant):
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert (integration.count("assets"), integration.count("incidents"), integration.count("alerts")) == (230, 220, 250)
    dangling = """SELECT count(*) AS n FROM alerts l LEFT JOIN assets a ON a.source_key = l.asset_key
        LEFT JOIN incidents i ON i.source_key = l.incident_key WHERE a.uid IS NULL OR i.uid IS NULL"""
    assert integration.one(dangling)["n"] == 0
    assert len(tenant.signatures) == sum(1 for _ in tenant.asked)


def test_an_incident_and_an_alert_have_the_values_that_cortex_sent(tmp_path: Path) -> None:
    with cortex(tmp_path) as (integration, tenant):
        integration.sync()
    row = integration.one("SELECT * FROM incidents WHERE source_key = '10'")
    assert row["severity_id"] == 5  # an analyst raised it
    assert (row["status"], row["status_id"], row["assignee"]) == ("under_investigation", 2, "Uma Novak")
    assert row["asset_key"] == tenant.endpoint_id(9)
    alert = integration.one("SELECT * FROM alerts WHERE source_key = '50001'")
    assert listed(alert["attacks"]) == ["T1059.001"]
    assert (alert["severity_id"], alert["status_id"], alert["incident_key"]) == (3, 1, "2")


def test_the_second_run_reads_only_what_changed(tmp_path: Path) -> None:
    with cortex(tmp_path) as (integration, tenant):
        integration.sync()
        tenant.change(7)
        tenant.see(5)
        second = integration.sync()
    assert (stream(second, "incidents").upserted, stream(second, "endpoints").upserted) == (1, 1)
    assert integration.one("SELECT title FROM incidents WHERE source_key = '8'")["title"].endswith("(updated)")


def test_an_endpoint_that_was_removed_is_found_by_a_full_run(tmp_path: Path) -> None:
    with cortex(tmp_path) as (integration, tenant):
        integration.streams = ["endpoints"]
        integration.sync()
        tenant.endpoints.discard(3)
        result = integration.sync("Full")
    assert stream(result, "endpoints").deleted == 1


def test_incidents_that_change_while_they_are_read_are_not_missed(tmp_path: Path) -> None:
    with cortex(tmp_path, moving=3) as (integration, _):
        integration.streams = ["incidents"]
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert integration.count("incidents") == 220


def test_a_standard_key_is_sent_as_it_is(tmp_path: Path) -> None:
    with cortex(tmp_path, config={"key_level": "Standard"}, standard=True) as (integration, _):
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message


@pytest.mark.parametrize(
    "wrong", [{"api_key_id": "7", "api_key": "simulator"}, {"api_key_id": "simulator", "api_key": "not-it"}], ids=str
)
def test_a_wrong_key_is_told_as_such_and_never_shown(tmp_path: Path, wrong: dict[str, str]) -> None:
    with cortex(tmp_path, wrong) as (integration, _):
        for mode in ("Check", "Incremental"):
            result = integration.sync(mode)
            assert result.reason is Reason.CREDENTIALS_REJECTED
            assert "not-it" not in result.message
            assert "key_level" in result.message


def test_a_right_that_the_role_lacks_is_named(tmp_path: Path) -> None:
    with cortex(tmp_path, forbidden="alerts") as (integration, _):
        result = integration.sync()
    assert result.reason is Reason.PERMISSION_DENIED
    assert "View on Alerts" in result.message
    assert integration.count("incidents") == 220


def test_a_rate_limit_delays_the_run_and_loses_nothing(tmp_path: Path) -> None:
    with cortex(tmp_path, rate_limit_every=4, retry_after=0) as (integration, _):
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert (integration.count("assets"), integration.count("alerts")) == (230, 250)
