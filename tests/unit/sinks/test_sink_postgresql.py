"""What only a server can do: break off, refuse, leave a commit in doubt."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import psycopg
import pytest
from tests.cluster.network import free_port
from tests.postgres import Postgresql
from tests.unit.sinks.sinkdata import live, open_session, row, rows_of

from towline_connectors.sinks.base import Batch, SinkError, StreamState, Superseded, Written


def batch(seq: int, *keys: str) -> Batch:
    return Batch("assets", seq, rows={"asset": [row("asset", key) for key in keys]}, state=StreamState(cursor=str(seq)))


@contextmanager
def proxy(server: Postgresql, cut: Callable[[bytes], str | None]) -> Iterator[int]:
    """A TCP proxy; `cut` sees each packet of the client and may answer "before" or "after" to break the connection
    before the server gets it, or after the server has answered."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(upstream: socket.socket, client: socket.socket, silent: threading.Event) -> None:
        with suppress(OSError):
            while data := upstream.recv(65536):
                if silent.is_set():
                    break  # committed, and nobody will tell
                client.sendall(data)
        for one in (client, upstream):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def serve(client: socket.socket) -> None:
        silent = threading.Event()
        with client, socket.create_connection((server.host, server.port)) as upstream:
            back = threading.Thread(target=answer, args=(upstream, client, silent), daemon=True)
            back.start()
            with suppress(OSError):
                while data := client.recv(65536):
                    when = cut(data)
                    if when == "before":
                        break
                    if when == "after":
                        silent.set()
                    upstream.sendall(data)
            with suppress(OSError):
                upstream.shutdown(socket.SHUT_RDWR)
            back.join()

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_commit_in_doubt_is_made_exactly_once(postgresql: Postgresql, when: str) -> None:
    target = postgresql.new_database()
    open_session(target).close()
    cuts: list[str] = []
    armed = threading.Event()

    def cut(data: bytes) -> str | None:
        if armed.is_set() and b"COMMIT" in data:
            armed.clear()
            cuts.append(when)
            return when
        return None

    with proxy(postgresql, cut) as port:
        through = target.replace(f":{postgresql.port}/", f":{port}/") + "?sslmode=disable&gssencmode=disable"
        session = open_session(through)
        assert session.commit(batch(1, "a", "b")) == Written(2)
        armed.set()
        assert session.commit(batch(2, "b", "c")) == Written(1)
        assert session.commit(batch(3, "d")) == Written(1)
        session.close()
    assert cuts == [when]
    assert live(target, "asset") == {"a", "b", "c", "d"}


def test_a_connection_that_the_server_ended_is_made_anew(postgresql: Postgresql) -> None:
    target = postgresql.new_database()
    session = open_session(target)
    session.commit(batch(1, "a"))
    name = urlsplit(target).path[1:]
    postgresql.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    assert session.commit(batch(2, "b")) == Written(1)
    assert session.states()["assets"].cursor == "2"


def test_a_replaced_attempt_is_refused_after_connecting_anew_too(postgresql: Postgresql) -> None:
    target = postgresql.new_database()
    session = open_session(target)
    open_session(target, attempt=2, pod="pod-2")
    name = urlsplit(target).path[1:]
    postgresql.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    with pytest.raises(Superseded):
        session.commit(batch(1, "a"))


