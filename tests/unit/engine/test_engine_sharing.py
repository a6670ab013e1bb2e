"""Mapping on two processors comes to the same rows, checkpoints and refusals as mapping on one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.engine.plans import plan, rows, spec, sync
from tests.unit.engine.vendor import Vendor

from towline.api.conditions import Reason
from towline.api.manifest import Stream
from towline.contract import StreamPlan
from towline_connectors.engine import apart, mapping, serving, window, wire, writer
from towline_connectors.engine.compile import CompiledStream, compile_stream
from towline_connectors.engine.errors import EngineError
from towline_connectors.engine.sharing import MAX_PARTS, Begin, Held, Helper, Mapped, Pace, can_share
from towline_connectors.engine.source import Origin, Page
from towline_connectors.engine.writer import StreamWriter, Tally
from towline_connectors.sinks.base import Batch, StreamState, Written


def findings(**changes: Any) -> dict[str, Any]:
    """Findings that name assets, whose state changes from one finding to the next."""
    return {
        "name": "findings",
        "request": {"path": "/f"},
        "records": "=items",
        "paginate": {"kind": "Offset", "offset": "offset", "limit": "limit", "size": 40},
        "sync": {"mode": "Incremental", "cursor": "=ts(seen)", "order": "Ascending"},
        "emit": [
            {"entity": "asset", "key": "=asset", "fields": {"hostname": "=host"}},
            {"entity": "vulnerability", "key": "=cve", "fields": {"title": "=title", "cvss_score": "=score"}},
            {
                "entity": "asset_vulnerability",
                "key": "=id",
                "fields": {
                    "asset": {"ref": "asset", "key": "=asset"},
                    "vulnerability": {"ref": "vulnerability", "key": "=cve"},
                    "last_observed_time": "=seen",
                },
            },
        ],
        **changes,
    }


def compiled(**changes: Any) -> CompiledStream:
    stream = findings(**changes)
    manifest = spec("https://a.example", [stream])
    return compile_stream(Stream.model_validate(stream), StreamPlan(name="findings"), plan(manifest))


class Pair(apart.SessionApart):
    """Both sides in one process: what the other one would be sent goes through the same encoding."""

    def __init__(self, stream: CompiledStream) -> None:
        self._helper = Helper({stream.name: stream.map})
        self._answers: list[Any] = []
        self.idle = 0.0
        self.batches: list[Batch] = []
        self.parts = 0

    @property
    def waited(self) -> float:
        return 0.0

    def map(self, stream: str, begin: Begin | None, text: bytes, about: tuple[str, str]) -> None:
        self.parts += 1
        self._answers.append(self._helper.map(stream, begin, text, about))

    def mapped(self) -> Mapped:
        answer: Mapped = self._answers.pop(0)
        return answer

    def begin(self, batch: Batch, held: Held | None = None) -> Callable[[], Written]:
        arguments = (*wire.flat(batch), None if held is None else tuple(held))
        answer = serving.commit(self, self._helper, arguments)
        return lambda: Written(*answer)

    def commit(self, batch: Batch) -> Written:
        self.batches.append(batch)
        return Written()


class Alone:
    """A session that only remembers."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def commit(self, batch: Batch) -> Written:
        self.batches.append(batch)
        return Written()


def outcome(
    stream: CompiledStream, pages: list[list[Any]], session: Any, parts: list[int] | None = None
) -> tuple[Any, ...]:
    """What a stream comes to: rows by key, the last checkpoint, what was rejected, how it ended."""
    decision = window.decide(
        stream.spec.sync, stream.plan, StreamState(), Origin(), asked_full=False, run_id="r",
        now=datetime.fromisoformat("2026-06-01T00:00:00+00:00"),
    )  # fmt: skip
    told: list[Tally] = []
    made = StreamWriter(stream, decision, Origin(), StreamState(), session, "r", told.append)
    ended = None
    try:
        for number, records in enumerate(pages):
            if parts is not None and made._sharing is not None:
                made._sharing.pace.parts = parts[number % len(parts)]
            made.page(Page(records))
        made.finish()
    except EngineError as error:
        ended = str(error)
    final: dict[str, dict[str, Any]] = {}
    for batch in session.batches:
        for name, found in batch.rows.items():
            final.setdefault(name, {}).update((row[0], row) for row in found)
    rejected = [one for batch in session.batches for one in batch.rejected]
    states = [batch.state and batch.state.cursor for batch in session.batches if batch.rows]
    return final, states, rejected, made.checkpoint, made.tally.read, made.tally.rejected, ended


