"""Which recorded answer a request gets."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from towline_connectors.kit import har
from towline_connectors.kit.har import Entry
from towline_connectors.kit.matching import Asked, Matcher


def entry(url: str, body: str, method: str = "GET", status: int = 200, **request: Any) -> dict[str, Any]:
    return {
        "startedDateTime": "2026-01-01T00:00:00Z",
        "request": {"method": method, "url": url, "headers": [], **request},
        "response": {"status": status, "headers": [], "content": {"mimeType": "application/json", "text": body}},
    }


def load(tmp_path: Path, *entries: dict[str, Any]) -> list[Entry]:
    file = tmp_path / "recording.har"
    file.write_text(json.dumps({"log": {"version": "1.2", "entries": list(entries)}}))
    return har.load(file)


def get(path: str, **query: str) -> Asked:
    return Asked("GET", path, tuple(query.items()))


def post(path: str, body: Any) -> Asked:
    return Asked("POST", path, body=json.dumps(body).encode(), content_type="application/json")


def sent(body: Any) -> dict[str, Any]:
    return {"postData": {"mimeType": "application/json", "text": json.dumps(body)}}


def bodies(matcher: Matcher, *asked: Asked) -> list[str | None]:
    found = [matcher.answer(one) for one in asked]
    return [one.body.decode() if one else None for one in found]


def test_strictly_the_whole_query_has_to_be_the_same(tmp_path: Path) -> None:
    matcher = Matcher(load(tmp_path, entry("https://a.example/x?limit=5&page=1", "1")), lenient=False)
    assert bodies(matcher, get("/x", page="1", limit="5")) == ["1"]
    assert bodies(matcher, get("/x", limit="5"), get("/x", limit="6", page="1"), get("/y")) == [None, None, None]


def test_strictly_the_times_in_a_query_may_differ_for_the_clock_is_another_one(tmp_path: Path) -> None:
    url = "https://a.example/x?filter=updated%20ge%20"
    recorded = load(tmp_path, entry(f"{url}2026-01-01T00:00:00Z", "1"), entry(f"{url}2026-01-02T10:20:30.5Z", "2"))
    matcher = Matcher(recorded, lenient=False)
    asked = [get("/x", filter=f"updated ge {time}") for time in ("2026-01-02T10:20:30.5Z", "2025-12-31T00:00:00Z")]
    assert bodies(matcher, *asked) == ["2", "1"]
    assert bodies(matcher, get("/x", filter="created ge 2026-01-01T00:00:00Z")) == [None]
    seconds = Matcher(load(tmp_path, entry("https://a.example/x?since=1767225600&page=2", "3")), lenient=False)
    assert bodies(seconds, get("/x", since="1767229999", page="3")) == [None]
    assert bodies(seconds, get("/x", since="1767229999", page="2")) == ["3"]


@pytest.mark.parametrize(
    ("recorded", "asked"),
    [
        ("/v1.0/users", "/v1.0/users/delta"),
        ("/v1.0/users/", "/beta/users"),
        ("/rest/api/2/search", "/rest/api/3/search"),
        ("/api/2.0/fo/asset/host", "/api/4.0/fo/asset/host"),
        ("/assets/v2/export", "/assets/export"),
        ("/rest/api/3/search", "/rest/api/3/search/jql"),
        ("/rest/api/3/users", "/rest/api/3/users/search"),
    ],
)
def test_leniently_a_resource_is_found_in_another_version_of_the_api(tmp_path: Path, recorded: str, asked: str) -> None:
    entries = load(tmp_path, entry(f"https://a.example{recorded}", "1"))
    assert Matcher(entries, lenient=True).has(get(asked))
    assert bodies(Matcher(entries, lenient=True), get(asked)) == ["1"]
    assert bodies(Matcher(entries, lenient=False), get(asked)) == [None]


def test_the_version_that_is_asked_for_goes_first(tmp_path: Path) -> None:
    entries = load(tmp_path, entry("https://a.example/v1/x", "old"), entry("https://a.example/v2/x", "new"))
    assert bodies(Matcher(entries, lenient=True), get("/v2/x"), get("/v1/x")) == ["new", "old"]


def test_leniently_the_same_resource_may_have_been_asked_for_by_post(tmp_path: Path) -> None:
    entries = load(tmp_path, entry("https://a.example/v1/x", "1", "POST"))
    assert bodies(Matcher(entries, lenient=True), get("/v1/x")) == ["1"]
    assert bodies(Matcher(entries, lenient=False), get("/v1/x")) == [None]


def test_ids_in_a_path_are_no_versions(tmp_path: Path) -> None:
    entries = load(tmp_path, entry("https://a.example/api/groups/17/users", "1"))
    assert bodies(Matcher(entries, lenient=True), get("/api/groups/18/users")) == [None]


def test_leniently_parameters_that_the_recording_lacks_do_not_count(tmp_path: Path) -> None:
    entries = load(tmp_path, entry("https://a.example/x", "1"))
    assert bodies(Matcher(entries, lenient=True), get("/x", limit="500")) == ["1"]
    assert bodies(Matcher(entries, lenient=False), get("/x", limit="500")) == [None]


def test_repeated_requests_are_answered_in_order_and_the_last_answer_stays(tmp_path: Path) -> None:
    entries = load(tmp_path, *(entry("https://a.example/status", state) for state in ("queued", "running", "done")))
    asked = [get("/status")] * 4
    assert bodies(Matcher(entries, lenient=True), *asked) == ["queued", "running", "done", "done"]
    assert bodies(Matcher(entries, lenient=False), *asked) == ["queued", "running", "done", "done"]


def test_pages_of_another_size_come_in_order_and_then_no_more(tmp_path: Path) -> None:
    pages = [entry(f"https://a.example/x?limit=2&offset={at}", str(at)) for at in (0, 2, 4)]
    matcher = Matcher(load(tmp_path, *pages), lenient=True)
    asked = [get("/x", limit="100", offset=str(at)) for at in (0, 100, 200, 300)]
    assert bodies(matcher, *asked) == ["0", "2", "4", None]


def test_an_answer_about_another_object_is_none(tmp_path: Path) -> None:
    objects = [entry(f"https://a.example/x?id={name}", name) for name in ("ann", "bob")]
    matcher = Matcher(load(tmp_path, *objects), lenient=True)
    assert bodies(matcher, get("/x", id="bob"), get("/x", id="cid"), get("/x", id="ann")) == ["bob", None, "ann"]


def test_another_stream_gets_a_get_again_but_no_search_for_other_things(tmp_path: Path) -> None:
    entries = load(
        tmp_path,
        entry("https://a.example/machines", "machines"),
        entry("https://a.example/export", "job", "POST", **sent({"size": 5})),
    )
    matcher = Matcher(entries, lenient=True)
    first, second = {"filter": {"since": 1}}, {"filter": {"deleted": True}}
    assert bodies(matcher, get("/machines"), post("/export", first)) == ["machines", "job"]
    matcher.next_stream()
    assert bodies(matcher, get("/machines", top="9"), post("/export", second)) == ["machines", None]
    assert bodies(matcher, post("/export", first)) == ["job"]


def test_bodies_are_told_apart_by_what_they_ask_for(tmp_path: Path) -> None:
    entries = load(
        tmp_path,
        entry("https://a.example/q", "issues", "POST", **sent({"query": "query A { issues(first: 5) { id } }"})),
        entry("https://a.example/q", "assets", "POST", **sent({"query": "query B { assets { id } }"})),
        entry("https://a.example/s", "first", "POST", **sent({"from": 0, "to": 100})),
        entry("https://a.example/s", "second", "POST", **sent({"from": 100, "to": 200})),
    )
    matcher = Matcher(entries, lenient=True)
    asked = [{"query": "query Mine($n: Int) { assets(first: $n) { id name } }"}, {"query": "{ users { id } }"}]
    assert bodies(matcher, *(post("/q", body) for body in asked)) == ["assets", None]
    pages = [{"from": 100, "to": 200, "sort": 1}, {"from": 0, "to": 100, "sort": 1}]
    assert bodies(matcher, *(post("/s", body) for body in pages)) == ["second", "first"]


def test_a_form_counts_as_parameters(tmp_path: Path) -> None:
    form: dict[str, Any] = {
        "postData": {"mimeType": "application/x-www-form-urlencoded", "text": "action=list&id_min=7"}
    }
    matcher = Matcher(load(tmp_path, entry("https://a.example/host/", "7", "POST", **form)), lenient=False)
    asked = Asked("POST", "/host/", body=b"id_min=7&action=list", content_type="application/x-www-form-urlencoded")
    assert bodies(matcher, asked) == ["7"]


def test_bodies_in_base64_and_gzip_are_read_and_what_no_server_sent_is_left_out(tmp_path: Path) -> None:
    packed = entry("https://A.example:8443/x%20y/", "")
    packed["response"]["headers"] = [{"name": ":status", "value": "200"}, {"name": "Link", "value": "<u>"}]
    packed["response"]["content"] |= {"encoding": "base64", "text": base64.b64encode(gzip.compress(b"[1]")).decode()}
    found = load(tmp_path, entry("https://a.example/gone", "", status=0), packed)
    assert [(one.path, one.host, one.body, one.headers) for one in found] == [
        ("/x y/", "a.example", b"[1]", (("link", "<u>"),))
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is no HAR file: no JSON"),
        ("[]", "it has no log.entries"),
        ('{"log": {"entries": {}}}', "it has no log.entries"),
        ('{"log": {"entries": [{"request": {}}]}}', r"log.entries\[0\]: response is missing"),
        ('{"log": {"entries": [7]}}', r"log.entries\[0\]: it has a wrong form"),
        ("[" * 100_000, "nested too deeply|no JSON"),
    ],
)
def test_what_is_no_recording_is_told_with_its_place(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "x.har"
    file.write_text(content)
    with pytest.raises(ValueError, match=message):
        har.load(file)
    with pytest.raises(ValueError, match="cannot be read"):
        har.load(tmp_path / "absent.har")


def test_another_query_of_the_same_address_was_not_recorded(tmp_path: Path) -> None:
    recorded = entry("https://a.example/q", "1", "POST", **sent({"query": "{ issues { id } }"}))
    matcher = Matcher(load(tmp_path, recorded), lenient=True)
    assert matcher.has(post("/q", {"query": "query Mine { issues { id name } }"}))
    assert not matcher.has(post("/q", {"query": "{ assets { id } }"}))


@pytest.mark.parametrize(
    "first",
    [
        '{"@odata.nextLink": "https://a.example/users?$skiptoken=a%2Bb"}',
        '{"next": "https:\\/\\/a.example\\/users?limit=2\\u0026$skiptoken=a%2Bb"}',
        "<WARNING><URL><![CDATA[https://a.example/users?limit=2&amp;$skiptoken=a%2Bb]]></URL></WARNING>",
    ],
)
def test_leniently_a_page_that_an_answer_names_is_not_the_first_one(tmp_path: Path, first: str) -> None:
    recorded = load(
        tmp_path,
        entry("https://a.example/users?$filter=x&$select=id&$top=2", first),
        entry("https://a.example/users?$skiptoken=a%2Bb", "second"),
    )
    matcher = Matcher(recorded, lenient=True)
    asked = [
        get("/users", **{"$filter": "y", "$select": "id,name", "$top": "999"}),
        get("/users", **{"$skiptoken": "a+b"}),
    ]
    assert bodies(matcher, *asked) == [first, "second"]


def test_the_operation_of_graphql_is_told_behind_fragments_and_defaults(tmp_path: Path) -> None:
    other = "query B($f: F = {status: OPEN}) { issues(f: $f) { ...P } }"
    queries = ["fragment P on User { id } query A { users { ...P } }", other]
    recorded = load(
        tmp_path,
        *(entry("https://a.example/graphql", text, "POST", **sent({"query": text})) for text in queries),
    )
    matcher = Matcher(recorded, lenient=True)
    assert bodies(matcher, post("/graphql", {"query": "{ issues { id } }"})) == [other]
    assert bodies(matcher, post("/graphql", {"query": "{ users { id } }"})) == [queries[0]]


def test_leniently_a_path_below_another_address_answers_where_there_is_none_of_the_same(tmp_path: Path) -> None:
    below = "https://a.example/ex/jira/1/rest/api/3/project"
    recorded = load(tmp_path, entry(below, "1"), entry("https://a.example/x/project", "2"))
    assert bodies(Matcher(recorded, lenient=True), get("/rest/api/3/project"), get("/project")) == ["1", None]
    assert bodies(Matcher(recorded, lenient=False), get("/rest/api/3/project")) == [None]
