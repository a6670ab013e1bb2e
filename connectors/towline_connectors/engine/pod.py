"""The process in a connector's pod: `towline-run`.

Reads the plan, the credentials and the destination from where the operator mounts them, runs, leaves the result
in the termination message and exits by its reason.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from towline import contract
from towline.api.conditions import Reason
from towline.contract import EXIT_CODES, ExitCode, Plan, RunResult
from towline_connectors.engine.redact import JsonLines, Redactor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from towline_connectors.engine.report import Reporter
    from towline_connectors.sinks.reach import Judge

log = logging.getLogger("towline.run")

ROOT_ENV = "TOWLINE_POD_ROOT"  # a folder that stands for / when a pod's files lie elsewhere
PROGRESS_EVERY = 5.0  # seconds between lines of progress in the log


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a pod's files lie."""

    root: Path = Path("/")

    def at(self, path: str) -> Path:
        return self.root / path.lstrip("/")


class Unfit(Exception):  # noqa: N818
    """The pod cannot begin; the reason and a sentence."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def main() -> None:
    """Run and exit."""
    sys.exit(run_pod(Paths(Path(os.environ.get(ROOT_ENV, "/"))), os.environ.get(contract.POD_UID_ENV, "")))


def run_pod(paths: Paths, pod_uid: str) -> ExitCode:
    """Everything between start and exit. Never raises."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, force=True)
    _log_through(Redactor([]))
    plan: Plan | None = None
    try:
        plan = read_plan(paths)
        credentials = read_credentials(paths, plan)
        target = read_destination(paths, plan)
        _log_through(Redactor([*credentials.values(), *_url_secrets(target)]))
        result = _run(plan, credentials, target, paths, pod_uid)
    except Unfit as error:
        result = _failed(plan, pod_uid, error.reason, error.message)
    except Exception as error:
        log.exception("the run could not begin")
        result = _failed(
            plan, pod_uid, Reason.CONNECTOR_BUG, f"The run failed with {type(error).__name__}; see its log."
        )
    code = EXIT_CODES.get(result.reason, ExitCode.BUG)
    level = logging.INFO if code is ExitCode.OK else logging.ERROR
    log.log(level, "%s: %s", result.reason.value, result.message)
    try:
        paths.at(contract.TERMINATION_LOG_PATH).write_bytes(to_message(result))
    except OSError as error:
        log.warning("the termination message could not be written: %s", error.strerror)
    return code


def read_plan(paths: Paths) -> Plan:
    """Raises Unfit."""
    from pydantic import ValidationError

    try:
        return Plan.model_validate_json(paths.at(contract.PLAN_PATH).read_bytes())
    except OSError as error:
        raise Unfit(
            Reason.INVALID_MANIFEST, f"The plan cannot be read ({error.strerror}); was the pod made by Towline?"
        ) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Unfit(
            Reason.INVALID_MANIFEST,
            f"The plan does not fit this version of Towline (at {place or 'its root'}); operator and image have to be"
            " of one version.",
        ) from None


