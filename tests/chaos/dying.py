"""A connector's pod that kills itself after its n-th write, or after its n-th answer of the other system.

CHAOS_DIE: `write 7`, `answer 3`. CHAOS_COUNT: a file to count both into, for runs that may live. A write is every
statement that begins, changes or commits: rows, tombstones, checkpoint, claim, the run's own record.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from towline_connectors.engine import http, pod
from towline_connectors.sinks import sqlite

_KIND, _, _NUMBER = os.environ.get("CHAOS_DIE", "").partition(" ")
_COUNT = os.environ.get("CHAOS_COUNT", "")
_WRITES = ("BEGIN", "COMMIT", "INSERT", "UPDATE", "DELETE", "REPLACE")
_seen = {"write": 0, "answer": 0}


def _after(kind: str) -> None:
    _seen[kind] += 1
    if _COUNT:
        with Path(_COUNT).open("a") as file:  # the writer is a process of its own
            file.write(f"{kind}\n")
    if kind == _KIND and _seen[kind] == int(_NUMBER):
        os.killpg(os.getpgrp(), signal.SIGKILL)  # reader and writer at once, as a node that dies


class _Connection(sqlite3.Connection):
    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        done = super().execute(sql, *arguments)
        if sql.lstrip().upper().startswith(_WRITES):
            _after("write")
        return done


def _break_writes() -> None:
    connect = sqlite3.connect

    class Module:
        """sqlite3 with another connection."""

        def __getattr__(self, name: str) -> Any:
            return getattr(sqlite3, name)

        def connect(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
            return connect(*arguments, factory=_Connection, **options)

    sqlite.sqlite3 = Module()  # type: ignore[assignment]


def _break_answers() -> None:
    exchange = http.Client._exchange

    @asynccontextmanager
    async def exchange_and_die(self: http.Client, request: http.HttpRequest) -> AsyncIterator[http.HttpStream]:
        async with exchange(self, request) as answer:
            _after("answer")
            yield answer

    http.Client._exchange = exchange_and_die  # type: ignore[method-assign]


if __name__ == "__main__":
    _break_writes()
    _break_answers()
    pod.main()
