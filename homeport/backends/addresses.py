"""What an address is, and where a URL that a user gave may lead: to public addresses of other networks, and to what
`[fetch] allow` adds.

Source: IANA's registries of special-purpose IPv4 and IPv6 addresses. They stand here and not in `ipaddress.is_global`,
which knows other ones with every release of Python and takes multicast for global.
"""

import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: Those that need no word in `allow`.
PORTS = frozenset({80, 443})

_NOT_PUBLIC_4 = [
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by a provider's customers
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # what Azure's machines are told everything by
        "169.254.0.0/16",  # link-local, and most clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocols
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
]
#: The only part of IPv6 that is given out for the internet; loopback, private, link-local and so on are outside of it.
_PUBLIC_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = [
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocols
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    )
]
#: Its last four bytes are an IPv4 address. In 64:ff9b:1::/48, the same for local use, nobody can say where it stands:
#: that is outside of _PUBLIC_6 and stays so.
_NAT64 = IPv6Network("64:ff9b::/96")

#: Below the /56 that a provider gives to a home.
_SITE_BITS = 72

_WITH_PORT = re.compile(
    r"\[(?P<what_6>[0-9a-fA-F:./]+)\](:(?P<port_6>[0-9]{1,5}))?|(?P<what>[^:]+):(?P<port>[0-9]{1,5})"
)
_HOST = re.compile(r"(?=.*[a-z])[a-z0-9_-]+(\.[a-z0-9_-]+)*")


def is_loopback(host: str) -> bool:
    """A name or an address of this machine alone, without asking a name server."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_public(address: Address) -> bool:
    """Of an address that contains none (`inside`)."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    if address.scope_id is not None:
        return False
    return address in _PUBLIC_6 and not any(address in network for network in _NOT_PUBLIC_6)


def is_near(address: Address, ours: Address | None) -> bool:
    """Whether it is this machine or in its network, public as its number may be: with IPv6 every printer's is. ours:
    the address that we would come from (`source`)."""
    if isinstance(address, IPv6Address) and isinstance(ours, IPv6Address):
        return int(address) >> _SITE_BITS == int(ours) >> _SITE_BITS
    return address == ours


def source(address: Address) -> Address | None:
    """Which of our addresses packets to it would come from; None where there is no way to it. Sends nothing."""
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 443))
            return ip_address(probe.getsockname()[0])
    except OSError:
        return None


def inside(address: Address) -> tuple[Address, ...]:
    """Where packets to it may end: IPv4 addresses that it stands for, otherwise itself."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address in _NAT64:
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    return address.teredo or (address,)


class _Exception(NamedTuple):
    """One entry of `allow`. what: a host's name, or a network. port: the only one; None: PORTS."""

    what: str | Network
    port: int | None

    def covers(self, host: str, address: Address, port: int) -> bool:
        if not (port in PORTS if self.port is None else port == self.port):
            return False
        if isinstance(self.what, str):
            return host == self.what
        return address in self.what or all(one in self.what for one in inside(address))


class Permission:
    """What may be dialled. Raises ValueError for an entry of `allow` that says nothing."""

    def __init__(self, allow: Sequence[str] = ()) -> None:
        """allow: networks (`10.1.0.0/16`), addresses and hosts (`images.internal`), each with or without a port."""
        self._exceptions = [_read(entry) for entry in allow]

    def given(self, host: str, address: str, port: int) -> bool:
        """host: as the URL has it, in lower case. address: one that it has."""
        found = ip_address(address)
        if port in PORTS and all(is_public(one) and not is_near(one, source(one)) for one in inside(found)):
            return True
        name = host.removesuffix(".")
        return any(one.covers(name, found, port) for one in self._exceptions)


def _read(entry: str) -> _Exception:
    found = _WITH_PORT.fullmatch(entry)
    what, digits = (found["what_6"] or found["what"], found["port_6"] or found["port"]) if found else (entry, None)
    port = int(digits) if digits else None
    if port is None or 0 < port < 65536:
        try:
            return _Exception(ip_network(what), port)
        except ValueError:
            name = what.lower().removesuffix(".")
            if _HOST.fullmatch(name) and not entry.startswith("["):
                return _Exception(name, port)
    raise ValueError(
        f"allow: {entry!r} is no network, address or host. Write it as 10.1.0.0/16, fd00::/8, images.internal, "
        "10.1.0.5:9000 or [fd00::5]:9000."
    )
