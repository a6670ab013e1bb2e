"""Security Hub's API as it behaves: signed requests, filters and tokens in the body, errors named by a header.

The signature's form, region, service and age are checked, and the signature itself for the key `simulator`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from aiohttp import web

from towline_connectors.catalogue import simulating
from towline_connectors.catalogue.people import digest
from towline_connectors.catalogue.simulating import EPOCH, iso

SMALL = {"findings": 260, "members": 120}
DAY = 86400
ACCOUNT = "111122223333"
HUB = f"arn:aws:securityhub:eu-west-1:{ACCOUNT}"
LEVELS = ("INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL")
STATES = ("NEW", "NOTIFIED", "SUPPRESSED", "RESOLVED")
STANDARDS = ("aws-foundational-security-best-practices/v/1.0.0", "cis-aws-foundations-benchmark/v/3.0.0")
_AUTHORIZATION = re.compile(
    r"^AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request,"
    r" SignedHeaders=([^,]+), Signature=(\w+)$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(simulating.Faults):
    findings: int = 1000
    members: int = 60
    controls: int = 120  # of each standard
    access_key_id: str = "simulator"
    secret_access_key: str = "simulator"  # noqa: S105 - of a simulator
    session_token: str = "simulator"  # noqa: S105 - of a simulator; a request may lack it
    region: str = ""  # the only one that is taken; empty, any
    disabled: bool = False  # Security Hub is not switched on here
    forbidden: str = ""  # of findings, standards, controls, members: what the policy does not allow, with commas
    administrator: bool = True  # members are told to the administrator's account alone


class Hub:
    """State of the simulator. Tests change findings here."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.numbers = set(range(options.findings))
        self.changed: dict[int, float] = {}
        self.searches: list[dict[str, Any]] = []

    def touch(self, number: int) -> None:
        self.changed[number] = time.time()

    def updated(self, number: int) -> str:
        return iso(self.changed.get(number, EPOCH - 30 * DAY + number * 60))

    def finding(self, number: int) -> dict[str, Any]:
        noise = digest(self.options.seed, "finding", number)
        level = LEVELS[number % 5]
        instance = f"arn:aws:ec2:eu-west-1:{ACCOUNT}:instance/i-{noise[:8].hex()}"
        bucket = f"arn:aws:s3:::bucket-{number}"
        state = "RESOLVED" if number in self.changed else STATES[number % 4]
        row: dict[str, Any] = {
            "SchemaVersion": "2018-10-08",
            "Id": f"{HUB}:security-control/S3.{number % 20}/finding/{noise[:16].hex()}",
            "ProductArn": "arn:aws:securityhub:eu-west-1::product/aws/securityhub",
            "ProductName": "Security Hub",
            "GeneratorId": f"security-control/S3.{number % 20}",
            "AwsAccountId": ACCOUNT,
            "Region": "eu-west-1",
            "Types": ["Software and Configuration Checks/Industry and Regulatory Standards"],
            "FirstObservedAt": iso(EPOCH - 60 * DAY),
            "LastObservedAt": self.updated(number),
            "CreatedAt": iso(EPOCH - 60 * DAY),
            "UpdatedAt": self.updated(number),
            "Severity": {"Label": level, "Normalized": number % 5 * 25, "Original": level},
            "Title": f"Buckets of kind {number % 20} should block public access",
            "Description": "A bucket can be read by everybody.",
            "Remediation": {"Recommendation": {"Text": "Block it.", "Url": "https://example.com/S3"}},
            "Resources": [{"Type": "AwsS3Bucket", "Id": bucket, "Partition": "aws", "Region": "eu-west-1"}],
            "Compliance": {"Status": "FAILED", "SecurityControlId": f"S3.{number % 20}"},
            "WorkflowState": "NEW",
            "Workflow": {"Status": state},
            "RecordState": "ARCHIVED" if number % 17 == 16 else "ACTIVE",
        }
        if number % 5 == 4:
            package = {"Name": "openssl", "Version": "3.0.1", "FixedInVersion": "3.0.7", "FilePath": "/usr/bin/openssl"}
            vulnerability = {
                "Id": f"CVE-2025-{10000 + number}",
                "VulnerablePackages": [package],
                "Cvss": [{"Version": "3.1", "BaseScore": 7.5, "BaseVector": "CVSS:3.1/AV:N"}],
                "Vendor": {"Name": "NVD", "VendorSeverity": "HIGH", "VendorCreatedAt": iso(EPOCH - 200 * DAY)},
                "FixAvailable": "YES",
                "ExploitAvailable": "NO",
            }
            details = {"Type": "m5.large", "IpV4Addresses": [f"10.1.{noise[1]}.{noise[2] or 1}"]}
            row |= {
                "ProductArn": "arn:aws:securityhub:eu-west-1::product/aws/inspector",
                "ProductName": "Inspector",
                "Resources": [
                    {"Type": "AwsEc2Instance", "Id": instance, "Region": "eu-west-1",
                     "Tags": {"Name": f"web-{number}"}, "Details": {"AwsEc2Instance": details}}
                ],
                "Vulnerabilities": [vulnerability],
            }  # fmt: skip
        return row

    def search(self, given: dict[str, Any]) -> web.Response:
        self.searches.append(given)
        spans = (given.get("Filters") or {}).get("UpdatedAt") or []
        if any("Start" not in span or "End" not in span for span in spans):
            return _error(400, "InvalidInputException", "Start and End are both needed")
        numbers = sorted(
            (number for number in self.numbers if not spans or any(self._within(number, span) for span in spans)),
            key=lambda number: (self.updated(number), number),
        )
        return _page("Findings", [self.finding(number) for number in numbers], given, 100)

    def _within(self, number: int, span: dict[str, str]) -> bool:
        when = datetime.fromisoformat(self.updated(number))
        return datetime.fromisoformat(span["Start"]) <= when <= datetime.fromisoformat(span["End"])