def test_two_first_claims_at_once_are_ordered(postgresql: Postgresql) -> None:
    target = postgresql.new_database()
    open_session(target, integration="team/other").close()
    ends: list[str] = []
    ready = threading.Barrier(2)

    def claim(attempt: int) -> None:
        ready.wait(30)
        try:
            open_session(target, attempt=attempt, pod=f"pod-{attempt}").commit(batch(1, f"a{attempt}"))
            ends.append(f"{attempt} wrote")
        except Superseded:
            ends.append(f"{attempt} refused")

    threads = [threading.Thread(target=claim, args=(attempt,)) for attempt in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert "2 wrote" in ends
    (claimed,) = [one for one in rows_of(target, "towline_claims") if one["integration"] == "team/scanner"]
    assert claimed["attempt"] == 2


class TestRefusals:
    """Each is a sentence with the cure, and none shows the password."""

    @pytest.fixture
    def database(self, postgresql: Postgresql) -> str:
        return urlsplit(postgresql.new_database()).path[1:]

    def refused(self, target: str, words: str, password: str) -> SinkError:
        with pytest.raises(SinkError, match=words) as error:
            open_session(target)
        assert password not in str(error.value)
        assert password not in repr(error.value.__cause__)
        return error.value

    def test_a_wrong_password(self, postgresql: Postgresql, database: str) -> None:
        target = postgresql.url_of(database, password="wrong-s3cret")
        error = self.refused(target, r"refuses user and password\. Correct them", "wrong-s3cret")
        assert not error.transient

    def test_a_database_that_does_not_exist(self, postgresql: Postgresql) -> None:
        error = self.refused(postgresql.url_of("nowhere"), r"does not exist on that server", postgresql.password)
        assert not error.transient

    def test_a_port_where_nothing_listens(self, postgresql: Postgresql) -> None:
        target = f"postgresql://postgres:{postgresql.password}@127.0.0.1:{free_port()}/x"
        error = self.refused(target, r"127\.0\.0\.1:\d+/x refuses the connection: nothing", postgresql.password)
        assert error.transient

    def test_a_host_that_has_no_address(self, postgresql: Postgresql) -> None:
        target = f"postgresql://postgres:{postgresql.password}@no-such-host.invalid/x"
        self.refused(target, r"has a host name that cannot be resolved", postgresql.password)

    def test_an_address_that_cannot_be_read(self) -> None:
        self.refused("postgresql://me:s3cret@host:5432/x?nonsense=1", r"cannot be read; it looks like", "s3cret")

    def test_a_server_that_is_read_only(self, postgresql: Postgresql, database: str) -> None:
        postgresql.execute(f'ALTER DATABASE "{database}" SET default_transaction_read_only = on')
        error = self.refused(postgresql.url_of(database), r"is read-only\. Name the primary", postgresql.password)
        assert error.transient

    def test_a_user_who_may_not_write(self, postgresql: Postgresql, database: str) -> None:
        postgresql.execute(f"CREATE ROLE \"r_{database}\" LOGIN PASSWORD 'r-s3cret'")
        target = postgresql.url_of(database, user=f"r_{database}", password="r-s3cret")
        error = self.refused(target, r"does not let this user write\. Grant it", "r-s3cret")
        assert not error.transient

    def test_tables_that_are_not_ours(self, postgresql: Postgresql, database: str) -> None:
        target = postgresql.url_of(database)
        postgresql.execute_in(target, "CREATE VIEW assets AS SELECT 1 AS source_key")
        self.refused(target, r"Give Towline a database of its own", postgresql.password)

    def test_a_value_that_does_not_fit_is_told_without_the_value(self, postgresql: Postgresql, database: str) -> None:
        session = open_session(postgresql.url_of(database))
        bad = Batch("assets", 1, rows={"asset": [(*row("asset", "a", raw={})[:-1], b"{not json s3cret}")]})
        with pytest.raises(SinkError, match="refused a value that it cannot store") as error:
            session.commit(bad)
        assert "s3cret" not in str(error.value)
        assert not error.value.transient
        assert session.commit(batch(1, "b")) == Written(1)


def test_a_batch_never_reads_the_whole_table(postgresql: Postgresql) -> None:
    target = postgresql.new_database()
    session = open_session(target)
    for seq in range(1, 5):
        session.commit(batch(seq, *(f"{seq}-{number}" for number in range(2000))))
    again = open_session(target, attempt=2)
    with psycopg.connect(target, autocommit=True) as db:
        before = db.execute("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'assets'").fetchone()
        again.commit(batch(1, *(f"1-{number}" for number in range(2000))))
        again.close()
        after = db.execute("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'assets'").fetchone()
    assert after == before
