"""Paging, exports, windows, deletions, crashes: what a stream does over one and several runs."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.unit.engine.plans import SECRETS, plan, rows, spec, sync, users
from tests.unit.engine.test_engine_run import people, serve_users
from tests.unit.engine.vendor import Vendor

from towline.api.conditions import Reason
from towline.contract import Plan, RunResult, StreamPlan, SyncIdentity
from towline_connectors.engine.run import Progress, run
from towline_connectors.sinks import open_sink
from towline_connectors.sinks.base import Batch, Session, Sink, SinkError, StreamState, Written

LIVE = "select source_key from users where deleted_time is null order by source_key"


def live(database: Path) -> list[str]:
    return [key for (key,) in rows(database, LIVE)]


# -- paging


def paged(vendor: Vendor, database: Path, paginate: dict[str, Any], **changes: Any) -> RunResult:
    return sync(plan(spec(vendor.url, [users(paginate=paginate, **changes)])), database)


def test_next_urls_relative_and_absolute(vendor: Vendor, database: Path) -> None:
    crowd = people(6)
    vendor.json("/users", {"items": crowd[:2], "next": "/p2?x=1"})
    vendor.json("/p2", {"items": crowd[2:4], "next": f"{vendor.url}/p3"})
    vendor.json("/p3", {"items": crowd[4:]})
    assert paged(vendor, database, {"kind": "NextURL", "from": "=next"}).reason is Reason.COMPLETED
    assert len(live(database)) == 6


def test_link_headers(vendor: Vendor, database: Path) -> None:
    crowd = people(4)
    link = f'<{vendor.url}/users>; rel="first", <{vendor.url}/p2?a=b,c>; rel="next"'
    vendor.json("/users", {"items": crowd[:2]}, Link=link)
    vendor.json("/p2", {"items": crowd[2:]}, Link=f'<{vendor.url}/users>; rel="first"')
    assert paged(vendor, database, {"kind": "LinkHeader"}).reason is Reason.COMPLETED
    assert len(live(database)) == 4


def test_cursors(vendor: Vendor, database: Path) -> None:
    crowd = people(5)

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        at = int(request.query.get("after", "0"))
        more = {"next": str(at + 2)} if at + 2 < len(crowd) else {"next": None}
        return web.json_response({"items": crowd[at : at + 2], **more})

    assert paged(vendor, database, {"kind": "Cursor", "from": "=next", "param": "after"}).reason is Reason.COMPLETED
    assert len(live(database)) == 5


def test_page_numbers(vendor: Vendor, database: Path) -> None:
    crowd = people(25)

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        at = (int(request.query["p"]) - 1) * int(request.query["n"])
        return web.json_response({"items": crowd[at : at + 10]})

    result = paged(vendor, database, {"kind": "Page", "param": "p", "limit": "n", "size": 10})
    assert result.reason is Reason.COMPLETED
    assert len(live(database)) == 25


def test_offsets_with_a_total_pass_over_rows_that_the_account_may_not_see(vendor: Vendor, database: Path) -> None:
    crowd = people(40)

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        at = int(request.query["offset"])
        seen = [one for one in crowd[at : at + 10] if int(one["id"][1:]) not in range(8, 33)]
        return web.json_response({"items": seen}, headers={"X-Total-Count": "40"})

    paginate = {"kind": "Offset", "offset": "offset", "limit": "limit", "size": 10, "total": "header:X-Total-Count"}
    assert paged(vendor, database, paginate).reason is Reason.COMPLETED
    assert len(live(database)) == 15


def test_a_system_that_gives_fewer_rows_than_asked_for_is_read_to_its_end(vendor: Vendor, database: Path) -> None:
    crowd = people(23)

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        at = int(request.query["offset"])
        return web.json_response({"items": crowd[at : at + 5], "total": 23})

    paginate = {"kind": "Offset", "offset": "offset", "limit": "limit", "size": 10, "total": "=total"}
    assert paged(vendor, database, paginate).reason is Reason.COMPLETED
    assert len(live(database)) == 23


@pytest.mark.parametrize(
    ("paginate", "says"),
    [
        ({"kind": "Offset", "offset": "offset", "size": 2}, "same page again"),
        ({"kind": "Cursor", "from": "=next", "param": "c"}, "same cursor again"),
        ({"kind": "NextURL", "from": "=self"}, "names itself"),
    ],
)
def test_paging_in_a_circle_is_noticed(vendor: Vendor, database: Path, paginate: dict[str, Any], says: str) -> None:
    vendor.json("/users", {"items": people(2), "next": "x", "self": f"{vendor.url}/users"})
    result = paged(vendor, database, paginate)
    assert result.reason is Reason.SCHEMA_MISMATCH
    assert says in result.message


def test_a_scroll_goes_on_under_the_same_id_until_nothing_comes(vendor: Vendor, database: Path) -> None:
    crowd = people(6)
    given = iter([crowd[0:2], crowd[2:4], crowd[4:6], []])

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        assert request.query.get("scroll", "first") in ("first", "s1")
        return web.json_response({"items": next(given), "scroll": "s1"})

    paginate = {"kind": "Cursor", "from": "=scroll", "param": "scroll", "until": "Empty"}
    assert paged(vendor, database, paginate).reason is Reason.COMPLETED
    assert len(live(database)) == 6


def test_a_scroll_that_gives_the_same_page_again_ends(vendor: Vendor, database: Path) -> None:
    vendor.json("/users", {"items": people(2), "scroll": "s1"})
    paginate = {"kind": "Cursor", "from": "=scroll", "param": "scroll", "until": "Empty"}
    assert paged(vendor, database, paginate).reason is Reason.COMPLETED
    assert len(live(database)) == 2


# -- windows


START = datetime(2026, 1, 10, tzinfo=UTC)


@dataclass
class Table:
    """A vendor's table that is read by time of change."""

    vendor: Vendor
    records: list[dict[str, Any]] = field(default_factory=list)
    since: list[str] = field(default_factory=list)

    def put(self, key: str, minute: int, **values: Any) -> None:
        self.records = [one for one in self.records if one["id"] != key]
        at = (START + timedelta(minutes=minute)).strftime("%Y-%m-%d %H:%M:%S")
        self.records.append({"id": key, "name": key, "mail": "m", "at": at, **values})
        self.records.sort(key=lambda one: (one["at"], one["id"]))

    def serve(self) -> None:
        @self.vendor.on("GET", "/users")
        async def handler(request: web.Request) -> web.Response:
            since, at, limit = request.query["since"], int(request.query["offset"]), int(request.query["limit"])
            self.since.append(since)
            found = [one for one in self.records if one["at"] >= since]
            return web.json_response({"items": found[at : at + limit]}, headers={"X-Total-Count": str(len(found))})


