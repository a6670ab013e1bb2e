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
SIZES = {"users": 700, "groups": 40, "servers": 60, "computers": 90, "incidents": 1300}


@contextmanager
def servicenow(folder: Path, secrets: dict[str, str] = LOGIN, **options: Any) -> Iterator[tuple[Integration, Instance]]:
    app = application(Options(**{**SIZES, **options}))
    with served(app) as url:
        config = {"host": url.removeprefix("http://"), "scheme": "http"}
        yield Integration("servicenow", config, secrets, folder / "data.db"), handle(app)


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
