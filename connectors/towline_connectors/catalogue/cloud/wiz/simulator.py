"""Wiz' GraphQL API as it behaves: pages by cursor, errors with status 200, tokens for an audience."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from aiohttp import web

from towline_connectors.catalogue import simulating
from towline_connectors.catalogue.people import digest
from towline_connectors.catalogue.simulating import EPOCH, iso

Row = dict[str, Any]
DAY = 86400
SMALL = {"resources": 12, "findings": 2, "issues": 11, "rules": 7, "page": 5}  # the least with several pages
_ROOT = re.compile(r"\b(cloudResources|issuesV2|vulnerabilityFindings|configurationFindings)\s*\(")
_VARIABLE = re.compile(r"\$(\w+)\s*:")
LEVELS = ("LOW", "MEDIUM", "HIGH", "CRITICAL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(simulating.Faults):
    resources: int = 200
    findings: int = 10  # vulnerabilities of each resource
    issues: int = 100
    rules: int = 60  # configuration findings
    page: int = 500  # nodes of a page at most
    client_id: str = "simulator"
    client_secret: str = "simulator"  # noqa: S105 - of a simulator
    forbidden: str = ""  # roots of queries that answer UNAUTHORIZED, with commas
    limited_every: int = 0  # each n-th query is answered with RATE_LIMIT_EXCEEDED and status 200


class Wiz:
    """State of the simulator. Tests change it and look at what was asked here."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.tokens = simulating.TokenEndpoint(
            options.client_id, options.client_secret, path="/oauth/token", parameters={"audience": "wiz-api"}
        )
        self.resolved: dict[tuple[str, int], float] = {}  # (root, number) -> when
        self.resources = options.resources
        self.asked: list[tuple[str, Row]] = []  # root and variables of each query

    def _id(self, kind: str, number: int) -> str:
        return str(UUID(bytes=digest(self.options.seed, kind, number)[:16], version=5))

    def resource(self, number: int) -> Row:
        noise = digest(self.options.seed, "resource", number)
        properties = {
            "cloudPlatform": ("AWS", "Azure", "GCP")[noise[0] % 3],
            "region": "eu-west-1",
            "status": "Active",
            "nativeType": "virtualMachine",
            "operatingSystem": "Linux" if noise[1] % 2 else None,
            "creationDate": iso(EPOCH - 90 * DAY),
            "tags": {"team": f"team-{noise[2] % 3}"} if noise[3] % 2 else None,
        }
        return {
            "id": self._id("resource", number),
            "name": f"vm-{number:05d}",
            "type": "VIRTUAL_MACHINE",
            "subscriptionId": self._id("subscription", 1),
            "subscriptionExternalId": "123456789012",
            "graphEntity": {
                "id": self._id("entity", number),
                "providerUniqueId": f"arn:aws:ec2:eu-west-1:123456789012:instance/i-{noise[8:16].hex()}",
                "name": f"vm-{number:05d}",
                "type": "VIRTUAL_MACHINE",
                "properties": properties,
                "firstSeen": iso(EPOCH - 60 * DAY),
                "lastSeen": iso(EPOCH),
            },
        }

    def issue(self, number: int) -> Row:
        resolved = self.resolved.get(("issuesV2", number))
        place = number % max(1, self.resources)
        return {
            "id": self._id("issue", number),
            "sourceRule": {
                "__typename": "Control",
                "id": f"wc-id-{number % 5}",
                "name": f"Public machine with a critical weakness {number % 5}",
                "description": "A machine that the internet reaches has a weakness that is exploited.",
                "resolutionRecommendation": "Update the machine",
            },
            "createdAt": iso(EPOCH - 30 * DAY),
            "updatedAt": iso(resolved or EPOCH - 20 * DAY + number * 60),
            "dueAt": None,
            "resolvedAt": iso(resolved) if resolved else None,
            "statusChangedAt": iso(resolved or EPOCH - 20 * DAY + number * 60),
            "type": "TOXIC_COMBINATION",
            "status": "RESOLVED" if resolved else ("OPEN", "IN_PROGRESS")[number % 2],
            "severity": LEVELS[number % len(LEVELS)],
            "projects": None if number % 3 else [{"id": self._id("project", 1), "name": "Shop", "slug": "shop"}],
            "entitySnapshot": {
                "id": self._id("resource", place),
                "type": "VIRTUAL_MACHINE",
                "nativeType": "virtualMachine",
                "name": f"vm-{place:05d}",
                "status": "Active",
                "cloudPlatform": "AWS",
                "providerId": f"i-{place:08x}",
                "region": "eu-west-1",
                "subscriptionExternalId": "123456789012",
                "subscriptionName": "production",
                "externalId": f"i-{place:08x}",
            },
            "serviceTickets": [],
            "notes": [],
        }

    def vulnerability(self, number: int) -> Row:
        place, nth = divmod(number, self.options.findings)
        weakness = (place * 7 + nth * 13) % 90
        resolved = self.resolved.get(("vulnerabilityFindings", number))
        return {
            "id": self._id("finding", number),
            "name": f"CVE-2025-{30000 + weakness}",
            "detailedName": "openssl",
            "CVEDescription": "The library is older than the version that mends a known fault.",
            "CVSSSeverity": LEVELS[weakness % len(LEVELS)],
            "severity": LEVELS[weakness % len(LEVELS)],
            "vendorSeverity": LEVELS[weakness % len(LEVELS)],
            "score": (3.1, 5.5, 7.8, 9.8)[weakness % len(LEVELS)],
            "hasExploit": weakness % 4 == 0,
            "hasCisaKevExploit": weakness % 8 == 0,
            "epssProbability": weakness / 100,
            "status": "RESOLVED" if resolved else "OPEN",
            "firstDetectedAt": iso(EPOCH - 30 * DAY),
            "lastDetectedAt": iso(self.seen(number)),
            "resolvedAt": iso(resolved) if resolved else None,
            "version": "3.0.1",
            "fixedVersion": "3.0.9",
            "locationPath": "/usr/lib",
            "remediation": "apt upgrade openssl",
            "portalUrl": f"https://app.example.com/findings/{number}",
            "projects": None,
            "vulnerableAsset": {
                "id": self._id("resource", place),
                "type": "VIRTUAL_MACHINE",
                "name": f"vm-{place:05d}",
                "cloudPlatform": "AWS",
                "region": "eu-west-1",
            },
        }

    def seen(self, number: int) -> float:
        return self.resolved.get(("vulnerabilityFindings", number)) or EPOCH - 20 * DAY + number

    def configuration(self, number: int) -> Row:
        place = number % max(1, self.resources)
        return {
            "id": self._id("configuration", number),
            "firstSeenAt": iso(EPOCH - 30 * DAY),
            "severity": LEVELS[number % len(LEVELS)],
            "result": "FAIL",
            "status": "OPEN",
            "remediation": None,
            "resource": {
                "id": self._id("resource", place),
                "name": f"vm-{place:05d}",
                "type": "VIRTUAL_MACHINE",
                "subscription": {"id": self._id("subscription", 1), "name": "production", "externalId": "123456789012"},
                "projects": [],
            },
            "rule": {
                "id": f"cc-{number % 9}",
                "name": f"Rule {number % 9}",
                "remediationInstructions": "Close the port",
            },
        }

    async def query(self, request: web.Request) -> web.Response:
        body = await request.json()
        text, variables = str(body.get("query", "")), dict(body.get("variables") or {})
        match = _ROOT.search(text)
        unknown = sorted(set(variables) - set(_VARIABLE.findall(text)))
        if match is None or unknown:
            return _error("GRAPHQL_VALIDATION_FAILED", f"unknown query or variable {unknown}", status=400)
        root = match.group(1)
        self.asked.append((root, variables))
        if self.options.limited_every and len(self.asked) % self.options.limited_every == 0:
            return _error("RATE_LIMIT_EXCEEDED", "Rate limit exceeded", retryAfter=self.options.retry_after)
        if root in self.options.forbidden.split(","):
            return _error("UNAUTHORIZED", "access denied, at least one of the following is required: read")
        numbers, row = self._selected(root, dict(variables.get("filterBy") or {}))
        start = int(base64.b64decode(variables.get("after") or "MA=="))
        first = 1 if "first: 1" in text else int(variables.get("first") or 20)
        stop = start + min(first, self.options.page)
        more = stop < len(numbers)
        info = {"hasNextPage": more, "endCursor": base64.b64encode(str(stop).encode()).decode() if numbers else None}
        return web.json_response({"data": {root: {"nodes": [row(n) for n in numbers[start:stop]], "pageInfo": info}}})

    def _selected(self, root: str, wanted: Row) -> tuple[list[int], Callable[[int], Row]]:
        severities = wanted.get("severity")
        if root == "cloudResources":
            return list(range(self.resources)), self.resource
        if root == "issuesV2":
            since = _after(wanted.get("statusChangedAt"))
            rows = [(n, self.issue(n)) for n in range(self.options.issues)]
            rows = [(n, row) for n, row in rows if simulating.moment(row["statusChangedAt"]) > since]
            return [n for n, row in rows if not severities or row["severity"] in severities], self.issue
        if root == "vulnerabilityFindings":
            since = _after(wanted.get("updatedAt"))
            total = self.resources * self.options.findings
            return [n for n in range(total) if self.seen(n) > since], self.vulnerability
        return list(range(self.options.rules)), self.configuration


def application(options: Options) -> web.Application:
    """The simulator; the token endpoint stands at the same address."""
    state = Wiz(options)

    def refuse(request: web.Request) -> web.Response | None:
        if state.tokens.authorized(request):
            return None
        return _error("UNAUTHENTICATED", "the token is missing, wrong or expired", status=401)

    app = simulating.make(state, options, refuse)
    app.router.add_post("/oauth/token", state.tokens.handle)
    app.router.add_post("/graphql", state.query)
    return app


def _after(given: Any) -> float:
    return simulating.moment(given["after"]) if isinstance(given, dict) and given.get("after") else 0.0


def _error(code: str, message: str, status: int = 200, **more: Any) -> web.Response:
    errors = [{"message": message, "extensions": {"code": code, **more}}]
    return web.json_response({"errors": errors, "data": None}, status=status)