def changing(**sync_: Any) -> dict[str, Any]:
    return users(
        request={"path": "/users", "query": {"since": "${window.start}"}},
        sync={
            "mode": "Incremental",
            "cursor": "=ts(at)",
            "timeFormat": "%Y-%m-%d %H:%M:%S",
            "order": "Ascending",
            "deletes": {"completeScan": "OnFull"},
            **sync_,
        },
    )


def test_the_second_run_reads_only_what_changed_less_the_lookback(vendor: Vendor, database: Path) -> None:
    table = Table(vendor)
    table.serve()
    for n in range(25):
        table.put(f"u{n:02}", n)
    manifest = spec(vendor.url, [changing(lookback="5m")])
    first = sync(plan(manifest), database)
    assert (first.streams[0].read, first.streams[0].full) == (25, True)
    assert table.since[0] == "1970-01-01 00:00:00"
    assert first.streams[0].checkpoint == "2026-01-10T00:24:00.000Z"
    table.since.clear()
    table.put("u03", 30, name="renamed")
    second = sync(plan(manifest, uid="sync-2", created="2026-01-02T00:00:00Z"), database)
    assert table.since[0] == "2026-01-10 00:19:00"
    assert (second.streams[0].full, second.streams[0].read, second.streams[0].upserted) == (False, 7, 1)
    assert second.streams[0].deleted == 0, "a run that reads changes only never deletes what it does not see"