def read_credentials(paths: Paths, plan: Plan) -> dict[str, str]:
    """The mounted Secret's values by key. Raises Unfit naming the first key that is missing."""
    folder = paths.at(contract.CREDENTIALS_PATH)
    found: dict[str, str] = {}
    if folder.is_dir():
        for file in sorted(folder.iterdir()):
            if file.name.startswith(".") or not file.is_file():
                continue
            try:
                # `echo secret | base64` leaves a line end that no vendor expects.
                found[file.name] = file.read_text("utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError):
                raise Unfit(Reason.KEY_MISSING, f'Key "{file.name}" of the Secret is not readable text.') from None
    for credential in plan.manifest.get("credentials") or []:
        key = credential.get("key", "")
        if not credential.get("optional") and not found.get(key):
            raise Unfit(
                Reason.KEY_MISSING,
                f'Key "{key}" is missing or empty in the Secret that spec.credentials.secretRef names; add it.',
            )
    return found


def read_destination(paths: Paths, plan: Plan) -> str:
    """A file or a URL. Raises Unfit."""
    if plan.destination.kind == "SQLite":
        return plan.destination.path or str(paths.at(contract.DATA_PATH) / "towline.db")
    try:
        url = paths.at(contract.DESTINATION_PATH).joinpath("url").read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        url = ""
    if not url:
        raise Unfit(Reason.KEY_MISSING, 'Key "url" is missing or empty in the Secret of the destination; add it.')
    return url


def judge_of(plan: Plan) -> Judge:
    """Who decides to which addresses the destination's connections may go. Raises Unfit."""
    from towline_connectors.engine.addresses import EntryError, destinations_gate
    from towline_connectors.engine.errors import AddressNotAllowed
    from towline_connectors.sinks.base import AddressClosed

    try:
        gate = destinations_gate(plan.egress)
    except EntryError as error:
        raise Unfit(Reason.INVALID_MANIFEST, f"The plan's egress: {error}.") from None

    def judge(host: str, addresses: Sequence[str], port: int) -> None:
        try:
            gate.check(host, addresses, port)
        except AddressNotAllowed as error:
            raise AddressClosed(f"The destination's host {error.message}") from None

    return judge


def _url_secrets(target: str) -> list[str]:
    if "://" not in target:
        return []
    try:
        password = urlsplit(target).password or ""
    except ValueError:
        password = ""
    return [target, password, unquote(password)]


def _run(plan: Plan, credentials: dict[str, str], target: str, paths: Paths, pod_uid: str) -> RunResult:
    from towline_connectors.engine.apart import worthwhile
    from towline_connectors.engine.run import Progress, Stop, run
    from towline_connectors.sinks import open_sink
    from towline_connectors.sinks.base import SinkError

    stop = Stop()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.request())
    signal.signal(signal.SIGINT, lambda _number, _frame: stop.request())
    said = [0.0]
    reporter = _reporter(plan, paths)

    def progress(at: Progress) -> None:
        if reporter is not None and at.stream:
            counts = {"read": at.read, "upserted": at.upserted, "deleted": at.deleted, "rejected": at.rejected}
            reporter.update(at.stream, counts, at.expected)
        if at.note:
            log.info("%s", at.note)
        elif time.monotonic() - said[0] >= PROGRESS_EVERY:
            said[0] = time.monotonic()
            log.info("%s: %d read, %d new or changed, %d rejected", at.stream, at.read, at.upserted, at.rejected)

    bundle, proxy = paths.at(contract.CA_BUNDLE_PATH), paths.at(contract.PROXY_PATH)
    try:
        sink = None if plan.mode == "Check" else open_sink(target, judge_of(plan))
    except SinkError as error:
        raise Unfit(Reason.CONFIG_INVALID, str(error)) from None

    def reread() -> dict[str, str]:
        """The kubelet has brought the mounted files up to date, if the Secret has changed."""
        try:
            fresh = read_credentials(paths, plan)
            while fresh != (again := read_credentials(paths, plan)):
                fresh = again  # all at one time: a certificate and a key of two times do not fit
        except Unfit:
            return credentials  # it is being changed; what is there now helps nobody
        _log_through(Redactor([*credentials.values(), *fresh.values(), *_url_secrets(target)]))
        if fresh != credentials:
            log.info("the credentials were rejected, and the Secret has changed since the start: trying the new ones")
        return fresh

    try:
        return run(
            plan,
            credentials,
            sink,
            pod_uid=pod_uid,
            credentials_at="the Secret that spec.credentials.secretRef names",
            reread=reread,
            progress=progress,
            stop=stop,
            ca_bundle=str(bundle) if bundle.is_file() else None,
            proxy=proxy.read_text("utf-8").strip() if proxy.is_file() else None,
            files_root=str(paths.at(contract.REPORTS_PATH)),
            apart=worthwhile(),
        )
    finally:
        if reporter is not None:
            reporter.close()


def _reporter(plan: Plan, paths: Paths) -> Reporter | None:
    """Who tells the operator how far the run is; None where nobody is to be told."""
    token = paths.at(contract.PROGRESS_TOKEN_PATH)
    if not plan.progress_url or not token.is_file():
        return None
    from towline_connectors.engine.report import Reporter

    return Reporter(plan.progress_url, token, plan.sync)


def _failed(plan: Plan | None, pod_uid: str, reason: Reason, message: str) -> RunResult:
    uid, attempt = (plan.sync.uid[:64], plan.sync.attempt) if plan else ("unknown", 1)
    return RunResult(sync_uid=uid, attempt=attempt, pod_uid=pod_uid[:64], reason=reason, message=message[:600])


def _log_through(redactor: Redactor) -> None:
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonLines(redactor))


def to_message(result: RunResult) -> bytes:
    """The result as JSON of at most MAX_RESULT_BYTES: streams that say least are dropped, texts cut."""
    while True:
        body = result.model_dump_json(exclude_defaults=True).encode()
        if len(body) <= contract.MAX_RESULT_BYTES:
            return body
        cut = [
            stream.model_copy(update={"skipped": stream.skipped and stream.skipped[:60], "checkpoint": None})
            for stream in result.streams
        ]
        if cut == result.streams and result.streams:
            least = min(result.streams, key=lambda stream: (stream.rejected, stream.upserted, stream.read))
            cut = [stream for stream in result.streams if stream is not least]
        elif cut == result.streams:
            result = result.model_copy(update={"message": result.message[: len(result.message) // 2]})
        result = result.model_copy(update={"streams": cut})


if __name__ == "__main__":
    main()
