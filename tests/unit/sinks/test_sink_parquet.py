"""The lake: heads and parts, in a folder and in a bucket. That rows become what they should, test_sink_rows tells."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from tests.moto import Moto, moto  # noqa: F401
from tests.unit.sinks.sinkdata import INTEGRATION, by_key, live, open_session, row, rows_of

from towline.api.conditions import Reason
from towline.contract import RunResult
from towline_connectors.sinks import describe, open_sink, query
from towline_connectors.sinks.base import Batch, SinkError, StreamState, Superseded
from towline_connectors.sinks.parquet import log, open_lake, s3, session
from towline_connectors.sinks.parquet.objects import Objects

# In a process of its own: at the end of one that ran thousands of tests, its binding complains of leaks by the hundred.
DUCKDB = """
import duckdb, json, sys
db = duckdb.connect()
json.dump([db.execute(each).fetchall() for each in sys.argv[1:]], sys.stdout)
"""


@pytest.fixture(params=["folder", "bucket"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return f"parquet:///{tmp_path / 'lake'}"
    server: Moto = request.getfixturevalue("moto")
    server.reset()
    server.make_bucket("lake")
    return f"s3://AKIA:a%2Fb@lake/some/place?endpoint={server.url}&region=eu-central-1"


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return f"parquet:///{tmp_path / 'lake'}"


@pytest.fixture
def objects(folder: str) -> Iterator[Objects]:
    found = open_lake(folder)
    yield found
    found.close()


def batch(seq: int, *keys: str, cursor: str | None = None, job: dict[str, Any] | None = None, **fields: Any) -> Batch:
    rows = [row("asset", key, **fields) for key in keys]
    return Batch("assets", seq, rows={"asset": rows}, state=StreamState(cursor=cursor, job=job))


def test_rows_and_checkpoint_are_there_for_the_next_run(lake: str) -> None:
    first = open_session(lake)
    first.commit(batch(1, "a", "b", cursor="1", hostname="h"))
    first.close()
    second = open_session(lake, uid="sync-2")
    assert second.states()["assets"].cursor == "1"
    written = second.commit(batch(1, "b", "c", cursor="2", hostname="h"))
    assert written.upserted == 1
    second.close()
    assert live(lake, "asset") == {"a", "b", "c"}
    assert query.tables(lake)[0].live == 3


def test_a_writer_that_was_replaced_leaves_nothing(lake: str) -> None:
    old = open_session(lake, attempt=1)
    old.commit(batch(1, "a", cursor="1"))
    new = open_session(lake, attempt=2)
    new.commit(batch(1, "b", cursor="2"))
    new.close()
    with pytest.raises(Superseded, match="attempt 2 took over"):
        old.close()
    assert live(lake, "asset") == {"b"}
    with pytest.raises(Superseded, match="attempt 2, which is newer"):
        open_session(lake, attempt=1)
    found = open_lake(lake)
    counted = {part.path for part in log.newest(found, INTEGRATION).parts}
    assert set(found.list("data/")) == counted


def test_a_change_of_an_export_job_is_published_before_the_commit_returns(folder: str) -> None:
    writing = open_session(folder)
    writing.commit(batch(1, "a", cursor="1"))
    assert live(folder, "asset") == set()
    writing.commit(batch(2, "b", cursor="1", job={"id": "j1"}))
    assert live(folder, "asset") == {"a", "b"}
    assert rows_of(folder, "towline_checkpoints")[0]["job"] == {"id": "j1"}


WRITER = """
import os, signal, sys
from tests.unit.sinks.sinkdata import open_session
from tests.unit.sinks.test_sink_parquet import batch
from towline_connectors.sinks.parquet import log, objects

step, target = sys.argv[1:]
writing = open_session(target)
writing.commit(batch(1, "a", "b", cursor="1", job={"id": "1"}))

def die(*_given):
    os.kill(os.getpid(), signal.SIGKILL)

if step == "before the part":
    objects.Folder.upload = die
elif step == "before the head":
    log.commit = die
elif step == "after the head":
    session_commit = log.commit
    log.commit = lambda *given: session_commit(*given) and die()