def application(options: Options) -> web.Application:
    """The simulator; it takes requests with a signature of version 4."""
    hub = Hub(options)
    forbidden = set(options.forbidden.split(","))

    async def guarded(request: web.Request, kind: str) -> dict[str, Any] | web.Response:
        body = await request.read()
        refused = _wrong_signature(request, body, options)
        if refused is not None:
            return refused
        if kind in forbidden:
            return _error(403, "AccessDeniedException", "User is not authorized to perform this action")
        if options.disabled:
            return _error(401, "InvalidAccessException", "Account 123 is not subscribed to AWS Security Hub")
        if kind == "members" and not options.administrator:
            return _error(401, "InvalidAccessException", "Account 123 is no administrator of others")
        return dict(await request.json()) if body else dict(request.query)

    async def describe(request: web.Request) -> web.Response:
        given = await guarded(request, "hub")
        arn = f"{HUB}:hub/default"
        return given if isinstance(given, web.Response) else web.json_response({"HubArn": arn})

    async def findings(request: web.Request) -> web.Response:
        given = await guarded(request, "findings")
        return given if isinstance(given, web.Response) else hub.search(given)

    async def standards(request: web.Request) -> web.Response:
        given = await guarded(request, "standards")
        rows: list[dict[str, Any]] = [
            {
                "StandardsSubscriptionArn": f"{HUB}:subscription/{name}",
                "StandardsArn": f"arn:aws:securityhub:eu-west-1::standards/{name}",
                "StandardsInput": {},
                "StandardsStatus": "READY",
            }
            for name in STANDARDS
        ]
        return given if isinstance(given, web.Response) else _page("StandardsSubscriptions", rows, given, 100)

    async def controls(request: web.Request) -> web.Response:
        given = await guarded(request, "controls")
        arn = request.match_info["arn"]
        rows: list[dict[str, Any]] = [
            {
                "StandardsControlArn": f"{arn.replace(':subscription/', ':control/')}/S3.{number}",
                "ControlStatus": "DISABLED" if number % 10 == 9 else "ENABLED",
                "ControlId": f"S3.{number}",
                "Title": f"Buckets of kind {number} should block public access",
                "SeverityRating": LEVELS[1 + number % 4],
                "RelatedRequirements": [],
            }
            for number in range(options.controls)
        ]
        return given if isinstance(given, web.Response) else _page("Controls", rows, given, 100)

    async def members(request: web.Request) -> web.Response:
        given = await guarded(request, "members")
        rows = [
            {
                "AccountId": f"{444400000000 + number}",
                "Email": f"account{number}@example.com",
                "AdministratorId": ACCOUNT,
                "MasterId": ACCOUNT,
                "MemberStatus": "Enabled" if number % 9 else "Removed",
                "InvitedAt": iso(EPOCH - 100 * DAY),
                "UpdatedAt": iso(EPOCH - 100 * DAY),
            }
            for number in range(options.members)
        ]
        return given if isinstance(given, web.Response) else _page("Members", rows, given, 50)

    app = simulating.make(hub, options, lambda _request: None)
    app.router.add_get("/accounts", describe)
    app.router.add_post("/findings", findings)
    app.router.add_post("/standards/get", standards)
    app.router.add_get("/standards/controls/{arn:.+}", controls)
    app.router.add_get("/members", members)
    return app


def _wrong_signature(request: web.Request, body: bytes, options: Options) -> web.Response | None:
    match = _AUTHORIZATION.match(request.headers.get("Authorization", ""))
    if match is None:
        return _error(400, "IncompleteSignatureException", "Authorization header requires a signature")
    key, day, region, service, names, signature = match.groups()
    token = request.headers.get("x-amz-security-token")
    if key != options.access_key_id or (token and token != options.session_token):
        return _error(403, "UnrecognizedClientException", "The security token included in the request is invalid.")
    stamp = request.headers.get("x-amz-date", "")
    age = abs(time.time() - datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp())
    if service != "securityhub" or (options.region and region != options.region) or age > 300 or day != stamp[:8]:
        return _error(403, "InvalidSignatureException", "Credential should be scoped to a valid region and service.")
    query = "&".join(f"{quote(n, safe='-_.~')}={quote(v, safe='-_.~')}" for n, v in sorted(request.query.items()))
    signed = [f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in names.split(";")]
    lines = [request.method, quote(request.rel_url.raw_path, safe="/-_.~"), query, *signed, "", names]
    canonical = "\n".join([*lines, hashlib.sha256(body).hexdigest()])
    scope = f"{day}/{region}/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    secret = f"AWS4{options.secret_access_key}".encode()
    for part in (day, region, service, "aws4_request"):
        secret = hmac.digest(secret, part.encode(), "sha256")
    if not hmac.compare_digest(hmac.digest(secret, text.encode(), "sha256").hex(), signature):
        return _error(403, "InvalidSignatureException", "The request signature we calculated does not match.")
    return None


def _page(name: str, rows: list[dict[str, Any]], given: dict[str, Any], most: int) -> web.Response:
    size, start = min(int(given.get("MaxResults") or most), most), int(given.get("NextToken") or 0)
    answer: dict[str, Any] = {name: rows[start : start + size]}
    if start + size < len(rows):
        answer["NextToken"] = str(start + size)
    return web.json_response(answer)


def _error(status: int, kind: str, message: str) -> web.Response:
    headers = {"x-amzn-ErrorType": f"{kind}:http://internal.amazon.com/coral/"}
    return web.json_response({"Message": message, "Code": kind}, status=status, headers=headers)
