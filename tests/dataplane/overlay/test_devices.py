"""What has to be done to a tunnel device that there is."""

from __future__ import annotations

import socket

import pytest
from msgspec import structs

from dataplane import rttunnels
from dataplane.netlink import attribute, attributes, nested
from dataplane.overlay.devices import Tunnel, changes, is_fit, making
from dataplane.rttunnels import Address, Device, Vxlan

LOCAL, MAC = socket.inet_aton("172.30.0.1"), b"\x66\x01\x02\x03\x04\x05"
VXLAN = Vxlan(4096, 4789, LOCAL, 2)
TUNNEL = Tunnel(
    "vxlan.calico",
    "vxlan",
    4,
    "10.65.1.0",
    1450,
    mac="66:01:02:03:04:05",
    vni=4096,
    port=4789,
    local="172.30.0.1",
    lower=2,
)
DEVICE = Device(9, "vxlan.calico", "vxlan", up=True, mtu=1450, mac=MAC, vxlan=VXLAN)
ADDRESS = Address(socket.inet_aton("10.65.1.0"), 32)
OTHER, WIDER = Address(socket.inet_aton("10.9.9.9"), 24), ADDRESS._replace(length=26)
IPIP = Tunnel("tunl0", "ipip", 4, "10.65.1.0", 1480)
TUNL0 = Device(4, "tunl0", "ipip", up=True, mtu=1480, mac=b"\0" * 4)
WIREGUARD = Tunnel("wireguard.cali", "wireguard", 4, "10.65.1.0", 1440)
WIREGUARD_CALI = Device(9, "wireguard.cali", "wireguard", up=True, mtu=1440, mac=b"")

ADD, UP = rttunnels.add_address(9, ADDRESS), rttunnels.set_up(9, up=True)

CHANGES = [
    # case, the device, its addresses, what is written
    ("as it should be", DEVICE, [ADDRESS], []),
    ("down", DEVICE._replace(up=False), [ADDRESS], [UP]),
    ("new", DEVICE._replace(up=False), [], [ADD, UP]),
    ("of another address", DEVICE, [OTHER], [ADD, rttunnels.delete_address(9, OTHER)]),
    ("too wide", DEVICE, [WIDER], [ADD, rttunnels.delete_address(9, WIDER)]),
    (
        "on another device",
        DEVICE._replace(vxlan=VXLAN._replace(lower=3)),
        [ADDRESS],
        [rttunnels.carry_vxlan(9, VXLAN)],
    ),
    (
        "from another address",
        DEVICE._replace(vxlan=VXLAN._replace(local=b"\1\2\3\4")),
        [ADDRESS],
        [rttunnels.carry_vxlan(9, VXLAN)],
    ),
    ("of another MAC", DEVICE._replace(mac=bytes(6)), [ADDRESS], [rttunnels.set_mac(9, MAC)]),
]


@pytest.mark.parametrize(("case", "device", "addresses", "requests"), CHANGES)
def test_changes(case, device, addresses, requests) -> None:
    assert changes(TUNNEL, device, addresses) == requests


def test_ipip_has_neither_mac_nor_carrier() -> None:
    assert changes(IPIP, TUNL0, [ADDRESS]) == []
    assert changes(IPIP, TUNL0._replace(up=False), [ADDRESS]) == [rttunnels.set_up(4, up=True)]


def test_wireguard_can_do_without_an_address() -> None:
    gone = rttunnels.delete_address(9, ADDRESS)
    assert changes(WIREGUARD, WIREGUARD_CALI, [ADDRESS]) == []
    assert changes(WIREGUARD, WIREGUARD_CALI._replace(up=False), []) == [ADD, UP]
    assert changes(structs.replace(WIREGUARD, address=""), WIREGUARD_CALI, []) == []
    assert changes(structs.replace(WIREGUARD, address=""), WIREGUARD_CALI, [ADDRESS]) == [gone]


FIT = [
    (TUNNEL, DEVICE, True),
    (TUNNEL, DEVICE._replace(vxlan=VXLAN._replace(vni=1)), False),
    (TUNNEL, DEVICE._replace(vxlan=VXLAN._replace(port=8472)), False),
    (TUNNEL, DEVICE._replace(vxlan=VXLAN._replace(plain=False)), False),
    (TUNNEL, DEVICE._replace(vxlan=VXLAN._replace(lower=3, local=b"")), True),
    (TUNNEL, DEVICE._replace(kind="veth", vxlan=None), False),
    (TUNNEL, DEVICE._replace(kind="", vxlan=None), False),
    (IPIP, TUNL0, True),
    (IPIP, TUNL0._replace(kind="gre"), False),
    (WIREGUARD, WIREGUARD_CALI, True),
    (WIREGUARD, WIREGUARD_CALI._replace(kind="veth"), False),
    (WIREGUARD, WIREGUARD_CALI._replace(kind=""), False),
]


@pytest.mark.parametrize(("tunnel", "device", "fit"), FIT)
def test_is_fit(tunnel, device, fit) -> None:
    assert is_fit(tunnel, device) == fit


def test_what_is_made_is_read_back_as_fit() -> None:
    for tunnel in (TUNNEL, IPIP):
        device = rttunnels.parse_device(making(tunnel).body)
        assert is_fit(tunnel, device)
        assert device.name == tunnel.name
    device = rttunnels.parse_device(making(TUNNEL).body)
    assert (device.vxlan, device.mac, device.mtu, device.up) == (VXLAN, MAC, 1450, False)


ODD = [
    # attribute of VXLAN, its value, whether the device is still one of ours
    (2, socket.inet_aton("239.1.1.1"), False),  # a group
    (7, b"\1", False),  # learning
    (7, b"\0", True),
    (13, b"\1", False),  # misses of L2
    (14, b"\1", False),  # and of L3
    (23, b"", False),  # group policy
    (25, b"\1", False),  # steered from outside
    (25, b"\0", True),
    (8, b"\1\0\0\0", True),  # ageing
]


@pytest.mark.parametrize(("kind", "value", "plain"), ODD)
def test_devices_that_do_more_than_ours(kind: int, value: bytes, plain: bool) -> None:
    info = nested(18, attribute(1, b"vxlan\0"), nested(2, attribute(kind, value)))
    device = rttunnels.parse_device(bytes(16) + info)
    assert device.vxlan is not None
    assert device.vxlan.plain == plain


def test_addresses_are_read_back() -> None:
    for address in (ADDRESS, Address(b"\xfd" + bytes(15), 128)):
        assert rttunnels.parse_address(rttunnels.add_address(9, address).body, 9) == address
        assert rttunnels.parse_address(rttunnels.add_address(9, address).body, 8) is None
    link_local = bytes([10, 64, 0, 253]) + b"\x09\0\0\0" + attribute(1, b"\xfe\x80" + bytes(14))
    assert rttunnels.parse_address(link_local, 9) is None


def test_forwarding_entries_are_read_back() -> None:
    body = rttunnels.replace_forwarding(9, MAC, LOCAL).body
    assert rttunnels.parse_forwarding(body, 9) == (MAC, LOCAL)
    assert rttunnels.parse_forwarding(body, 8) is None
    learned = body[:8] + b"\x02\0" + body[10:]  # reachable, not permanent
    assert rttunnels.parse_forwarding(learned, 9) is None
    assert dict(attributes(rttunnels.delete_forwarding(9, MAC).body, 12)) == {2: MAC}
