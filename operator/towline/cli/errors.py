"""The one exception with which a verb ends in failure."""

from __future__ import annotations

# Exit codes of all verbs but `run`, which ends with those of `towline.contract.ExitCode`.
FAILED = 1  # wrong usage, or the command itself failed
NOT_READY = 2  # the object is there and not well
TIMED_OUT = 3
FORBIDDEN = 4


class CliError(Exception):
    """What happened, and in `cure`, line by line, what to do about it."""

    def __init__(self, message: str, *cure: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.cure = cure
        self.exit_code = exit_code
