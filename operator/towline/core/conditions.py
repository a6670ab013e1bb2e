"""Lists of conditions: kept sorted, with the time of the last real change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from towline.api.conditions import Condition, ConditionType, Reason
from towline.core import times
from towline.core.results import printable

MAX_MESSAGE = 2048


@dataclass(frozen=True)
class Wanted:
    """A condition that should stand in the status."""

    type: ConditionType
    status: Literal["True", "False", "Unknown"]
    reason: Reason | str
    message: str


def find(conditions: Iterable[Condition] | None, type_: ConditionType) -> Condition | None:
    """The condition of this type, if there is one."""
    return next((condition for condition in conditions or [] if condition.type == type_), None)


def settle(
    previous: Iterable[Condition] | None, wanted: Iterable[Wanted], generation: int, now: datetime
) -> list[dict[str, Any]]:
    """The wanted conditions as they are written; lastTransitionTime moves only when the status changes."""
    before = {condition.type: condition for condition in previous or []}
    settled = []
    for want in wanted:
        old = before.get(want.type)
        same = old is not None and old.status == want.status
        settled.append(
            {
                "type": str(want.type),
                "status": want.status,
                "reason": str(want.reason),
                "message": cut(want.message),
                "observedGeneration": generation,
                "lastTransitionTime": old.last_transition_time if old is not None and same else times.text(now),
            }
        )
    return settled


def cut(message: str) -> str:
    """The message on one line that no terminal acts on, shortened to what a status should hold."""
    message = printable(message)
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"


def sentence(text: str) -> str:
    """The text with a capital letter first and without a full stop at the end."""
    stripped = text.strip().rstrip(".")
    # A host name, a field or a path keeps its spelling.
    first = stripped.split(" ", 1)[0]
    return stripped if set(first.rstrip(".:,")) & set("./:_") else stripped[:1].upper() + stripped[1:]
