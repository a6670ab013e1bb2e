"""A destination's URL leads to no address that is nobody's database, whatever a name resolves to."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.cluster.network import free_port
from tests.postgres import Postgresql
from tests.unit.engine.plans import plan, spec, users
from tests.unit.sinks.sinkdata import INTEGRATION, identity

from towline.contract import Egress
from towline_connectors.engine.addresses import destinations_gate
from towline_connectors.engine.pod import judge_of
from towline_connectors.sinks import open_sink, reach
from towline_connectors.sinks.base import AddressClosed, SinkError
from towline_connectors.sinks.parquet import s3
from towline_connectors.sinks.postgresql import connect
from towline_connectors.sinks.reach import Judge


def judge(*allow: str, deny: Sequence[str] = ()) -> Judge:
    """As in a pod of an installation with these lists."""
    manifest = spec("https://api.example.com", [users()])
    return judge_of(plan(manifest, egress=Egress(allow=list(allow), deny=list(deny))))


class Names:
    """A DNS of the test's own: each name's answers, one after the other; how often each was asked for."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []

    def resolve(self, host: Any, port: Any, *args: Any, **more: Any) -> Any:
        if host not in self.answers:
            return self.real(host, port, *args, **more)
        self.asked.append(host)
        answers = self.answers[host]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, int(port))) for one in found]

    real = staticmethod(socket.getaddrinfo)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    found = Names()
    monkeypatch.setattr(socket, "getaddrinfo", found.resolve)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return found


