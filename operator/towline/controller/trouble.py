"""What is told of an object that cannot be reconciled, where its owner looks: in its events."""

from __future__ import annotations

from towline.controller.queue import Key
from towline.core.actions import Emit
from towline.kube.errors import ApiError

_FIRST = 3
"""Failures in a row that are no passing trouble any more."""
_AGAIN = 50
"""Pauses grow to a minute, and Kubernetes keeps an event for an hour."""


def trouble(key: Key, error: Exception, failures: int) -> Emit | None:
    """The event about the so-and-so-many-th failure in a row; None where it is too early, or was told."""
    if failures != _FIRST and failures % _AGAIN:
        return None
    if isinstance(error, ApiError):
        text = f"{error}. Remove what stands in the way; Towline keeps trying, every minute at last"
    else:
        text = (
            f"An error of Towline: {type(error).__name__}. Nothing more happens to this {key.kind} while it lasts;"
            " Towline keeps trying. Report it, please, with the traceback from the operator's log"
        )
    return Emit("Warning", "ReconcileFailed", text)
