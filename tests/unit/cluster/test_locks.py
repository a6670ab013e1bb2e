"""Two commands at once take turns."""

import threading
from pathlib import Path

from tests.cluster.locks import file_lock


def test_only_one_holds_the_lock_even_when_the_holder_removes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "it.lock"
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        for _ in range(20):
            with file_lock(path, "testing"):
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)
                path.unlink()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 80
    assert set(most) == {1}


def test_the_lock_is_free_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "it.lock"
    try:
        with file_lock(path, "failing"):
            raise ValueError
    except ValueError:
        pass
    with file_lock(path, "trying again"):
        assert path.exists()