writing.commit(batch(2, "c", "d", cursor="2", job={"id": "2"}))
"""


@pytest.mark.parametrize(
    ("step", "cursor"), [("before the part", "1"), ("before the head", "1"), ("after the head", "2")]
)
def test_a_kill_anywhere_leaves_rows_and_checkpoint_of_one_head(
    folder: str, objects: Objects, tmp_path: Path, step: str, cursor: str
) -> None:
    command = [sys.executable, "-c", WRITER, step, folder]
    scratch = {**os.environ, "TMPDIR": str(tmp_path)}  # what a killed process leaves shall go with the test
    done = subprocess.run(command, cwd=Path(__file__).parents[3], timeout=60, env=scratch)
    assert done.returncode == -signal.SIGKILL
    expected = {"a", "b"} if cursor == "1" else {"a", "b", "c", "d"}
    assert live(folder, "asset") == expected
    resumed = open_session(folder, attempt=2)
    assert resumed.states()["assets"].cursor == cursor
    assert set(objects.list("data/")) == {part.path for part in log.newest(objects, INTEGRATION).parts}
    resumed.commit(batch(1, "c", "d", cursor="2"))
    resumed.close()
    assert live(folder, "asset") == {"a", "b", "c", "d"}


def test_many_parts_become_one_at_the_end_and_the_old_ones_stay_for_readers_for_a_while(
    folder: str, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "PUBLISH_SECONDS", 0)
    writing = open_session(folder)
    for number in range(1, session.MOST_PARTS + 1):
        writing.commit(batch(number, "always", f"k{number}", hostname=f"h{number}"))
    writing.finish(RunResult(sync_uid="sync-1", attempt=1, pod_uid="pod-1", reason=Reason.COMPLETED))
    writing.close()
    head = log.newest(objects, INTEGRATION)
    assert [part.rows for part in head.parts if part.table == "assets"] == [session.MOST_PARTS + 1]
    assert [part.rows for part in head.parts if part.table != "assets"] == [1]  # the record of the run
    assert len(head.stale) == session.MOST_PARTS
    assert len(list(objects.list("data/"))) == session.MOST_PARTS + 2
    assert by_key(folder, "asset")["always"]["hostname"] == f"h{session.MOST_PARTS}"
    assert rows_of(folder, "towline_runs")[0]["reason"] == "Completed"
    monkeypatch.setattr(session, "STALE_SECONDS", -1)
    open_session(folder, uid="sync-2").close()
    assert len(list(objects.list("data/"))) == 2
    assert len(live(folder, "asset")) == session.MOST_PARTS + 1


def test_old_heads_are_removed(folder: str, objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PUBLISH_SECONDS", 0)
    monkeypatch.setattr(log, "KEPT_HEADS", 3)
    writing = open_session(folder)
    for number in range(1, 9):
        writing.commit(batch(number, f"k{number}"))
    assert len(list(objects.list("log/"))) == 4
    assert len(live(folder, "asset")) == 8


def test_duckdb_reads_the_present_rows_with_plain_sql(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PUBLISH_SECONDS", 0)
    for name in ("team/one", "team/two"):
        writing = open_session(folder, integration=name)
        seen = "2026-10-31T23:59:59.123Z"
        writing.commit(batch(1, "a", "b", hostname="old", ip=["10.0.0.1"], last_observed_time=seen))
        writing.commit(batch(2, "a", hostname="new", raw={"id": 7}))
        writing.commit(Batch("assets", 3, tombstones={"asset": ["b"]}))
        writing.close()
    path = folder.removeprefix("parquet:///")
    text = (Path(__file__).parents[3] / "docs" / "data-model.md").read_text()
    documented = text.partition("```sql\n-- duckdb\n")[2].partition("```")[0]
    statements = [
        documented.replace("/data/lake", path),
        "SELECT integration, source_key, hostname, raw->>'id' FROM live_assets ORDER BY 1",
        "SELECT typeof(last_observed_time), typeof(ip) FROM live_assets LIMIT 1",
    ]
    command = [sys.executable, "-c", DUCKDB, *statements]
    _, found, types = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert found == [["team/one", "a", "new", "7"], ["team/two", "a", "new", "7"]]
    assert types == [["TIMESTAMP WITH TIME ZONE", "VARCHAR[]"]]


def test_a_column_that_an_entity_gained_is_empty_in_older_parts(folder: str, objects: Objects) -> None:
    first = open_session(folder)
    first.commit(batch(1, "a", hostname="h", serial="s1"))
    first.close()
    (part,) = log.newest(objects, INTEGRATION).parts
    file = Path(folder.removeprefix("parquet:///")) / part.path
    parquet.write_table(parquet.read_table(file).drop_columns(["serial"]), file)
    second = open_session(folder, uid="sync-2")
    second.commit(batch(1, "b", hostname="h", serial="s2"))
    second.close()
    assert {key: one["serial"] for key, one in by_key(folder, "asset").items()} == {"a": None, "b": "s2"}


def test_a_lake_of_a_newer_version_is_left_alone(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "FORMAT", 2)
    open_session(folder).close()
    monkeypatch.undo()
    with pytest.raises(SinkError, match="written by a newer Towline"):
        open_session(folder)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("parquet://", "names no folder"),
        ("s3://", "the bucket is missing"),
        ("s3://k:s@b/p?regoin=x", "regoin is no option"),
        ("s3://k:s@b?endpoint=minio:9000", "endpoint is no http"),
        ("s3://[", "cannot be read"),
    ],
)
def test_an_address_that_cannot_be_used_is_told_without_the_secret(address: str, told: str) -> None:
    with pytest.raises(SinkError, match=told) as refused:
        open_sink(address)
    assert "k:s" not in str(refused.value)
    assert not refused.value.transient


def test_keys_come_from_the_environment_where_the_url_has_none() -> None:
    environment = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"}
    bucket = s3.parse("s3://lake/a/b/", environment | {"AWS_REGION": "eu-west-1"})
    assert bucket == s3.Bucket("lake", "a/b/", "eu-west-1", "https://s3.eu-west-1.amazonaws.com", "k", "s", "t")
    with pytest.raises(SinkError, match="no access key"):
        s3.parse("s3://lake", {})


def test_a_bucket_that_is_not_there_is_told_and_the_secret_never_shown(moto: Moto) -> None:  # noqa: F811
    target = f"s3://AKIA:hidden@nowhere?endpoint={moto.url}"
    with pytest.raises(SinkError, match="There is no bucket nowhere") as refused:
        open_session(target)
    assert not refused.value.transient
    assert describe(target) == "s3://nowhere"


def test_a_store_that_does_not_answer_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "TRIES", 2)
    with pytest.raises(SinkError, match="does not answer") as refused:
        open_session("s3://k:s@lake?endpoint=http://127.0.0.1:9")
    assert refused.value.transient


def test_a_folder_that_cannot_be_made_is_told() -> None:
    with pytest.raises(SinkError, match="cannot be read or written"):
        open_session("parquet:////dev/null/lake")
