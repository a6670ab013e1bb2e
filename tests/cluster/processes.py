"""Background processes that are ours by record: each has a file with its id and the moment it started.

The file is written by the process itself before it becomes the program, so no program of ours runs without one,
even when `up` is killed at any point. Id and start time together never name somebody else's process.
"""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_RECORD_THEN_BECOME = 'cat /proc/$$/stat > "$0.new" && mv "$0.new" "$0" && exec "$@"'


@dataclass(frozen=True)
class Recorded:
    """A process as its record names it; `started` is in clock ticks since boot (proc(5), field 22)."""

    pid: int
    started: int


def parse_stat(text: str) -> Recorded | None:
    """Id and start time from the text of /proc/PID/stat; None when it is not such a text."""
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    try:
        return Recorded(int(head.split(" ", 1)[0]), int(fields[19]))
    except (ValueError, IndexError):
        return None


def read_record(path: Path) -> Recorded | None:
    """The process that the file at `path` names; None when there is no such file or it is broken."""
    try:
        return parse_stat(path.read_text())
    except OSError:
        return None


def identify(pid: int | None) -> Recorded | None:
    """The process that has the id `pid` now."""
    return None if pid is None else read_record(Path(f"/proc/{pid}/stat"))


def is_alive(process: Recorded | None) -> bool:
    """Whether exactly this process runs (a zombie does not)."""
    if process is None:
        return False
    try:
        text = Path(f"/proc/{process.pid}/stat").read_text()
    except OSError:
        return False
    state = text.rpartition(")")[2].split()[0]
    return parse_stat(text) == process and state not in "ZX"


def start(
    record: Path, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, its output appended to `log`, its identity in `record`."""
    record.parent.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            ["/bin/sh", "-c", _RECORD_THEN_BECOME, str(record), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=None if environment is None else dict(environment),
        )


def stop(record: Path, patience: float = 10.0, force: bool = False) -> bool:
    """End the process that `record` names and remove the record; False when it could not be ended.

    It gets SIGTERM and `patience` seconds, then SIGKILL (`force`: SIGKILL at once).
    """
    process = read_record(record)
    if process is not None:
        steps = [(signal.SIGKILL, 5.0)] if force else [(signal.SIGTERM, patience), (signal.SIGKILL, 5.0)]
        for number, wait in steps:
            if not is_alive(process):
                break
            try:
                os.kill(process.pid, number)
            except ProcessLookupError:
                break
            wait_until_gone(process, wait)
        if is_alive(process):
            return False
    record.unlink(missing_ok=True)
    return True


def wait_until_gone(process: Recorded | None, seconds: float) -> bool:
    """Wait at most `seconds` until the process has ended."""
    if process is None:
        return True
    deadline = time.monotonic() + seconds
    while is_alive(process):
        _reap(process.pid)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _reap(pid: int) -> None:
    """Take the exit code of a child of this very process; another's child is left alone."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def last_lines(log: Path, count: int = 5) -> str:
    """The end of a log, for an error message; an empty text when there is none."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(line[:300] for line in lines[-count:])
