"""What is public, and what `[fetch] allow` adds to it."""

import random
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from homeport.backends import addresses
from homeport.backends.addresses import Permission, inside, is_near, is_public, source

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450:4001:82a::200e",
    "::ffff:1.1.1.1",
    "64:ff9b::1.1.1.1",
    "2002:101:101::1",
    "2001:0:101:101::f7f7:f7f7",  # Teredo: server 1.1.1.1, client 8.8.8.8
]
NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",  # metadata, Alibaba
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",  # Azure
    "169.254.169.254",  # metadata, most of them
    "169.254.170.2",  # credentials of ECS
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.0.192",  # metadata, Oracle
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",  # IPv4-compatible, long given up
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:7f00:1",  # IPv4-translated
    "64:ff9b::10.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::101:101",
    "64:ff9b:1:ffff::a00:1",
    "100::1",
    "2001::1",  # Teredo of nobody
    "2001:0:a00:1::f7f7:f7f7",  # Teredo: server 10.0.0.1
    "2001:0:101:101::80ff:fffe",  # Teredo: client 127.0.0.1
    "2001:2::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a00:1::1",
    "2002:a9fe:a9fe::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",  # metadata, Amazon
    "fd20:ce::254",  # metadata, Google
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1111%1",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert all(is_public(one) for one in inside(ip_address(address)))
    assert Permission().given("a.test", address, 443)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_not_public(address: str) -> None:
    assert not all(is_public(one) for one in inside(ip_address(address)))
    assert not Permission().given("a.test", address, 443)


def test_never_more_generous_than_python() -> None:
    chance = random.Random(7)
    for _ in range(20_000):
        four, six = IPv4Address(chance.getrandbits(32)), IPv6Address(chance.getrandbits(128))
        for one in (four, six):
            if is_public(one):
                assert one.is_global
                assert not one.is_multicast
                assert not one.is_reserved


@pytest.mark.parametrize(
    ("address", "ours", "near"),
    [
        ("2a00:1:2:300::5", "2a00:1:2:300::1", True),  # the printer beside us
        ("2a00:1:2:3ff::5", "2a00:1:2:300::1", True),  # in another room
        ("2a00:1:2:400::5", "2a00:1:2:300::1", False),
        ("1.1.1.1", "1.1.1.1", True),  # ourselves
        ("1.1.1.1", "1.1.1.2", False),
        ("1.1.1.1", "10.0.0.2", False),
        ("1.1.1.1", None, False),
    ],
)
def test_public_and_yet_at_home(address: str, ours: str | None, near: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ip_address(ours) if ours else None
    assert is_near(ip_address(address), found) is near
    monkeypatch.setattr(addresses, "source", lambda _: found)
    assert Permission().given("a.test", address, 443) is not near
    assert Permission([address]).given("a.test", address, 443)


def test_the_address_that_we_would_come_from() -> None:
    assert source(ip_address("127.0.0.1")) == ip_address("127.0.0.1")
    assert source(ip_address("2001:db8::1%nowhere")) is None


@pytest.mark.parametrize(
    ("allow", "host", "address", "port", "given"),
    [
        ("10.1.0.0/16", "a.test", "10.1.2.3", 80, True),
        ("10.1.0.0/16", "a.test", "10.1.2.3", 443, True),
        ("10.1.0.0/16", "a.test", "10.1.2.3", 9000, False),
        ("10.1.0.0/16", "a.test", "10.2.2.3", 80, False),
        ("10.1.0.0/16", "a.test", "::ffff:10.1.2.3", 80, True),
        ("10.1.0.0/16", "a.test", "64:ff9b::10.1.2.3", 80, True),
        ("10.1.0.5", "a.test", "10.1.0.5", 80, True),
        ("10.1.0.5:9000", "a.test", "10.1.0.5", 9000, True),
        ("10.1.0.5:9000", "a.test", "10.1.0.5", 80, False),
        ("10.1.0.0/16:9000", "a.test", "10.1.2.3", 9000, True),
        ("fd00::/8", "a.test", "fd00::5", 80, True),
        ("[fd00::5]:9000", "fd00::5", "fd00::5", 9000, True),
        ("[fd00::5]:9000", "fd00::5", "fd00::6", 9000, False),
        ("Images.Internal", "images.internal", "10.9.9.9", 443, True),
        ("images.internal", "images.internal.", "10.9.9.9", 443, True),
        ("images.internal", "images.internal", "10.9.9.9", 22, False),
        ("images.internal", "evil-images.internal", "10.9.9.9", 443, False),
        ("images.internal", "images.internal.evil.test", "10.9.9.9", 443, False),
        ("cdn.test:8443", "cdn.test", "1.1.1.1", 8443, True),
        ("cdn.test:8443", "cdn.test", "1.1.1.1", 443, True),
        ("cdn.test:8443", "cdn.test", "10.0.0.1", 443, False),
        ("cdn.test:8443", "other.test", "1.1.1.1", 8443, False),
    ],
)
def test_what_an_entry_lets_through(allow: str, host: str, address: str, port: int, given: bool) -> None:
    assert Permission([allow]).given(host, address, port) is given


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "*",
        "10.1.0.5/16",
        "10.1.0.300",
        "10.1/16",
        "a b",
        "http://a.test",
        "a.test:0",
        "a.test:99999",
        "[a]",
        "[web]:80",
    ],
)
def test_an_entry_that_says_nothing(entry: str) -> None:
    with pytest.raises(ValueError, match="is no network, address or host"):
        Permission([entry])
