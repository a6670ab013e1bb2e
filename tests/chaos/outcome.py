"""What trying a promise came to."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.chaos.stage import Stage


class SkippedError(Exception):
    """What the trial needs is not here; the text says what."""


@dataclass
class Outcome:
    """What a promise came to."""

    promise: int
    about: str
    injected: int = 0
    violations: list[str] = field(default_factory=list)

    def expect(self, holds: bool, what: str) -> None:
        if not holds:
            self.violations.append(what)

    def line(self) -> str:
        return f"PROMISE {self.promise} {self.injected} {len(self.violations)}"


Trial = Callable[[Stage, random.Random, int], Outcome]