def test_the_integrations_lookback_wins(vendor: Vendor, database: Path) -> None:
    table = Table(vendor)
    table.serve()
    table.put("u1", 60)
    manifest = spec(vendor.url, [changing(lookback="5m")])
    sync(plan(manifest), database)
    own = [StreamPlan(name="users", lookback="1h")]
    sync(plan(manifest, streams=own, uid="s2", created="2026-01-02T00:00:00Z"), database)
    assert table.since[-1] == "2026-01-10 00:00:00"


@pytest.mark.parametrize(
    ("sync_", "start"),
    [
        ({"format": "Epoch", "timeFormat": None}, "1768005600"),
        ({"timeFormat": None}, "2026-01-10T00:40:00Z"),
        ({"format": "GeneralizedTime", "timeFormat": None}, "20260110004000.0Z"),
    ],
)
def test_the_window_is_written_as_the_vendor_wants_it(
    vendor: Vendor, database: Path, sync_: dict[str, Any], start: str
) -> None:
    table = Table(vendor)
    table.serve()
    table.put("u1", 40)
    stream = changing(**sync_)
    stream["sync"] = {key: value for key, value in stream["sync"].items() if value is not None}
    manifest = spec(vendor.url, [stream])
    sync(plan(manifest), database)
    sync(plan(manifest, uid="s2", created="2026-01-02T00:00:00Z"), database)
    if "Epoch" in sync_.values():
        start = str(int((START + timedelta(minutes=40)).timestamp()))
    assert table.since[-1] == start


def test_first_run_bounds_the_first_window(vendor: Vendor, database: Path) -> None:
    table = Table(vendor)
    table.serve()
    manifest = spec(vendor.url, [changing(firstRun="7d", deletes=None)])
    manifest["streams"][0]["sync"].pop("deletes")
    sync(plan(manifest), database, clock=lambda: START)
    assert table.since == ["2026-01-03 00:00:00"]


def test_a_full_pass_is_due_after_its_time_and_deletes_what_is_gone(vendor: Vendor, database: Path) -> None:
    table = Table(vendor)
    table.serve()
    for n in range(4):
        table.put(f"u{n}", n)
    manifest = spec(vendor.url, [changing(fullEvery="1d")])
    sync(plan(manifest), database, clock=lambda: START)
    table.records = [one for one in table.records if one["id"] != "u1"]
    early = START + timedelta(hours=23)
    sync(plan(manifest, uid="s2", created="2026-01-02T00:00:00Z"), database, clock=lambda: early)
    assert live(database) == ["u0", "u1", "u2", "u3"]
    late = START + timedelta(hours=25)
    result = sync(plan(manifest, uid="s3", created="2026-01-03T00:00:00Z"), database, clock=lambda: late)
    assert (result.streams[0].full, result.streams[0].deleted) == (True, 1)
    assert live(database) == ["u0", "u2", "u3"]


def test_records_out_of_the_promised_order_do_not_move_the_checkpoint_early(vendor: Vendor, database: Path) -> None:
    crowd = [{"id": f"u{n}", "name": "x", "at": f"2026-01-{20 - n:02}"} for n in range(15)]
    calls = {"n": 0}

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        at = int(request.query["offset"])
        calls["n"] += 1
        return web.json_response({"items": crowd[at : at + 10]}, status=400 if at else 200)

    result = sync(plan(spec(vendor.url, [changing()])), database)
    assert result.reason is Reason.CONFIG_INVALID
    assert result.streams[0].checkpoint is None


def test_a_record_from_the_future_does_not_hide_what_comes_after_it(vendor: Vendor, database: Path) -> None:
    table = Table(vendor)
    table.serve()
    table.put("u1", 60 * 24 * 365 * 50)
    result = sync(plan(spec(vendor.url, [changing()])), database, clock=lambda: START)
    assert result.streams[0].checkpoint == "2026-01-10T00:00:00.000Z"


