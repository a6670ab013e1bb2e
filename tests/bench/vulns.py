"""The workload "vulns": pages of 1,000 vulnerability records of 614 bytes each, served on loopback.

`python -m tests.bench.vulns RECORDS` serves GET /vulns?offset=N&limit=1000 and prints its port.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import Any

PAGE = 1_000
ASSETS = 5_000
CVES = 10_000
RENDERED = 200  # pages in memory; later ones are the same with other ids
_OFFSET = re.compile(rb"offset=(\d+)")
_MARK = b"00-"  # in each id: the number of times that the rendered pages were gone through


def record(number: int) -> dict[str, Any]:
    """One record; with its separator 614 bytes of JSON. What it says of the asset and of the CVE is the same in
    each record about them; only the finding is its own."""
    asset, cve = number * 7919 % ASSETS, number * 104729 % CVES
    found: dict[str, Any] = {
        "id": f"00-{number:08d}",
        "title": f"OpenSSL: buffer over-read in certificate parsing (CVE-2024-{cve:05d})",
        "severity": ("low", "medium", "high", "critical")[cve % 4],
        "cvss": {"score": 4.0 + cve % 60 / 10, "vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"},
        "vpr": cve % 100 / 10,
        "exploit_available": cve % 3 == 0,
        "asset": {
            "id": f"3f2c9a1e-0000-4000-8000-{asset:012d}",
            "hostname": f"host-{asset:05d}.corp.example.com",
            "ipv4": [f"10.{asset // 250}.{asset % 250}.1"],
            "os": "Debian GNU/Linux 12",
        },
        "plugin": {
            "id": 100000 + cve,
            "family": "Debian Local Security Checks",
            "solution": f"Update the affected packages as advisory DSA-{cve:05d} says.",
        },
        "first_found": "2026-01-02T03:04:05.678Z",
        "last_found": f"2026-02-{number % 28 + 1:02d}T03:04:05.678Z",
        "state": ("OPEN", "REOPENED", "FIXED")[number % 3],
        "tags": ["internet-facing", "scan-"],
    }
    found["tags"][1] += "x" * (613 - len(json.dumps(found, separators=(",", ":"))))
    return found


def pages(records: int) -> list[bytes]:
    """The first pages as JSON."""
    count = min(RENDERED, (records + PAGE - 1) // PAGE)
    rendered = []
    for page in range(count):
        items = [record(page * PAGE + n) for n in range(min(PAGE, records - page * PAGE))]
        rendered.append(json.dumps({"items": items}, separators=(",", ":")).encode())
    return rendered


class _Server(asyncio.Protocol):
    """Just enough HTTP/1.1 to hand out pages, so that the server takes as little of the machine as it can."""

    def __init__(self, rendered: list[bytes], records: int) -> None:
        self._rendered = rendered
        self._records = records
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            found = _OFFSET.search(head)
            offset = int(found.group(1)) if found else 0
            body = b'{"items":[]}'
            if offset < self._records:
                round_, page = divmod(offset // PAGE, RENDERED)
                body = self._rendered[page]
                if round_:
                    body = body.replace(b'"id":"' + _MARK, b'"id":"%02d-' % round_)
            self._transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
            )
            self._transport.write(body)


async def _serve(records: int) -> None:
    rendered = pages(records)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Server(rendered, records), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # until the one who asked goes away


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
