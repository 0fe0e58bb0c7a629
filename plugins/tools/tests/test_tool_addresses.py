"""Which addresses a stranger's link may lead to."""

from __future__ import annotations

import ipaddress

import pytest

from surfaces_tools.addresses import is_public

HOSTILE = {
    "0.0.0.0": "this host",
    "0.1.2.3": "this network",
    "10.0.0.1": "private",
    "100.64.0.1": "carrier",
    "100.100.100.200": "a cloud's metadata in the carriers' block",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "168.63.129.16": "a cloud's own services",
    "169.254.169.254": "metadata",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.192": "protocols, and a cloud's metadata",
    "192.0.2.1": "documentation",
    "192.88.99.1": "6to4 relay",
    "192.168.1.1": "private",
    "198.18.0.1": "benchmarks",
    "198.51.100.7": "documentation",
    "203.0.113.9": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "unspecified",
    "::1": "loopback",
    "::127.0.0.1": "compatible",
    "::ffff:127.0.0.1": "mapped",
    "::ffff:169.254.169.254": "mapped",
    "::ffff:8.8.8.8": "mapped, even when what is inside is public",
    "::ffff:0:127.0.0.1": "translated",
    "64:ff9b::7f00:1": "NAT64",
    "64:ff9b::8.8.8.8": "NAT64, even when what is inside is public",
    "64:ff9b:1::7f00:1": "NAT64 of a site",
    "100::1": "discarded",
    "2001::1": "Teredo",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2": "Teredo",
    "2001:2::1": "benchmarks",
    "2001:10::1": "ORCHID",
    "2001:20::1": "ORCHID",
    "2001:db8::1": "documentation",
    "2002:7f00:1::": "6to4 of loopback",
    "2002:a9fe:a9fe::1": "6to4 of metadata",
    "3fff::1": "documentation",
    "5f00::1": "segment routing",
    "fc00::1": "unique local",
    "fd00:ec2::254": "metadata",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local with its scope",
    "2606:4700::1%1": "a scope where none belongs",
    "fec0::1": "site-local",
    "ff02::1": "multicast",
    "ff0e::1": "multicast, global by its scope",
    "2a00:1450::5efe:127.0.0.1": "ISATAP",
    "2a00:1450::200:5efe:7f00:1": "ISATAP",
    "": "nothing",
    "localhost": "a name",
    "127.1": "an address that only some read",
    "0x7f.0.0.1": "an address that only some read",
    "017700000001": "an address that only some read",
    "2130706433": "an address that only some read",
}
PUBLIC = (
    "1.1.1.1", "8.8.8.8", "93.184.215.14", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "198.20.0.1",
    "2606:4700:4700::1111", "2a00:1450:4001:80b::200e", "2001:4860:4860::8888", "2620:fe::fe",
)  # fmt: skip


@pytest.mark.parametrize("address", HOSTILE, ids=lambda address: address or "empty")
def test_what_is_not_everybodys_is_refused(address: str):
    """An address that leads into a network of somebody's own is not public, however it is wrapped."""
    assert not is_public(address), HOSTILE[address]


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_everybodys_is_let_through(address: str):
    """An ordinary address of the internet is public, next to the private blocks as well."""
    assert is_public(address)


def test_the_library_alone_would_not_do():
    """Some hostile addresses are global to the standard library: the reason for lists of our own."""
    passed = [one for one in HOSTILE if one and _is_global(one)]
    assert {"64:ff9b::7f00:1", "2002:7f00:1::", "168.63.129.16", "ff0e::1"} & set(passed)


def _is_global(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False
