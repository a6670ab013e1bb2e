"""Splunk's connector against its simulator: searches as JSON lines, late events, tokens, sessions and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.connectors.harness import Integration, listed, served, stream

from towline.api.conditions import Reason
from towline_connectors.catalogue.siem.splunk.simulator import SMALL, Options, SearchHead, application
from towline_connectors.catalogue.simulating import handle

TOKEN = {"token": "simulator"}
PASSWORD = {"username": "simulator", "password": "simulator"}


@contextmanager
def splunk(
    folder: Path, secrets: dict[str, str] = TOKEN, config: dict[str, Any] | None = None, **options: Any
) -> Iterator[tuple[Integration, SearchHead]]:
    app = application(Options(**{**SMALL, **options}))
    with served(app) as url:
        settings = {"host": url.removeprefix("http://"), "scheme": "http", **(config or {})}
        yield Integration("splunk", settings, secrets, folder / "data.db"), handle(app)


def test_notable_events_saved_searches_and_fired_alerts_arrive(tmp_path: Path) -> None:
    with splunk(tmp_path) as (integration, head):
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert [each.name for each in result.streams] == ["notable-events", "saved-searches", "fired-alerts"]
    assert integration.count("alerts", "stream = 'notable-events'") == 250
    assert integration.count("alerts", "stream = 'fired-alerts'") == 5
    assert integration.count("policies") == 230
    assert head.searches[0]["search"] == "search `notable`"
    assert head.searches[0]["preview"] == "false"


def test_a_notable_event_has_the_values_that_splunk_sent(tmp_path: Path) -> None:
    with splunk(tmp_path) as (integration, head):
        integration.streams = ["notable-events"]
        integration.sync()
        sent = head.notable(3)
    row = integration.one("SELECT * FROM alerts WHERE source_key = ?", sent["event_id"])
    assert (row["title"], row["severity_id"], row["status_id"]) == ("Brute force against srv-003", 4, 2)
    assert listed(row["attacks"]) == ["T1110", "T1110.001"]
    assert row["category"] == "access"


@pytest.mark.parametrize(
    ("search", "sent"),
    [
        ("index=proxy action=blocked", "search index=proxy action=blocked"),
        (" search index=proxy", " search index=proxy"),
        ("| tstats count where index=proxy", "| tstats count where index=proxy"),
    ],
)
def test_a_search_of_the_user_becomes_events(tmp_path: Path, search: str, sent: str) -> None:
    with splunk(tmp_path, config={"search": search, "notables": False}) as (integration, head):
        integration.streams = ["search-export"]
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert head.searches[0]["search"] == sent
    assert integration.count("events") == 300
    row = integration.one("SELECT * FROM events WHERE source_key = 'idx1~proxy~3~7B~3:7'")
    assert row["message"].endswith("url=http://example.net/7")
    assert (row["host"], row["log_name"], row["outcome"]) == ("proxy1", "proxy", "blocked")
    assert listed(row["src_ip"]) == ["198.51.100.7"]


def test_rows_of_a_table_are_known_by_their_content(tmp_path: Path) -> None:
    with splunk(tmp_path, config={"search": "index=proxy | stats count by host"}) as (integration, _):
        integration.streams = ["search-export"]
        integration.sync()
        second = integration.sync()
    assert integration.count("events") == 3
    assert stream(second, "search-export").upserted == 0


def test_an_event_that_is_stored_late_is_not_missed(tmp_path: Path) -> None:
    with splunk(tmp_path, notables=100) as (integration, head):
        integration.streams = ["notable-events"]
        integration.sync()
        head.options = Options(notables=101)
        head.late.append(100)
        second = integration.sync()
    assert stream(second, "notable-events").upserted == 1
    assert int(head.searches[-1]["index_earliest"]) > 0


def test_a_session_is_used_where_the_secret_holds_a_password_and_renewed_when_it_ends(tmp_path: Path) -> None:
    with splunk(tmp_path, PASSWORD, expire_after=2) as (integration, head):
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert head.logins >= 2
    assert integration.count("policies") == 230


@pytest.mark.parametrize("wrong", [{"token": "not-it"}, {"username": "simulator", "password": "not-it"}], ids=str)
def test_wrong_credentials_are_told_as_such_and_never_shown(tmp_path: Path, wrong: dict[str, str]) -> None:
    with splunk(tmp_path, wrong) as (integration, _):
        for mode in ("Check", "Incremental"):
            result = integration.sync(mode)
            assert result.reason is Reason.CREDENTIALS_REJECTED
            assert "not-it" not in result.message


def test_a_search_that_splunk_does_not_take_is_no_empty_result(tmp_path: Path) -> None:
    with splunk(tmp_path, fatal=True) as (integration, _):
        integration.streams = ["notable-events"]
        result = integration.sync()
    assert result.reason is Reason.CONFIG_INVALID
    assert "search app" in result.message
    assert "where" not in result.message  # the vendor's own words


def test_what_the_user_may_not_read_is_left_out_and_the_rest_arrives(tmp_path: Path) -> None:
    with splunk(tmp_path, forbidden="saved,fired") as (integration, _):
        result = integration.sync()
    assert result.reason is Reason.PARTIALLY_COMPLETED
    assert {each.name for each in result.streams if each.skipped} == {"saved-searches", "fired-alerts"}
    assert integration.count("alerts") == 250


def test_a_rate_limit_delays_the_run_and_loses_nothing(tmp_path: Path) -> None:
    with splunk(tmp_path, rate_limit_every=2, retry_after=0) as (integration, _):
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert (integration.count("alerts"), integration.count("policies")) == (255, 230)


def test_searches_by_jobs_give_the_same_rows_and_fetch_them_in_parts(tmp_path: Path) -> None:
    settings = {"search": "index=proxy", "search_by": "Job"}
    with splunk(tmp_path, config=settings, events=25_000) as (integration, head):
        integration.streams = ["notable-job", "search-job"]
        result = integration.sync()
        assert result.reason is Reason.COMPLETED, result.message
        assert integration.count("alerts") == 250
        assert integration.count("events") == 25_000
        assert [search["search"] for search in head.searches] == ["search `notable`", "search index=proxy"]
        assert head.searches[0]["index_earliest"] == "0"
        head.jobs.clear()
        again = integration.sync()
    assert again.reason is Reason.COMPLETED, again.message
    assert float(head.searches[-1]["index_earliest"]) > 1_700_000_000
