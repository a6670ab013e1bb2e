"""ServiceNow's connector against its simulator: paging over tables that move, increments and every fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.connectors.harness import Integration, served, stream

from towline.api.conditions import Reason
from towline_connectors.catalogue.cmdb.servicenow.simulator import Instance, Options, application
from towline_connectors.catalogue.simulating import handle

LOGIN = {"username": "simulator", "password": "simulator"}
FIRST = ["users", "groups", "memberships", "servers", "computers", "incidents"]
SIZES = {"users": 700, "groups": 40, "servers": 60, "computers": 90, "incidents": 1300}


@contextmanager
def servicenow(folder: Path, secrets: dict[str, str] = LOGIN, **options: Any) -> Iterator[tuple[Integration, Instance]]:
    app = application(Options(**{**SIZES, **options}))
    with served(app) as url:
        config = {"host": url.removeprefix("http://"), "scheme": "http"}
        yield Integration("servicenow", config, secrets, folder / "data.db", streams=FIRST), handle(app)


def test_all_tables_arrive_with_their_references(tmp_path: Path) -> None:
    with servicenow(tmp_path) as (integration, _):
        result = integration.sync()
    assert result.reason is Reason.COMPLETED
    assert integration.count("users") == 700
    assert integration.count("groups") == 40
    assert integration.count("memberships") == 800
    assert integration.count("assets") == 150
    assert integration.count("incidents") == 1300
    dangling = """SELECT count(*) AS n FROM incidents i LEFT JOIN users u ON u.source_key = i.caller_key
        LEFT JOIN assets a ON a.source_key = i.asset_key
        WHERE u.uid IS NULL OR (i.asset_key IS NOT NULL AND a.uid IS NULL)"""
    assert integration.one(dangling)["n"] == 0


def test_the_cmdb_its_relations_services_and_changes_arrive(tmp_path: Path) -> None:
    with servicenow(tmp_path, others=30) as (integration, state):
        integration.streams = None
        integration.config |= {"comments": True, "hardware_assets": True}
        for number in range(30):
            state.table("sys_journal_field").touch(number)  # the first run reads comments of the last 30 days
        result = integration.sync()
        change, change_key = state.table("change_request").row(5), state.table("change_request").sys_id(5)
    assert result.reason is Reason.COMPLETED, result.message
    expected = {
        **{"users": 700, "groups": 40, "memberships": 800, "servers": 60, "computers": 90, "incidents": 1300},
        **{"network-devices": 30, "virtual-machines": 30, "config-items": 60, "hardware-assets": 30, "services": 30},
        **{"catalog-items": 30, "applications": 30, "relations": 30, "change-requests": 30, "change-tasks": 30},
        **{"requested-items": 30, "approvals": 30, "comments": 30, "deletions": 0, "ticket-deletions": 0},
    }
    read = {each.name: each.read for each in result.streams}
    assert read.keys() == expected.keys()
    # Pages that begin at the last second read its rows once more.
    assert {name: n for name, n in read.items() if not expected[name] <= n <= expected[name] + 5} == {}
    kinds = integration.rows("SELECT type_id AS id, count(*) AS n FROM assets WHERE name LIKE 'net-%' GROUP BY 1")
    assert {row["id"]: row["n"] for row in kinds} == {9: 10, 10: 10, 12: 10}
    runs_on = """SELECT count(*) AS n FROM relations r JOIN services s ON s.source_key = r.parent_key
        JOIN assets a ON a.source_key = r.child_key WHERE r.type = 'Runs on::Runs'"""
    assert integration.one(runs_on)["n"] == 10
    row = integration.one("SELECT * FROM change_requests WHERE source_key = ?", change_key)
    assert (row["number"], row["status"], row["status_id"], row["type_id"]) == (change["number"], "Closed", 5, 3)
    assert (row["approval"], row["risk_level_id"], row["asset_key"]) == ("pending", 3, change["cmdb_ci"])
    approvals = "SELECT count(*) AS n FROM approvals a JOIN change_requests c ON c.source_key = a.record_key"
    assert integration.one(approvals)["n"] == 30
    assert integration.count("incidents", "type = 'service request'") == 30
    notes = "SELECT count(*) AS n FROM comments c JOIN incidents i ON i.source_key = c.record_key WHERE c.is_internal"
    assert integration.one(notes)["n"] == 15


def test_what_auditing_tells_as_deleted_is_deleted_at_once(tmp_path: Path) -> None:
    with servicenow(tmp_path, users=40, incidents=30, others=12) as (integration, state):
        integration.streams = None
        integration.sync()
        before = {name: integration.count(name) for name in ("assets", "users", "services", "incidents", "approvals")}
        for table in ("cmdb_ci_server", "sys_user", "cmdb_ci_service", "incident", "sysapproval_approver"):
            state.tables.delete(table, 3)
        result = integration.sync()
    assert (stream(result, "deletions").deleted, stream(result, "ticket-deletions").deleted) == (3, 2)
    assert {name: integration.count(name) for name in before} == {name: n - 1 for name, n in before.items()}


@pytest.mark.parametrize(
    ("secrets", "accepted"),
    [
        ({"client_id": "simulator-client", "client_secret": "simulator"}, True),
        ({"client_id": "simulator-client", "client_secret": "wrong"}, False),
        ({"api_key": "simulator-key"}, True),
        ({"api_key": "wrong"}, False),
    ],
)
def test_an_application_or_an_api_key_may_log_in_instead_of_a_user(
    tmp_path: Path, secrets: dict[str, str], accepted: bool
) -> None:
    with servicenow(tmp_path, secrets) as (integration, _):
        result = integration.sync("Check")
    assert result.reason is (Reason.COMPLETED if accepted else Reason.CREDENTIALS_REJECTED), result.message


def test_servers_come_once_although_two_classes_hold_them(tmp_path: Path) -> None:
    with servicenow(tmp_path) as (integration, _):
        integration.sync()
    assert integration.count("assets", "type_id = 1") == 60
    assert integration.count("assets", "stream = 'computers'") == 90


def test_an_incident_has_the_values_that_servicenow_sent(tmp_path: Path) -> None:
    with servicenow(tmp_path) as (integration, state):
        integration.sync()
        table = state.table("incident")
        key, sent = table.sys_id(17), table.row(17)
    row = integration.one("SELECT * FROM incidents WHERE source_key = ?", key)
    assert row["number"] == "INC0010017"
    assert row["title"] == sent["short_description"]
    assert row["caller_key"] == sent["caller_id"]
    assert row["asset_key"] == sent["cmdb_ci"]
    assert row["priority_id"] == {"1": 4, "2": 3, "3": 2, "4": 1, "5": 1}[sent["priority"]]
    assert row["opened_time"] == sent["opened_at"].replace(" ", "T") + ".000Z"
    assert row["subcategory"] is None


def test_the_second_run_reads_only_what_changed(tmp_path: Path) -> None:
    with servicenow(tmp_path) as (integration, state):
        integration.sync()
        state.table("incident").touch(900)
        second = integration.sync()
        third = integration.sync()
        key = state.table("incident").sys_id(900)
    assert stream(second, "incidents").upserted == 1
    assert not stream(second, "incidents").full
    assert stream(third, "incidents").upserted == 0
    assert integration.one("SELECT title FROM incidents WHERE source_key = ?", key)["title"].endswith("(update 1)")


def test_a_deleted_row_is_found_by_the_next_full_run(tmp_path: Path) -> None:
    with servicenow(tmp_path) as (integration, state):
        integration.streams = ["groups"]
        integration.sync()
        state.table("sys_user_group").delete(5)
        integration.sync()
        assert integration.count("groups") == 40
        result = integration.sync("Full")
    assert integration.count("groups") == 39
    assert stream(result, "groups").deleted == 1


def test_a_full_run_that_would_delete_too_much_deletes_nothing(tmp_path: Path) -> None:
    with servicenow(tmp_path) as (integration, state):
        integration.streams = ["groups"]
        integration.sync()
        for number in range(20):
            state.table("sys_user_group").delete(number)
        result = integration.sync("Full")
    assert result.reason is Reason.POLICY_VIOLATION
    assert integration.count("groups") == 40


@pytest.mark.parametrize("fault", [{"moving": 3}, {"bulk": 1200}, {"bulk": 1200, "moving": 2}], ids=str)
def test_rows_that_move_or_share_a_second_are_neither_lost_nor_doubled(tmp_path: Path, fault: dict[str, Any]) -> None:
    with servicenow(tmp_path, **fault) as (integration, state):
        integration.streams = ["incidents"]
        result = integration.sync()
        expected = {key[1] for key in state.table("incident").order}
    assert result.reason is Reason.COMPLETED
    assert {row["source_key"] for row in integration.rows("SELECT source_key FROM incidents")} == expected


def test_short_pages_are_not_taken_for_the_end(tmp_path: Path) -> None:
    with servicenow(tmp_path, hidden_every=3) as (integration, _):
        integration.streams = ["incidents"]
        integration.sync()
    assert integration.count("incidents") == 1300 - 1300 // 3


@pytest.mark.parametrize("fault", [{"rate_limit_every": 4}, {"error_every": 4}], ids=str)
def test_a_fault_delays_the_run_and_loses_nothing(tmp_path: Path, fault: dict[str, Any]) -> None:
    with servicenow(tmp_path, **fault) as (integration, _):
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert integration.count("incidents") == 1300
    assert integration.count("users") == 700


def test_a_table_that_this_instance_lacks_is_left_out_and_the_rest_arrives(tmp_path: Path) -> None:
    with servicenow(tmp_path, missing="cmdb_ci_computer", forbidden="sys_user_grmember") as (integration, _):
        result = integration.sync()
    assert result.reason is Reason.PARTIALLY_COMPLETED
    assert {each.name for each in result.streams if each.skipped} == {"computers", "memberships"}
    assert integration.count("incidents") == 1300


def test_a_forbidden_table_that_matters_is_named_with_the_right_it_needs(tmp_path: Path) -> None:
    with servicenow(tmp_path, forbidden="incident") as (integration, _):
        result = integration.sync()
    assert result.reason is Reason.PERMISSION_DENIED
    assert "incident" in result.message
    assert "itil" in result.message
    assert integration.count("users") == 700


def test_a_wrong_password_is_told_as_such_and_never_shown(tmp_path: Path) -> None:
    with servicenow(tmp_path, {"username": "simulator", "password": "not-it"}) as (integration, _):
        for mode in ("Check", "Incremental"):
            result = integration.sync(mode)
            assert result.reason is Reason.CREDENTIALS_REJECTED
            assert "not-it" not in result.message


def test_a_sleeping_instance_is_no_empty_one(tmp_path: Path) -> None:
    with servicenow(tmp_path, sleeping=100000) as (integration, _):
        result = integration.sync()
    assert result.reason in (Reason.UNREACHABLE, Reason.SCHEMA_MISMATCH)
    assert "127.0.0.1" in result.message
    assert "<html" not in result.message