# -- deletions


def test_a_complete_scan_deletes_what_it_does_not_show_and_a_row_that_returns_lives_again(
    vendor: Vendor, database: Path
) -> None:
    serve_users(vendor, people(5))
    manifest = spec(vendor.url, [users()])
    sync(plan(manifest), database)
    serve_users(vendor, people(3))
    assert sync(plan(manifest, uid="s2", created="2026-01-02T00:00:00Z"), database).streams[0].deleted == 2
    assert live(database) == ["u0", "u1", "u2"]
    serve_users(vendor, people(4))
    sync(plan(manifest, uid="s3", created="2026-01-03T00:00:00Z"), database)
    assert live(database) == ["u0", "u1", "u2", "u3"]


def test_the_guard_stops_a_deletion_that_is_too_large_to_be_true(vendor: Vendor, database: Path) -> None:
    serve_users(vendor, people(10))
    manifest = spec(vendor.url, [users()])
    sync(plan(manifest), database)
    serve_users(vendor, people(2))
    result = sync(plan(manifest, uid="s2", created="2026-01-02T00:00:00Z"), database)
    assert result.reason is Reason.POLICY_VIOLATION
    assert "8 of 10" in result.message
    assert len(live(database)) == 10
    own = [StreamPlan(name="users", max_delete_percent=90)]
    sync(plan(manifest, uid="s3", created="2026-01-03T00:00:00Z", streams=own), database)
    assert len(live(database)) == 2


@pytest.mark.parametrize("damage", ["page fails", "a record does not map"])
def test_a_scan_that_is_not_whole_deletes_nothing(vendor: Vendor, database: Path, damage: str) -> None:
    serve_users(vendor, people(15))
    manifest = spec(vendor.url, [users()])
    sync(plan(manifest), database)

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        if int(request.query["offset"]):
            return web.json_response({"items": []}, status=403 if damage == "page fails" else 200)
        crowd = people(10)
        if damage != "page fails":
            crowd[0] = {"id": None, "name": "x"}
        return web.json_response({"items": crowd})

    result = sync(plan(manifest, uid="s2", created="2026-01-02T00:00:00Z"), database)
    assert len(live(database)) == 15
    if damage != "page fails":
        assert "nothing was deleted" in result.message


def test_most_of_a_page_not_mapping_stops_the_stream_and_keeps_the_evidence(vendor: Vendor, database: Path) -> None:
    vendor.json("/users", {"items": [{"identifier": f"u{n}"} for n in range(20)]})
    stream = users(paginate={"kind": "None"})
    result = sync(plan(spec(vendor.url, [stream])), database)
    assert result.reason is Reason.SCHEMA_MISMATCH
    assert "20 of 20 records" in result.message
    assert "user.key" in result.message
    assert rows(database, "select count(*), min(reason) from towline_rejected")[0][0] == 20


# -- exports


