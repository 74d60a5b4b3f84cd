"""`felixpy status ipsec` and `felixpy doctor ipsec`: what they ask, and what they print."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from msgspec import structs

from dataplane.ipsec.progress import PeerProgress
from dataplane.ipsec.status import FamilyStatus, IpsecStatus, StateStatus
from dataplane.netlink import NetlinkError
from felixpy import exits
from felixpy.cli import main
from felixpy.commands.doctor import ipsec as doctor
from felixpy.commands.ipsec import status
from felixpy.control import Control
from felixpy.control_client import ControlClientError, NoAgentError
from felixpy.ipsec.control import ask_status, register
from felixpy.ipsec.details import Details, ErrorCount, error_counts
from felixpy.ipsec.key_control import ask_drop
from felixpy.ipsec.life import History
from felixpy.ipsec.source import KeyFacts
from felixpy.wireguard.finding import Finding

NOW = 1_000_000.0
NODES = """\
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: n2}
spec: {bgp: {ipv4Address: 10.0.0.2/24}}
"""
STATES = (
    StateStatus("10.0.0.2", 0xABCDE4, 4, 4, False, "n2", 2048, 7, NOW - 100, NOW - 99, NOW - 5),
    StateStatus("10.0.0.2", 0xABCDE3, 3, 4, False, "n2", 10, 1, NOW - 900, NOW - 890, NOW - 90),
    StateStatus(
        "10.0.0.1", 0x123453, 3, 4, True, "n2", 4096, 9, NOW - 900, NOW - 890, NOW - 60, 1, 2
    ),
    StateStatus("10.0.0.1", 0x123454, 4, 4, True, "n2", used_up=True),
)
PEERS = (
    PeerProgress("n2", "encrypted", "", 4, 3, (4, 3), (0xABCDE4, 0xABCDE3), {4: "10.0.0.2"}),
    PeerProgress("n3", "closed", "publishes nothing of IPsec"),
)
FACTS = KeyFacts("/etc/keys", {4: "4" * 16, 3: "3" * 16}, NOW - 100)
DETAILS = Details(
    True,
    IpsecStatus((FamilyStatus(4, "on", "10.0.0.1", "eth0"),), "pair", 7, PEERS, STATES, ("odd",)),
    FACTS,
    History({4: NOW - 100, 3: NOW - 90000}, 4, NOW - 100),
    (ErrorCount("XfrmInNoStates", 9, 2, "an SPI that nobody has", "a late key file"),),
    published=True,
    oldest_allowed=86400.0,
    problems=("key 3 is old",),
)


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


def agent_says(monkeypatch: pytest.MonkeyPatch, details: Details) -> None:
    monkeypatch.setattr(status, "ask_status", lambda _: details)
    monkeypatch.setattr(time, "time", lambda: NOW)


# ---------------------------------------------------------------- status ipsec


def test_one_screen(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent_says(monkeypatch, DETAILS)
    code, out, _ = printed(capsys, "status", "ipsec", "-c", str(config))
    assert code == exits.NOT_WELL
    assert out == (
        "IPv4: 10.0.0.1 on eth0\n"
        "keys: /etc/keys, layout pair\n"
        f"  key 4: check value {'4' * 16}, here for 1 minute, 40 seconds, the newest\n"
        f"  key 3: check value {'3' * 16}, here for 1 day, 1 hour\n"
        "  last rotation: 1 minute, 40 seconds ago\n"
        "peers: 1 encrypted, 1 closed\n"
        "\n"
        "peer: n2 encrypted\n"
        "  address: 10.0.0.2\n"
        "  sends with: key 4, spi 0x00abcde4\n"
        "  is sent to with: key 3, spi 0x00123453\n"
        "  keys at both ends: 4, 3; received here: 3, 4\n"
        "  transfer: 4.00 KiB received in 9 packets, 2.01 KiB sent in 8 packets\n"
        "  latest packet: 5 seconds ago\n"
        "  not authentic: 2 packets\n"
        "  received again: 1 packets\n"
        "  rotate the key: its packets are about to be used up\n"
        "\n"
        "peer: n3 closed\n"
        "  reason: publishes nothing of IPsec\n"
        "  sends with: nothing\n"
        "  is sent to with: nothing\n"
        "  keys at both ends: none; received here: none\n"
        "\n"
        "dropped by the kernel, since the last rotation and in all:\n"
        "  XfrmInNoStates: 2 of 9: an SPI that nobody has\n"
        "    a late key file\n"
        "left alone: odd\n"
        "problem: key 3 is old\n"
    )


def test_all_is_well_when_all_is_encrypted(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    well = structs.replace(
        DETAILS, status=structs.replace(DETAILS.status, peers=PEERS[:1]), problems=()
    )
    agent_says(monkeypatch, well)
    assert printed(capsys, "status", "ipsec", "-c", str(config))[0] == exits.OK


def test_states_that_all_share_are_each_peers_too(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = IpsecStatus(
        (FamilyStatus(4, "unavailable", "10.0.0.1", reason="no esp4"),),
        "shared",
        peers=(PeerProgress("n2", "waiting", sent=3, families={6: "has no IPv6 address"}),),
        states=(StateStatus("10.0.0.1", 3, 3, 4, True, bytes=5, packets=1),),
    )
    bad = structs.replace(
        FACTS,
        reason="line 1: odd",
        rejected_since=NOW - 60,
        notes=("mode 0644",),
        untried="no answer",
    )
    agent_says(
        monkeypatch, structs.replace(DETAILS, status=shared, keys=bad, errors=(), published=False)
    )
    out = printed(capsys, "status", "ipsec", "-c", str(config))[1]
    for line in (
        "  unavailable: no esp4",
        "  rejected since 1 minute: line 1: odd",
        "  not taken up yet: no answer",
        "  note: mode 0644",
        "  not published yet: the other nodes do not know of all this",
        "  IPv6: has no IPv6 address",
        "  is sent to with: key 3, spi 0x00000003",
        "states: for all nodes",
        "  receives with: key 3, spi 0x00000003",
    ):
        assert line in out.splitlines()


def test_for_programs(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent_says(monkeypatch, DETAILS)
    found = json.loads(printed(capsys, "status", "ipsec", "--json", "-c", str(config))[1])
    assert (found["agent"], found["enabled"], found["published"]) == ("running", True, True)
    assert found["status"]["states"][0]["spi"] == "0x00abcde4"
    assert found["status"]["peers"][0]["spis"] == ["0x00abcde4", "0x00abcde3"]
    assert found["keys"]["checks"] == {"3": "3" * 16, "4": "4" * 16}
    assert found["errors"][0]["since_rotation"] == 2


def test_off(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for families in ((), (FamilyStatus(4, "off"), FamilyStatus(6, "off"))):
        agent_says(monkeypatch, Details(False, IpsecStatus(families)))
        code, out, _ = printed(capsys, "status", "ipsec", "-c", str(config))
        assert (code, out) == (exits.OK, "IPsec is off\n")


def test_without_an_agent_the_kernel_says_what_it_knows(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nobody(_: Path) -> Details:
        raise NoAgentError

    states = (structs.replace(STATES[0], peer="10.0.0.2"),)
    monkeypatch.setattr(status, "ask_status", nobody)
    monkeypatch.setattr(status, "read_kernel", lambda _: IpsecStatus(states=states))
    monkeypatch.setattr(status, "read_errors", lambda: {"XfrmInError": 0, "XfrmInPolBlock": 3})
    code, out, _ = printed(capsys, "status", "ipsec", "-c", str(config))
    assert code == exits.NOT_RUNNING
    assert out.startswith("agent: stopped")
    assert "states: 10.0.0.2\n  sends with: key 4, spi 0x00abcde4\n" in out
    assert "  XfrmInPolBlock: 3 of 3" in out


@pytest.mark.parametrize("error", [ControlClientError("silent"), NetlinkError("reading", 1)])
def test_what_cannot_be_asked_is_a_failure(
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    def fails(_: Path) -> Details:
        raise error

    monkeypatch.setattr(status, "ask_status", fails)
    code, _, err = printed(capsys, "status", "ipsec", "-c", str(config))
    assert (code, err) == (exits.FAILED, f"felixpy: {error}\n")


def test_errors_since_the_rotation() -> None:
    found = error_counts({"XfrmInError": 5, "XfrmInNoStates": 0, "XfrmInNoPols": 2}, {})
    assert [(each.name, each.packets, each.since_rotation) for each in found] == [
        ("XfrmInError", 5, 5),
        ("XfrmInNoPols", 2, 2),
    ]
    (since,) = error_counts({"XfrmInError": 5}, {"XfrmInError": 3})
    assert since.since_rotation == 2
    (anew,) = error_counts({"XfrmInError": 5}, {"XfrmInError": 30})  # another namespace's, then
    assert anew.since_rotation == 5


# ---------------------------------------------------------------- the control socket


class FakePart:
    def __init__(self) -> None:
        self.dropped: list[int] = []

    async def details(self) -> Details:
        return DETAILS

    def ring(self) -> tuple[int, ...]:
        return (4,)

    def alive(self) -> tuple[int, ...]:
        return (3, 4)

    def drop(self, key: int) -> None:
        self.dropped.append(key)


async def test_over_the_socket(tmp_path: Path) -> None:
    control, part = Control(), FakePart()
    register(control, lambda: part)  # type: ignore[arg-type, return-value]
    await control.open(tmp_path)
    try:
        assert await asyncio.to_thread(ask_status, tmp_path) == DETAILS
        await asyncio.to_thread(ask_drop, tmp_path, 3)
        assert part.dropped == [3]
        for key in (4, 5):
            with pytest.raises(ControlClientError, match=f"key {key}"):
                await asyncio.to_thread(ask_drop, tmp_path, key)
    finally:
        await control.close()


async def test_an_agent_that_has_only_begun(tmp_path: Path) -> None:
    control = Control()
    register(control, lambda: None)
    await control.open(tmp_path)
    try:
        with pytest.raises(ControlClientError, match="only begun"):
            await asyncio.to_thread(ask_status, tmp_path)
        with pytest.raises(ControlClientError, match="no key 3"):
            await asyncio.to_thread(ask_drop, tmp_path, 3)
    finally:
        await control.close()


# ---------------------------------------------------------------- doctor ipsec


def test_each_finding_has_its_line_and_what_to_do(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    async def found(_config: object, _environ: object, others: list[object]) -> list[Finding]:
        asked.extend(others)
        return [Finding("keys", "ok", "one"), Finding("kernel", "fail", "none", 4, "get one")]

    monkeypatch.setattr(doctor, "examine_ipsec", found)
    code, out, _ = printed(capsys, "doctor", "ipsec", "-c", str(config))
    assert code == exits.NOT_WELL
    assert out == (
        "IPsec is switched off (IPsecEnabled); this is how it is:\n"
        "ok    keys         one\n"
        "fail  IPv4 kernel  none\n"
        "                   get one\n"
        "1 failed, 0 not sure or not as it should be\n"
    )
    assert [node.node for node in asked] == ["n2"]  # type: ignore[attr-defined]
    shown = json.loads(printed(capsys, "doctor", "ipsec", "--json", "-c", str(config))[1])
    assert (shown["node"], shown["enabled"], len(shown["findings"])) == ("n1", False, 2)


def test_what_only_root_may_look_for(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def refused(*_: object) -> list[Finding]:
        raise PermissionError

    monkeypatch.setattr(doctor, "examine_ipsec", refused)
    code, _, err = printed(capsys, "doctor", "ipsec", "-c", str(config))
    assert (code, err) == (exits.FAILED, "felixpy: only root may look for all of it\n")
