"""Which addresses a feed may lie at. A feed's link or redirect must not reach into this network.

The check is made on the very address that is connected to, as its socket is made, whatever a name resolved to
before or resolves to later.
"""

import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

_INSIDE = tuple(
    map(
        ip_network,
        (
            "100.64.0.0/10",  # shared by a provider's customers; some clouds' metadata
            "168.63.129.16/32",  # a cloud's host, at an address that looks public
            "192.0.0.0/24",  # for protocols; another cloud's metadata
            "192.88.99.0/24",  # relays into IPv6
            "198.18.0.0/15",  # for measurements inside
            "64:ff9b:1::/48",  # a site's own translation to IPv4
            "fec0::/10",  # a site's own, of old
        ),
    )
)
"""Networks that Python's own tables, which differ between its versions, may call global."""
_TRANSLATED = ip_network("64:ff9b::/96")


class AddressRefused(OSError):
    """The address to be connected to is not public."""


def is_public(address: str) -> bool:
    """Whether ``address`` is one of the open internet; IPv6 that carries an IPv4 one is judged by it."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        if found.scope_id is not None:
            return False
        inner = _carried(found)
        if inner is not None:
            return is_public(str(inner))
    if any(found in network for network in _INSIDE if network.version == found.version):
        return False
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)


def _carried(address: IPv6Address) -> IPv4Address | None:
    if address in _TRANSLATED or int(address) >> 32 == 0:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


def allows(host: str, allowed: Collection[str]) -> bool:
    """Whether ``host`` is among the hosts that may lie inside."""
    return host.lower().rstrip(".") in {each.lower().rstrip(".") for each in allowed}


@dataclass
class Gate:
    """Makes the sockets of one request to ``host``, at public addresses alone unless the host is allowed.

    ``refused`` lists the addresses that it did not let through, ``passed`` the others.
    """

    host: str
    allowed: Collection[str] = ()
    make: Callable[..., socket.socket] = socket.socket
    refused: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)

    def __call__(self, found: tuple[Any, ...]) -> socket.socket:
        """The socket for an address as getaddrinfo gives it. Raises AddressRefused."""
        family, kind, protocol, _, where = found
        address = str(where[0])
        if not allows(self.host, self.allowed) and not is_public(address):
            self.refused.append(address)
            raise AddressRefused(f"{self.host} lies at {address}, which is not public")
        self.passed.append(address)
        return self.make(family=family, type=kind, proto=protocol)
