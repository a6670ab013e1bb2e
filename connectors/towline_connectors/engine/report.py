"""Tells the operator how far a run is, from a thread of its own that never holds the run up.

A report that cannot be delivered is dropped: the next one says more. The connection is kept, because of two operators
only the leading one takes reports, and a Service leads each new connection to either.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from towline.contract import PROGRESS_EVERY, ProgressReport, StreamReport, SyncIdentity

if TYPE_CHECKING:
    import http.client

log = logging.getLogger("towline.run")
FIRST_AFTER = 1.0  # seconds: a sync that is over by then tells nothing and opens no connection
_TIMEOUT = 3.0  # seconds
_CONNECTIONS = 4  # that are tried for one report, in search of the leader


class Reporter:
    """Takes what a run tells and sends the newest of it now and then. `close` ends it at once."""

    def __init__(
        self,
        url: str,
        token_file: Path,
        sync: SyncIdentity,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._path = parts.hostname or "", parts.port or 80, parts.path or "/"
        self._token_file = token_file
        self._sync = sync
        self._clock = clock
        self._streams: dict[str, StreamReport] = {}
        self._present = ""
        self._told: tuple[float, int] | None = None  # when, and how many records by then
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._connection: http.client.HTTPConnection | None = None

    def update(self, stream: str, counts: Mapping[str, int], expected: int | None = None) -> None:
        """The counts of a stream so far: read, upserted, deleted, rejected; and of how many, if known."""
        with self._lock:
            self._present = stream
            self._streams[stream] = StreamReport(name=stream[:63], expected=expected, **counts)
            if self._told is None:
                self._told = (self._clock(), 0)
        if self._thread is None:  # not before: a run forks first, and threads do not come along
            self._thread = threading.Thread(target=self._run, name="report", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Send nothing more. What is under way is not waited for."""
        self._stop.set()

    def _run(self) -> None:
        wait = FIRST_AFTER
        while not self._stop.wait(wait):
            wait = PROGRESS_EVERY
            try:
                self._send(self._report().model_dump_json(exclude_defaults=True).encode())
            except Exception as error:
                # Whatever it is, it must not become a fault of the run.
                self._drop()
                log.debug("progress was not told: %s", type(error).__name__)

    def _report(self) -> ProgressReport:
        with self._lock:
            now, read = self._clock(), sum(entry.read for entry in self._streams.values())
            then, before = self._told or (now, read)
            self._told = (now, read)
            rate = round((read - before) / (now - then)) if now > then and read > before else 0
            newest = [entry for name, entry in self._streams.items() if name != self._present][-49:]
            return ProgressReport(
                sync_uid=self._sync.uid,
                attempt=self._sync.attempt,
                stream=self._present[:63],
                streams=[*newest, self._streams[self._present]],
                rate=rate,
            )

    def _send(self, body: bytes) -> None:
        headers = {
            "Authorization": f"Bearer {self._token_file.read_text().strip()}",  # read anew: the kubelet renews it
            "Content-Type": "application/json",
        }
        for _ in range(_CONNECTIONS):
            status = self._exchange(body, headers)
            if status != 503:
                return
            self._drop()  # a stand-by: another connection may lead to the leader

    def _exchange(self, body: bytes, headers: dict[str, str]) -> int:
        import http.client  # only here: a short sync opens no connection

        fresh = self._connection is None
        connection = self._connection or http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT)
        self._connection = connection
        try:
            connection.request("POST", self._path, body, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._drop()
            if fresh:
                raise
            return self._exchange(body, headers)  # the other end closed a connection that had been kept
        return answer.status

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
