"""`felixpy status wireguard` and `felixpy doctor wireguard`: what they ask, and what they print."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from msgspec import structs

from dataplane.netlink import NetlinkError
from dataplane.settings import WireguardSettings
from dataplane.wireguard.state import DeviceState, PeerState, shown
from dataplane.wireguard.status import FamilyStatus, PeerStatus
from felixpy import exits
from felixpy.cli import main
from felixpy.commands.doctor import wireguard as doctor
from felixpy.commands.wireguard import status
from felixpy.control import Control
from felixpy.control_client import ControlClientError, NoAgentError
from felixpy.rundir import run_directory
from felixpy.wireguard.control import ask_facts, ask_status, register
from felixpy.wireguard.facts import Facts, NodeEnd
from felixpy.wireguard.finding import Finding
from felixpy.wireguard.publishing import PublishedKey

OWN, B = shown(bytes([4] * 32)), shown(bytes([8] * 32))
NODES = """\
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: n1}
spec: {bgp: {ipv4Address: 10.0.0.1/24}}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: n2}
spec: {bgp: {ipv4Address: 10.0.0.2/24, ipv6Address: "fd00::2/64"}}
---
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: default}
spec: {wireguardEnabled: true}
"""


def known(handshake: float) -> FamilyStatus:
    ready = PeerStatus(
        "b",
        B,
        "ready",
        ("10.0.0.2", 51820),
        ("10.65.1.0/26", "10.65.1.64/26"),
        clear_nets=("10.65.9.0/26",),
        closed_nets=("10.65.8.0/26",),
        handshake=handshake,
        received=2048,
        sent=3 << 30,
        clear_packets=7,
        clear_bytes=700,
    )
    peers = (ready, PeerStatus("c", "", "no key", clear_nets=("10.65.2.0/26",)))
    return FamilyStatus(4, "wireguard.cali", "on", OWN, 51820, peers=peers)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests/nodes.yaml").write_text(NODES)
    path = tmp_path / "felixpy.cfg"
    path.write_text(
        f"[global]\nFelixHostname = n1\nRunDir = {tmp_path}/run\n"
        f"DatastorePath = {tmp_path}/manifests\n"
    )
    return path


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    said = capsys.readouterr()
    return code, said.out, said.err


# ---------------------------------------------------------------- status wireguard


def agent_says(
    monkeypatch: pytest.MonkeyPatch, *families: FamilyStatus, published: bool = True
) -> None:
    monkeypatch.setattr(status, "ask_status", lambda _: families)
    monkeypatch.setattr(status, "ask_keys", lambda _: [PublishedKey(4, OWN, published)])


def test_one_screen_as_wg_has_it(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    agent_says(monkeypatch, known(now - 3725))
    code, out, _ = printed(capsys, "status", "wireguard", "-c", str(config))
    assert code == exits.OK
    assert out == (
        "interface: wireguard.cali (IPv4)\n"
        f"  public key: {OWN} (published)\n"
        "  listening port: 51820\n"
        "  peers: 1 ready, 1 no key\n"
        "\n"
        "peer: b ready\n"
        f"  public key: {B}\n"
        "  endpoint: 10.0.0.2:51820\n"
        "  allowed ips: 10.65.1.0/26, 10.65.1.64/26\n"
        "  closed: 10.65.8.0/26\n"
        "  in clear: 10.65.9.0/26\n"
        "  latest handshake: 1 hour, 2 minutes, 5 seconds ago\n"
        "  transfer: 2.00 KiB received, 3.00 GiB sent\n"
        "  left in clear: 7 packets, 700 B\n"
        "\n"
        "peer: c no key\n"
        "  in clear: 10.65.2.0/26\n"
        "  left in clear: nothing\n"
    )


def test_for_programs(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent_says(monkeypatch, known(99.5), FamilyStatus(6, "wg-v6.cali", "off"), published=False)
    code, out, _ = printed(capsys, "status", "wireguard", "--json", "-c", str(config))
    found = json.loads(out)
    assert (code, found["agent"]) == (exits.OK, "running")
    four, six = found["families"]
    assert (four["published"], six["phase"]) == (False, "off")
    assert four["peers"][0] | {"clear_packets": 7, "handshake": 99.5} == four["peers"][0]


@pytest.mark.parametrize(
    ("told", "code", "line"),
    [
        (FamilyStatus(4, "wireguard.cali", "off"), exits.OK, "WireGuard is off"),
        (
            FamilyStatus(4, "wireguard.cali", "unavailable", reason="this kernel has none"),
            exits.NOT_WELL,
            "  unavailable: this kernel has none",
        ),
        (FamilyStatus(4, "wireguard.cali", "draining"), exits.OK, "  going: draining"),
        (
            structs.replace(known(0.0), peers=(PeerStatus("b", B, "waiting"),)),
            exits.NOT_WELL,
            "peer: b waiting",
        ),
    ],
)
def test_what_is_not_well(
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    told: FamilyStatus,
    code: int,
    line: str,
) -> None:
    agent_says(monkeypatch, told)
    found, out, _ = printed(capsys, "status", "wireguard", "-c", str(config))
    assert (found, line in out.splitlines()) == (code, True)


def test_while_the_agent_is_stopped_the_kernel_says_what_it_can(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def read(name: str) -> DeviceState | None:
        peer = PeerState(("fd00::2", 51821), frozenset({"fd10::/122"}), 0, time.time(), 1, 2)
        if name == "wg-v6.cali":
            return DeviceState(7, bytes([4] * 32), 51821, 0, {bytes([8] * 32): peer})
        return None

    monkeypatch.setattr(status, "read_device", read)
    code, out, _ = printed(capsys, "status", "wireguard", "-c", str(config))
    assert code == exits.NOT_RUNNING
    assert "agent: stopped" in out
    assert f"public key: {OWN} (published or not: unknown)" in out
    assert f"peer: {B} ready\n  endpoint: [fd00::2]:51821\n  allowed ips: fd10::/122\n" in out
    assert "clear" not in out


def test_who_may_not_ask_is_told_so(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def read(_: str) -> DeviceState | None:
        raise NetlinkError("reading a WireGuard device", 1)

    monkeypatch.setattr(status, "read_device", read)
    code, out, err = printed(capsys, "status", "wireguard", "-c", str(config))
    assert (code, out) == (exits.FAILED, "")
    assert "reading a WireGuard device" in err


# ---------------------------------------------------------------- doctor wireguard

OK = Finding("kernel", "ok", "has WireGuard")
WARN = Finding("NTP", "warn", "nothing keeps the clock right", advice="run one")
FAIL = Finding("UDP port", "fail", "another program has 51820", 4, "stop it", holds=True)


def finds(monkeypatch: pytest.MonkeyPatch, *found: Finding) -> list[Facts]:
    asked: list[Facts] = []

    async def examine(facts: Facts, _: Path) -> list[Finding]:
        asked.append(facts)
        return [*found]

    monkeypatch.setattr(doctor, "examine_wireguard", examine)
    return asked


def test_each_finding_has_its_line_and_what_to_do(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (asked,) = [finds(monkeypatch, OK, WARN, FAIL)]
    code, out, _ = printed(capsys, "doctor", "wireguard", "-c", str(config))
    assert code == exits.NOT_WELL
    assert out == (
        "ok    kernel         has WireGuard\n"
        "warn  NTP            nothing keeps the clock right\n"
        "                     run one\n"
        "fail  IPv4 UDP port  another program has 51820\n"
        "                     stop it\n"
        "1 failed, 1 not sure or not as it should be\n"
    )
    nodes = (NodeEnd("n1", "10.0.0.1"), NodeEnd("n2", "10.0.0.2", "fd00::2"))
    assert asked[0].nodes == nodes  # no agent runs: from the datastore
    assert asked[0].settings.families == {4}
    assert asked[0].others(4) == [nodes[1]]


def test_the_agent_says_what_it_knows(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = Facts("n1", WireguardSettings())
    monkeypatch.setattr(doctor, "ask_facts", lambda _: facts)
    asked = finds(monkeypatch, OK, WARN)
    code, out, _ = printed(capsys, "doctor", "wireguard", "-c", str(config))
    assert (code, asked) == (exits.OK, [facts])
    assert out.startswith("WireGuard is switched off")
    _, out, _ = printed(capsys, "doctor", "wireguard", "--json", "-c", str(config))
    found = json.loads(out)
    assert (found["node"], found["families"]) == ("n1", [])
    assert [each["verdict"] for each in found["findings"]] == ["ok", "warn"]


@pytest.mark.parametrize("error", [ControlClientError("only root"), NoAgentError()])
def test_what_cannot_be_asked(
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: ControlClientError,
) -> None:
    def ask(_: Path) -> Facts:
        raise error

    monkeypatch.setattr(doctor, "ask_facts", ask)
    finds(monkeypatch, OK)
    (config.parent / "manifests/nodes.yaml").write_text("{")
    code, out, err = printed(capsys, "doctor", "wireguard", "-c", str(config))
    assert (code, out) == (exits.FAILED, "")
    assert err.startswith("felixpy: ")


# ---------------------------------------------------------------- the control socket


async def test_status_and_facts_over_the_control_socket(tmp_path: Path) -> None:
    told = (known(99.5), FamilyStatus(6, "wg-v6.cali", "off"))
    facts = Facts(
        "n1",
        WireguardSettings(families=frozenset({4}), held=frozenset({4})),
        (NodeEnd("n1"),),
        ("a",),
    )
    refused = False

    async def statuses() -> tuple[FamilyStatus, ...]:
        if refused:
            raise NetlinkError("reading a WireGuard device", 1)
        return told

    control = Control()
    register(control, lambda: (), statuses, lambda: facts)
    directory = run_directory(tmp_path)
    await control.open(directory)
    try:
        assert await asyncio.to_thread(ask_status, directory) == told
        assert await asyncio.to_thread(ask_facts, directory) == facts
        refused = True
        with pytest.raises(ControlClientError, match="reading"):
            await asyncio.to_thread(ask_status, directory)
    finally:
        await control.close()
