"""How a run can fail, in a person's words; each class carries the reason that becomes status and exit code.

Messages name what happened, to what, and the cure. They never hold a vendor's body, a URL's query or a secret.
"""

# ruff: noqa: N818 - the classes are named as the reasons that users read
from __future__ import annotations

from towline.api.conditions import Reason
from towline.contract import EXIT_CODES, ExitCode


class EngineError(Exception):
    """A failure that ends the run (or, if the stream is optional and the class allows it, one stream)."""

    reason: Reason = Reason.CONNECTOR_BUG

    def __init__(self, message: str, *, retry_after: float | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after  # seconds
        self.status = status  # HTTP status, when an answer caused it

    @property
    def exit_code(self) -> ExitCode:
        return EXIT_CODES.get(self.reason, ExitCode.TRANSIENT)


class CredentialsRejected(EngineError):
    """The system does not know these credentials (401, invalid bind)."""

    reason = Reason.CREDENTIALS_REJECTED


class PermissionDenied(EngineError):
    """The credentials are good but lack a right (403, insufficient access). Skips an optional stream."""

    reason = Reason.PERMISSION_DENIED


class ConfigInvalid(EngineError):
    """The system refuses the request for what the Integration says: wrong host, base or value."""

    reason = Reason.CONFIG_INVALID


class KeyMissing(EngineError):
    """The Secret lacks a key that the connector needs."""

    reason = Reason.KEY_MISSING


class HostNotAllowed(EngineError):
    """Credentials may not go to this host."""

    reason = Reason.HOST_NOT_ALLOWED


class AddressNotAllowed(EngineError):
    """The host is at an address that runs may not connect to."""

    reason = Reason.ADDRESS_NOT_ALLOWED


class InvalidManifest(EngineError):
    """The Connector contradicts itself or an expression does not parse."""

    reason = Reason.INVALID_MANIFEST


class SchemaMismatch(EngineError):
    """Answers do not look as the manifest says."""

    reason = Reason.SCHEMA_MISMATCH


class Unreachable(EngineError):
    """No usable answer: DNS, connection refused, TLS, time-out, 5xx. Another attempt may help."""

    reason = Reason.UNREACHABLE


class RateLimited(EngineError):
    """The system asks to wait longer than this run may; `retry_after` tells how long."""

    reason = Reason.RATE_LIMITED


class DeadlineExceeded(EngineError):
    """The run's time is over; what was committed stays and the next run goes on from there."""

    reason = Reason.DEADLINE_EXCEEDED


class Disrupted(EngineError):
    """The pod was asked to stop; what was committed stays."""

    reason = Reason.DISRUPTED


class PolicyViolation(EngineError):
    """A guard stopped the run; it stays stopped until a person asks again."""

    reason = Reason.POLICY_VIOLATION


class DestinationUnavailable(EngineError):
    reason = Reason.DESTINATION_UNAVAILABLE


class DestinationFull(EngineError):
    reason = Reason.DESTINATION_FULL


class Superseded(EngineError):
    """A newer attempt owns this integration."""

    reason = Reason.SUPERSEDED


class SkipStream(Exception):
    """This stream does not exist at this customer's system (an error rule of class SkipStream says so)."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class CursorLost(Exception):
    """What the last run left to go on from is of no use any more (410 for a token): the stream is read in full."""


class JobLost(Exception):
    """The vendor forgot or failed the export job; a new one has to be made."""


class DuplicateJob(Exception):
    """An equal export job runs already; `job_id` names it, if the answer does."""

    def __init__(self, job_id: str | None) -> None:
        super().__init__("an equal export job runs already")
        self.job_id = job_id
