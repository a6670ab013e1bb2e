"""Runs the suite for one connector."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aiohttp import web

from towline.api.connector import ConnectorSpec
from towline_connectors.kit.conformance import cases
from towline_connectors.kit.conformance.cases import CASES, Failed, NotApplicable
from towline_connectors.kit.conformance.subject import Subject

Verdict = Literal["pass", "fail", "not applicable"]
UNDISTURBED = "reads"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`why` is empty for what passed. `seconds` are real ones."""

    case: str
    verdict: Verdict
    why: str
    seconds: float


def names() -> list[str]:
    """The cases, in their order."""
    return [UNDISTURBED, *CASES]


def run(
    name: str,
    spec: ConnectorSpec,
    application: Callable[[], web.Application],
    config: Callable[[str], Mapping[str, Any]],
    secrets: Mapping[str, str],
    *,
    only: Sequence[str] = (),
    tell: Callable[[Outcome], None] = lambda _outcome: None,
) -> list[Outcome]:
    """All cases, or those in `only`. Call it in a process with one thread: it forks."""
    folder = Path(tempfile.mkdtemp(prefix="towline-conformance-"))
    try:
        return run_subject(Subject(name, spec, application, config, secrets, folder), only=only, tell=tell)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_subject(
    subject: Subject, *, only: Sequence[str] = (), tell: Callable[[Outcome], None] = lambda _outcome: None
) -> list[Outcome]:
    """The same for a subject that is served in its own way."""
    outcomes: list[Outcome] = []

    def judge(case: str, work: Callable[[], Any]) -> Any:
        begun = time.monotonic()
        verdict: Verdict = "pass"
        why, value = "", None
        try:
            value = work()
        except NotApplicable as reason:
            verdict, why = "not applicable", str(reason)
        except Failed as reason:
            verdict, why = "fail", str(reason)
        outcomes.append(Outcome(case, verdict, why, time.monotonic() - begun))
        tell(outcomes[-1])
        return value

    base = judge(UNDISTURBED, lambda: cases.baseline(subject))
    for case, work in CASES.items() if base is not None else ():
        if not only or case in only:
            judge(case, lambda work=work: work(subject, base))  # type: ignore[misc]
    return outcomes
