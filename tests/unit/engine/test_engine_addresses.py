"""No packet goes where no vendor is: the corpus of ways to write, resolve and redirect to such places."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.unit.engine.plans import SECRETS, plan, spec, users
from tests.unit.engine.vendor import Vendor

from towline.api.conditions import Reason
from towline.contract import Egress
from towline_connectors.engine import connecting
from towline_connectors.engine.addresses import EntryError, gate, read
from towline_connectors.engine.errors import AddressNotAllowed, ConfigInvalid, EngineError, Unreachable
from towline_connectors.engine.http import Client, HttpRequest
from towline_connectors.engine.probe import probe
from towline_connectors.engine.run import run

STRICT = Egress()


class Network:
    """What this process connects to, and a DNS of the test's own. `answers` are given one after the other."""

    def __init__(self) -> None:
        self.connected: list[tuple[str, int]] = []
        self.names: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []
        self.watching = False

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.watching and event == "socket.connect" and isinstance(arguments[1], tuple):
            self.connected.append((str(arguments[1][0]), int(arguments[1][1])))

    def resolve(self, host: Any, port: Any, *args: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if name not in self.names:
            return self.real(host, port, *args, **more)
        self.asked.append(name)
        answers = self.names[name]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        kinds = [(socket.AF_INET6 if ":" in one else socket.AF_INET, one) for one in addresses]
        return [(kind, socket.SOCK_STREAM, 6, "", (one, port)) for kind, one in kinds]

    real = staticmethod(socket.getaddrinfo)


NETWORK = Network()
sys.addaudithook(NETWORK.audit)  # cannot be taken away again; it only looks on while a test wants it


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    NETWORK.connected, NETWORK.names, NETWORK.asked = [], {}, []
    monkeypatch.setattr(socket, "getaddrinfo", NETWORK.resolve)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    NETWORK.watching = True
    yield NETWORK
    NETWORK.watching = False


def ask(url: str, egress: Egress | None = STRICT, proxy: str | None = None, *more: str) -> int:
    """The status of the answer. The host is allowed to have the credentials: what is tried here is its address."""
    host = urlsplit(url).hostname or ""

    async def send() -> int:
        allowed = (f"[{host}]" if ":" in host else host, *more)
        client = Client(allowed, plain_http=True, gate=gate(egress), timeout=5, proxy=proxy)
        try:
            return (await client.send(HttpRequest("GET", url, shown="/"))).status
        finally:
            await client.close()

    return asyncio.run(send())


WRITTEN = [
    "127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "100.64.0.1", "100.100.100.200", "169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.1.1",
    "168.63.129.16", "192.0.0.192", "192.0.0.1", "198.18.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
    "255.255.255.255", "192.0.2.1", "198.51.100.1", "203.0.113.1", "192.88.99.1",
    "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[::ffff:10.0.0.1]",
    "[::127.0.0.1]", "[::a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b::7f00:1]", "[64:ff9b::10.0.0.1]",
    "[64:ff9b:1::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "[2002:7f00:1::]", "[2001:0:a9fe:a9fe::1]", "[fd00:ec2::254]",
    "[fd20:ce::254]", "[fd00::1]", "[fc00::1]", "[fe80::1]", "[fec0::1]", "[ff02::1]", "[ff0e::1]", "[2001:db8::1]",
    "[100::1]", "[5f00::1]",
]  # fmt: skip

DISGUISED = [
    "2130706433", "0x7f000001", "0x7f.1", "127.1", "127.0.1", "017700000001", "0177.0.0.1", "0x7f.0x0.0x0.0x1",
    "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "127.0.0.1.", "1", "0", "0x",
    "127.0.0.256", "[::1%25lo]", "a_b.example.com\\@127.0.0.1", "127.0.0.1 ", "exa mple.com", "127。0。0。1",
]  # fmt: skip

RESOLVED = {
    "loopback.example.com": ["127.0.0.1"],
    "metadata.example.com": ["169.254.169.254"],
    "wire.example.com": ["168.63.129.16"],
    "mapped.example.com": ["::ffff:169.254.169.254"],
    "nat64.example.com": ["64:ff9b::a9fe:a9fe"],
    "sixtofour.example.com": ["2002:a9fe:a9fe::1"],
    "linked.example.com": ["fe80::1%1"],
    "good-then-bad.example.com": ["93.184.215.14", "169.254.169.254"],
    "bad-then-good.example.com": ["10.0.0.1", "93.184.215.14"],
    "both-families.example.com": ["2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::1"],
    "localhost": ["127.0.0.1", "::1"],
    "kubernetes.default.svc": ["10.96.0.1"],
    "xn--bcher-kva.example.com": ["10.0.0.7"],
}  # fmt: skip


@pytest.mark.parametrize("host", WRITTEN)
def test_an_address_that_is_no_vendors_gets_no_packet(network: Network, host: str) -> None:
    with pytest.raises(AddressNotAllowed, match="nothing was sent there"):
        ask(f"http://{host}:8080/latest/meta-data/")
    assert network.connected == []


@pytest.mark.parametrize("host", DISGUISED)
def test_an_address_in_disguise_is_refused_as_it_is_written(network: Network, host: str) -> None:
    with pytest.raises((ConfigInvalid, AddressNotAllowed)):
        ask(f"http://{host}/")
    assert network.connected == []


@pytest.mark.parametrize("name", RESOLVED)
def test_a_name_is_judged_by_every_address_that_it_has(network: Network, name: str) -> None:
    network.names = {name: [RESOLVED[name]]}
    with pytest.raises(AddressNotAllowed, match=f"{name} resolves to .*; nothing was sent there.*egress.allow"):
        ask(f"https://{name}/")
    assert network.connected == []
    assert network.asked == [name], "a name is resolved once: a second answer could be another"


def test_a_name_that_changes_its_mind_is_connected_to_where_it_was_judged(network: Network, vendor: Vendor) -> None:
    vendor.json("/", {})
    port = int(vendor.url.rpartition(":")[2])
    network.names = {"rebinding.example.com": [["127.0.0.1"], ["169.254.169.254"], ["10.0.0.1"]]}
    assert ask(f"http://rebinding.example.com:{port}/", Egress(allow=[f"127.0.0.1/32:{port}"])) == 200
    assert network.connected == [("127.0.0.1", port)]
    assert vendor.headers[0]["host"] == f"rebinding.example.com:{port}", "the vendor hears the name"


def test_a_redirect_leads_nowhere_else(network: Network, vendor: Vendor) -> None:
    port = int(vendor.url.rpartition(":")[2])
    open_ = Egress(allow=[f"127.0.0.1/32:{port}"])
    for target in ("http://169.254.169.254/", "//10.0.0.1/", f"http://127.0.0.1:{port + 1}/", "http://localhost/x"):
        vendor.json("/", {}, status=302, location=target)
        network.connected.clear()
        with pytest.raises(ConfigInvalid, match="does not follow redirects to other hosts"):
            ask(f"{vendor.url}/", open_, None, "169.254.169.254", "10.0.0.1", "localhost")
        assert set(network.connected) == {("127.0.0.1", port)}


def test_a_user_name_in_the_address_hides_no_host(network: Network) -> None:
    for url in (
        "https://api.example.com@169.254.169.254/",
        "https://api.example.com:x@127.0.0.1/",
        "https://@127.0.0.1/",
    ):
        with pytest.raises(ConfigInvalid, match="holds a user name"):
            ask(url)
    assert network.connected == []


def test_a_proxy_of_the_author_is_judged_as_any_other_address(network: Network) -> None:
    with pytest.raises(AddressNotAllowed, match=r"10\.0\.0\.9 is an address of a private network"):
        ask("https://api.example.com/", proxy="http://10.0.0.9:3128")
    assert network.connected == []


def test_an_address_is_judged_also_when_a_proxy_would_connect_to_it(network: Network) -> None:
    with pytest.raises(AddressNotAllowed, match="metadata service"):
        ask("https://169.254.169.254/", Egress(allow=["127.0.0.0/8"]), proxy="http://127.0.0.1:1")
    assert network.connected == []


def test_a_proxy_of_the_environment_is_the_administrators(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with pytest.raises(Unreachable):
        ask("https://api.example.com/")
    assert network.connected == [("127.0.0.1", 1)], "the proxy resolves names, and judges them"


@pytest.mark.parametrize(
    ("allow", "deny", "address", "port", "open_"),
    [
        ((), (), "93.184.215.14", 443, True),
        ((), (), "2606:2800:21f:cb07::1", 443, True),
        ((), (), "64:ff9b::5db8:d70e", 443, True),
        ((), ("93.184.0.0/16",), "93.184.215.14", 443, False),
        (("10.0.0.0/8",), (), "10.1.2.3", 443, True),
        (("10.0.0.0/8:636",), (), "10.1.2.3", 443, False),
        (("10.0.0.0/8:636",), (), "10.1.2.3", 636, True),
        (("10.1.2.3",), (), "10.1.2.3", 443, True),
        (("10.0.0.0/8",), ("10.96.0.0/12",), "10.96.0.1", 443, False),
        (("10.0.0.0/8", "10.96.0.1/32:443"), ("10.96.0.0/12",), "10.96.0.1", 443, True),
        (("10.0.0.0/8",), ("10.0.0.0/8",), "10.1.2.3", 443, False),
        (("10.0.0.0/8",), (), "::ffff:10.1.2.3", 443, True),
        (("0.0.0.0/0",), (), "10.1.2.3", 443, False),
        (("0.0.0.0/0",), (), "169.254.169.254", 80, False),
        (("169.254.0.0/16",), (), "169.254.169.254", 80, False),
        (("169.254.169.254/32",), (), "169.254.169.254", 80, True),
        (("100.64.0.0/10",), (), "100.100.100.200", 80, False),
        (("fd00::/8",), (), "fd00::1", 443, True),
        (("[fd00::/8]:636",), (), "fd00::1", 443, False),
        (("fd00::/8",), (), "fd00:ec2::254", 80, False),
        (("127.0.0.0/8",), (), "127.0.0.1", 80, True),
        (("192.0.2.0/24",), ("0.0.0.0/0",), "192.0.2.9", 443, True),
        (("192.0.2.0/24",), ("0.0.0.0/0",), "93.184.215.14", 443, False),
    ],
)
def test_the_narrowest_entry_decides(
    allow: tuple[str, ...], deny: tuple[str, ...], address: str, port: int, open_: bool
) -> None:
    found = gate(Egress(allow=list(allow), deny=list(deny))).refuses(address, port)
    assert (found == "") is open_, found


def test_the_kubernetes_api_is_closed_unless_it_is_named_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    assert "Kubernetes API" in gate(Egress(allow=["10.0.0.0/8"])).refuses("10.96.0.1", 443)
    assert gate(Egress(allow=["10.96.0.1/32:443"])).refuses("10.96.0.1", 443) == ""


@pytest.mark.parametrize(
    "text", ["", "10.0.0.0/33", "corp.example", "10.0.0.0/8:0", "10.0.0.0/8:99999", "[fd00::/8", "a:b"]
)
def test_an_entry_that_is_no_network_is_refused_with_its_form(text: str) -> None:
    with pytest.raises(EntryError, match="write a CIDR such as"):
        read(text)


def test_a_laptop_reaches_itself_and_its_own_network_but_no_metadata() -> None:
    local = gate(None)
    assert [local.refuses(one, 443) for one in ("127.0.0.1", "::1", "10.1.2.3", "192.168.0.9", "fd12::1")] == [""] * 5
    for one in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "fe80::1", "224.0.0.1"):
        assert local.refuses(one, 80)


def test_a_run_goes_nowhere_that_its_plan_closes(network: Network, vendor: Vendor, tmp_path: Path) -> None:
    vendor.json("/ok", {})
    vendor.json("/users", {"items": []})
    port = int(vendor.url.rpartition(":")[2])
    manifest = spec(vendor.url, [users()])
    closed = run(plan(manifest, mode="Check", egress=STRICT), SECRETS, None)
    assert closed.reason is Reason.ADDRESS_NOT_ALLOWED
    assert "127.0.0.1 is an address of this machine itself; nothing was sent there." in closed.message
    assert f"egress.allow in the chart's values, for example 127.0.0.1/32:{port};" in closed.message
    assert network.connected == []
    opened = run(plan(manifest, mode="Check", egress=Egress(allow=["127.0.0.0/8"])), SECRETS, None)
    assert opened.reason is Reason.COMPLETED
    assert run(plan(manifest, mode="Check"), SECRETS, None).reason is Reason.COMPLETED, "without an administrator"


def test_tokens_are_not_fetched_from_inside_either(network: Network, vendor: Vendor) -> None:
    port = int(vendor.url.rpartition(":")[2])
    auth = {
        "kind": "OAuth2ClientCredentials",
        "tokenURL": f"http://127.0.0.2:{port}/token",
        "clientID": "${secret.client_id}",
        "clientSecret": "${secret.client_secret}",
    }
    manifest = spec(vendor.url, [users()], auth=auth)
    hosts = ["127.0.0.1", "127.0.0.2"]
    ended = run(plan(manifest, mode="Check", allowed_hosts=hosts, egress=Egress(allow=["127.0.0.1/32"])), SECRETS, None)
    assert ended.reason is Reason.ADDRESS_NOT_ALLOWED, ended.message
    assert network.connected == []


def test_a_directory_inside_is_closed_too(network: Network) -> None:
    manifest = {
        "title": "Directory", "version": "1.0.0", "category": "IAM", "capabilities": ["Pull"],
        "credentials": [{"key": "token"}],
        "ldap": {"url": "ldaps://dc.example.com", "bind": {"username": "cn=x", "password": "${secret.token}"}},
        "streams": [{"name": "people", "search": {"filter": "(cn=*)", "attributes": ["cn"]},
                     "sync": {"mode": "Full"}, "emit": [{"entity": "user", "key": "=cn", "fields": {}}]}],
    }  # fmt: skip
    network.names = {"dc.example.com": [["10.0.0.5"]]}
    found = plan(manifest, mode="Check", allowed_hosts=["dc.example.com"], egress=STRICT)
    ended = run(found, SECRETS, None)
    assert ended.reason is Reason.ADDRESS_NOT_ALLOWED, ended.message
    assert "dc.example.com resolves to 10.0.0.5, which is an address of a private network" in ended.message
    assert "10.0.0.5/32:636" in ended.message
    assert network.connected == []
    network.names = {"dc.example.com": [["127.0.0.1"], ["10.0.0.5"]]}
    opened = plan(manifest, mode="Check", allowed_hosts=["dc.example.com"], egress=Egress(allow=["127.0.0.0/8"]))
    assert run(opened, SECRETS, None).reason is Reason.UNREACHABLE
    assert {address for address, _port in network.connected} == {"127.0.0.1"}, "ldap3 does not resolve again"


def test_reports_by_url_come_from_no_closed_address(network: Network) -> None:
    manifest = {
        "title": "Reports", "version": "1.0.0", "category": "Vulnerability", "capabilities": ["Pull"],
        "files": {"url": "https://reports.example.com/r.json"},
        "streams": [{"name": "users", "file": {}, "records": "=items", "sync": {"mode": "Full"},
                     "emit": [{"entity": "user", "key": "=id", "fields": {}}]}],
    }  # fmt: skip
    network.names = {"reports.example.com": [["169.254.169.254"]]}
    ended = run(plan(manifest, mode="Check", allowed_hosts=["reports.example.com"], egress=STRICT), {}, None)
    assert ended.reason is Reason.ADDRESS_NOT_ALLOWED, ended.message
    assert network.connected == []


async def test_the_next_address_is_tried_when_one_does_not_answer(network: Network, vendor: Vendor) -> None:
    vendor.json("/", {})
    port = int(vendor.url.rpartition(":")[2])
    network.names = {"many.example.com": [["127.0.0.2", "127.0.0.1"]]}  # nobody listens at the first
    backend = connecting.GatedBackend(gate(None))
    stream = await backend.connect_tcp("many.example.com", port, timeout=5)
    await stream.aclose()
    assert ("127.0.0.1", port) in network.connected
    network.names = {"none.example.com": [["127.0.0.2", "127.0.0.3"]]}
    client = Client(("none.example.com",), plain_http=True)
    with pytest.raises(EngineError, match="refuses the connection"):
        await client.send(HttpRequest("GET", f"http://none.example.com:{port}/", shown="/"))
    await client.close()


async def test_a_probe_goes_nowhere_either(network: Network, vendor: Vendor) -> None:
    vendor.json("/ok", {})
    manifest = spec(vendor.url, [users()])
    failure = (await probe(plan(manifest, mode="Check", egress=STRICT), SECRETS, 5)).failure
    assert failure is not None
    assert failure.reason is Reason.ADDRESS_NOT_ALLOWED
    assert network.connected == []
    found = plan(manifest, mode="Check", egress=Egress(allow=["127.0.0.0/8"]))
    assert (await probe(found, SECRETS, 5)).failure is None
