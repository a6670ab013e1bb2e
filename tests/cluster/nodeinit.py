"""The first process of a node: prepares its private namespaces, then keeps the node's programs running.

Everything of the node lives in these namespaces. When this process ends, however it ends, the kernel ends every
process of the node and with them its mounts, interfaces and packet filter rules.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

_RESTART_PAUSE = 1.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Program:
    """A program of the node; `pid` is 0 while it does not run, `due` the monotonic time of its next start."""

    name: str
    command: list[str]
    pid: int = 0
    due: float = 0.0


def main(path: str) -> None:
    """Run the node that the JSON file at `path` describes, until SIGTERM."""
    settings: dict[str, Any] = json.loads(Path(path).read_text())
    signal.signal(signal.SIGTERM, _end)
    os.environ["PATH"] = f"{_PATH}:{os.environ.get('PATH', '')}"
    logs = Path(settings["logs"])
    _private_mounts(settings)
    _network(settings)
    programs = [Program(name, command) for name, command in settings["programs"].items()]
    containerd, others = programs[0], programs[1:]
    _start(containerd, logs)
    _wait_for_socket(settings["containerd_socket"], [containerd], logs)
    _wait_for_api(settings["api"], [containerd], logs)
    for program in others:
        _start(program, logs)
    while True:
        _tend(programs, logs)


def _private_mounts(settings: dict[str, Any]) -> None:
    socket.sethostname(settings["name"])
    # Mounts of pods must reach the containers that share them, within this namespace.
    _run("mount", "--make-rshared", "/")
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for made in ("/run/lock", "/run/containerd", "/run/netns"):
        Path(made).mkdir()
    for folder, own in settings["private_folders"].items():
        _run("mount", "--bind", own, folder)


def _network(settings: dict[str, Any]) -> None:
    _run("ip", "link", "set", "lo", "up")
    while not _quiet("ip", "link", "show", "eth0"):
        time.sleep(0.02)  # this end of the link is put here from outside
    _run("ip", "address", "add", settings["address"], "dev", "eth0")
    _run("ip", "link", "set", "eth0", "up")
    _run("ip", "route", "add", "default", "via", settings["gateway"])
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")
    pods = settings["pods"]
    _run("iptables", "-w", "-t", "nat", "-A", "POSTROUTING", "-s", pods, "!", "-d", pods, "-j", "MASQUERADE")


def _wait_for_socket(path: str, programs: list[Program], logs: Path) -> None:
    while not Path(path).exists():
        _tend(programs, logs)


def _wait_for_api(address: list[Any], programs: list[Program], logs: Path) -> None:
    while True:
        try:
            socket.create_connection((address[0], address[1]), timeout=1).close()
            return
        except OSError:
            _tend(programs, logs)


def _start(program: Program, logs: Path) -> None:
    with (logs / f"{program.name}.log").open("ab") as log:
        child = subprocess.Popen(
            program.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    program.pid = child.pid
    child.returncode = 0  # its end is waited for below, not by subprocess


def _tend(programs: list[Program], logs: Path) -> None:
    """Take exit codes, start again what has ended, then rest a moment."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid == 0:
            break
        for program in programs:
            if program.pid == pid:
                print(f"{program.name} ended and is started again", flush=True)
                program.pid, program.due = 0, time.monotonic() + _RESTART_PAUSE
    for program in programs:
        if program.pid == 0 and time.monotonic() >= program.due:
            _start(program, logs)
    time.sleep(0.1)


def _end(number: int, frame: FrameType | None) -> None:
    # As the first process of its process namespace this takes every other one along.
    os._exit(0)


def _run(*command: str) -> None:
    if shutil.which(command[0]) is None:
        sys.exit(f"{command[0]} is missing on this machine")
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed: {result.stderr.strip()}")


def _quiet(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    main(sys.argv[1])
