"""Which process is the first one of a node."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cluster import node, processes
from tests.cluster.record import Record

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are read from /proc")


def test_a_child_in_this_machines_own_network_is_not_taken_for_the_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shell that writes the record has such children before it becomes the node."""
    monkeypatch.setattr(Record, "folder", tmp_path)
    record = Record("any", "node")
    command = ["sh", "-c", "sleep 60 & wait"]
    started = processes.start(record.pid_file("node"), command, tmp_path / "log")
    try:
        children = Path(f"/proc/{started.pid}/task/{started.pid}/children")
        while not (processes.read_record(record.pid_file("node")) and _is_sleep(children.read_text().split())):
            assert started.poll() is None
            time.sleep(0.02)
        assert node._init_pid(record) is None
    finally:
        subprocess.run(["pkill", "-P", str(started.pid)], check=False)
        started.wait(10)


def _is_sleep(children: list[str]) -> bool:
    return bool(children) and Path(f"/proc/{children[0]}/comm").read_text().strip() == "sleep"
