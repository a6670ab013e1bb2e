"""One run of the engine on the workload, in a process of its own.

`python -m tests.bench.sync URL TARGET RECORDS` prints the seconds.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from towline.contract import Plan, StreamPlan, SyncIdentity

MANIFEST: dict[str, Any] = {
    "title": "Vulns",
    "version": "1.0.0",
    "category": "Vulnerability",
    "capabilities": ["Pull"],
    "credentials": [{"key": "token"}],
    "http": {"baseURL": "", "auth": {"kind": "Bearer", "value": "${secret.token}"}},
    "streams": [
        {
            "name": "vulns",
            "request": {"path": "/vulns"},
            "records": "=items",
            "paginate": {"kind": "Offset", "offset": "offset", "limit": "limit", "size": 1000},
            "sync": {"mode": "Incremental", "cursor": "=ts(last_found)"},
            "emit": [
                {
                    "entity": "asset",
                    "key": "=asset.id",
                    "fields": {"hostname": "=asset.hostname", "ip": "=asset.ipv4", "os_name": "=asset.os"},
                },
                {
                    "entity": "vulnerability",
                    "key": "=str(plugin.id)",
                    "fields": {
                        "title": "=title",
                        "severity_id": {"from": "=severity", "map": {"low": 2, "medium": 3, "high": 4, "critical": 5}},
                        "cvss_score": "=cvss.score",
                        "cvss_vector": "=cvss.vector",
                        "vpr_score": "=vpr",
                        "is_exploit_available": "=exploit_available",
                        "category": "=plugin.family",
                        "remediation": "=plugin.solution",
                    },
                },
                {
                    "entity": "asset_vulnerability",
                    "key": "=id",
                    "fields": {
                        "asset": {"ref": "asset", "key": "=asset.id"},
                        "vulnerability": {"ref": "vulnerability", "key": "=str(plugin.id)"},
                        "status_id": {"from": "=state", "map": {"OPEN": 1, "REOPENED": 1, "FIXED": 4}},
                        "severity_id": {"from": "=severity", "map": {"low": 2, "medium": 3, "high": 4, "critical": 5}},
                        "first_observed_time": "=ts(first_found)",
                        "last_observed_time": "=ts(last_found)",
                    },
                },
            ],
        }
    ],
}


def plan(url: str) -> Plan:
    manifest = {**MANIFEST, "http": {**MANIFEST["http"], "baseURL": url}}
    return Plan(
        sync=SyncIdentity(uid="bench", name="bench", namespace="bench", attempt=1, created="2026-01-01T00:00:00Z"),
        integration="bench/vulns",
        streams=[StreamPlan(name="vulns")],
        connector="vulns",
        manifest=manifest,
        allowed_hosts=["127.0.0.1"],
        deadline_seconds=7200,
    )


def main(url: str, target: str, records: int) -> None:
    from towline_connectors.engine import apart, http_source  # noqa: F401 - the script's imports are not timed either
    from towline_connectors.engine.run import run
    from towline_connectors.sinks import open_sink

    begun = time.perf_counter()
    result = run(plan(url), {"token": "t"}, open_sink(target), apart=apart.worthwhile())
    seconds = time.perf_counter() - begun
    assert result.reason == "Completed", result.message
    assert result.streams[0].read == records, result.streams
    assert result.streams[0].rejected == 0, result.message
    print(seconds)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