def finding(number: int, asset: int, host: int, cve: int, day: int, good: bool) -> dict[str, Any]:
    return {
        "id": f"f{number}",
        "asset": f"a{asset}",
        "host": f"host-{host}",
        "cve": f"CVE-{cve}" if good else None,
        "title": f"Flaw {cve}",
        "score": 1.5 * cve,
        "seen": f"2026-05-{day:02d}T00:00:00.000Z",
    }


FINDINGS = st.builds(
    finding,
    number=st.integers(0, 60),
    asset=st.integers(0, 3),
    host=st.integers(0, 2),
    cve=st.integers(0, 3),
    day=st.sampled_from([1, 2, 3, 3, 3, 4]),
    good=st.sampled_from([True, True, True, True, False]),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(FINDINGS, max_size=30), max_size=8),
    st.lists(st.integers(0, 4), min_size=1, max_size=4),
    st.sampled_from([3, 20_000]),
    st.sampled_from(["Ascending", None]),
)
def test_shared_mapping_comes_to_what_mapping_alone_comes_to(
    pages: list[list[Any]], parts: list[int], remembered: int, order: str | None
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "MAX_RECORDS", 12)
        patch.setattr(writer, "STEP", 3)
        patch.setattr(mapping, "SEEN_ROWS", remembered)
        patch.setattr(Pace, "learn", lambda *_measures: None)
        sync_ = {"mode": "Incremental", "cursor": "=ts(seen)", **({"order": order} if order else {})}
        stream = compiled(sync=sync_)
        alone, shared = Alone(), Pair(stream)
        assert outcome(stream, pages, shared, parts) == outcome(stream, pages, alone)


def test_what_is_passed_over_here_after_it_changed_there_stands_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_RECORDS", 4)
    monkeypatch.setattr(writer, "STEP", 2)
    monkeypatch.setattr(Pace, "learn", lambda *_measures: None)
    stream = compiled()
    session = Pair(stream)
    hosts = [[0, 0, 0, 0], [1, 1, 0, 0]]  # in the second batch the first two, which go there, say otherwise
    pages = [[finding(4 * at + n, 7, host, 1, 1, True) for n, host in enumerate(page)] for at, page in enumerate(hosts)]
    final = outcome(stream, pages, session, [1])[0]
    assert session.parts == 2
    assert final["asset"]["a7"][1:3].count("host-0") == 1
    assert [len(batch.rows.get("asset", [])) for batch in session.batches][:2] == [1, 0]


def test_a_record_that_does_not_map_says_nothing_of_what_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_RECORDS", 4)
    monkeypatch.setattr(writer, "STEP", 2)
    monkeypatch.setattr(Pace, "learn", lambda *_measures: None)
    stream = compiled()
    hosts = [[0, 0, 0, 2], [0, 0, 2]]  # the last one, which is mapped here, is rejected
    pages = [[finding(4 * at + n, 7, host, 1, 1, True) for n, host in enumerate(page)] for at, page in enumerate(hosts)]
    pages[1][-1]["cve"] = None
    final = outcome(stream, pages, Pair(stream), [1])[0]
    assert final["asset"]["a7"][1:3].count("host-0") == 1


def test_records_that_json_would_change_are_mapped_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "STEP", 2)
    stream = compiled()
    session = Pair(stream)
    records = [finding(n, n, 0, 1, 1, True) | {"seen": datetime(2026, 5, 1), "blob": b"\xff"} for n in range(4)]
    outcome(stream, [records], session, [3])
    assert session.parts == 0
    assert sum(batch.read for batch in session.batches) == 4


