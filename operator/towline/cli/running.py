"""Carries out a prepared run in this process: in a thread, so that Ctrl-C can ask it to stop between two batches."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from towline.cli.local import Prepared
from towline.cli.output import say
from towline.cli.progress import display
from towline.contract import RunResult
from towline_connectors.engine.redact import JsonLines, Redactor
from towline_connectors.engine.run import Progress, Stop, run
from towline_connectors.sinks.base import Sink

INTERRUPTED = 130  # as shells count a process that SIGINT ended
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def execute(prepared: Prepared, sink: Sink | None) -> RunResult:
    """Run with progress on stderr. The first Ctrl-C stops between two batches, the second at once."""
    stop = Stop()
    ended: list[RunResult | Exception] = []
    with certificates(prepared.ca_bundle) as ca_bundle, _log(prepared), display() as shown:

        def tell(progress: Progress) -> None:
            if progress.note:
                shown.note(progress.note)
            if progress.stream:
                shown.update(progress.stream, progress.read)

        def work() -> None:
            try:
                result = run(
                    prepared.plan,
                    prepared.secrets,
                    sink,
                    credentials_at=prepared.credentials_from,
                    progress=tell,
                    stop=stop,
                    ca_bundle=ca_bundle,
                    proxy=prepared.proxy,
                )
            except Exception as error:
                ended.append(error)
            else:
                ended.append(result)

        thread = threading.Thread(target=work, name="run", daemon=True)
        with _stopping(stop):
            thread.start()
            while thread.is_alive():
                thread.join(0.2)
    (outcome,) = ended
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


@contextmanager
def _stopping(stop: Stop) -> Iterator[None]:
    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if stop.requested:
            os._exit(INTERRUPTED)  # every commit is whole, so ending at once harms nothing
        say("!", "Stopping after the batch that is being written. Ctrl-C again ends at once.")
        stop.request()

    before = {number: signal.signal(number, on_signal) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def certificates(pem: str | None) -> Iterator[str | None]:
    """A file with the certificates of a private authority, for as long as the run lasts."""
    if pem is None:
        yield None
        return
    with tempfile.NamedTemporaryFile("w", suffix=".crt", encoding="utf-8") as file:
        file.write(pem)
        file.flush()
        yield file.name


@contextmanager
def _log(prepared: Prepared) -> Iterator[None]:
    """The engine's log is for pods: here it is silent, or with TOWLINE_DEBUG=1 on stderr without any secret."""
    logger = logging.getLogger("towline")
    debug = os.environ.get("TOWLINE_DEBUG", "") not in ("", "0")
    handler = logging.StreamHandler(sys.stderr) if debug else logging.NullHandler()
    handler.setFormatter(JsonLines(Redactor(prepared.secrets.values())))
    propagate, level = logger.propagate, logger.level
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
        logger.setLevel(level)
