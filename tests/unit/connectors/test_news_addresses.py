"""Which addresses are refused, and that the check is made on what is connected to."""

import socket

import pytest

from tapedeck.connectors.news.addresses import AddressRefused, Gate, is_public

INSIDE = {
    "loopback": "127.0.0.1",
    "all of loopback": "127.8.9.10",
    "loopback in IPv6": "::1",
    "any": "0.0.0.0",
    "this network": "0.1.2.3",
    "any in IPv6": "::",
    "private class A": "10.1.2.3",
    "private class B": "172.16.0.1",
    "private class C": "192.168.1.1",
    "unique local": "fd12:3456::1",
    "site local": "fec0::1",
    "link local, metadata": "169.254.169.254",
    "link local in IPv6": "fe80::1",
    "link local with an interface": "fe80::1%eth0",
    "global with an interface": "2606:4700::1111%eth0",
    "shared, metadata": "100.100.100.200",
    "metadata in IPv6": "fd00:ec2::254",
    "protocols, metadata": "192.0.0.192",
    "a cloud's host": "168.63.129.16",
    "measurements": "198.18.0.1",
    "documentation": "192.0.2.1",
    "documentation in IPv6": "2001:db8::1",
    "multicast": "224.0.0.251",
    "multicast in IPv6": "ff0e::1",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "mapped": "::ffff:127.0.0.1",
    "mapped private": "::ffff:10.0.0.1",
    "compatible": "::127.0.0.1",
    "6to4": "2002:7f00:1::",
    "6to4 private": "2002:a00:1::1",
    "relay": "192.88.99.1",
    "Teredo": "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "NAT64": "64:ff9b::7f00:1",
    "a site's NAT64": "64:ff9b:1::7f00:1",
    "no address": "feed.example",
    "nothing": "",
}


@pytest.mark.parametrize("address", INSIDE.values(), ids=INSIDE.keys())
def test_an_address_inside_is_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_an_address_of_the_open_internet_is_public(address):
    assert is_public(address)


def found(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.SOCK_STREAM, 6, "", (address, 80)


def test_no_socket_is_made_for_an_address_inside_unless_its_host_is_allowed():
    made = []
    gate = Gate("feed.example", ("other.example",), make=lambda **how: made.append(how))
    with pytest.raises(AddressRefused, match=r"feed\.example lies at 10\.0\.0\.1"):
        gate(found("10.0.0.1"))
    assert (made, gate.refused, gate.passed) == ([], ["10.0.0.1"], [])
    gate(found("8.8.8.8"))
    assert len(made) == 1 and gate.passed == ["8.8.8.8"]
    Gate("feed.example", ("FEED.example.",), make=lambda **how: made.append(how))(found("10.0.0.1"))
    assert len(made) == 2
