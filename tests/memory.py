"""How much memory a process and its children take, as a container's limit counts it."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

EVERY = 0.05  # seconds between two looks


def proportional(pid: int) -> float:
    """MiB that the process and its children hold; pages that they share count once. 0 when it has ended."""
    total = 0
    for one in (pid, *_children(pid)):
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class Watch:
    """Looks at a process from outside until it ends; `peak` is the most that it held, in MiB."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.peak = 0.0

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(EVERY):
            self.peak = max(self.peak, proportional(self._process.pid))
