"""The tutorial and the quickstart, word by word: files are written, commands typed, their output compared."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(?P<kind>\w+)(?: (?P<extra>[^\n]+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Each command with the lines that it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.strip():
            found[-1][1].append(line.strip())
    return found


def start(command: str, folder: Path, environment: dict[str, str], promised: list[str]) -> subprocess.Popen[bytes]:
    log = folder / "background.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    deadline = time.monotonic() + 60
    while not all(line in log.read_text() for line in promised):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return process


@pytest.mark.parametrize(("page", "least"), [("tutorial.md", 9), ("quickstart.md", 8)])
def test_the_page_does_what_it_says(tmp_path: Path, page: str, least: int) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TOWLINE_", "KUBE"))}
    environment = {**inherited, "PATH": path, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}
    background: list[subprocess.Popen[bytes]] = []
    typed = 0
    try:
        for block in BLOCK.finditer((DOCS / page).read_text("utf-8")):
            kind, extra, text = block["kind"], block["extra"] or "", block["text"]
            if extra.startswith("file="):
                file = tmp_path / extra.removeprefix("file=")
                assert file.parent.is_dir()
                file.write_text(text, "utf-8")
            if kind != "console":
                continue
            for command, promised in commands(text):
                typed += 1
                if extra == "background":
                    background.append(start(command, tmp_path, environment, promised))
                    continue
                done = subprocess.run(
                    ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180
                )
                said = done.stdout + done.stderr
                assert (done.returncode != 0) == (extra == "fails" and "towline" in command), f"{command}\n{said}"
                for line in promised:
                    assert line in said, f"{command}\n{said}"
    finally:
        for process in background:
            process.send_signal(signal.SIGINT)
            process.wait(30)
    assert typed >= least
