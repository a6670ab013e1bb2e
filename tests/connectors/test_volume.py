"""At volume the memory of a run stays flat, whatever the number of records."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web
from tests.connectors.harness import Integration, served
from tests.memory import Watch

from towline_connectors.catalogue.cmdb.servicenow import simulator as servicenow
from towline_connectors.catalogue.vulnerability.tenable_io import simulator as tenable

ROOT = Path(__file__).parents[2]
MOST_MIB = 150  # for both processes of a run together


def measured(application: web.Application, folder: Path, connector: str, stream: str, records: int) -> float:
    """Most memory, in MiB, of a sync of that stream; it has to read at least that many records."""
    with served(application) as url:
        config = {"base_url": url} if connector == "tenable-io" else {"host": url[7:], "scheme": "http"}
        names = ("access_key", "secret_key") if connector == "tenable-io" else ("username", "password")
        secrets = dict.fromkeys(names, "simulator")
        database = folder / f"{records}.db"
        integration = Integration(connector, config, secrets, database, [stream])
        given = {"plan": integration.plan().model_dump(mode="json"), "secrets": secrets, "database": str(database)}
        command, pipe = [sys.executable, "-m", "tests.connectors.volume"], subprocess.PIPE
        with (
            subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT, text=True) as process,
            Watch(process) as memory,
        ):
            told, errors = process.communicate(json.dumps(given), timeout=500)
    assert process.returncode == 0, errors[-800:]
    answer = json.loads(told)
    assert answer["reason"] == "Completed", errors
    assert answer["read"] >= records
    return memory.peak


def test_incidents_by_the_page_take_the_same_memory_for_30000_as_for_10000(tmp_path: Path) -> None:
    few, many = (
        measured(servicenow.application(servicenow.Options(incidents=n)), tmp_path, "servicenow", "incidents", n)
        for n in (10000, 30000)
    )
    print(f"servicenow: {few:.0f} MiB for 10,000 incidents, {many:.0f} MiB for 30,000")
    assert many < MOST_MIB
    assert many < few * 1.1


# Smaller ones end before they reach the peak: 108 to 129 MiB at 240, 128 to 135 at 480 and above.
@pytest.mark.parametrize("chunks", [(480, 1440)])
def test_findings_by_the_chunk_take_the_same_memory_for_three_times_as_many(
    tmp_path: Path, chunks: tuple[int, int]
) -> None:
    few, many = (
        measured(
            tenable.application(tenable.Options(assets=n, findings=60, queued_polls=0, chunks_per_poll=1000)),
            tmp_path,
            "tenable-io",
            "vulnerabilities",
            n * 40,
        )
        for n in chunks
    )
    print(f"tenable-io: {few:.0f} MiB for {chunks[0] * 60} findings, {many:.0f} MiB for {chunks[1] * 60}")
    assert many < MOST_MIB
    assert many < few * 1.1
