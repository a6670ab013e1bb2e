"""Which finished SyncJobs go."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from towline.core.runs import Run


def surplus(
    runs: Iterable[Run], owner_uid: str, keep_successful: int, keep_failed: int, last_schedule: datetime | None
) -> list[Run]:
    """Finished runs beyond the limits, oldest first.

    Never one whose tick is not older than `last_schedule`, the last tick that the Integration's status names: its
    name is what keeps that tick from running twice. Never one that the operator did not make: if it came from Git,
    a tool would apply it again and so start it again.
    """
    finished = sorted((run for run in runs if run.finished and run.owner_uid == owner_uid), key=lambda run: run.order)
    gone: list[Run] = []
    for group, keep in (
        ([run for run in finished if run.succeeded], keep_successful),
        ([run for run in finished if not run.succeeded], keep_failed),
    ):
        gone += group[: max(0, len(group) - keep)]
    return sorted(
        (run for run in gone if run.tick is None or (last_schedule is not None and run.tick < last_schedule)),
        key=lambda run: run.order,
    )


def newest_failed(runs: Iterable[Run]) -> str:
    """The name of the run whose failed Job stays; empty if none failed."""
    failed = sorted((run for run in runs if run.failed), key=lambda run: run.order)
    return failed[-1].name if failed else ""