@dataclass
class Exports:
    """A vendor with export jobs."""

    vendor: Vendor
    parts: dict[int, list[dict[str, Any]]]
    statuses: list[tuple[str, list[int]]] = field(default_factory=list)  # what each poll shows; the last stays
    created: int = 0
    fetched: list[tuple[str, int]] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    duplicate: str | None = None
    failed_part: int | None = None
    cancelled: list[str] = field(default_factory=list)

    def serve(self) -> dict[str, Any]:
        @self.vendor.on("POST", "/export")
        async def create(request: web.Request) -> web.Response:
            if self.duplicate:
                return web.json_response({"active": self.duplicate}, status=409)
            self.created += 1
            self.body = await request.json()
            return web.json_response({"uuid": f"job{self.created}"})

        async def handle(request: web.Request) -> web.StreamResponse:
            words = request.path.strip("/").split("/")
            if (request.method, request.path) in self.vendor.routes:
                return await self.vendor.routes[request.method, request.path](request)
            job = words[1]
            if job in self.lost:
                return web.json_response({}, status=404)
            if words[2] == "status":
                status, parts = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
                failed = [self.failed_part] if self.failed_part and job == "job1" else []
                return web.json_response({"status": status, "parts": parts, "failed": failed})
            if words[2] == "cancel":
                self.cancelled.append(job)
                return web.json_response({})
            self.fetched.append((job, int(words[3])))
            return web.json_response(self.parts[int(words[3])])

        plain = self.vendor.handle

        async def routed(request: web.Request) -> web.StreamResponse:
            if request.path.startswith("/export"):
                self.vendor.seen.append((request.method, request.path, dict(request.query)))
                return await handle(request)
            return await plain(request)

        self.vendor.handle = routed  # type: ignore[method-assign]
        errors = [
            {"when": {"status": [409]}, "class": "DuplicateJob", "jobID": "=active"},
            {"when": {"status": [404], "phase": ["Poll", "Fetch"]}, "class": "JobLost"},
        ]
        stream = {
            "name": "users",
            "export": {
                "create": {"path": "/export", "json": {"since": "=epoch(window.start)", "none": "=nothing"}},
                "jobID": "=uuid",
                "poll": {"path": "/export/${job.id}/status", "every": {"initial": "0s", "cap": "0s"}},
                "status": {"from": "=status", "running": ["RUN"], "done": ["DONE"], "failed": ["ERROR"]},
                "parts": "=parts",
                "failedParts": "=failed",
                "streamParts": True,
                "fetch": {"path": "/export/${job.id}/parts/${part}"},
                "cancel": {"path": "/export/${job.id}/cancel"},
            },
            "sync": {
                "mode": "Incremental",
                "cursor": "job_created_at",
                "lookback": "1h",
                "deletes": {"completeScan": "OnFull"},
            },
            "emit": users()["emit"],
        }
        return spec("", [stream], errors=errors)


@pytest.fixture
def exports() -> Any:
    from tests.unit.engine.vendor import serving

    crowd = people(30)
    found = Exports(Vendor(), {1: crowd[:10], 2: crowd[10:20], 3: crowd[20:]})
    found.statuses = [("QUEUED", []), ("RUN", [1]), ("RUN", [1, 2]), ("DONE", [1, 2, 3])]
    manifest = found.serve()
    with serving(found.vendor) as vendor:
        manifest["http"]["baseURL"] = vendor.url
        yield found, manifest


def test_an_export_is_read_part_by_part_while_it_runs(exports: tuple[Exports, dict[str, Any]], database: Path) -> None:
    vendor, manifest = exports
    result = sync(plan(manifest), database, clock=lambda: START)
    assert result.reason is Reason.COMPLETED, result.message
    assert [part for _job, part in vendor.fetched] == [1, 2, 3]
    assert len(live(database)) == 30
    assert result.streams[0].checkpoint == "2026-01-10T00:00:00.000Z"
    assert vendor.body == {"since": 0}, "null members are left out"
    vendor.statuses = [("DONE", [])]
    sync(plan(manifest, uid="s2", created="2026-01-02T00:00:00Z"), database, clock=lambda: START + timedelta(days=1))
    assert vendor.body == {"since": int((START - timedelta(hours=1)).timestamp())}
    assert len(live(database)) == 30, "an empty export of changes deletes nothing"


def test_a_job_that_the_vendor_forgot_is_made_anew(exports: tuple[Exports, dict[str, Any]], database: Path) -> None:
    vendor, manifest = exports
    vendor.lost = {"job1"}
    assert sync(plan(manifest), database).reason is Reason.COMPLETED
    assert vendor.created == 2
    assert len(live(database)) == 30


def test_a_part_that_the_vendor_could_not_make_makes_the_job_anew(
    exports: tuple[Exports, dict[str, Any]], database: Path
) -> None:
    vendor, manifest = exports
    vendor.failed_part = 3
    assert sync(plan(manifest), database).reason is Reason.COMPLETED
    assert vendor.created == 2


