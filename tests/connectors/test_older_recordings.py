"""Recordings of other clients: older paths of the same resources, other ways to page, settings that nobody gave."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.connectors.harness import connector
from tests.connectors.test_vendor_shapes import Exchange, exchange, replayed, rows

from towline_connectors.kit.replay import Recording
from towline_connectors.kit.replayer import StreamOutcome, prepared, replay

CLOUD = "https://acme.atlassian.net/rest/api/3"
SERVER = "http://jira.acme.example/rest/api/2"


def whole(folder: Path, name: str, *exchanges: Exchange) -> dict[str, StreamOutcome]:
    """All streams that the settings ask for, as `towline connector replay NAME --lenient` reads them."""
    file = folder / "made.har"
    file.write_text(json.dumps({"log": {"entries": list(exchanges)}}))
    recording = Recording.load(file)
    spec = connector(name).spec
    config = prepared(spec, recording, {}, lenient=True)
    streams = [stream.name for stream in spec.streams or [] if stream.emit]
    outcomes = replay(name, spec, recording, config=config, streams=streams, lenient=True)
    return {outcome.name: outcome for outcome in outcomes}


def issue(number: int) -> dict[str, Any]:
    status = {"name": "To Do", "statusCategory": {"key": "new"}}
    fields = {"summary": f"Issue {number}", "status": status, "updated": "2026-01-05T10:00:00.000+0000"}
    return {"id": str(10000 + number), "key": f"SEC-{number}", "self": f"{CLOUD}/issue/{number}", "fields": fields}


def page_of_issues(first: int, count: int, total: int) -> dict[str, Any]:
    issues = [issue(n) for n in range(first, first + count)]
    return {"startAt": first, "maxResults": 2, "total": total, "issues": issues}


def test_issues_of_the_search_that_counted_are_read_to_the_end(tmp_path: Path) -> None:
    pages = [
        exchange("POST", f"{CLOUD}/search", page_of_issues(at, count, 3), {"jql": "x", "startAt": at, "maxResults": 2})
        for at, count in ((0, 2), (2, 1))
    ]
    found = rows(replayed(tmp_path, "jira", ["issues"], *pages)["issues"], "incident")
    assert [row["number"] for row in found] == ["SEC-0", "SEC-1", "SEC-2"]


def test_projects_and_users_of_the_older_lists_are_read(tmp_path: Path) -> None:
    projects = [{"id": "1", "key": "SEC", "name": "Security", "self": f"{CLOUD}/project/1"}]
    users = [{"accountId": "a1", "accountType": "atlassian", "displayName": "First", "active": True}]
    found = replayed(
        tmp_path,
        "jira",
        ["projects", "users"],
        exchange("GET", f"{CLOUD}/project", projects),
        exchange("GET", f"{CLOUD}/users?startAt=0&maxResults=100", users),
    )
    assert [row["name"] for row in rows(found["projects"], "service")] == ["Security"]
    assert [row["source_key"] for row in rows(found["users"], "user")] == ["a1"]


def test_pages_are_as_large_as_the_first_one_where_no_size_was_asked_for(tmp_path: Path) -> None:
    table = "https://dev1.service-now.com/api/now/table/cmdb_ci_server"
    pages = [(0, ["1", "2"]), (2, ["3", "4"]), (4, ["5"])]
    answers = [
        exchange("GET", f"{table}?sysparm_offset={at}", {"result": [{"sys_id": key, "name": key} for key in keys]})
        for at, keys in pages
    ]
    found = rows(whole(tmp_path, "servicenow", *answers)["servers"], "asset")
    assert [row["source_key"] for row in found] == ["1", "2", "3", "4", "5"]
    cut = whole(tmp_path, "servicenow", *answers[:2])["servers"]
    assert cut.unanswered, "the last page is full: there may be more than was recorded"


def test_a_short_page_is_the_last_where_the_recordings_client_took_it_for_that(tmp_path: Path) -> None:
    people = [{"accountId": f"a{n}", "accountType": "atlassian", "displayName": "x", "active": True} for n in range(3)]
    found = whole(
        tmp_path,
        "jira",
        exchange("GET", f"{CLOUD}/users/search?startAt=0&maxResults=2", people[:2]),
        exchange("GET", f"{CLOUD}/users/search?startAt=2&maxResults=2", people[2:]),
    )
    assert len(rows(found["users"], "user")) == 3


def test_a_recording_of_data_center_is_read_as_such(tmp_path: Path) -> None:
    answers = whole(
        tmp_path,
        "jira",
        exchange("GET", f"{SERVER}/project", [{"id": "7", "key": "OPS", "name": "Operations"}]),
        exchange("POST", f"{SERVER}/search", page_of_issues(0, 1, 1), {"jql": "x", "startAt": 0, "maxResults": 2}),
    )
    assert [row["name"] for row in rows(answers["data-center-projects"], "service")] == ["Operations"]
    assert len(rows(answers["data-center-issues"], "incident")) == 1
    assert not answers["issues"].covered


def test_comments_that_were_recorded_are_read_though_their_setting_is_off(tmp_path: Path) -> None:
    comment = {"id": "5", "author": {"accountId": "a1"}, "body": "Seen.", "created": "2026-01-05T10:00:00.000+0000"}
    answers = whole(
        tmp_path,
        "jira",
        exchange("POST", f"{CLOUD}/search/jql", {"issues": [issue(1)], "isLast": True}, {"jql": "x"}),
        exchange("GET", f"{CLOUD}/issue/10001/comment", {"comments": [comment], "total": 1, "startAt": 0}),
    )
    assert [row["text"] for row in rows(answers["comments"], "comment")] == ["Seen."]


def test_comments_of_issues_that_were_asked_for_by_their_keys_are_read(tmp_path: Path) -> None:
    comment = {"id": "5", "body": "Seen.", "created": "2026-01-05T10:00:00.000+0000"}
    answers = whole(
        tmp_path,
        "jira",
        exchange("GET", f"{CLOUD}/search/jql?jql=x", {"issues": [issue(1)], "isLast": True}),
        exchange("GET", f"{CLOUD}/issue/SEC-1/comment", {"comments": [comment], "total": 1, "startAt": 0}),
    )
    assert [row["number"] for row in rows(answers["issues"], "incident")] == ["SEC-1"]
    assert [row["source_key"] for row in rows(answers["comments"], "comment")] == ["5"]


def test_a_reading_that_is_left_early_leaves_nothing_open(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    link = "https://graph.microsoft.com/v1.0/groups/delta?$skiptoken=not-recorded"
    first = {"value": [{"id": str(n), "displayName": f"Group {n}"} for n in range(500)], "@odata.nextLink": link}
    with caplog.at_level(logging.ERROR, logger="asyncio"):
        for _ in range(5):
            answers = replayed(
                tmp_path,
                "microsoft-entra-id",
                ["groups", "memberships"],
                exchange("GET", "https://graph.microsoft.com/v1.0/groups/delta", first),
            )
    assert answers["groups"].unanswered
    assert not caplog.records


def test_a_user_that_is_gone_costs_the_factors_of_the_others_nothing(tmp_path: Path) -> None:
    users = "https://acme.okta.com/api/v1/users"
    factor = {"id": "f1", "factorType": "push", "provider": "OKTA", "status": "ACTIVE"}
    answers = whole(
        tmp_path,
        "okta",
        exchange("GET", f"{users}/gone/factors", {"errorCode": "E0000007"}, status=404),
        exchange("GET", f"{users}/there/factors", [factor]),
    )
    assert [row["source_key"] for row in rows(answers["factors"], "auth_factor")] == ["there|f1"]


FALCON = "https://api.eu-1.crowdstrike.com"


def falcon(resources: list[Any], **pagination: Any) -> dict[str, Any]:
    return {"meta": {"pagination": pagination}, "resources": resources, "errors": []}


def host(number: int) -> dict[str, Any]:
    return {"device_id": f"{number:032x}", "hostname": f"web-{number}", "platform_name": "Linux"}


def test_hosts_that_were_listed_whole_are_read(tmp_path: Path) -> None:
    url = f"{FALCON}/devices/combined/devices/v1?sort=modified_timestamp.asc&limit=2"
    found = whole(
        tmp_path,
        "crowdstrike-falcon",
        exchange("GET", url, falcon([host(1), host(2)], total=3, next="n1")),
        exchange("GET", f"{url}&offset=n1", falcon([host(3)], total=3, next="")),
    )
    assert [row["hostname"] for row in rows(found["hosts"], "asset")] == ["web-1", "web-2", "web-3"]


def test_records_are_read_though_their_ids_were_listed_in_another_way(tmp_path: Path) -> None:
    ids = [[f"{n:032x}" for n in some] for some in ((1, 2), (3,))]
    alerts = [{"composite_id": f"c:ind:{n}", "status": "new", "display_name": f"Alert {n}"} for n in (1, 2, 3)]
    found = whole(
        tmp_path,
        "crowdstrike-falcon",
        exchange("GET", f"{FALCON}/devices/queries/devices/v1?limit=2", falcon(ids[0], total=3)),
        exchange("GET", f"{FALCON}/devices/queries/devices/v1?limit=2&offset=2", falcon(ids[1], total=3)),
        exchange("POST", f"{FALCON}/devices/entities/devices/v2", falcon([host(1), host(2)]), {"ids": ids[0]}),
        exchange("POST", f"{FALCON}/devices/entities/devices/v2", falcon([host(3)]), {"ids": ids[1]}),
        exchange("GET", f"{FALCON}/alerts/queries/alerts/v2", falcon(["c:ind:1", "c:ind:2", "c:ind:3"])),
        exchange("POST", f"{FALCON}/alerts/entities/alerts/v2", falcon(alerts[:2]), {"composite_ids": ["a", "b"]}),
        exchange("POST", f"{FALCON}/alerts/entities/alerts/v2", falcon(alerts[2:]), {"composite_ids": ["c:ind:3"]}),
    )
    assert [row["hostname"] for row in rows(found["hosts"], "asset")] == ["web-1", "web-2", "web-3"]
    assert [row["source_key"] for row in rows(found["alerts"], "alert")] == ["c:ind:1", "c:ind:2", "c:ind:3"]


def test_applications_that_were_recorded_by_their_ids_are_read_though_their_setting_is_off(tmp_path: Path) -> None:
    application = {"id": "a1", "name": "curl", "version": "8.0", "host": {"aid": "1"}}
    found = whole(
        tmp_path,
        "crowdstrike-falcon",
        exchange("GET", f"{FALCON}/discover/queries/applications/v1?limit=100", falcon(["a1"], total=1)),
        exchange("GET", f"{FALCON}/discover/entities/applications/v1?ids=a1", falcon([application])),
    )
    [row] = rows(found["software"], "software")
    assert (row["source_key"], row["name"], row["asset_key"]) == ("a1", "curl", "1")


def test_classes_of_the_cmdb_that_were_recorded_are_read_instead_of_those_in_the_settings(tmp_path: Path) -> None:
    table = "https://dev1.service-now.com/api/now/table"
    found = whole(
        tmp_path,
        "servicenow",
        exchange("GET", f"{table}/cmdb_ci?sysparm_limit=10", {"result": [{"sys_id": "1", "name": "one"}]}),
        exchange("GET", f"{table}/cmdb_ci_database?sysparm_limit=10", {"result": [{"sys_id": "2", "name": "two"}]}),
        exchange("GET", f"{table}/cmdb_ci_server?sysparm_limit=10", {"result": [{"sys_id": "3", "name": "three"}]}),
        exchange("GET", f"{table}/sys_db_object?name=cmdb_ci", {"result": [{"sys_id": "4", "name": "cmdb_ci"}]}),
    )
    assert [row["source_key"] for row in rows(found["servers"], "asset")] == ["3"]
    assert [row["source_key"] for row in rows(found["config-items"], "asset")] == ["1", "2"]


@pytest.mark.parametrize("notables", ["search `notable`", "search index=notable | head 5"])
def test_of_two_searches_at_the_same_address_each_stream_gets_its_own(tmp_path: Path, notables: str) -> None:
    def exported(search: str, **event: str) -> Exchange:
        made = exchange("POST", "https://splunk.acme.example:8089/services/search/v2/jobs/export", {"result": event})
        text = urlencode({"search": search, "output_mode": "json", "earliest_time": "-1d"})
        made["request"]["postData"] = {"mimeType": "application/x-www-form-urlencoded", "text": text}
        return made

    proxy = exported("search index=proxy action=blocked", _raw="GET /", _cd="1:2", _bkt="b", splunk_server="s")
    found = whole(tmp_path, "splunk", proxy, exported(notables, event_id="n1", rule_title="Theft"))
    assert [row["title"] for row in rows(found["notable-events"], "alert")] == ["Theft"]
    assert [row["message"] for row in rows(found["search-export"], "event")] == ["GET /"]
    alone = whole(tmp_path, "splunk", proxy)
    assert alone["notable-events"].absent
    assert len(rows(alone["search-export"], "event")) == 1


def test_groups_that_were_listed_with_some_of_their_fields_are_read(tmp_path: Path) -> None:
    graph = "https://graph.microsoft.com/v1.0/groups"
    groups = {"value": [{"id": "g1", "displayName": "Staff"}]}
    found = whole(
        tmp_path,
        "microsoft-entra-id",
        exchange("GET", f"{graph}?$select=id,displayName&$top=100", groups),
        exchange("GET", f"{graph}/g1/members?$select=id", {"value": [{"id": "u1"}]}),
    )
    assert [row["name"] for row in rows(found["groups"], "group")] == ["Staff"]
    assert [row["member_key"] for row in rows(found["memberships"], "membership")] == ["u1"]


def test_a_search_job_that_was_recorded_is_read_as_one(tmp_path: Path) -> None:
    jobs = "https://splunk.acme.example:8089/services/search/v2/jobs"

    def state(name: str, count: int) -> dict[str, Any]:
        return {"entry": [{"name": "job", "content": {"dispatchState": name, "resultCount": count}}]}

    made = exchange("POST", jobs, {"sid": "1.1"}, status=201)
    text = urlencode({"search": "search index=proxy", "exec_mode": "normal", "output_mode": "json"})
    made["request"]["postData"] = {"mimeType": "application/x-www-form-urlencoded", "text": text}
    event = {"_raw": "GET /", "_cd": "1:2", "_bkt": "b", "splunk_server": "s", "_time": "2026-01-05T10:00:00.000Z"}
    found = whole(
        tmp_path,
        "splunk",
        made,
        exchange("GET", f"{jobs}/1.1?output_mode=json", state("RUNNING", 0)),
        exchange("GET", f"{jobs}/1.1?output_mode=json", state("DONE", 1)),
        exchange("GET", f"{jobs}/1.1/results?output_mode=json&count=0", {"results": [event]}),
    )
    [row] = rows(found["search-job"], "event")
    assert (row["source_key"], row["message"]) == ("s~b~1:2", "GET /")
