"""Progress for people: numbered steps with their seconds, and what each took at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


class DemoError(Exception):
    """Something a person must act on; the message says what happened, to what, and what to do."""


def say(text: str = "") -> None:
    """One line of progress on standard error; standard output is left to results."""
    print(text, file=sys.stderr, flush=True)


@dataclass
class Steps:
    """Runs the steps of the demo and remembers how long each took."""

    begun: float = field(default_factory=time.monotonic)
    taken: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announce `title`, and note its seconds even when it fails."""
        say(f"\n► {title}")
        begun = time.monotonic()
        try:
            yield
        finally:
            self.taken.append((title, time.monotonic() - begun))

    def summary(self) -> str:
        """A line for each step and the whole."""
        lines = [f"  {seconds:7.1f} s  {title}" for title, seconds in self.taken]
        return "\n".join([*lines, f"  {time.monotonic() - self.begun:7.1f} s  in all"])