@pytest.fixture
def canary() -> Iterator[socket.socket]:
    """Listens on this machine, where nobody may knock."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


def untouched(canary: socket.socket) -> bool:
    try:
        canary.accept()
    except BlockingIOError:
        return True
    return False


@pytest.mark.parametrize(
    ("address", "closed"),
    [
        ("169.254.169.254", "metadata"), ("169.254.170.23", "metadata"), ("fd00:ec2::254", "metadata"),
        ("100.100.100.200", "metadata"), ("168.63.129.16", "metadata"), ("64:ff9b::a9fe:a9fe", "metadata"),
        ("169.254.1.1", "one link"), ("fe80::1", "one link"), ("127.0.0.1", "this machine"), ("::1", "this machine"),
        ("0.0.0.0", "this machine"), ("::ffff:127.0.0.1", "this machine"), ("224.0.0.1", "not an address"),
        ("10.1.2.3", ""), ("172.20.0.5", ""), ("192.168.1.1", ""), ("100.64.0.9", ""), ("fd12::1", ""),
        ("::ffff:10.1.2.3", ""), ("93.184.215.14", ""), ("2606:4700::1", ""),
    ],
)  # fmt: skip
def test_a_database_may_stand_inside_but_is_no_metadata_service_and_not_the_pod_itself(
    address: str, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    found = destinations_gate(Egress()).refuses(address, 5432)
    assert (closed in found) if closed else found == ""


def test_the_kubernetes_api_is_no_destination(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    gate = destinations_gate(Egress())
    assert "Kubernetes API" in gate.refuses("10.96.0.1", 443)
    assert gate.refuses("10.96.0.2", 443) == ""


def test_what_closes_the_clusters_networks_to_syncs_leaves_its_databases_open() -> None:
    gate = destinations_gate(Egress(allow=["127.0.0.1/32:5432"], deny=["10.96.0.0/12"]))
    assert gate.refuses("10.96.4.5", 5432) == ""
    assert gate.refuses("127.0.0.1", 5432) == ""
    assert gate.refuses("127.0.0.1", 80)


@pytest.mark.parametrize(
    "place",
    [
        "127.0.0.1:{port}/d", "localhost:{port}/d", "db.example.com:{port}/d", "2130706433:{port}/d",
        "127.1:{port}/d", "[::ffff:127.0.0.1]:{port}/d", "db.acme.example:{port}/d?hostaddr=127.0.0.1",
        "/d?host=127.0.0.1&port={port}", "good.example.com:1,127.0.0.1:{port}/d", "both.example.com:{port}/d",
    ],
)  # fmt: skip
def test_no_connection_is_made_to_a_postgresql_address_that_is_closed(
    names: Names, canary: socket.socket, place: str
) -> None:
    names.answers = {
        "db.example.com": [["127.0.0.1"]],
        "good.example.com": [["10.255.255.1"]],
        "both.example.com": [["10.255.255.1", "127.0.0.1"]],
    }
    url = f"postgresql://u:hidden@{place.format(port=canary.getsockname()[1])}"
    with pytest.raises(AddressClosed, match=r"The destination's host .* an address of this machine itself") as refused:
        connect(url, judge=judge())
    assert untouched(canary)
    assert "hidden" not in str(refused.value)
    assert not refused.value.transient


@pytest.mark.parametrize("hidden", ["service=x", "oauth_issuer=http://169.254.169.254"])
def test_parameters_that_lead_to_other_hosts_are_refused(hidden: str) -> None:
    with pytest.raises(SinkError, match="leads to a host that it does not name"):
        connect(f"postgresql://u:p@10.255.255.1/d?{hidden}", judge=judge())


def test_postgresql_is_connected_to_where_its_name_was_judged(names: Names, postgresql: Postgresql) -> None:
    names.answers = {"db.example.com": [["127.0.0.1"], ["169.254.169.254"]]}
    url = postgresql.new_database().replace(f"@{postgresql.host}:", "@db.example.com:")
    opened = judge("127.0.0.0/8")
    session = open_session_at(url, opened)
    session.close()
    assert names.asked == ["db.example.com"]
    with pytest.raises(AddressClosed, match="metadata service"):
        open_session_at(url, opened)


def test_postgresql_takes_the_next_address_and_the_next_host(names: Names, postgresql: Postgresql) -> None:
    dead = free_port()
    names.answers = {"a.example.com": [["127.0.0.1"]], "b.example.com": [["127.0.0.9", "127.0.0.1"]]}
    url = postgresql.new_database().replace(
        f"@{postgresql.host}:{postgresql.port}/", f"@a.example.com:{dead},b.example.com:{postgresql.port}/"
    )
    open_session_at(url, judge("127.0.0.0/8")).close()
    assert names.asked == ["a.example.com", "b.example.com"]


def test_a_name_without_an_address_is_told_as_such(names: Names) -> None:
    with pytest.raises(SinkError, match="cannot be resolved"):
        open_session_at("postgresql://u:p@nowhere.invalid/d", judge())


def open_session_at(url: str, opened: Judge) -> Any:
    return open_sink(url, opened).open(INTEGRATION, "scanner", identity(), "pod-1")


BUCKET = "s3://key:hidden@lake/place?endpoint="


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "store.example.com", "2130706433", "[::ffff:127.0.0.1]"])
def test_no_connection_is_made_to_a_store_whose_address_is_closed(
    names: Names, canary: socket.socket, host: str
) -> None:
    names.answers = {"store.example.com": [["127.0.0.1"]]}
    store = s3.S3(s3.parse(f"{BUCKET}http://{host}:{canary.getsockname()[1]}"), judge())
    with pytest.raises(AddressClosed, match="The destination's host") as refused:
        store.read("x")
    assert untouched(canary)
    assert "hidden" not in str(refused.value)


class Store(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    closing = False

    def do_GET(self) -> None:
        host = self.headers["Host"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(host)))
        if self.closing:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(host)

    def log_message(self, *_arguments: Any) -> None: ...


def certificate(folder: Path, name: str) -> Path:
    """A certificate that signs itself, with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        .sign(key, hashes.SHA256())
    )
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    file = folder / "both.pem"
    file.write_bytes(made.public_bytes(pem) + key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    return file


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("closing", [False, True])
def test_a_store_is_connected_to_where_its_name_was_judged(
    names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, closing: bool
) -> None:
    monkeypatch.setattr(Store, "closing", closing)
    server = HTTPServer(("127.0.0.1", 0), Store)
    if scheme == "https":
        file = certificate(tmp_path, "store.example.com")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    place = f"store.example.com:{server.server_port}"
    try:
        names.answers = {"store.example.com": [["127.0.0.1"]]}
        store = s3.S3(s3.parse(f"{BUCKET}{scheme}://{place}"), judge("127.0.0.0/8"))
        assert [store.read("x"), store.read("y")] == [place.encode()] * 2
        assert len(names.asked) == (2 if closing else 1), "a connection that stays is used again"
        store.close()
        names.answers = {"store.example.com": [["169.254.169.254"]]}
        with pytest.raises(AddressClosed, match="metadata service"):
            store.read("z")
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def test_without_a_judge_all_addresses_are_open(names: Names) -> None:
    names.answers = {"db.example.com": [["127.0.0.1", "169.254.169.254"]]}
    assert reach.addresses("db.example.com", 1, None) == ["127.0.0.1", "169.254.169.254"]
