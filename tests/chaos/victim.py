"""`towline operator` that kills itself at a named point and whose clock can be set.

CHAOS_KILL: `before CreateSync`, `after CreateJob` … (an action of towline.core.actions), with `#n` for the n-th time.
CHAOS_CLOCK: a file with seconds to add to the clock. Nothing of this is in the operator itself.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from towline.cli.main import main
from towline.controller import main as operator
from towline.controller import reconcilers
from towline.core.actions import Action

POINTS = tuple(
    f"{when} {what}" for what in ("CreateSync", "PatchStatus", "CreateJob", "DeleteJob") for when in ("before", "after")
)


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_at(point: str) -> None:
    name, _, count = point.partition("#")
    when, _, action_name = name.partition(" ")
    left = [int(count or 1)]
    perform = reconcilers.perform

    async def perform_and_die(context: Any, kind: str, obj: dict[str, Any], actions: list[Action]) -> dict[str, Any]:
        for action in actions:
            hit = type(action).__name__ == action_name
            left[0] -= hit
            if hit and not left[0] and when == "before":
                _die()
            obj = await perform(context, kind, obj, [action])
            if hit and not left[0]:
                _die()
        return obj

    reconcilers.perform = perform_and_die


def _clock(path: Path) -> datetime:
    try:
        return datetime.now(UTC) + timedelta(seconds=float(path.read_text() or 0))
    except (OSError, ValueError):
        return datetime.now(UTC)


if __name__ == "__main__":
    if point := os.environ.get("CHAOS_KILL", ""):
        _kill_at(point)
    if file := os.environ.get("CHAOS_CLOCK", ""):
        # The command imports `run` when it is called: it finds this one.
        operator.run = partial(operator.run, clock=partial(_clock, Path(file)))  # type: ignore[assignment]
    sys.argv[0] = "towline"
    main()
