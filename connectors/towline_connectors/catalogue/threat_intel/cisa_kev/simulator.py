"""The catalogue of known exploited vulnerabilities, made up, for machines without internet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from towline_connectors.catalogue import simulating
from towline_connectors.catalogue.people import digest
from towline_connectors.catalogue.simulating import EPOCH

PATH = "/sites/default/files/feeds/known_exploited_vulnerabilities.json"


SMALL = {"vulnerabilities": 60}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(simulating.Faults):
    vulnerabilities: int = 1400


@dataclass(slots=True)
class Feed:
    """State of the simulator."""

    options: Options
    withdrawn: set[int]

    def document(self) -> dict[str, Any]:
        rows = [self._row(n) for n in range(self.options.vulnerabilities) if n not in self.withdrawn]
        return {
            "title": "Known Exploited Vulnerabilities, simulated",
            "catalogVersion": "2026.01.01",
            "dateReleased": "2026-01-01T00:00:00.0000Z",
            "count": len(rows),
            "vulnerabilities": rows,
        }

    def _row(self, n: int) -> dict[str, Any]:
        noise = digest(self.options.seed, "kev", n)
        added = EPOCH - (n + 1) * 43200
        return {
            "cveID": f"CVE-{2025 - n // 400}-{20000 + n}",
            "vendorProject": f"Vendor {noise[0] % 40}",
            "product": f"Product {noise[1]}",
            "vulnerabilityName": f"Vendor {noise[0] % 40} Product {noise[1]} Command Injection Vulnerability",
            "dateAdded": _date(added),
            "shortDescription": "The product lets an attacker run commands.",
            "requiredAction": "Apply the vendor's update, or stop using the product.",
            "dueDate": _date(added + 21 * 86400),
            "knownRansomwareCampaignUse": "Known" if noise[2] % 5 == 0 else "Unknown",
            "notes": f"https://example.com/advisories/{n}",
            "cwes": [f"CWE-{(77, 78, 79, 89, 416)[noise[3] % 5]}"] if noise[4] % 10 else [],
        }


def application(options: Options) -> web.Application:
    feed = Feed(options, set())

    async def document(_request: web.Request) -> web.Response:
        return web.json_response(feed.document())

    app = simulating.make(feed, options, lambda _request: None)
    app.router.add_get(PATH, document)
    return app


def _date(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d")
