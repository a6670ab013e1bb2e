"""What each vendor's refusals mean, how long they ask to wait, and which requests a limit counts together: by the
facts that the vendors publish, row by row."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.connectors.harness import connector

from towline_connectors.engine.budget import Budgets
from towline_connectors.engine.classify import Classifier
from towline_connectors.engine.http import HttpAnswer

NOW = 1_790_000_000.0  # epoch seconds
QUALYS_BUSY = "<SIMPLE_RETURN><RESPONSE><CODE>1965</CODE><TEXT>limit</TEXT></RESPONSE></SIMPLE_RETURN>"
HEC = "${config.hec_url}/services/collector/event"
NOT_SUBSCRIBED = {"Message": "Account 123456789012 is not subscribed to AWS Security Hub"}


def of_aws(name: str) -> dict[str, str]:
    return {"x-amzn-errortype": name}


def graphql(code: str, **more: Any) -> dict[str, Any]:
    return {"errors": [{"message": "no", "extensions": {"code": code, **more}}]}


# connector, status, path, headers, body, class, seconds to wait
REFUSALS: list[tuple[str, int, str, dict[str, str], Any, str, float | None]] = [
    ("tenable-io", 429, "/vulns/export", {"retry-after": "31"}, "<html>slow down</html>", "RateLimited", 31),
    ("tenable-io", 429, "/vulns/export", {}, "", "RateLimited", 60),
    ("tenable-io", 401, "/session", {}, "", "Auth", None),
    ("tenable-io", 502, "/vulns/export", {}, "", "Transient", None),
    ("qualys-vmdr", 409, "/asset/host/", {"x-ratelimit-towait-sec": "181"}, QUALYS_BUSY, "RateLimited", 181),
    ("qualys-vmdr", 409, "/asset/host/", {"x-ratelimit-towait-sec": "181"}, "", "RateLimited", 181),
    ("qualys-vmdr", 200, "/asset/host/", {}, QUALYS_BUSY, "RateLimited", 300),
    ("qualys-vmdr", 200, "/asset/host/", {}, QUALYS_BUSY.replace("1965", "2000"), "Auth", None),
    ("qualys-vmdr", 200, "/asset/host/", {}, QUALYS_BUSY.replace("1965", "1904"), "Permanent", None),
    ("microsoft-defender-endpoint", 429, "/alerts", {"retry-after": "7"}, "", "RateLimited", 7),
    ("microsoft-defender-endpoint", 403, "/alerts", {}, "", "Permission", None),
    ("microsoft-defender-endpoint", 404, "/machines", {}, "", "Empty", None),
    (
        "microsoft-defender-endpoint", 400, "/machines/${input.key}/isolate", {},
        {"error": {"message": "Action is already in progress"}}, "Transient", 60,
    ),
    ("crowdstrike-falcon", 429, "/alerts", {"x-ratelimit-retryafter": str(int(NOW) + 12)}, "", "RateLimited", 12),
    ("crowdstrike-falcon", 200, "/alerts", {}, {"errors": [{"code": 401}], "resources": []}, "Auth", None),
    ("crowdstrike-falcon", 200, "/alerts", {}, {"errors": [{"code": 403}], "resources": None}, "Permission", None),
    ("crowdstrike-falcon", 200, "/alerts", {}, {"errors": [{"code": 429}], "resources": []}, "RateLimited", 30),
    ("crowdstrike-falcon", 200, "/alerts", {}, {"errors": [{"code": 500}], "resources": []}, "Transient", None),
    ("crowdstrike-falcon", 200, "/alerts", {}, {"errors": [{"code": 400}], "resources": []}, "Permanent", None),
    ("cortex-xdr", 402, "/v1/case/search", {}, "", "Permission", None),
    ("cortex-xdr", 403, "/v1/case/search", {}, "", "Permission", None),
    ("cortex-xdr", 401, "/v1/case/search", {}, "", "Auth", None),
    ("cortex-xdr", 429, "/v1/case/search", {}, "", "RateLimited", 60),
    ("cortex-xdr", 200, "/v1/case/search", {}, {"reply": {"err_code": 402}}, "Permission", None),
    ("okta", 429, "/users", {"x-rate-limit-reset": str(int(NOW) + 40)}, {"errorCode": "E0000047"}, "RateLimited", 40),
    ("microsoft-entra-id", 410, "/users/delta", {}, "", "CursorLost", None),
    ("microsoft-entra-id", 400, "/users/delta", {}, {"error": {"code": "syncStateNotFound"}}, "CursorLost", None),
    ("microsoft-entra-id", 429, "/identityProtection/riskyUsers", {}, "", "RateLimited", 10),
    ("microsoft-entra-id", 429, "/users/delta", {"retry-after": "150"}, "", "RateLimited", 150),
    ("microsoft-entra-id", 502, "/users/delta", {}, "", "Transient", None),
    ("wiz", 429, "/graphql", {}, "", "RateLimited", 10),
    ("wiz", 200, "/graphql", {}, graphql("RATE_LIMIT_EXCEEDED", retryAfter=3), "RateLimited", 3),
    ("wiz", 200, "/graphql", {}, graphql("RATE_LIMIT_EXCEEDED"), "RateLimited", 10),
    ("wiz", 200, "/graphql", {}, graphql("UNAUTHENTICATED"), "Auth", None),
    ("aws-security-hub", 401, "/findings", of_aws("InvalidAccessException"), NOT_SUBSCRIBED, "Permanent", None),
    ("aws-security-hub", 404, "/accounts", of_aws("ResourceNotFoundException"), {}, "Permanent", None),
    ("aws-security-hub", 401, "/members", of_aws("InvalidAccessException:http"), {"Message": "x"}, "SkipStream", None),
    ("aws-security-hub", 429, "/findings", of_aws("TooManyRequestsException"), {}, "RateLimited", 2),
    ("aws-security-hub", 429, "/findings", of_aws("LimitExceededException"), {}, "RateLimited", 5),
    ("aws-security-hub", 400, "/findings", of_aws("ThrottlingException"), {}, "RateLimited", 2),
    ("servicenow", 429, "/incident", {"retry-after": "90", "x-ratelimit-reset": "1"}, "", "RateLimited", 90),
    ("servicenow", 429, "/incident", {"x-ratelimit-reset": str(int(NOW) + 600)}, "", "RateLimited", 600),
    ("servicenow", 500, "/incident", {}, {"error": {"message": "Transaction cancelled: maximum"}}, "Transient", None),
    ("servicenow", 400, "/cmdb_ci_x", {}, {"error": {"message": "Invalid table cmdb_ci_x"}}, "SkipStream", None),
    ("jira", 429, "/3/search/jql", {"retry-after": "5", "ratelimit-reason": "jira-burst-based"}, "", "RateLimited", 5),
    ("jira", 400, "/3/search/jql", {}, "", "Permanent", None),
    ("splunk", 503, "/services/search/v2/jobs", {}, "", "Transient", None),
    ("splunk", 401, "/services/search/v2/jobs", {}, "", "Auth", None),
    ("splunk", 403, HEC, {}, {"text": "Invalid token", "code": 4}, "Auth", None),
    ("splunk", 400, HEC, {}, {"code": 7}, "Permission", None),
    ("splunk", 400, HEC, {}, {"code": 6}, "Permanent", None),
    ("splunk", 503, HEC, {}, {"code": 9}, "Transient", None),
    ("misp", 403, "/events/restSearch", {}, {"message": "Authentication failed."}, "Auth", None),
    ("misp", 403, "/events/restSearch", {}, {"message": "You do not have permission"}, "Permission", None),
    ("misp", 403, "/attributes/add/${input.event}", {}, {"errors": {"value": ["already exists"]}}, "Empty", None),
    ("misp", 403, "/attributes/add/${input.event}", {}, {"message": "No permission"}, "Permission", None),
    ("misp", 429, "/events/restSearch", {"x-rate-limit-reset": "20"}, "", "RateLimited", 20),
    ("trivy-operator", 410, "/vulnerabilityreports", {}, "", "Transient", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "status", "path", "headers", "body", "class_", "wait"), REFUSALS)
def test_a_refusal_means_what_the_vendor_says(
    name: str, status: int, path: str, headers: dict[str, str], body: Any, class_: str, wait: float | None
) -> None:
    found, seconds, _hint = judged(name, status, path, headers, body)
    assert found == class_
    if wait is not None:
        assert seconds == wait


@pytest.mark.parametrize(
    ("name", "body", "told"),
    [
        ("okta", {"error": "invalid_dpop_proof"}, "switch off Require DPoP"),
        ("okta", {"error": "use_dpop_nonce"}, "switch off Require DPoP"),
    ],
)
def test_a_refused_log_in_says_what_to_do(name: str, body: Any, told: str) -> None:
    found, _seconds, hint = judged(name, 400, "/oauth2/v1/token", {}, body, phase="Token")
    assert found == "Auth"
    assert told in hint


def judged(
    name: str, status: int, path: str, headers: dict[str, str], body: Any, phase: str | None = None
) -> tuple[str | None, float | None, str]:
    http = connector(name).spec.http
    assert http is not None
    classifier = Classifier(http.errors, lambda: NOW)
    sent = body if isinstance(body, str) else json.dumps(body)
    answer = HttpAnswer(status, headers, sent.encode(), "https://vendor.example/")
    found, rule = classifier.classify(answer, path, phase)
    return found, classifier.wait(answer, rule), (rule.hint or "") if rule else ""


# connector, method, path, stream's budget, its name, its rates
BUDGETS = [
    ("microsoft-defender-endpoint", "GET", "/alerts", None, "default", ["100/1m", "1500/1h"]),
    (
        "microsoft-defender-endpoint", "GET", "/machines/SoftwareVulnerabilitiesByMachine", None, "assessment",
        ["30/1m", "1000/1h"],
    ),
    ("microsoft-defender-endpoint", "POST", "/indicators/import", None, "indicators", ["30/1m"]),
    ("qualys-vmdr", "GET", "/asset/host/", None, "hosts", None),
    ("qualys-vmdr", "GET", "/asset/host/vm/detection/", None, "detections", None),
    ("qualys-vmdr", "GET", "/knowledge_base/vuln/", None, "knowledge-base", None),
    ("qualys-vmdr", "GET", "/scan/", None, "scans", None),
    ("qualys-vmdr", "POST", "/asset/ip/", None, "default", None),
    ("okta", "GET", "/logs", None, "logs", None),
    ("microsoft-entra-id", "GET", "/auditLogs/signIns", None, "reports", ["5/10s"]),
    ("microsoft-entra-id", "GET", "/identityProtection/riskyUsers", None, "protection", ["1/1s"]),
    ("aws-security-hub", "POST", "/findings", "findings", "findings", ["3/1s"]),
    ("aws-security-hub", "PATCH", "/findings/batchupdate", None, "default", ["10/1s"]),
    ("wiz", "POST", "/graphql", None, "default", ["10/1s"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "method", "path", "wanted", "budget", "rates"), BUDGETS)
def test_requests_are_counted_as_the_vendor_counts_them(
    name: str, method: str, path: str, wanted: str | None, budget: str, rates: list[str] | None
) -> None:
    http = connector(name).spec.http
    assert http is not None
    budgets = Budgets(http.budgets)
    expected = next(each for each in http.budgets or [] if each.name == budget)
    assert budgets.limiter(method, path, wanted) is budgets.limiter("GET", "/of-no-budget", budget)
    assert expected.rates == rates
