"""Cortex XDR's public API as it behaves: signed requests, bodies wrapped in request_data, windows of at most 100."""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from towline_connectors.catalogue import simulating
from towline_connectors.catalogue.people import digest
from towline_connectors.catalogue.simulating import EPOCH

SMALL = {"endpoints": 230, "incidents": 220, "alerts": 250}
MOST = 100  # a page
TOLERANCE = 15 * 60  # seconds that a signature is good for
DAY = 86400000
STATUSES = ("new", "under_investigation", "resolved_true_positive", "resolved_false_positive")
SEVERITIES = ("low", "medium", "high", "critical")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(simulating.Faults):
    endpoints: int = 500
    incidents: int = 400
    alerts: int = 1500
    api_key_id: str = "simulator"
    api_key: str = "simulator"
    standard: bool = False  # the key is sent as it is, without a signature
    forbidden: str = ""  # of endpoints, incidents, alerts: what the key's role may not read, with commas
    moving: int = 0  # on each page so many incidents change, which moves them to the end


class Tenant:
    """State of the simulator. Tests change records here; times are in milliseconds."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.endpoints = set(range(options.endpoints))
        self.seen: dict[int, int] = {}
        self.changed: dict[int, int] = {}
        self.signatures: set[str] = set()
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._moved = 0

    def see(self, number: int) -> None:
        self.seen[number] = int(time.time() * 1000)

    def change(self, number: int) -> None:
        self.changed[number] = int(time.time() * 1000) + len(self.changed)

    def move(self) -> None:
        for _ in range(self.options.moving):
            self._moved += 1
            self.change(self._moved * 7919 % max(1, self.options.incidents))

    def endpoint_id(self, number: int) -> str:
        return digest(self.options.seed, "endpoint", number)[:16].hex()

    def endpoint(self, number: int) -> dict[str, Any]:
        noise = digest(self.options.seed, "address", number)
        windows = number % 3 != 0
        return {
            "endpoint_id": self.endpoint_id(number),
            "endpoint_name": f"PC-{number:05d}" if windows else f"srv-{number:05d}",
            "endpoint_type": "AGENT_TYPE_WORKSTATION" if windows else "AGENT_TYPE_SERVER",
            "endpoint_status": ("CONNECTED", "DISCONNECTED", "LOST", "CONNECTED")[number % 4],
            "os_type": "AGENT_OS_WINDOWS" if windows else "AGENT_OS_LINUX",
            "operating_system": "Windows 11" if windows else "Ubuntu 24.04",
            "os_version": "10.0.22631" if windows else "24.04",
            "ip": [f"10.{noise[0]}.{noise[1]}.{noise[2] or 1}"],
            "ipv6": [],
            "public_ip": "203.0.113.7",
            "mac_address": [":".join(f"{part:02x}" for part in (2, *noise[3:8]))],
            "users": [f"user{number}"] if windows else None,
            "domain": "example.com" if windows else None,
            "alias": "",
            "first_seen": (EPOCH * 1000) - 200 * DAY,
            "last_seen": self.seen.get(number, (EPOCH * 1000) - DAY + number),
            "install_date": (EPOCH * 1000) - 200 * DAY,
            "endpoint_version": "8.5.0.1234",
            "is_isolated": "AGENT_UNISOLATED",
            "isolated_date": None,
            "group_name": [f"Group {number % 4}"],
            "operational_status": "PROTECTED",
            "scan_status": "SCAN_STATUS_NONE",
            "content_version": "1400-1",
            "tags": {"server_tags": [], "endpoint_tags": [f"site-{number % 3}"]},
        }

    def incident(self, number: int) -> dict[str, Any]:
        created = (EPOCH * 1000) - 30 * DAY + number * 60000
        host = number % max(1, self.options.endpoints)
        status = STATUSES[number % 4]
        return {
            "incident_id": str(number + 1),
            "incident_name": None,
            "creation_time": created,
            "modification_time": self.changed.get(number, created + 3600000),
            "detection_time": None,
            "status": status,
            "severity": SEVERITIES[number % 4],
            "description": f"Behavioral threat on PC-{host:05d}" + (" (updated)" if number in self.changed else ""),
            "assigned_user_mail": "analyst@example.com" if number % 2 else None,
            "assigned_user_pretty_name": "Uma Novak" if number % 2 else None,
            "alert_count": 3,
            "manual_severity": "critical" if number % 10 == 9 else None,
            "resolve_comment": "Handled." if status.startswith("resolved") else None,
            "resolved_timestamp": created + 7200000 if status.startswith("resolved") else None,
            "hosts": [f"PC-{host:05d}:{self.endpoint_id(host)}"],
            "users": [f"user{host}"],
            "incident_sources": ["XDR Agent"],
            "rule_based_score": None,
            "starred": False,
            "xdr_url": f"https://acme.xdr.eu.paloaltonetworks.com/incident-view?caseId={number + 1}",
            "mitre_techniques_ids_and_names": ["T1059 - Command and Scripting Interpreter"],
            "mitre_tactics_ids_and_names": ["TA0002 - Execution"],
            "alert_categories": ["Malware"],
            "tags": [],
        }

    def alert(self, number: int) -> dict[str, Any]:
        host = number % max(1, self.options.endpoints)
        when = (EPOCH * 1000) - 20 * DAY + number * 1000
        return {
            "alert_id": str(50000 + number),
            "external_id": digest(self.options.seed, "alert", number)[:16].hex(),
            "detection_timestamp": when,
            "local_insert_ts": when + 5000,
            "name": "Behavioral Threat",
            "category": "Malware",
            "description": "A process behaved as malware does.",
            "severity": SEVERITIES[number % 4],
            "source": "XDR Agent",
            "action": "BLOCKED",
            "action_pretty": "Prevented (Blocked)",
            "endpoint_id": self.endpoint_id(host),
            "host_name": f"PC-{host:05d}",
            "host_ip": ["10.0.0.1"],
            "case_id": number % max(1, self.options.incidents) + 1,
            "mitre_technique_id_and_name": "T1059.001 - PowerShell" if number % 2 else None,
            "mitre_tactic_id_and_name": "TA0002 - Execution" if number % 2 else None,
            "resolution_status": "STATUS_010_NEW",
            "events": [{"event_timestamp": when - 1000, "user_name": f"user{host}", "event_type": "Process Execution"}],
        }


def application(options: Options) -> web.Application:
    """The simulator; an advanced key unless told otherwise."""
    tenant = Tenant(options)
    forbidden = set(options.forbidden.split(","))

    def refuse(request: web.Request) -> web.Response | None:
        headers = request.headers
        given = headers.get("Authorization", "")
        if headers.get("x-xdr-auth-id") != options.api_key_id:
            return _error(401, "Public API request unauthorized", "no such key")
        if options.standard:
            return None if given == options.api_key else _error(401, "Public API request unauthorized", "wrong key")
        nonce, stamp = headers.get("x-xdr-nonce", ""), headers.get("x-xdr-timestamp", "")
        expected = hashlib.sha256(f"{options.api_key}{nonce}{stamp}".encode()).hexdigest()
        late = not stamp.isdigit() or abs(time.time() * 1000 - int(stamp)) > TOLERANCE * 1000
        if late or len(nonce) != 64 or given in tenant.signatures or not hmac.compare_digest(expected, given):
            return _error(401, "Public API request unauthorized", "wrong signature")
        tenant.signatures.add(given)
        return None

    async def ask(request: web.Request, kind: str, rows: list[dict[str, Any]], id_field: str) -> web.Response:
        if kind in forbidden:
            return _error(403, "Insufficient permissions", kind)
        try:
            asked = dict((await request.json())["request_data"])
        except (ValueError, KeyError, TypeError):
            return _error(500, "An error occurred while processing the request", "request_data is missing")
        tenant.asked.append((kind, asked))
        for one in asked.get("filters") or []:
            field = {"server_creation_time": "local_insert_ts"}.get(one["field"], one["field"])
            rows = [row for row in rows if row[field] >= one["value"]]
        sort = (asked.get("sort") or {}).get("field", id_field)
        sort = {"creation_time": "detection_timestamp"}.get(sort, sort) if kind == "alerts" else sort
        rows.sort(key=lambda row: (row[sort], row[id_field]))
        start, end = int(asked.get("search_from", 0)), int(asked.get("search_to", MOST))
        if end - start > MOST:
            return _error(500, "An error occurred while processing the request", "search_to is too far")
        page = rows[start:end]
        if kind == "incidents":
            tenant.move()
        answer = {"total_count": len(rows), "result_count": len(page), kind: page}
        return web.json_response({"reply": answer})

    async def endpoints(request: web.Request) -> web.Response:
        return await ask(request, "endpoints", [tenant.endpoint(n) for n in sorted(tenant.endpoints)], "endpoint_id")

    async def incidents(request: web.Request) -> web.Response:
        return await ask(request, "incidents", [tenant.incident(n) for n in range(options.incidents)], "incident_id")

    async def alerts(request: web.Request) -> web.Response:
        return await ask(request, "alerts", [tenant.alert(n) for n in range(options.alerts)], "alert_id")

    app = simulating.make(tenant, options, refuse)
    app.router.add_post("/public_api/v1/endpoints/get_endpoint", endpoints)
    app.router.add_post("/public_api/v1/incidents/get_incidents", incidents)
    app.router.add_post("/public_api/v2/alerts/get_alerts_multi_events", alerts)
    return app


def _error(status: int, message: str, extra: str) -> web.Response:
    return web.json_response({"reply": {"err_code": status, "err_msg": message, "err_extra": extra}}, status=status)
