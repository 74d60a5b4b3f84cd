"""What the pre-flight makes of what it has found; the kernel's part is in tests/kernel."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dataplane.families import Family
from dataplane.settings import WireguardSettings
from dataplane.wireguard.state import DeviceState, PeerState
from felixpy.wireguard import clock, machine, preflight, probes
from felixpy.wireguard.facts import Facts, NodeEnd
from felixpy.wireguard.finding import Finding, Verdict
from felixpy.wireguard.probes import Reached, Target

KEY = "A" * 42 + "E="
_KEY = bytes(31) + b"\x01"
SAME_KEY = "A" * 42 + "F="  # its last bits say nothing
OTHER = "A" * 42 + "I="
TARGET = Target("n2", 4, "10.0.0.2", 51820, 1500)


def verdicts(found: list[Finding]) -> list[tuple[str, Verdict, bool]]:
    return [(each.about, each.verdict, each.holds) for each in found]


def test_nodes_with_one_key_are_told_by_their_names() -> None:
    nodes = (NodeEnd("a", key=KEY), NodeEnd("b", key=SAME_KEY), NodeEnd("c", key=OTHER, key_v6="x"))
    found = preflight.check_cluster(Facts("a", WireguardSettings(), nodes), (4, 6))
    assert verdicts(found) == [("IPv4 keys", "fail", False), ("IPv6 keys", "fail", False)]
    assert found[0].text.startswith("a and b publish")
    assert found[1].text == "what c publishes is no key"


def test_keys_that_are_all_different() -> None:
    nodes = (NodeEnd("a", key=KEY), NodeEnd("b"), NodeEnd("c", key=OTHER))
    (found,) = preflight.check_cluster(Facts("a", WireguardSettings(), nodes), (4,))
    assert (found.verdict, found.text) == ("ok", "2 published, all different")


NODES = (NodeEnd("a", "10.0.0.1"), NodeEnd("b", "10.0.0.2"))
CLEAR_CASES = [
    # hosts of etcd, clear hosts, verdict
    (("10.0.0.1", "10.0.0.2"), (), "fail"),
    (("10.0.0.1", "10.0.0.2"), ("10.0.0.1",), "fail"),
    (("10.0.0.1", "10.0.0.2"), ("10.0.0.1", "10.0.0.2/32"), "ok"),
    (("10.0.0.1", "10.0.0.2"), ("10.0.0.0/24",), "ok"),
    (("10.9.9.9",), (), "ok"),  # no node of the cluster: never encrypted
    (("no-such-name.invalid",), (), "ok"),
]


@pytest.mark.parametrize(("hosts", "clear", "verdict"), CLEAR_CASES)
def test_hosts_of_etcd_that_would_be_reached_encrypted_only(
    hosts: tuple[str, ...], clear: tuple[str, ...], verdict: str
) -> None:
    settings = WireguardSettings(host_encryption=True, clear_hosts=clear)
    (found,) = preflight.check_cluster(Facts("a", settings, NODES, hosts), ())
    assert (found.check, found.verdict, found.holds) == ("clear hosts", verdict, verdict == "fail")
    for host in () if verdict == "ok" else hosts:
        assert (host in found.text) == (host not in clear)


def test_without_host_encryption_all_hosts_are_reached_in_clear() -> None:
    assert preflight.check_cluster(Facts("a", WireguardSettings(), NODES, ("10.0.0.1",)), ()) == []


@pytest.mark.parametrize(
    ("reached", "handshake", "verdict", "word"),
    [
        (Reached(), 90.0, "ok", "handshake 10 s ago"),
        (Reached(error="No route to host"), 0.0, "fail", "No route to host"),
        (Reached(refused=True), 0.0, "ok", "reached"),
        (Reached(proved=1500), 0.0, "warn", "not proven"),
        (Reached(), 0.0, "warn", "not proven"),
    ],
)
def test_reachability(reached: Reached, handshake: float, verdict: str, word: str) -> None:
    found = preflight.reachability(TARGET, reached, handshake, 100.0)
    assert (found.about, found.verdict) == ("IPv4 peer n2", verdict)
    assert word in found.text
    assert bool(found.advice) == (verdict != "ok")


@pytest.mark.parametrize(
    ("reached", "verdict", "word"),
    [
        (Reached(refused=True, proved=1500), "ok", "1500 at least"),
        (Reached(refused=True, proved=1400, mtu=1400), "warn", "1400, and packets of up to 1500"),
        (Reached(mtu=1400), "warn", "1400"),
        (Reached(), "warn", "not measured"),
    ],
)
def test_path_mtu(reached: Reached, verdict: str, word: str) -> None:
    found = preflight.path_mtu(TARGET, reached)
    assert (found.about, found.verdict) == ("IPv4 path MTU to n2", verdict)
    assert word in found.text
    assert ("smaller by 100" in found.advice) == bool(reached.mtu)


@pytest.mark.parametrize(
    ("family", "configured", "host", "verdict", "text"),
    [
        (4, 0, 1500, "ok", "1440 inside, 1500 outside"),
        (6, 0, 1500, "ok", "1420 inside, 1500 outside"),
        (4, 1400, 1500, "ok", "1400 inside, 1500 outside"),
        (4, 1480, 1500, "warn", "1480 inside, 1500 outside: large packets are sent in pieces"),
        (6, 0, 1300, "fail", "1220 inside, 1300 outside: workloads would have less than 1280"),
    ],
)
def test_mtu(family: Family, configured: int, host: int, verdict: str, text: str) -> None:
    settings = WireguardSettings(mtus=(configured, configured))
    found = machine.check_mtu(family, settings, host)
    assert (found.verdict, found.text, found.holds) == (verdict, text, verdict == "fail")


@pytest.mark.parametrize(
    ("release", "word"),
    [
        ("6.1.0-18-amd64", "older"),
        ("6.16.0", "by itself"),
        ("7.0-rc1", "by itself"),
        ("x", "older"),
    ],
)
def test_remove_flag(release: str, word: str) -> None:
    found = machine.check_remove_flag(release)
    assert (found.verdict, word in found.text) == ("ok", True)


@pytest.mark.parametrize(
    ("everywhere", "device", "verdict"),
    [("1", None, "ok"), ("1", "2", "ok"), ("0", "1", "fail"), ("1", "0", "fail"), ("0", "0", "ok")],
)
def test_rp_filter(everywhere: str, device: str | None, verdict: str, tmp_path: Path) -> None:
    for name, value in (("all", everywhere), ("wireguard.cali", device)):
        if value is not None:
            (tmp_path / name).mkdir()
            (tmp_path / name / "rp_filter").write_text(f"{value}\n")
    assert machine.check_rp_filter("wireguard.cali", tmp_path).verdict == verdict


def test_a_clock_that_was_set_back(tmp_path: Path) -> None:
    (tmp_path / "status.json").touch()
    assert verdicts(clock.check_clock(tmp_path))[0] == ("clock", "ok", False)
    later = time.time() + 100
    os.utime(tmp_path / "status.json", (later, later))
    assert verdicts(clock.check_clock(tmp_path))[0] == ("clock", "warn", False)
    assert clock.last_written(tmp_path / "nowhere") == 0.0


async def test_a_handshake_is_found_by_the_key_that_the_node_publishes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def reach(targets: list[Target], mark: int) -> dict[str, Reached]:
        assert mark == 0x200000
        return {target.node: Reached(refused=True, proved=target.size) for target in targets}

    async def host(_: str) -> int:
        return 1500

    monkeypatch.setattr(probes, "probe_all", reach)
    monkeypatch.setattr(machine, "local_mtu", host)
    nodes = (NodeEnd("a", "10.0.0.1"), NodeEnd("b", "10.0.0.2", key=KEY), NodeEnd("c", "10.0.0.3"))
    peer = PeerState(handshake=time.time() - 5)
    state = DeviceState(7, None, 51820, 0x200000, {bytes(31) + b"\x10": PeerState(), _KEY: peer})
    found = await preflight.check_peers(Facts("a", WireguardSettings(), nodes), {4: state})
    assert [each.about for each in found] == [
        "IPv4 peer b",
        "IPv4 path MTU to b",
        "IPv4 peer c",
        "IPv4 path MTU to c",
    ]
    assert "handshake 5 s ago" in found[0].text
    assert "nobody listens" in found[2].text
