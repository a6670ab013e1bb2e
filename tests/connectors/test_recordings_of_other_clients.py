"""Recordings of clients that ask for the same things at other addresses, or for their fields in another form."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.connectors.test_older_recordings import whole
from tests.connectors.test_vendor_shapes import Exchange, exchange, rows

XDR = "https://api-acme.xdr.eu.paloaltonetworks.com/public_api/v1/endpoints"
MISP = "https://misp.acme.example"
SPLUNK = "https://splunk.acme.example:8089"
TABLE = "https://acme.service-now.com/api/now/table"


@pytest.mark.parametrize("name", ["get_endpoint", "get_endpoints/"])
def test_endpoints_are_read_by_either_name_of_their_call(tmp_path: Path, name: str) -> None:
    endpoint = {"endpoint_id": "e1", "endpoint_name": "web-1", "endpoint_status": "CONNECTED", "ip": ["10.0.0.1"]}
    answer = {"reply": {"total_count": 1, "result_count": 1, "endpoints": [endpoint]}}
    asked = {"request_data": {"search_from": 0, "search_to": 100}}
    found = whole(tmp_path, "cortex-xdr", exchange("POST", f"{XDR}/{name}", answer, asked))
    [row] = rows(found["endpoints"], "asset")
    assert (row["source_key"], row["hostname"], row["is_managed"]) == ("e1", "web-1", True)


def test_the_short_list_of_all_endpoints_is_read(tmp_path: Path) -> None:
    common = {"agent_type": "Server", "agent_status": "LOST", "ip": ["10.0.0.1"]}
    agents = [{"agent_id": f"e{n}", "host_name": f"web-{n}", **common} for n in range(130)]
    found = whole(tmp_path, "cortex-xdr", exchange("POST", f"{XDR}/get_endpoints/", {"reply": agents}, {}))
    read = rows(found["endpoints"], "asset")
    assert len(read) == 130
    first = read[0]
    assert (first["source_key"], first["hostname"], first["type_id"]) == ("e0", "web-0", 1)
    assert (first["agent_uid"], first["status"], first["ip"]) == ("e0", "LOST", ["10.0.0.1"])


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/events/index", "/events"])
def test_events_of_the_index_are_read(tmp_path: Path, method: str, path: str) -> None:
    events = [
        {
            "id": str(n), "uuid": f"u{n}", "info": f"Campaign {n}", "date": "2026-01-05", "threat_level_id": "1",
            "Orgc": {"name": "Acme"}, "EventTag": [{"Tag": {"name": "tlp:amber"}}, {"Tag": {"name": "apt"}}],
        }
        for n in range(60)
    ]  # fmt: skip
    found = whole(tmp_path, "misp", exchange(method, f"{MISP}{path}", events))
    read = rows(found["events"], "threat_report")
    assert len(read) == 60
    assert (read[0]["source_key"], read[0]["title"], read[0]["severity_id"]) == ("u0", "Campaign 0", 4)
    assert (read[0]["author"], read[0]["tlp"], read[0]["labels"]) == ("Acme", "amber", ["tlp:amber", "apt"])


@pytest.mark.parametrize("place", ["/servicesNS/admin/search", "/servicesNS/nobody/-", "/services"])
def test_searches_of_a_user_and_an_app_are_read(tmp_path: Path, place: str) -> None:
    event = {"event_id": "n1", "rule_title": "Theft"}
    found = whole(
        tmp_path,
        "splunk",
        searched(f"{SPLUNK}{place}/search/jobs/export", "search `notable`", {"result": event}),
        exchange("GET", f"{SPLUNK}{place}/saved/searches?count=0", {"entry": [{"name": "Daily"}], "paging": {}}),
        exchange("GET", f"{SPLUNK}{place}/alerts/fired_alerts", {"entry": [{"name": "Daily"}]}),
    )
    assert [row["title"] for row in rows(found["notable-events"], "alert")] == ["Theft"]
    assert [row["name"] for row in rows(found["saved-searches"], "policy")] == ["Daily"]
    assert [row["source_key"] for row in rows(found["fired-alerts"], "alert")] == ["Daily"]


def test_a_search_job_of_a_user_and_an_app_is_read(tmp_path: Path) -> None:
    jobs = f"{SPLUNK}/servicesNS/admin/SplunkEnterpriseSecuritySuite/search/jobs"
    state = {"entry": [{"content": {"dispatchState": "DONE", "resultCount": 1}}]}
    found = whole(
        tmp_path,
        "splunk",
        searched(jobs, "search index=proxy", {"sid": "1.1"}),
        exchange("GET", f"{jobs}/1.1?output_mode=json", state),
        exchange("GET", f"{jobs}/1.1/results?output_mode=json", {"results": [{"_raw": "GET /", "_cd": "1:2"}]}),
    )
    [row] = rows(found["search-job"], "event")
    assert row["message"] == "GET /"


def searched(url: str, search: str, answer: Any) -> Exchange:
    made = exchange("POST", url, answer)
    text = urlencode({"search": search, "output_mode": "json"})
    made["request"]["postData"] = {"mimeType": "application/x-www-form-urlencoded", "text": text}
    return made


LINK = "https://acme.service-now.com/api/now/table"
SERVER = {
    "sys_id": "s1", "name": "web-1", "ip_address": "10.0.0.1", "operational_status": "1", "manufacturer": "",
    "sys_updated_on": "2026-01-05 10:00:00", "sys_created_on": "2026-01-01 10:00:00", "owned_by": "u1",
}  # fmt: skip
SHOWN = {"operational_status": "Operational", "owned_by": "Ann", "sys_updated_on": "2026-01-05 11:00:00"}


def both(record: dict[str, str], shown: dict[str, str], **links: str) -> dict[str, Any]:
    """A record as ServiceNow gives it for `sysparm_display_value=all`."""
    pairs = {name: {"display_value": shown.get(name, value), "value": value} for name, value in record.items()}
    return {name: {**pair, **({"link": links[name]} if name in links else {})} for name, pair in pairs.items()}


@pytest.mark.parametrize(
    ("parameter", "recorded"),
    [
        ("", SERVER),
        ("&sysparm_display_value=false", {**SERVER, "owned_by": {"link": f"{LINK}/sys_user/u1", "value": "u1"}}),
        ("&sysparm_display_value=all", both(SERVER, SHOWN)),
        ("&sysparm_display_value=all", both(SERVER, SHOWN, owned_by=f"{LINK}/sys_user/u1")),
        (
            "&sysparm_display_value=true",
            {**SERVER, "owned_by": {"display_value": "Ann", "link": f"{LINK}/sys_user/u1"}},
        ),
    ],
    ids=["stored", "stored with links", "both", "both with links", "shown with links"],
)
def test_rows_are_the_same_whether_what_is_shown_was_asked_for_too(
    tmp_path: Path, parameter: str, recorded: dict[str, Any]
) -> None:
    url = f"{TABLE}/cmdb_ci_server?sysparm_limit=100{parameter}"
    found = whole(tmp_path, "servicenow", exchange("GET", url, {"result": [recorded]}))
    [row] = rows(found["servers"], "asset")
    assert (row["source_key"], row["hostname"], row["ip"]) == ("s1", "web-1", ["10.0.0.1"])
    assert (row["status"], row["owner_key"]) == ("Operational", "u1")
    assert (row["created_time"], row["vendor_name"]) == ("2026-01-01T10:00:00.000Z", None)


def test_a_relation_that_was_recorded_with_what_is_shown_names_its_kind(tmp_path: Path) -> None:
    record = {"sys_id": "r1", "parent": "s1", "child": "s2", "type": "t1", "sys_updated_on": "2026-01-05 10:00:00"}
    links = {name: f"{LINK}/cmdb_ci/{name}" for name in ("parent", "child", "type")}
    answer = {"result": [both(record, {"type": "Runs on::Runs"}, **links)]}
    found = whole(
        tmp_path, "servicenow", exchange("GET", f"{TABLE}/cmdb_rel_ci?sysparm_display_value=all", answer)
    )  # fmt: skip
    [row] = rows(found["relations"], "relation")
    assert (row["parent_key"], row["child_key"]) == ("s1", "s2")
    assert (row["type"], row["type_uid"]) == ("Runs on::Runs", "t1")


def test_every_stream_of_servicenow_reads_what_was_recorded_both_ways(tmp_path: Path) -> None:
    plain = dict.fromkeys(("sys_id", "number", "name", "state", "priority", "active"), "1")
    plain |= {"sys_updated_on": "2026-01-05 10:00:00", "sys_created_on": "2026-01-05 10:00:00"}
    tables = [
        "sys_user", "sys_user_group", "sys_user_grmember", "cmdb_ci_server", "cmdb_ci_computer", "cmdb_ci_netgear",
        "cmdb_ci_vm_instance", "cmdb_ci_service", "sc_cat_item", "cmdb_ci_appl", "incident", "change_request",
        "change_task", "sc_req_item", "sysapproval_approver",
    ]  # fmt: skip

    def read(record: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        answers = [
            exchange("GET", f"{TABLE}/{table}?sysparm_limit=10", {"result": [record], "extra": 1}) for table in tables
        ]
        found = whole(tmp_path, "servicenow", *answers)
        return {name: [without_raw(row) for row in each.records] for name, each in found.items() if each.covered}

    both_ways = read(both(plain, {"state": "New", "priority": "1 - Critical", "active": "true"}))
    assert both_ways == read(plain)
    assert sum(map(len, both_ways.values())) == len(tables)


def without_raw(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "raw"}


def test_a_search_that_was_waited_for_is_read_from_its_one_answer(tmp_path: Path) -> None:
    results = [{"_raw": f"GET /{n}", "_cd": f"1:{n}", "_bkt": "b", "splunk_server": "s"} for n in range(3)]
    answer = {"preview": False, "results": results}
    found = whole(
        tmp_path, "splunk", searched(f"{SPLUNK}/services/search/jobs", "search index=proxy | head 3", answer)
    )  # fmt: skip
    assert [row["message"] for row in rows(found["search-job"], "event")] == ["GET /0", "GET /1", "GET /2"]


def test_attributes_and_sightings_of_the_index_are_read(tmp_path: Path) -> None:
    attribute = {"id": "5", "uuid": "a1", "type": "ip-dst", "value": "198.51.100.7", "timestamp": "1767225600"}
    sighting = {"id": "7", "uuid": "s1", "attribute_id": "5", "date_sighting": "1767225600", "type": "0"}
    found = whole(
        tmp_path,
        "misp",
        exchange("GET", f"{MISP}/attributes/index", [attribute]),
        exchange("GET", f"{MISP}/sightings/index", [{"Sighting": sighting}]),
    )
    assert [row["value"] for row in rows(found["attributes"], "indicator")] == ["198.51.100.7"]
    assert [row["source_key"] for row in rows(found["sightings"], "sighting")] == ["s1"]


@pytest.mark.parametrize(
    ("export", "stream"),
    [
        ("SoftwareVulnerabilitiesByMachine", "vulnerability-assessment"),
        ("SoftwareVulnerabilityChangesByMachine?sinceTime=2026-01-01T00:00:00Z", "vulnerability-changes"),
    ],
)
def test_the_export_of_defender_that_was_recorded_is_the_one_that_is_read(
    tmp_path: Path, export: str, stream: str
) -> None:
    machines = "https://api.security.microsoft.com/api/machines"
    row = {"id": "f1", "deviceId": "m1", "cveId": "CVE-2026-1", "softwareName": "edge", "status": "New"}
    rest = {"eventTimestamp": "2026-01-05T10:00:00Z", "lastSeenTimestamp": "2026-01-05 10:00:00"}
    found = whole(
        tmp_path,
        "microsoft-defender-endpoint",
        exchange("GET", f"{machines}/{export}", {"value": [{**row, **rest}]}),
        exchange("GET", f"{machines}/m1", {"id": "m1", "computerDnsName": "web-1"}),
    )
    assert [row["source_key"] for row in rows(found[stream], "asset_vulnerability")] == ["f1"]
    others = {"vulnerability-assessment", "vulnerability-changes"} - {stream}
    assert not any(found[other].covered for other in others)
