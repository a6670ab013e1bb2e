"""Odd forms that real traffic has and simulators do not: replayed from recordings made by hand, row by row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.connectors.harness import connector

from towline.api.conditions import Reason
from towline_connectors.kit.replay import Recording
from towline_connectors.kit.replayer import StreamOutcome, prepared, replay

Exchange = dict[str, Any]
Row = dict[str, Any]


def exchange(method: str, url: str, answer: Any, sent: Any = None, status: int = 200, **headers: str) -> Exchange:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    request: dict[str, Any] = {"method": method, "url": url}
    if sent is not None:
        request["postData"] = {"mimeType": "application/json", "text": json.dumps(sent)}
    named = [{"name": name, "value": value} for name, value in headers.items()]
    content = {"mimeType": "application/json", "text": text}
    return {
        "startedDateTime": "2026-01-10T00:00:00Z",
        "request": request,
        "response": {"status": status, "headers": named, "content": content},
    }


def replayed(folder: Path, name: str, streams: list[str], *exchanges: Exchange) -> dict[str, StreamOutcome]:
    file = folder / "made.har"
    file.write_text(json.dumps({"log": {"entries": list(exchanges)}}))
    recording = Recording.load(file)
    spec = connector(name).spec
    config = prepared(spec, recording, {})
    outcomes = replay(name, spec, recording, config=config, streams=streams, lenient=True, chosen=True)
    return {outcome.name: outcome for outcome in outcomes}


def rows(outcome: StreamOutcome, entity: str) -> list[Row]:
    assert outcome.result.reason is Reason.COMPLETED, outcome.problem
    assert not outcome.unanswered, outcome.problem
    assert outcome.rejected == 0
    return [row for row in outcome.records if row["entity"] == entity]


# -- Falcon

US2 = "https://api.us-2.crowdstrike.com"
MOVED = {"status": 308}


def scrolled(ids: list[str], total: int) -> Any:
    return {"meta": {"pagination": {"total": total, "offset": "same" if total else ""}}, "resources": ids, "errors": []}


def test_hosts_come_by_one_scroll_from_the_cloud_that_the_account_is_in(tmp_path: Path) -> None:
    us1 = "https://api.crowdstrike.com"
    scroll = "/devices/queries/devices-scroll/v1?limit=1"
    host = {
        "hostname": "web-1", "machine_domain": "corp.example", "service_provider": "AWS_EC2_V2", "os_version": "Ubuntu",
        "chassis_type_desc": "Other", "product_type_desc": "Server", "groups": None, "tags": None, "local_ip": "",
    }  # fmt: skip
    found = replayed(
        tmp_path,
        "crowdstrike-falcon",
        ["hosts"],
        exchange("POST", f"{us1}/oauth2/token", "", status=308, location=f"{US2}/oauth2/token"),
        exchange("POST", f"{US2}/oauth2/token", {"access_token": "t", "expires_in": 1799}, status=201),
        exchange("GET", f"{US2}{scroll}", scrolled(["a1"], 2)),
        exchange(
            "POST", f"{US2}/devices/entities/devices/v2", {"resources": [{"device_id": "a1", **host}]}, {"ids": 1}
        ),
        exchange("GET", f"{US2}{scroll}&offset=same", scrolled(["b2"], 2)),
        exchange("POST", f"{US2}/devices/entities/devices/v2", {"resources": [{"device_id": "b2"}]}, {"ids": 1}),
        exchange("GET", f"{US2}{scroll}&offset=same", scrolled([], 0)),
    )
    [first, second] = rows(found["hosts"], "asset")
    assert (first["source_key"], first["cloud_provider"], first["type_id"]) == ("a1", "AWS", 1)
    assert (first["fqdn"], first["ip"], first["labels"]) == (["web-1.corp.example"], None, None)
    assert (second["source_key"], second["hostname"], second["cloud_provider"]) == ("b2", None, None)


def test_a_finding_tells_its_cvss_version_and_whether_there_is_a_fix(tmp_path: Path) -> None:
    cves = [
        {
            "id": "CVE-2026-1",
            "base_score": 8.8,
            "vector": "CVSS:3.1/AV:N",
            "severity": "HIGH",
            "remediation_level": "O",
        },
        {"id": "CVE-2026-2", "base_score": 5, "vector": "AV:N/AC:L", "severity": "UNKNOWN", "exploit_status": 90},
        {"id": "CVE-2026-3", "severity": None, "remediation_level": "U"},
    ]
    resources = [{"id": f"a_{n}", "aid": "a", "status": "open", "cve": cve} for n, cve in enumerate(cves)]
    answer = {"meta": {"pagination": {"total": 3, "after": ""}}, "resources": resources}
    asked = f"{US2}/spotlight/combined/vulnerabilities/v1?filter=created_timestamp%3A%3E%272026%27&limit=400"
    found = replayed(tmp_path, "crowdstrike-falcon", ["vulnerabilities"], exchange("GET", asked, answer))
    told = [
        (row["cvss2_score"], row["cvss3_score"], row["severity_id"], row["is_fix_available"], row["is_known_exploited"])
        for row in rows(found["vulnerabilities"], "vulnerability")
    ]
    assert told == [(None, 8.8, 4, True, None), (5, None, 0, None, True), (None, None, 0, False, None)]


# -- Tenable

TENABLE = "https://cloud.tenable.com"


@pytest.mark.parametrize("created", ["/assets/export", "/assets/v2/export"])
def test_assets_of_both_versions_of_the_export_give_the_same_rows(tmp_path: Path, created: str) -> None:
    old = {
        "id": "a1", "hostnames": ["web"], "ipv4s": ["10.0.0.1"], "aws_ec2_instance_id": "i-1", "has_agent": None,
        "first_seen": "2026-01-01T00:00:00.000Z", "system_types": ["aws-ec2-instance"], "tags": None, "sources": [],
    }  # fmt: skip
    new = {
        "id": "b2", "network": {"hostnames": ["db"], "ipv4s": ["10.0.0.2", "[REDACTED]"], "network_name": "Default"},
        "cloud": {"azure": {"vm_id": "v-2"}}, "timestamps": {"first_seen": "2026-01-02T00:00:00.000Z"},
        "serial_number": "S2", "ratings": {"aes": {"score": 700}, "acr": {"score": 5}},
    }  # fmt: skip
    gone = {"id": "c3", "timestamps": {"deleted_at": "2026-01-03T00:00:00.000Z"}}
    found = replayed(
        tmp_path,
        "tenable-io",
        ["assets"],
        exchange("POST", f"{TENABLE}{created}", {"export_uuid": "u"}, {"chunk_size": 100}),
        exchange("GET", f"{TENABLE}/assets/export/u/status", {"status": "FINISHED", "chunks_available": [1]}),
        exchange("GET", f"{TENABLE}/assets/export/u/chunks/1", [old, new, gone]),
    )
    [first, second] = rows(found["assets"], "asset")
    assert (first["hostname"], first["ip"], first["cloud_uid"], first["type_id"]) == ("web", ["10.0.0.1"], "i-1", 6)
    assert (second["hostname"], second["ip"], second["cloud_provider"]) == ("db", ["10.0.0.2"], "Azure")
    assert (second["serial"], second["risk_score"], second["ext"]["acr_score"]) == ("S2", 700, 5)
    assert [each["first_observed_time"] for each in (first, second)] == [
        "2026-01-01T00:00:00.000Z",
        "2026-01-02T00:00:00.000Z",
    ]


# -- Cortex XDR

CORTEX = "https://api-acme.xdr.eu.paloaltonetworks.com/public_api"


def test_an_alert_with_empty_lists_and_seconds_for_milliseconds_is_read(tmp_path: Path) -> None:
    alert = {
        "alert_id": 7, "name": "Theft", "severity": "SEV_040_HIGH", "mitre_technique_id_and_name": [""], "events": None,
        "detection_timestamp": 1767225600, "local_insert_ts": 1767225600000, "host_ip": None, "endpoint_id": None,
    }  # fmt: skip
    answer = {"reply": {"total_count": 1, "result_count": 1, "alerts": [alert]}}
    sent = {"request_data": {"search_from": 0, "search_to": 100}}
    asked = f"{CORTEX}/v1/alerts/get_alerts_multi_events"
    found = replayed(tmp_path, "cortex-xdr", ["alerts"], exchange("POST", asked, answer, sent))
    [row] = rows(found["alerts"], "alert")
    assert (row["source_key"], row["severity_id"], row["attacks"]) == ("7", 4, None)
    assert row["created_time"] == "2026-01-01T00:00:00.000Z"


def test_an_error_with_status_200_is_no_empty_answer(tmp_path: Path) -> None:
    answer = {"reply": {"err_code": 403, "err_msg": "Forbidden", "err_extra": None}}
    asked = f"{CORTEX}/v1/endpoints/get_endpoint"
    found = replayed(tmp_path, "cortex-xdr", ["endpoints"], exchange("POST", asked, answer, {"request_data": {}}))
    assert found["endpoints"].result.reason is Reason.PERMISSION_DENIED


def test_cases_and_issues_of_version_5_are_read_to_the_count_of_the_filter(tmp_path: Path) -> None:
    case = {
        "case_id": 7, "case_name": "Theft", "status_progress": "Resolved - True Positive", "severity": "high",
        "creation_time": 1767225600000, "issue_ids": [9, 10], "issue_categories": ["Malware"], "hosts": ["web:e1"],
        "resolve_reason": "Resolved - True Positive",
    }  # fmt: skip
    issues = [
        {"id": 9, "name": "Script", "severity": "LOW", "status.progress": "New", "observation_time": 1767225600000},
        {"id": 10, "name": None, "severity": None, "status": {"progress": "In Progress"}, "detection": None},
    ]

    def answer(records: list[Any]) -> Any:
        return {"reply": {"DATA": records, "FILTER_COUNT": len(records), "TOTAL_COUNT": 5000}}

    found = replayed(
        tmp_path,
        "cortex-xdr",
        ["cases", "issues"],
        exchange("POST", f"{CORTEX}/v1/case/search", answer([case]), {"request_data": {"search_from": 0}}),
        exchange("POST", f"{CORTEX}/v1/issue/search/", answer(issues), {"request_data": {"search_from": 0}}),
    )
    [row] = rows(found["cases"], "incident")
    assert (row["source_key"], row["title"], row["status_id"], row["asset_key"]) == ("7", "Theft", 4, "e1")
    assert (row["finding_uids"], row["category"]) == (["9", "10"], "Malware")
    told = [(row["source_key"], row["severity_id"], row["status_id"]) for row in rows(found["issues"], "alert")]
    assert told == [("9", 2, 1), ("10", 0, 2)]


# -- Wiz


def test_issues_that_were_asked_for_under_an_alias_are_read(tmp_path: Path) -> None:
    issue = {
        "id": "i1", "status": "REJECTED", "severity": "HIGH", "sourceRule": {"id": "r1", "name": "Public"},
        "entitySnapshot": {"id": "e1", "providerId": "i-1", "nativeType": "virtualMachine", "tags": {}},
        "projects": None, "serviceTickets": [], "notes": None, "createdAt": "2026-01-01T00:00:00.123456Z",
    }  # fmt: skip
    answer = {"data": {"issues": {"nodes": [issue], "pageInfo": {"hasNextPage": False, "endCursor": "x"}}}}
    sent = {"query": "query Mine($first: Int) { issues: issuesV2(first: $first) { nodes { id } } }"}
    asked = "https://api.us1.app.wiz.io/graphql"
    found = replayed(tmp_path, "wiz", ["issues"], exchange("POST", asked, answer, sent))
    [row] = rows(found["issues"], "finding")
    assert (row["source_key"], row["status_id"], row["asset_key"]) == ("i1", 3, "e1")
    assert row["first_observed_time"] == "2026-01-01T00:00:00.123Z"


# -- Qualys

KNOWLEDGE = """<?xml version="1.0" encoding="UTF-8" ?>
<!DOCTYPE KNOWLEDGE_BASE_VULN_LIST_OUTPUT SYSTEM "https://qualysapi.qualys.com/api/2.0/fo/knowledge_base/vuln/x.dtd">
<!-- This report was generated with an evaluation version of Qualys //-->
<KNOWLEDGE_BASE_VULN_LIST_OUTPUT><RESPONSE><DATETIME>2026-01-01T00:00:00Z</DATETIME><VULN_LIST>
<VULN><QID>6</QID><VULN_TYPE>Information Gathered</VULN_TYPE><SEVERITY_LEVEL>1</SEVERITY_LEVEL>
<TITLE><![CDATA[DNS Host Name]]></TITLE><PATCHABLE>0</PATCHABLE>
<SOFTWARE_LIST><SOFTWARE><PRODUCT><![CDATA[dns_server]]></PRODUCT><VENDOR><![CDATA[none]]></VENDOR></SOFTWARE>
</SOFTWARE_LIST></VULN>
<VULN><QID>38739</QID><SEVERITY_LEVEL>4</SEVERITY_LEVEL><TITLE>
   <![CDATA[Weak ciphers]]>