def test_streams_with_tombstones_or_lists_are_mapped_in_one_place() -> None:
    assert can_share(compiled().map)
    mortal = {"mode": "Incremental", "cursor": "=ts(seen)", "deletes": {"tombstone": "=gone"}}
    assert not can_share(compiled(sync=mortal).map)
    lists = [*findings()["emit"][1:], {"entity": "asset", "forEach": "=assets", "key": "=item.id", "fields": {}}]
    assert not can_share(compiled(emit=lists).map)


@pytest.mark.parametrize(
    ("starved", "waited", "idle", "parts"),
    [
        (0.0, 0.0, 0.5, 3),  # it has nothing to do for half of the time
        (0.0, 0.3, 0.0, 1),  # it is waited for
        (0.0, 0.02, 0.1, 2),  # both are busy
        (0.5, 0.0, 0.9, 1),  # the vendor is slow: nothing is won
    ],
)
def test_the_other_process_gets_more_while_it_is_idle_and_less_when_it_is_late(
    starved: float, waited: float, idle: float, parts: int
) -> None:
    pace = Pace(2)
    pace.learn(1.0, starved, waited, idle)
    assert pace.parts == parts


def test_the_share_stays_within_bounds() -> None:
    pace = Pace()
    for _ in range(20):
        pace.learn(1.0, 0.0, 0.0, 0.9)
    assert pace.parts == MAX_PARTS
    for _ in range(20):
        pace.learn(1.0, 0.0, 0.9, 0.0)
    assert pace.parts == 0


def test_two_processes_that_both_have_much_to_say_do_not_wait_for_each_other() -> None:
    here, there = socket.socketpair()
    sink = apart.SinkApart.__new__(apart.SinkApart)
    sink._socket, sink._inbox, sink.waited = here, bytearray(), 0.0
    big = b"x" * (4 << 20)

    def other() -> None:
        wire.put(there, (True, big))
        assert wire.take(there, bytearray()) == ("map", (big,))
        wire.put(there, (True, 2))

    thread = threading.Thread(target=other)
    thread.start()
    sink.send("map", big)
    assert sink.receive() == big
    assert sink.receive() == 2
    thread.join()
    here.close()
    there.close()


def test_a_run_in_two_processes_that_share_the_mapping_ends_with_the_same_rows(
    vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_RECORDS", 60)
    monkeypatch.setattr(writer, "STEP", 10)
    monkeypatch.setattr(Pace, "learn", lambda self, *_measures: setattr(self, "parts", 3))
    records = [finding(n, n * 7 % 11, n // 50 % 3, n * 3 % 5, n // 40 + 1, n % 17 != 0) for n in range(700)]

    @vendor.on("GET", "/f")
    async def handler(request: web.Request) -> web.Response:
        at = int(request.query["offset"])
        return web.json_response({"items": records[at : at + 40]})

    handed: list[int] = []
    monkeypatch.setattr(apart.SessionApart, "map", counting(apart.SessionApart.map, handed))
    results = [
        sync(plan(spec(vendor.url, [findings()])), tmp_path / name, apart=apart_)
        for name, apart_ in (("a.db", False), ("b.db", True))
    ]
    assert [one.reason for one in results] == [Reason.COMPLETED] * 2
    assert len(handed) > 20
    told = [[(s.read, s.rejected, s.checkpoint) for s in one.streams] for one in results]
    assert told[0] == told[1]
    for table in ("assets", "vulnerabilities", "asset_vulnerabilities"):
        query = f"select source_key, uid, content_hash, source_time, raw from {table} order by 1"
        assert rows(tmp_path / "a.db", query) == rows(tmp_path / "b.db", query)
    query = "select source_key, reason from towline_rejected order by id"
    assert rows(tmp_path / "a.db", query) == rows(tmp_path / "b.db", query)


def counting(call: Any, calls: list[int]) -> Any:
    def counted(self: Any, *arguments: Any) -> Any:
        calls.append(1)
        return call(self, *arguments)

    return counted
