"""What can go wrong between the operator and the API server.

Bodies of answers are never kept: they may hold secrets.
"""

from __future__ import annotations


class ApiError(Exception):
    """A request that the API server did not fulfil. `status` is 0 when there was no answer."""

    def __init__(self, action: str, status: int, reason: str = "") -> None:
        why = f"{status} {reason}".strip() if status else reason
        super().__init__(f"{action}: {why}")
        self.action = action
        self.status = status
        self.reason = reason
        self.retry_after: float | None = None
        """Seconds that the API server asked to wait."""


class NotFoundError(ApiError):
    """The object, or its kind, does not exist."""


class AlreadyExistsError(ApiError):
    """An object of this name exists."""


class ConflictError(ApiError):
    """The object has changed since it was read."""


class RefusedError(ApiError):
    """Not allowed, or not valid: asking again will not help before something changes."""


class ExpiredError(ApiError):
    """The rest of a list is no longer to be had."""


class NotLeadingError(ApiError):
    """This process does not lead (any more), so it may not write."""


class UnavailableError(ApiError):
    """No answer, or one that says to try later."""


def error_for(action: str, status: int, reason: str) -> ApiError:
    """The error of an answer. `reason` is the machine-readable one of Kubernetes' Status, for example AlreadyExists."""
    if status == 404:
        return NotFoundError(action, status, reason or "NotFound")
    if status == 409:
        kind = AlreadyExistsError if reason == "AlreadyExists" else ConflictError
        return kind(action, status, reason or "Conflict")
    if status == 429 or status >= 500:
        return UnavailableError(action, status, reason)
    return RefusedError(action, status, reason)
