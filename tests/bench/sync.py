"""One run of the engine on the workload, in a process of its own.

`python -m tests.bench.sync URL TARGET RECORDS` prints the seconds and the peak of memory in MiB: what this process
and its child hold, looked at after every few batches, pages that both share counted once (as a container's limit
counts them).
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
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


def proportional_memory() -> int:
    """KiB that this process and its children take together, pages that they share counted once."""
    total = 0
    for pid in [str(os.getpid()), *Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def main(url: str, target: str, records: int) -> None:
    from towline_connectors.engine import apart, http_source  # noqa: F401 - the script's imports are not timed either
    from towline_connectors.engine.run import Progress, run
    from towline_connectors.sinks import open_sink

    peak = 0

    def progress(at: Progress) -> None:
        nonlocal peak
        if at.read // 5000 % 4 == 1:
            peak = max(peak, proportional_memory())

    begun = time.perf_counter()
    result = run(plan(url), {"token": "t"}, open_sink(target), progress=progress, apart=apart.worthwhile())
    seconds = time.perf_counter() - begun
    assert result.reason == "Completed", result.message
    assert result.streams[0].read == records, result.streams
    assert result.streams[0].rejected == 0, result.message
    print(seconds, peak / 1024)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
