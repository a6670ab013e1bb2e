"""The termination message of a pod. The pod is not trusted: what it says is a hint, checked before it is believed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import ValidationError

from towline.contract import EXIT_CODES, RunResult

MAX_MESSAGE_BYTES = 4096
# Control characters, and the marks that turn the direction of text: a terminal must not obey a pod.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]+")
_ANSI = re.compile("\x1b(\\[[0-9;?]*[ -/]*[@-~]|\\][^\x07\x1b]*(\x07|\x1b\\\\)?|[@-Z\\\\-_])")


@dataclass(frozen=True)
class Expected:
    """Which attempt a result has to come from."""

    sync_uid: str
    attempt: int
    pod_uid: str


@dataclass(frozen=True)
class Unreadable:
    """Why a message is not taken as a result."""

    why: str


def parse_result(message: str, expected: Expected, exit_code: int) -> RunResult | Unreadable | None:
    """The result in a termination message; None if there is none at all."""
    if not message.strip():
        return None
    if len(message.encode("utf-8", "surrogatepass")) > MAX_MESSAGE_BYTES:
        return Unreadable("it is longer than 4,096 bytes")
    try:
        result = RunResult.model_validate_json(message, strict=False)
    except (ValidationError, ValueError, RecursionError):
        return Unreadable("it is not a result as Towline writes it")
    if (result.sync_uid, result.attempt) != (expected.sync_uid, expected.attempt):
        return Unreadable("it speaks of another attempt")
    if result.pod_uid != expected.pod_uid:
        return Unreadable("it comes from another pod")
    if EXIT_CODES.get(result.reason) != exit_code:
        return Unreadable(f"its reason {result.reason} does not go with exit code {exit_code}")
    return result.model_copy(
        update={
            "message": printable(result.message),
            "streams": [
                stream.model_copy(
                    update={
                        "name": printable(stream.name),
                        "checkpoint": printable(stream.checkpoint) if stream.checkpoint else stream.checkpoint,
                        "skipped": printable(stream.skipped) if stream.skipped else stream.skipped,
                    }
                )
                for stream in result.streams
            ],
        }
    )


def printable(text: str) -> str:
    """The text on one line without anything that a terminal would act on."""
    return " ".join(_UNPRINTABLE.sub(" ", _ANSI.sub("", text)).split())