def test_a_job_that_always_fails_ends_as_transient_after_bounded_tries(
    exports: tuple[Exports, dict[str, Any]], database: Path
) -> None:
    vendor, manifest = exports
    vendor.statuses = [("ERROR", [])]
    result = sync(plan(manifest), database)
    assert result.reason is Reason.UNREACHABLE
    assert vendor.created == 3


def test_an_equal_job_that_runs_already_is_adopted_and_does_not_move_the_checkpoint(
    exports: tuple[Exports, dict[str, Any]], database: Path
) -> None:
    vendor, manifest = exports
    vendor.duplicate = "job7"
    result = sync(plan(manifest), database)
    assert result.reason is Reason.COMPLETED, result.message
    assert {job for job, _part in vendor.fetched} == {"job7"}
    assert result.streams[0].checkpoint is None


def test_a_job_whose_parts_cannot_be_used_is_cancelled(exports: tuple[Exports, dict[str, Any]], database: Path) -> None:
    vendor, manifest = exports
    vendor.parts[2] = {"oops": 1}  # type: ignore[assignment]
    manifest["streams"][0]["records"] = "=items"
    assert sync(plan(manifest), database).reason is Reason.SCHEMA_MISMATCH
    assert vendor.cancelled == ["job1"]


# -- crashes


class Killed(BaseException):
    """As if the process had died: nothing of the engine catches it."""


@dataclass
class Fragile:
    """A destination whose process dies at the n-th commit, before or after it was made."""

    inner: Sink
    left: int
    after: bool
    died: bool = False

    def open(self, integration: str, connector: str, sync: SyncIdentity, pod_uid: str) -> Session:
        return FragileSession(self, self.inner.open(integration, connector, sync, pod_uid))


class FragileSession:
    def __init__(self, sink: Fragile, inner: Session) -> None:
        self.sink, self.inner = sink, inner

    def _maybe(self, call: Any) -> Any:
        self.sink.left -= 1
        if self.sink.left:
            return call()
        if self.sink.after:
            call()
        self.sink.died = True
        raise Killed

    def states(self) -> dict[str, StreamState]:
        return self.inner.states()

    def commit(self, batch: Batch) -> Written:
        written: Written = self._maybe(lambda: self.inner.commit(batch))
        return written

    def finish_scan(self, *arguments: Any) -> Written:
        written: Written = self._maybe(lambda: self.inner.finish_scan(*arguments))
        return written

    def finish(self, result: RunResult) -> None:
        self.inner.finish(result)

    def close(self) -> None:
        self.inner.close()


def crash_and_resume(make: Any, database: Path, left: int, after: bool) -> bool:
    """Run until the crash, then the next attempt. Returns whether the crash came before the end."""
    fragile = Fragile(open_sink(str(database)), left, after)
    with suppress(Killed):
        run(make(1), SECRETS, fragile, pod_uid="pod-1")
    result = run(make(2), SECRETS, open_sink(str(database)), pod_uid="pod-2")
    assert result.reason is Reason.COMPLETED, result.message
    return fragile.died


