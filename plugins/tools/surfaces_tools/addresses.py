"""Owns which addresses of the internet are everybody's: those that a stranger's link may lead to.

`ipaddress` says of an address whether it is registered as global, and lets through what wraps or
leads to another one: mapped, NAT64, 6to4, Teredo, multicast. So the lists are our own, after the
special-purpose registries of IANA.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network

NOT_PUBLIC_V4 = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this host, and on Linux another name of it
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' own; clouds answer there too
        "127.0.0.0/8",
        "168.63.129.16/32",  # a cloud's own services, though the address is public
        "169.254.0.0/16",  # link-local, where clouds keep credentials
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",
    )
)
UNICAST_V6 = IPv6Network("2000::/3")
"""All that is given out; what is mapped, translated, local or multicast lies outside."""
NOT_PUBLIC_V6 = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # protocols, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address inside
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
ISATAP = (0x00005EFE, 0x02005EFE)
"""What stands before an IPv4 address in the lower half."""


def is_public(address: str) -> bool:
    """Whether an address, as the resolver or a socket names it, is everybody's."""
    try:
        if ":" not in address:
            return _is_public_v4(IPv4Address(address))
        return "%" not in address and _is_public_v6(IPv6Address(address))
    except AddressValueError:
        return False


def _is_public_v4(address: IPv4Address) -> bool:
    return not any(address in block for block in NOT_PUBLIC_V4)


def _is_public_v6(address: IPv6Address) -> bool:
    if address not in UNICAST_V6 or any(address in block for block in NOT_PUBLIC_V6):
        return False
    return (int(address) >> 32) & 0xFFFFFFFF not in ISATAP
