"""Addresses and ports that do not meet another cluster's."""

import socket
from ipaddress import IPv4Network as Network
from pathlib import Path

import pytest
from tests.cluster.network import Addresses, choose_slot, free_ports, host_routes, port_is_free
from tests.cluster.report import ClusterError


def test_the_first_free_slot_is_chosen() -> None:
    assert choose_slot({1, 2, 4}, []) == 3


def test_a_slot_whose_network_is_routed_elsewhere_is_passed_over() -> None:
    assert choose_slot(set(), [Network("10.98.1.128/25"), Network("10.97.2.0/24")]) == 3


def test_a_wide_route_is_no_conflict() -> None:
    assert choose_slot(set(), [Network("0.0.0.0/0"), Network("10.0.0.0/8")]) == 1


def test_without_a_free_slot_the_cure_is_named() -> None:
    with pytest.raises(ClusterError, match="status --all"):
        choose_slot(range(1, 251), [])


def test_no_two_slots_share_an_address() -> None:
    networks = [
        n for slot in range(1, 251) for n in (Addresses(slot).link, Addresses(slot).services, Addresses(slot).pods)
    ]
    assert len(set(networks)) == len(networks)
    assert all(len(Addresses(slot).interface) <= 15 for slot in range(1, 251))


def test_the_addresses_of_a_slot_are_inside_its_networks() -> None:
    addresses = Addresses(7)
    assert (addresses.host, addresses.node) == ("10.97.7.1", "10.97.7.2")
    assert (addresses.api_service, addresses.dns) == ("10.98.7.1", "10.98.7.10")


def test_routes_are_read_as_the_kernel_writes_them(tmp_path: Path) -> None:
    table = tmp_path / "route"
    table.write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "eth0\t0001630A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert host_routes(table) == [Network("0.0.0.0/0"), Network("10.99.1.0/24")]
    assert host_routes(tmp_path / "absent") == []


def test_free_ports_differ_and_can_be_used() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5
    assert all(port_is_free(port) for port in ports)
    assert max(ports) < 32768, "those above are a kernel's to give to connections"


def test_a_port_in_use_is_not_free() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        assert not port_is_free(server.getsockname()[1])