COLUMNS = "source_key, name, email_addr, deleted_time is null"


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_commit_of_a_table_the_next_attempt_ends_with_the_same_rows(
    vendor: Vendor, tmp_path: Path, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towline_connectors.engine.writer.MAX_RECORDS", 7)
    table = Table(vendor)
    table.serve()
    for n in range(33):
        table.put(f"u{n:02}", n)
    manifest = spec(vendor.url, [changing()])
    expected: list[Any] | None = None
    for left in range(1, 40):
        database = tmp_path / f"{left}.db"
        old = sync(plan(manifest, uid="s0", created="2025-01-01T00:00:00Z"), database)
        assert old.reason is Reason.COMPLETED
        gone = table.records.pop(5)
        table.put("u40", 40)
        make = lambda attempt: plan(manifest, mode="Full", attempt=attempt)  # noqa: E731
        died = crash_and_resume(make, database, left, after)
        found = rows(database, f"select {COLUMNS} from users order by 1")
        table.records = [one for one in table.records if one["id"] != "u40"]
        table.records.append(gone)
        table.records.sort(key=lambda one: (one["at"], one["id"]))
        expected = expected or found
        assert found == expected, f"killed at commit {left}"
        if not died:
            break
    else:
        raise AssertionError("the run never came to its end")
    assert expected is not None
    assert sum(alive for *_rest, alive in expected) == 33
    assert left > 4


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_commit_of_an_export_the_next_attempt_goes_on_with_the_same_job(
    exports: tuple[Exports, dict[str, Any]], tmp_path: Path, after: bool
) -> None:
    vendor, manifest = exports
    script = list(vendor.statuses)
    for left in range(1, 20):
        vendor.statuses, vendor.fetched, vendor.created = list(script), [], 0
        database = tmp_path / f"{left}.db"
        died = crash_and_resume(lambda attempt: plan(manifest, attempt=attempt), database, left, after)
        assert len(live(database)) == 30, f"killed at commit {left}"
        if 1 < left < 5 or (left == 1 and after):
            assert vendor.created == 1, f"killed at commit {left}"
        if not died:
            break
    else:
        raise AssertionError("the run never came to its end")
    assert left > 4


def test_done_parts_are_not_fetched_again(exports: tuple[Exports, dict[str, Any]], database: Path) -> None:
    vendor, manifest = exports
    crash_and_resume(lambda attempt: plan(manifest, attempt=attempt), database, 4, True)
    assert [part for _job, part in vendor.fetched].count(1) == 1


# -- the destination


class Failing:
    def __init__(self, error: SinkError) -> None:
        self.error = error

    def open(self, *_arguments: Any) -> Session:
        raise self.error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SinkError("The volume is full.", full=True), Reason.DESTINATION_FULL),
        (SinkError("locked"), Reason.DESTINATION_UNAVAILABLE),
        (SinkError("no database", transient=False), Reason.CONFIG_INVALID),
    ],
)
def test_a_destination_that_cannot_be_used(vendor: Vendor, error: SinkError, reason: Reason) -> None:
    result = run(plan(spec(vendor.url, [users()])), SECRETS, Failing(error))
    assert (result.reason, result.message) == (reason, str(error))


def test_an_older_sync_is_superseded(vendor: Vendor, database: Path) -> None:
    serve_users(vendor, people(3))
    manifest = spec(vendor.url, [users()])
    sync(plan(manifest, uid="new", created="2026-02-01T00:00:00Z"), database)
    result = sync(plan(manifest, uid="old", created="2026-01-01T00:00:00Z"), database)
    assert result.reason is Reason.SUPERSEDED


def test_a_bug_is_called_a_bug_and_shows_no_traceback(vendor: Vendor, database: Path) -> None:
    class Broken:
        def open(self, *_arguments: Any) -> Session:
            raise ZeroDivisionError("tok-123")

    result = run(plan(spec(vendor.url, [users()])), SECRETS, Broken())
    assert result.reason is Reason.CONNECTOR_BUG
    assert "ZeroDivisionError" in result.message
    assert "tok-123" not in result.message


def test_the_deadline_ends_a_run_and_what_was_read_stays(vendor: Vendor, database: Path) -> None:
    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        at = int(request.query["offset"])
        return web.json_response({"items": [{"id": f"u{at + n}", "name": "x"} for n in range(10)]})

    endless: Plan = plan(spec(vendor.url, [users()]), deadline_seconds=2)
    result = sync(endless, database)
    assert result.reason is Reason.DEADLINE_EXCEEDED
    assert len(live(database)) == result.streams[0].read > 0


def test_progress_is_told_while_a_stream_is_read(
    vendor: Vendor, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towline_connectors.engine.writer.MAX_RECORDS", 10)
    serve_users(vendor, people(35))
    seen: list[Progress] = []
    sync(plan(spec(vendor.url, [users()])), database, progress=seen.append)
    assert [one.read for one in seen if one.stream][:3] == [0, 10, 20]
    assert seen[-1].read == 35
