"""Shows how far a sync is: bars on a terminal, now and then a line elsewhere. All of it on stderr."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import Any, Protocol, Self

from towline.cli.output import duration, number, say

PLAIN_EVERY = 10.0  # seconds between two lines about one stream where there is no terminal


class Display(Protocol):
    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def update(self, stream: str, read: int, expected: int | None = None, per_second: int | None = None) -> None:
        """`read` records of `stream` so far, of `expected` and at the speed of `per_second` where that is known."""

    def note(self, text: str) -> None:
        """What is being waited for."""


def display() -> Display:
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return Bars()
    return Lines()


def _remaining(read: int, expected: int | None, speed: int) -> str:
    """`, about 26.0 s left`, where the total is known."""
    if not expected or expected <= read or not speed:
        return ""
    return f", about {duration((expected - read) / speed)} left"


class Lines:
    """For logs: one line when a stream begins, then at most one every PLAIN_EVERY seconds."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}
        self._began: dict[str, tuple[float, int]] = {}
        self._note = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, stream: str, read: int, expected: int | None = None, per_second: int | None = None) -> None:
        now = time.monotonic()
        start, first = self._began.setdefault(stream, (now, read))
        if now - self._told.get(stream, 0.0) < PLAIN_EVERY:
            return
        self._told[stream] = now
        of = f" of {number(expected)}" if expected else ""
        speed = per_second or (round((read - first) / (now - start)) if now - start >= 1 else 0)
        rate = f", {number(speed)}/s{_remaining(read, expected, speed)}" if speed else ""
        say("◎", f"{stream}: {number(read)}{of} read{rate}" if read else stream)

    def note(self, text: str) -> None:
        if text and text != self._note:
            say("◎", text)
        self._note = text


class Bars:
    """For terminals: one line a stream with count, rate and, where the total is known, a bar."""

    def __init__(self) -> None:
        from rich.console import Console, RenderableType
        from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TextColumn, TimeElapsedColumn

        class KnownTotal(BarColumn):
            """A bar only where there is a total: anything else would be a guess."""

            def render(self, task: Task) -> RenderableType:  # type: ignore[override]
                return super().render(task) if task.fields["total_known"] else ""

        self._console = Console(stderr=True, highlight=False)
        self._bars = Progress(
            SpinnerColumn(finished_text="✔"),
            TextColumn("{task.description}", markup=False),
            KnownTotal(bar_width=24),
            TextColumn("{task.fields[count]}", justify="right", markup=False),
            TextColumn("{task.fields[rate]}", justify="right", style="dim", markup=False),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            refresh_per_second=8,
        )
        self._tasks: dict[str, Any] = {}
        self._began: dict[str, tuple[float, int]] = {}
        self._waiting: Any = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def update(self, stream: str, read: int, expected: int | None = None, per_second: int | None = None) -> None:
        now = time.monotonic()
        start, first = self._began.setdefault(stream, (now, read))
        speed = per_second or (round((read - first) / (now - start)) if read and now - start >= 0.5 else 0)
        rate = f"{number(speed)}/s{_remaining(read, expected, speed)}" if speed else ""
        count = f"{number(read)}/{number(expected)}" if expected else f"{number(read)} read"
        self._clear_note()
        if stream not in self._tasks:
            for earlier in self._tasks.values():
                # Streams are read one after another.
                self._bars.update(earlier, total=1, completed=1)
            self._tasks[stream] = self._add(stream)
        known = expected is not None
        self._bars.update(
            self._tasks[stream], total=expected, completed=read, count=count, rate=rate, total_known=known
        )

    def note(self, text: str) -> None:
        if self._waiting is None:
            self._waiting = self._add(text)
        self._bars.update(self._waiting, description=text)

    def _add(self, text: str) -> Any:
        return self._bars.add_task(text, total=None, count="", rate="", total_known=False)

    def _clear_note(self) -> None:
        if self._waiting is not None:
            self._bars.remove_task(self._waiting)
            self._waiting = None
