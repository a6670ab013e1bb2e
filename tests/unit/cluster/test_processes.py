"""Only what was started here is ever stopped."""

import sys
from pathlib import Path

import pytest
from tests.cluster import processes
from tests.cluster.processes import Recorded

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def _started(tmp_path: Path, *command: str) -> tuple[Path, Recorded]:
    record = tmp_path / "run" / "it.stat"
    child = processes.start(record, command, tmp_path / "logs" / "it.log")
    while not record.exists():
        assert child.poll() is None or record.exists(), "it ended without a record"
    found = processes.read_record(record)
    assert found is not None
    return record, found


def test_a_started_process_is_known_by_id_and_start_time(tmp_path: Path) -> None:
    record, process = _started(tmp_path, "sleep", "60")
    assert processes.is_alive(process)
    assert processes.identify(process.pid) == process
    assert processes.stop(record)
    assert not processes.is_alive(process)
    assert not record.exists()


def test_another_process_with_the_same_id_is_left_alone(tmp_path: Path) -> None:
    record, process = _started(tmp_path, "sleep", "60")
    fields = record.read_text().rpartition(")")
    values = fields[2].split()
    values[19] = str(process.started - 1)
    older = tmp_path / "older.stat"
    older.write_text(f"{fields[0]}) {' '.join(values)}")
    assert processes.stop(older)
    assert processes.is_alive(process)
    assert processes.stop(record)


def test_a_process_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    record, process = _started(tmp_path, "sh", "-c", f"trap '' TERM; touch {ready}; while :; do sleep 0.1; done")
    while not ready.exists():
        assert processes.is_alive(process)
    assert processes.stop(record, patience=0.2)
    assert not processes.is_alive(process)


def test_its_output_goes_to_its_log(tmp_path: Path) -> None:
    _, process = _started(tmp_path, "sh", "-c", "echo one; echo two >&2; echo three")
    assert processes.wait_until_gone(process, 10)
    assert processes.last_lines(tmp_path / "logs" / "it.log", 2) == "two\nthree"


@pytest.mark.parametrize("text", ["", "12", "12 (name", "x (name) S 1 2"])
def test_a_broken_record_names_no_process(tmp_path: Path, text: str) -> None:
    record = tmp_path / "broken.stat"
    record.write_text(text)
    assert processes.read_record(record) is None
    assert processes.stop(record)


def test_a_program_name_with_brackets_and_spaces_is_read() -> None:
    assert processes.parse_stat("7 (a) b (c)) S " + " ".join(str(n) for n in range(1, 40))) == Recorded(7, 19)
