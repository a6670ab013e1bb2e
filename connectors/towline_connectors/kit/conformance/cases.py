"""The conformance suite: what every connector does when its vendor misbehaves. Each case is a function of a subject
and what an undisturbed run gave.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from towline.api.conditions import Reason
from towline_connectors.engine.redact import Redactor
from towline_connectors.kit.conformance.faults import Fault, follows_urls
from towline_connectors.kit.conformance.records import replaces
from towline_connectors.kit.conformance.server import Server
from towline_connectors.kit.conformance.subject import Ran, Rows, Subject, Writes, difference, total

RETRY_AFTER = 7  # seconds that a 429 asks to wait; nobody waits for real
KILLS = 16  # a connector of nineteen streams writes a hundred times, most of them alike
ROWS_OF_A_RECORD = 50  # that one record of a simulator gives at most
_UNTYPED = (Reason.CONNECTOR_BUG, Reason.INVALID_MANIFEST)


class Failed(Exception):  # noqa: N818 - an outcome
    """The connector does not pass; the text tells why."""


class NotApplicable(Exception):  # noqa: N818 - an outcome
    """The case has no meaning for this connector; the text tells why."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """An undisturbed run: its rows, and how often it wrote."""

    rows: Rows
    writes: int


Case = Callable[[Subject, Baseline], None]


def baseline(subject: Subject) -> Baseline:
    """Raises Failed when not even this works."""
    writes, database = Writes(), subject.database()
    with subject.server() as server:
        ran = subject.run(server, database, writes=writes)
    if not ran.good:
        raise Failed(ran.told)
    rows = subject.rows(database)
    if not total(rows):
        raise Failed("the simulator gives no record at all")
    free = {
        s.name
        for s in subject.spec.streams or []
        if not s.emit or s.when or s.partitions or s.file or (s.sync.deletes and s.sync.deletes.tombstone)
    }
    for stream in ran.result.streams:
        if stream.rejected:
            raise Failed(f"stream {stream.name} rejects {stream.rejected} records of the simulator")
        if not stream.read and not stream.skipped and stream.name not in free:
            raise Failed(f"stream {stream.name} reads nothing from the simulator")
    return Baseline(rows, writes.count)


def reads_twice(subject: Subject, base: Baseline) -> None:
    """A second and a full run change nothing."""
    database = subject.database()
    with subject.server() as server:
        for number, mode in enumerate(("Incremental", "Incremental", "Full"), 1):
            _same(subject, base, database, subject.run(server, database, mode=mode, uid=f"sync-{number}"))


def auth_failure(subject: Subject, base: Baseline) -> None:
    wrong = {key: f"wrong-{value[::-1]}" for key, value in subject.secrets.items()}
    if not wrong:
        raise NotApplicable("it takes no credentials")
    if any("PRIVATE KEY" in value for value in subject.secrets.values()):
        wrong = {key: value for key, value in subject.secrets.items() if "PRIVATE KEY" in value} | {
            key: value for key, value in wrong.items() if "PRIVATE KEY" not in subject.secrets[key]
        }
    with subject.server() as server:
        for number, mode in enumerate(("Check", "Incremental"), 1):
            database = None if mode == "Check" else subject.database()
            ran = subject.run(server, database, mode=mode, uid=f"sync-{number}", secrets=wrong)
            if ran.result.reason is not Reason.CREDENTIALS_REJECTED:
                raise Failed(f"wrong credentials end in {ran.told}")
    if Redactor(wrong.values()).text(ran.result.message) != ran.result.message:
        raise Failed("the message shows a credential")


def permission_missing(subject: Subject, base: Baseline) -> None:
    database = subject.database()
    with subject.server(Fault("denied")) as server:
        ran = subject.run(server, database)
        _suffered(server)
    skipped = {stream.name for stream in ran.result.streams if stream.skipped}
    needed = {s.name for s in subject.spec.streams or [] if s.emit and not s.optional and not s.when}
    if ran.result.reason is not Reason.PERMISSION_DENIED and (needed - skipped or not ran.good):
        raise Failed(f"403 ends in {ran.told}")
    _heals(subject, base, database)


def too_many_requests(subject: Subject, base: Baseline) -> None:
    waited = _survives(subject, base, Fault("status", status=429, headers=(("Retry-After", str(RETRY_AFTER)),)))
    if waited < RETRY_AFTER - 0.5:  # the rest passed for real
        raise Failed(f"it waited {waited:.0f} s where Retry-After said {RETRY_AFTER}")


def too_many_requests_untold(subject: Subject, base: Baseline) -> None:
    _survives(subject, base, Fault("status", status=429))


def server_error(subject: Subject, base: Baseline) -> None:
    _survives(subject, base, Fault("status", status=500))


def time_out(subject: Subject, base: Baseline) -> None:
    _survives(subject, base, Fault("stall"), one_at_a_time=True)


def truncated(subject: Subject, base: Baseline) -> None:
    """The connection breaks in the middle of each first answer: read again, or told with a reason and read again by
    the next run, where an answer was being taken in while it came."""
    _ends(subject, base, Fault("cut"))


def malformed(subject: Subject, base: Baseline) -> None:
    """A page of HTML where data should be: read again, or told with a reason; the next run has it all."""
    _ends(subject, base, Fault("page"))


def empty(subject: Subject, base: Baseline) -> None:
    _reads_pages(subject)
    database = subject.database()
    with subject.server(Fault("empty", once=False)) as server:
        ran = subject.run(server, database)
        _suffered(server)
    if not ran.good:
        raise Failed(f"no records at all end in {ran.told}")
    emptied = [s.name for n, s in enumerate(subject.spec.streams or []) if server.shared.emptied >> n & 1]
    if total(subject.rows(database, emptied)):
        raise Failed("rows came out of empty answers")


def duplicate_pages(subject: Subject, base: Baseline) -> None:
    """A page that comes again in the place of the next one ends in no endless loop and doubles nothing."""
    _ends(subject, base, Fault("repeat"), otherwise="no stream has a second page in the simulator")


def unmappable(subject: Subject, base: Baseline) -> None:
    _reads_pages(subject)
    database = subject.database()
    with subject.server(Fault("odd")) as server:
        ran = subject.run(server, database)
        _suffered(server)
    if not ran.good:
        raise Failed(f"one record that does not map ends in {ran.told}")
    if not ran.rejected:
        raise Failed("the record that does not map was not counted as rejected")
    found = subject.rows(database)
    # Where it took the place of another record, the rows of that one are missing; all others have to be there.
    kept = {table: {key: row for key, row in rows.items() if key in found[table]} for table, rows in base.rows.items()}
    most = ran.rejected * ROWS_OF_A_RECORD if replaces(subject.spec) else 0
    if wrong := difference(kept, found):
        raise Failed(f"besides the record that does not map: {wrong}")
    if total(base.rows) - total(found) > most:
        raise Failed(f"{total(base.rows) - total(found)} rows are missing because of {ran.rejected} records")


def crash(subject: Subject, base: Baseline) -> None:
    """Killed behind each write, which for the destination is before the next one; another attempt goes on to the
    same rows. Of very many writes the first, the last and some between: see KILLS."""
    for number in spread(base.writes, KILLS):
        database = subject.database()
        with subject.server() as server:
            _killed(subject, server, database, number)
            ran = subject.run(server, database, attempt=2)
        where = f"killed behind write {number} of {base.writes}"
        if not ran.good:
            raise Failed(f"{where}: {ran.told}")
        if found := difference(base.rows, subject.rows(database)):
            raise Failed(f"{where}: {found}")


def spread(count: int, most: int) -> list[int]:
    """1 to `count`, or `most` of these numbers with equal steps, the first and the last among them."""
    if count <= most:
        return list(range(1, count + 1))
    return sorted({1 + round(step * (count - 1) / (most - 1)) for step in range(most)})


def secrets_kept(subject: Subject, base: Baseline) -> None:
    """No credential in messages, logs or rows: of this run, whose vendor repeats all that it is sent, and of all."""
    if not subject.secrets:
        raise NotApplicable("it takes no credentials")
    with subject.server(Fault("echo")) as server:
        subject.run(server, subject.database())
        _suffered(server)
    redactor = Redactor(subject.secrets.values())
    for text in subject.outputs:
        if redactor.text(text) != text:
            raise Failed("a credential stands in the output")
    for database in subject.databases:
        for file in database.parent.iterdir():
            stored = file.read_bytes().decode("latin-1")
            if redactor.text(stored) != stored:
                raise Failed("a credential stands in the database")


def foreign_link(subject: Subject, base: Baseline) -> None:
    if not follows_urls(subject.spec):
        raise NotApplicable("no answer says where to go on")
    _refuses(subject, Fault("foreign", once=False), "no stream has a second page in the simulator")


def foreign_redirect(subject: Subject, base: Baseline) -> None:
    _refuses(subject, Fault("redirect", once=False), "nothing was redirected")


def _survives(subject: Subject, base: Baseline, fault: Fault, *, one_at_a_time: bool = False) -> float:
    """Every place suffers the fault once, and the rows are the same. Seconds that were waited."""
    database = subject.database()
    with subject.server(fault) as server:
        ran = subject.run(server, database, one_at_a_time=one_at_a_time)
        _suffered(server)
    _same(subject, base, database, ran)
    return ran.waited


def _ends(subject: Subject, base: Baseline, fault: Fault, otherwise: str = "") -> None:
    """The run ends well or with a typed reason, gives no row of its own making, and the next one heals all."""
    database = subject.database()
    with subject.server(fault) as server:
        ran = subject.run(server, database)
        if otherwise and not server.shared.faults:
            raise NotApplicable(otherwise)
        _suffered(server)
    if ran.result.reason in _UNTYPED or "towline-conformance" in ran.result.message:
        raise Failed(ran.told)
    _heals(subject, base, database)


def _heals(subject: Subject, base: Baseline, database: Path) -> None:
    with subject.server() as server:
        _same(subject, base, database, subject.run(server, database, mode="Full", uid="sync-9"))


def _same(subject: Subject, base: Baseline, database: Path, ran: Ran) -> None:
    if not ran.good:
        raise Failed(ran.told)
    if found := difference(base.rows, subject.rows(database)):
        raise Failed(found)


def _reads_pages(subject: Subject) -> None:
    if subject.spec.files is not None:
        raise NotApplicable("a report is one record; one that is none is a malformed body")


def _suffered(server: Server) -> None:
    if not server.shared.faults:
        raise Failed("no request met the fault: the simulator answers nothing that the manifest asks for")


def _refuses(subject: Subject, fault: Fault, otherwise: str) -> None:
    with subject.server(fault) as server:
        ran = subject.run(server, subject.database())
        if server.shared.astray:
            raise Failed("a request went to another host")
        if not server.shared.faults:
            raise NotApplicable(otherwise)
    if ran.good or ran.result.reason in _UNTYPED:
        raise Failed(f"being led to another host ends in {ran.told}")


def _killed(subject: Subject, server: Server, database: Path, number: int) -> None:
    """A run in a process of its own, which kills itself at a write."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            subject.run(server, database, writes=Writes(die_at=number))
        os._exit(0)
    _pid, status = os.waitpid(pid, 0)
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
        raise Failed(f"the run ended before its write {number}, which an undisturbed one makes")


CASES: dict[str, Case] = {
    "reads the same again": reads_twice,
    "auth failure": auth_failure,
    "permission missing": permission_missing,
    "429 with Retry-After": too_many_requests,
    "429 without": too_many_requests_untold,
    "500 then success": server_error,
    "time-out": time_out,
    "truncated body": truncated,
    "malformed body": malformed,
    "empty result": empty,
    "duplicate pages": duplicate_pages,
    "record that does not map": unmappable,
    "killed at each write": crash,
    "foreign next URL": foreign_link,
    "foreign redirect": foreign_redirect,
    "no secret in any output": secrets_kept,
}
"""In the order of the table; the last looks at what all others left."""
