"""Writers that are killed, that write at once, and volumes that are full."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.sinks.sinkdata import by_key, identity, open_session, row, rows_of

from towline_connectors.sinks.base import Batch, SinkError, StreamState, Written
from towline_connectors.sinks.sqlite import SqliteSink

ROOT = Path(__file__).parents[3]
SIZE = 40


def start_writer(target: str, integration: str, first: int, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.unit.sinks.writer", target, integration, str(first), str(count), str(SIZE)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def batches_of(target: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for key in by_key(target, "asset"):
        counts[key[:5]] = counts.get(key[:5], 0) + 1
    return counts


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_writer_leaves_whole_batches_and_their_checkpoint(target: str, seed: int) -> None:
    chance = random.Random(seed)
    start = 0
    for _ in range(4):
        with start_writer(target, "team/scanner", start, 10_000) as writer:
            assert writer.stdout is not None
            sure = start - 1
            for _ in range(chance.randint(1, 12)):
                sure = int(writer.stdout.readline())
            # Somewhere within the next batches: bytes of the pipe are the clock, not time.
            for _ in range(chance.randint(0, 3)):
                writer.stdout.read(1)
            writer.kill()
            told = [int(line) for line in writer.stdout.read().split() if line.isdigit()]
            sure = max([sure, *told[:-1]])
        found = batches_of(target)
        session = open_session(target, pod=f"pod-after-{start}")
        state = session.states()["assets"].cursor
        session.close()
        assert state is not None
        assert int(state) >= sure
        assert found == {f"{number:05}": SIZE for number in range(int(state) + 1)}
        start = int(state) + 1
    if not target.startswith("postgresql"):
        with contextlib.closing(sqlite3.connect(target)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_two_processes_write_at_once_and_nothing_is_lost(target: str) -> None:
    writers = [start_writer(target, f"team/{name}", 0, 60) for name in ("one", "other")]
    for writer in writers:
        output, _ = writer.communicate(timeout=300)
        assert writer.returncode == 0
        assert len(output.split()) == 60
    counts: dict[str, int] = {}
    for one in rows_of(target, "asset"):
        counts[one["integration"]] = counts.get(one["integration"], 0) + 1
    assert counts == {"team/one": 60 * SIZE, "team/other": 60 * SIZE}


class TestSqliteFile:
    @pytest.fixture
    def small_volume(self, tmp_path: Path) -> Iterator[Path]:
        folder = tmp_path / "volume"
        folder.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], check=False, capture_output=True
        )
        if mounted.returncode:
            pytest.skip("mounting a small volume needs root")
        try:
            yield folder
        finally:
            subprocess.run(["umount", str(folder)], check=True)

    def test_a_full_volume_is_told_with_its_cure_and_what_was_committed_stays(self, small_volume: Path) -> None:
        target = str(small_volume / "towline.db")
        session = open_session(target)
        committed = 0
        with pytest.raises(SinkError, match=r"The volume of .* is full.*Make the volume larger") as full:
            for seq in range(1, 1000):
                rows = [row("asset", f"{seq}-{n}", raw={"pad": "x" * 2000}) for n in range(50)]
                session.commit(Batch("assets", seq, rows={"asset": rows}, state=StreamState(cursor=str(seq))))
                committed = seq
        assert full.value.full
        assert full.value.transient
        session.close()
        subprocess.run(["mount", "-o", "remount,size=64m", str(small_volume)], check=True)
        after = open_session(target, pod="pod-2")
        assert after.states()["assets"].cursor == str(committed)
        assert len(rows_of(target, "asset")) == committed * 50
        assert after.commit(Batch("assets", 1, rows={"asset": [row("asset", "more")]})) == Written(1)
        after.close()

    def test_a_writer_that_holds_the_file_too_long_is_waited_for_and_then_named(self, tmp_path: Path) -> None:
        target = str(tmp_path / "towline.db")
        session = SqliteSink(target, busy_seconds=0.05).open("team/scanner", "scanner", identity(), "pod")
        with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(SinkError, match=r"locked by another process for more than 0\.05 s") as locked:
                session.commit(Batch("assets", 1, rows={"asset": [row("asset", "a")]}))
            assert locked.value.transient
            other.execute("ROLLBACK")
        assert session.commit(Batch("assets", 1, rows={"asset": [row("asset", "a")]})) == Written(1)

    @pytest.mark.parametrize(
        ("prepare", "words"),
        [
            (lambda path: path.parent.rmdir(), "The folder .* does not exist; make it"),
            (lambda path: path.mkdir(), "cannot be opened: it must be a file"),
            (lambda path: path.write_text("no database " * 200), "is no SQLite database"),
        ],
        ids=["no folder", "a folder", "another file"],
    )
    def test_a_path_that_cannot_be_used_is_told_with_its_cure(
        self, tmp_path: Path, prepare: object, words: str
    ) -> None:
        folder = tmp_path / "data"
        folder.mkdir()
        prepare(folder / "towline.db")  # type: ignore[operator]
        with pytest.raises(SinkError, match=words):
            open_session(str(folder / "towline.db"))

    def test_a_damaged_file_is_told(self, tmp_path: Path) -> None:
        target = tmp_path / "towline.db"
        session = open_session(str(target))
        session.commit(Batch("assets", 1, rows={"asset": [row("asset", f"a{n}") for n in range(2000)]}))
        session.close()
        data = bytearray(target.read_bytes())
        data[8192:] = os.urandom(len(data) - 8192)
        target.write_bytes(data)
        with pytest.raises(SinkError, match="is damaged; restore it") as damaged:
            open_session(str(target))
        assert not damaged.value.transient

    def test_a_volume_that_cannot_be_written_is_told(self, small_volume: Path) -> None:
        target = str(small_volume / "towline.db")
        open_session(target).close()
        subprocess.run(["mount", "-o", "remount,ro", str(small_volume)], check=True)
        with pytest.raises(SinkError, match=r"cannot be (written to|opened)"):
            open_session(target)
        with pytest.raises(SinkError, match=r"cannot be opened: it must be a file, in a folder"):
            open_session(str(small_volume / "new.db"))
