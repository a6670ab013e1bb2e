"""Jira's connector against its simulator: queries without a time zone, page tokens, comments and history, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.connectors.harness import Integration, served, stream

from towline.api.conditions import Reason
from towline_connectors.catalogue.simulating import handle
from towline_connectors.catalogue.ticketing.jira.simulator import SMALL, Options, Site, application

LOGIN = {"email": "simulator", "api_token": "simulator"}


@contextmanager
def jira(
    folder: Path, secrets: dict[str, str] = LOGIN, config: dict[str, Any] | None = None, **options: Any
) -> Iterator[tuple[Integration, Site]]:
    app = application(Options(**{**SMALL, **options}))
    with served(app) as url:
        settings = {"host": url.removeprefix("http://"), "scheme": "http", **(config or {})}
        yield Integration("jira", settings, secrets, folder / "data.db"), handle(app)


def test_projects_users_and_issues_arrive_with_their_references(tmp_path: Path) -> None:
    with jira(tmp_path) as (integration, site):
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert [each.name for each in result.streams] == ["projects", "users", "issues"]
    assert (integration.count("services"), integration.count("users"), integration.count("incidents")) == (60, 240, 230)
    assert site.queries == ['updated >= "1970-01-02" ORDER BY updated ASC, key ASC']
    dangling = """SELECT count(*) AS n FROM incidents i LEFT JOIN users u ON u.source_key = i.caller_key
        LEFT JOIN users a ON a.source_key = i.assignee_user_key
        WHERE u.uid IS NULL OR (i.assignee_user_key IS NOT NULL AND a.uid IS NULL)"""
    assert integration.one(dangling)["n"] == 0


def test_an_issue_has_the_values_that_jira_sent(tmp_path: Path) -> None:
    with jira(tmp_path) as (integration, _):
        integration.streams = ["issues"]
        integration.sync()
    row = integration.one("SELECT * FROM incidents WHERE source_key = '20001'")
    assert row["title"] == "Review access of system 1"
    assert row["description"] == "System 1. Ask its owner."
    assert (row["type"], row["priority_id"]) == ("Bug", 3)
    assert row["src_url"].endswith(f"/browse/{row['number']}")
    done = integration.rows("SELECT * FROM incidents WHERE status = 'Done'")
    assert all(each["status_id"] == 4 and each["resolved_time"] and each["resolution"] == "Done" for each in done)


def test_the_second_run_asks_for_the_last_minutes_and_gets_what_changed(tmp_path: Path) -> None:
    with jira(tmp_path) as (integration, site):
        integration.streams = ["issues"]
        integration.sync()
        site.world.touch(9)
        second = integration.sync()
        third = integration.sync()
    assert (stream(second, "issues").upserted, stream(third, "issues").upserted) == (1, 0)
    minutes = int(site.queries[-1].split()[2].removeprefix("-").removesuffix("m"))
    assert 60 <= minutes <= 63
    assert integration.one("SELECT title FROM incidents WHERE source_key = '20009'")["title"].endswith("(edited)")


def test_a_query_of_the_user_narrows_what_is_read(tmp_path: Path) -> None:
    with jira(tmp_path, config={"jql": "project in (SEC, OPS)"}, projects=10) as (integration, site):
        integration.streams = ["issues"]
        integration.sync()
    assert site.queries[0].startswith("(project in (SEC, OPS)) AND updated >= ")
    assert {row["category"] for row in integration.rows("SELECT category FROM incidents")} == {"SEC", "OPS"}


def test_an_issue_that_was_deleted_is_found_by_a_full_run(tmp_path: Path) -> None:
    with jira(tmp_path) as (integration, site):
        integration.streams = ["issues"]
        integration.sync()
        site.world.issues.discard(4)
        result = integration.sync("Full")
    assert stream(result, "issues").deleted == 1


def test_pages_that_are_shorter_than_asked_for_are_not_taken_for_the_end(tmp_path: Path) -> None:
    with jira(tmp_path, short_pages=True) as (integration, _):
        integration.streams = ["issues"]
        integration.sync()
    assert integration.count("incidents") == 230


def test_comments_and_history_are_read_of_the_issues_that_changed(tmp_path: Path) -> None:
    with jira(tmp_path, config={"history": True}, issues=40) as (integration, site):
        first = integration.sync()
        site.world.touch(5)
        second = integration.sync()
    assert first.reason is Reason.COMPLETED, first.message
    assert integration.count("comments") == sum(number % 3 for number in range(40))
    assert integration.count("field_changes") == 20
    row = integration.one("SELECT * FROM comments WHERE source_key = '30051'")
    assert (row["record_key"], row["text"], row["is_internal"]) == ("20005", "Looked at it, step 1.", 1)
    assert 2 <= stream(second, "comments").read <= 10  # those of the last hour are looked at again
    change = integration.one("SELECT * FROM field_changes WHERE record_key = '20004'")
    assert (change["field"], change["old_value"], change["new_value"]) == ("status", "To Do", "In Progress")


def test_issues_that_vanish_before_their_comments_are_read_are_left_out(tmp_path: Path) -> None:
    with jira(tmp_path, config={"history": True}, issues=20, vanish=3) as (integration, _):
        result = integration.sync()
    assert result.reason in (Reason.COMPLETED, Reason.PARTIALLY_COMPLETED), result.message
    assert integration.count("comments") == sum(number % 3 for number in range(3, 20))


def test_a_data_center_is_read_by_its_own_version(tmp_path: Path) -> None:
    config = {"deployment": "DataCenter"}
    with jira(tmp_path, {"api_token": "simulator"}, config, data_center=True) as (integration, _):
        assert integration.sync("Check").reason is Reason.COMPLETED
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert [each.name for each in result.streams] == [
        "data-center-projects",
        "data-center-users",
        "data-center-issues",
    ]
    assert (integration.count("services"), integration.count("users"), integration.count("incidents")) == (60, 240, 230)
    assert integration.one("SELECT name FROM users WHERE source_key = 'JIRAUSER3'")["name"] == "user3"


def test_a_wrong_token_is_told_as_such_and_never_shown(tmp_path: Path) -> None:
    with jira(tmp_path, {"email": "simulator", "api_token": "not-it"}) as (integration, _):
        for mode in ("Check", "Incremental"):
            result = integration.sync(mode)
            assert result.reason is Reason.CREDENTIALS_REJECTED
            assert "not-it" not in result.message


def test_users_that_may_not_be_browsed_are_left_out_and_the_rest_arrives(tmp_path: Path) -> None:
    with jira(tmp_path, forbid_users=True) as (integration, _):
        result = integration.sync()
    assert result.reason is Reason.PARTIALLY_COMPLETED
    assert [each.name for each in result.streams if each.skipped] == ["users"]
    assert integration.count("incidents") == 230


def test_a_rate_limit_delays_the_run_and_loses_nothing(tmp_path: Path) -> None:
    with jira(tmp_path, rate_limit_every=4, retry_after=0) as (integration, _):
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert (integration.count("users"), integration.count("incidents")) == (240, 230)
