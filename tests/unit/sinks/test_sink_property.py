"""Whatever order, repetition and interruption: the rows are those of a simple model."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.postgres import Postgresql
from tests.unit.sinks.sinkdata import open_session, row, rows_of

from towline_connectors.sinks.base import Batch, StreamState, Superseded

KEYS = st.sampled_from("abcdef")
TIMES = st.one_of(st.none(), st.integers(1, 4))
ROWS = st.lists(st.tuples(KEYS, st.integers(1, 3), TIMES), max_size=6)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), ROWS, st.lists(KEYS, max_size=2)),
        st.tuples(st.just("repeat"), st.none(), st.none()),
        st.tuples(st.just("new attempt"), st.none(), st.none()),
        st.tuples(st.just("late"), ROWS, st.lists(KEYS, max_size=2)),
        st.tuples(st.just("fail"), ROWS, st.none()),
        st.tuples(st.just("scan"), ROWS, st.none()),
    ),
    max_size=12,
)


class Model:
    """The rows as they ought to be: key to (value, time, live)."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[int, int | None, bool]] = {}
        self.cursor: str | None = None

    def write(self, rows: list[tuple[str, int, int | None]], dead: list[str]) -> tuple[int, int]:
        newest: dict[str, tuple[int, int | None]] = {}
        for key, value, time in rows:
            known = newest.get(key)
            if known is None or time is None or known[1] is None or time >= known[1]:
                newest[key] = (value, time)
        changed = 0
        for key, (value, time) in newest.items():
            old = self.rows.get(key)
            if old is not None and time is not None and old[1] is not None and time < old[1]:
                continue
            changed += old is None or not old[2] or old[0] != value
            keeps = old is not None and old[2] and old[0] == value
            self.rows[key] = (value, old[1] if keeps and time is None and old else time, True)
        gone = {key for key in dead if key in self.rows and self.rows[key][2]}
        for key in gone:
            self.rows[key] = (*self.rows[key][:2], False)
        return changed, len(gone)

    def scan(self, shown: set[str]) -> int:
        gone = {key for key, (_, _, live) in self.rows.items() if live and key not in shown}
        for key in gone:
            self.rows[key] = (*self.rows[key][:2], False)
        return len(gone)


def made(rows: list[tuple[str, int, int | None]], scan: str | None = None) -> list[tuple[Any, ...]]:
    stamp = "2026-11-0{}T10:00:00.000Z"
    return [
        row("asset", key, hostname=f"h{value}", source_time=stamp.format(time) if time else None, scan=scan)
        for key, value, time in rows
    ]


def batch(seq: int, rows: list[tuple[str, int, int | None]], dead: list[str], cursor: str) -> Batch:
    return Batch("s", seq, rows={"asset": made(rows)}, tombstones={"asset": dead}, state=StreamState(cursor=cursor))


def check(target: str, steps: list[tuple[Any, ...]]) -> None:
    model = Model()
    attempt = 1
    session = open_session(target, attempt=attempt, pod="p1")
    stale = session
    last: tuple[Batch, tuple[int, int]] | None = None
    for seq, (what, rows, dead) in enumerate(steps, 1):
        if what == "write":
            one = batch(seq, rows, dead, str(seq))
            written = session.commit(one)
            expected = model.write(rows, dead)
            model.cursor = str(seq)
            last = (one, expected)
            assert (written.upserted, written.deleted) == expected
        elif what == "repeat" and last is not None:
            written = session.commit(last[0])
            assert (written.upserted, written.deleted) == last[1]
        elif what == "new attempt":
            attempt, stale, last = attempt + 1, session, None
            session = open_session(target, attempt=attempt, pod=f"p{attempt}")
        elif what == "late" and stale is not session:
            with pytest.raises(Superseded):
                stale.commit(batch(10_000 + seq, rows, dead, "late"))
        elif what == "fail":
            broken = batch(seq, rows, [], "broken")
            broken.rows["no-such-entity"] = [("k",)]
            with pytest.raises(KeyError):
                session.commit(broken)
        elif what == "scan":
            scan = f"scan-{seq}"
            shown = Batch("s", seq, rows={"asset": made(rows, scan)})
            assert session.commit(shown).upserted == model.write(rows, [])[0]
            state = StreamState(cursor=str(seq))
            written = session.finish_scan("s", ["asset"], scan, state, None)
            assert written.deleted == model.scan({key for key, _, _ in rows})
            model.cursor, last = str(seq), None
    found = {
        one["source_key"]: (int(one["hostname"][1:]), one["source_time"], one["deleted_time"] is None)
        for one in rows_of(target, "asset")
    }
    stamp = "2026-11-0{}T10:00:00.000Z"
    assert found == {
        key: (value, stamp.format(time) if time else None, live) for key, (value, time, live) in model.rows.items()
    }
    states = session.states()
    assert (states["s"].cursor if "s" in states else None) == model.cursor
    session.close()
    stale.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """Makes an empty destination for each example."""
    if request.param == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield lambda: str(Path(folder) / f"{secrets.token_hex(6)}.db")
        return
    server: Postgresql = request.getfixturevalue("postgresql")
    target = server.new_database()
    open_session(target).close()
    tables = "assets, towline_claims, towline_runs, towline_checkpoints, towline_batches"

    def emptied() -> str:
        server.execute_in(target, f"TRUNCATE {tables}")
        return target

    yield emptied


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
@example(steps=[("write", [("a", 1, None)], []), ("write", [("a", 1, 1)], [])])  # a time that becomes known counts
def test_rows_and_checkpoint_are_those_of_the_model(fresh: Callable[[], str], steps: list[tuple[Any, ...]]) -> None:
    check(fresh(), steps)