</TITLE><CVSS><BASE source="service">5.4</BASE></CVSS><CVSS_V3><BASE>-</BASE></CVSS_V3>
<CVE_LIST><CVE><ID><![CDATA[CVE-2026-9]]></ID></CVE></CVE_LIST></VULN>
</VULN_LIST></RESPONSE></KNOWLEDGE_BASE_VULN_LIST_OUTPUT>
<!-- CONFIDENTIAL AND PROPRIETARY INFORMATION. //-->
"""


def test_the_knowledge_base_is_read_also_where_ids_were_asked_for_by_a_form(tmp_path: Path) -> None:
    asked = exchange("POST", "https://qualysapi.qg3.apps.qualys.com/api/2.0/fo/knowledge_base/vuln/", KNOWLEDGE)
    asked["request"]["postData"] = {
        "mimeType": "application/x-www-form-urlencoded",
        "text": "action=list&ids=6%2C38739",
    }
    asked["response"]["content"] |= {"mimeType": "text/xml;charset=UTF-8", "encoding": "base64"}
    found = replayed(tmp_path, "qualys-vmdr", ["knowledge-base"], asked)
    [first, second] = rows(found["knowledge-base"], "vulnerability")
    assert (first["source_key"], first["vendor_name"], first["product_name"]) == ("6", None, "dns_server")
    assert (second["title"], second["cve_uids"]) == ("Weak ciphers", ["CVE-2026-9"])
    assert (second["cvss2_score"], second["cvss3_score"], second["cvss_score"]) == (5.4, None, 5.4)


def test_what_was_asked_for_in_batches_of_ids_is_read_batch_by_batch(tmp_path: Path) -> None:
    batches = [["6", "11"], ["38739"], ["45017", "90043"]]
    url = "https://qualysapi.qualys.com/api/2.0/fo/knowledge_base/vuln?action=list&ids="
    found = replayed(
        tmp_path,
        "qualys-vmdr",
        ["knowledge-base"],
        *(
            exchange(
                "GET",
                url + "%2C".join(batch),
                "<KNOWLEDGE_BASE_VULN_LIST_OUTPUT><RESPONSE><VULN_LIST>"
                + "".join(f"<VULN><QID>{qid}</QID><TITLE>t</TITLE></VULN>" for qid in batch)
                + "</VULN_LIST></RESPONSE></KNOWLEDGE_BASE_VULN_LIST_OUTPUT>",
            )
            for batch in batches
        ),
    )
    known = rows(found["knowledge-base"], "vulnerability")
    assert [row["source_key"] for row in known] == [qid for batch in batches for qid in batch]


# -- Defender


def test_alerts_are_read_to_the_end_where_answers_name_the_next_page(tmp_path: Path) -> None:
    url = "https://api.eu.security.microsoft.com/api/alerts"
    alerts = [{"id": f"da{n}", "title": "Seen", "severity": "High", "machineId": "m1"} for n in range(3)]
    found = replayed(
        tmp_path,
        "microsoft-defender-endpoint",
        ["alerts"],
        exchange("GET", f"{url}?$top=2&$expand=evidence", {"value": alerts[:2], "@odata.nextLink": f"{url}?$skip=2"}),
        exchange("GET", f"{url}?$skip=2", {"value": alerts[2:]}),
    )
    assert [row["source_key"] for row in rows(found["alerts"], "alert")] == ["da0", "da1", "da2"]


def test_machines_without_a_device_type_are_told_by_their_platform(tmp_path: Path) -> None:
    platforms = ["Windows11", "WindowsServer2022", "macOS", "Ubuntu", None]
    machines = [{"id": f"m{n}", "computerDnsName": None, "osPlatform": each} for n, each in enumerate(platforms)]
    answer = {"value": machines}
    asked = "https://api.securitycenter.microsoft.com/api/machines"
    found = replayed(tmp_path, "microsoft-defender-endpoint", ["machines"], exchange("GET", asked, answer))
    assert [row["type_id"] for row in rows(found["machines"], "asset")] == [2, 1, 2, 0, 0]


# -- Security Hub


def test_a_finding_with_several_cvss_versions_and_a_container_image_is_read(tmp_path: Path) -> None:
    weakness = {
        "Id": "CVE-2026-7",
        "Cvss": [{"Version": "V2", "BaseScore": 4.7}, {"Version": "3.1", "BaseScore": 9.1, "BaseVector": "CVSS:3.1/x"}],
        "FixAvailable": "NO",
        "ExploitAvailable": None,
        "VulnerablePackages": [{"Name": "openssl", "Version": "1.0", "FixedInVersion": None}],
    }
    finding = {
        "Id": "arn:aws:inspector2:eu-west-1:111122223333:finding/f1", "ProductArn": "p", "Title": "t",
        "RecordState": "ACTIVE", "Workflow": {"Status": "NEW"}, "Severity": {"Label": "HIGH", "Normalized": 70},
        "Resources": [{"Type": "AwsEcrContainerImage", "Id": "arn:aws:ecr:x/y", "Tags": None}],
        "UpdatedAt": "2026-01-01T00:00:00.000Z", "Vulnerabilities": [weakness], "Compliance": None,
    }  # fmt: skip
    answer = {"Findings": [finding, {**finding, "Id": "plain", "Vulnerabilities": None, "Resources": []}]}
    asked = "https://securityhub.eu-west-1.amazonaws.com/findings"
    found = replayed(tmp_path, "aws-security-hub", ["findings"], exchange("POST", asked, answer, {"MaxResults": 5}))
    assert [row["source_key"] for row in rows(found["findings"], "finding")] == [finding["Id"], "p plain"]
    assert rows(found["findings"], "asset") == []
    [known] = rows(found["findings"], "vulnerability")
    assert (known["cvss_score"], known["cvss_vector"]) == (9.1, "CVSS:3.1/x")
    assert (known["cvss2_score"], known["cvss3_score"], known["cvss4_score"]) == (4.7, 9.1, None)
    assert (known["is_fix_available"], known["is_exploit_available"]) == (False, None)
    [place] = rows(found["findings"], "asset_vulnerability")
    assert (place["asset_key"], place["package"], place["status_id"]) == (None, "openssl", 1)
