"""`felixpy wireguard key`: from the agent, else from the kernel."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from dataplane.netlink import NetlinkError
from dataplane.settings import WireguardSettings
from dataplane.wireguard.kernel import NoWireguardError
from dataplane.wireguard.state import DeviceState
from dataplane.wireguard.status import FamilyStatus
from felixpy import exits
from felixpy.cli import main
from felixpy.commands.wireguard import key as module
from felixpy.control import Control, Handler
from felixpy.control_client import ControlClientError, NoAgentError
from felixpy.rundir import run_directory
from felixpy.wireguard import devices
from felixpy.wireguard.control import ask_keys, register
from felixpy.wireguard.publishing import PublishedKey

KEY = "jGMOLgrlVrPvd1AsGRPkPwNMEeSCpSlcWvLRrRGbLE0="
OTHER = "A" * 42 + "E="


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "felixpy.cfg"
    path.write_text(f"[global]\nFelixHostname = n1\nRunDir = {tmp_path}\n")
    return path


def agent_says(
    monkeypatch: pytest.MonkeyPatch, answer: list[PublishedKey] | ControlClientError
) -> None:
    def ask(_: Path) -> list[PublishedKey]:
        if isinstance(answer, ControlClientError):
            raise answer
        return answer

    monkeypatch.setattr(module, "ask_keys", ask)


def printed(capsys: pytest.CaptureFixture[str], config: Path, *more: str) -> tuple[int, str, str]:
    code = main(["wireguard", "key", "-c", str(config), *more])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_agent_says_what_is_published(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent_says(monkeypatch, [PublishedKey(4, KEY, True), PublishedKey(6, OTHER, False)])
    code, out, _ = printed(capsys, config)
    assert code == exits.OK
    assert [line.split() for line in out.splitlines()] == [
        ["NODE", "FAMILY", "PUBLIC", "KEY", "PUBLISHED"],
        ["n1", "IPv4", KEY, "yes"],
        ["n1", "IPv6", OTHER, "not", "yet"],
    ]
    code, out, _ = printed(capsys, config, "--json")
    assert json.loads(out) == [
        {"node": "n1", "family": 4, "key": KEY, "published": True},
        {"node": "n1", "family": 6, "key": OTHER, "published": False},
    ]


def test_while_the_agent_is_stopped_the_kernel_says_it(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def keys(settings: WireguardSettings) -> Mapping[int, str]:
        assert settings.devices == ("wireguard.cali", "wg-v6.cali")
        return {6: OTHER, 4: KEY}

    agent_says(monkeypatch, NoAgentError())
    monkeypatch.setattr(module, "public_keys", keys)
    code, out, _ = printed(capsys, config, "--json")
    assert code == exits.OK
    found = [(each["family"], each["key"], each["published"]) for each in json.loads(out)]
    assert found == [(4, KEY, None), (6, OTHER, None)]


def test_without_a_key_it_says_so(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent_says(monkeypatch, [])
    said = "no key: WireGuard is off, or has no device yet\n"
    assert printed(capsys, config) == (exits.OK, said, "")
    assert printed(capsys, config, "--json")[1] == "[]\n"


def test_who_must_not_ask_is_told(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent_says(monkeypatch, ControlClientError("only root may ask the agent; run it as root"))
    code, out, err = printed(capsys, config)
    assert (code, out) == (exits.FAILED, "")
    assert err == "felixpy: only root may ask the agent; run it as root\n"

    async def keys(_: WireguardSettings) -> Mapping[int, str]:
        raise NetlinkError("reading a WireGuard device", errno.EPERM)

    agent_says(monkeypatch, NoAgentError())
    monkeypatch.setattr(module, "public_keys", keys)
    code, out, err = printed(capsys, config)
    assert (code, out) == (exits.FAILED, "")
    assert "reading a WireGuard device" in err


def test_a_node_without_a_name_has_no_key(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(config.read_text().replace("n1", "n/1"))
    code, _, err = printed(capsys, config)
    assert code == exits.REFUSED
    assert "FelixHostname" in err


# ---------------------------------------------------------------- the control socket


async def no_status() -> tuple[FamilyStatus, ...]:
    return ()


async def test_keys_over_the_control_socket(tmp_path: Path) -> None:
    control, keys = Control(), [PublishedKey(4, KEY, True), PublishedKey(6, OTHER, False)]
    register(control, lambda: keys, no_status, lambda: None)
    await control.open(run_directory(tmp_path))
    try:
        assert await asyncio.to_thread(ask_keys, run_directory(tmp_path)) == keys
    finally:
        await control.close()


async def test_an_agent_of_another_version(tmp_path: Path) -> None:
    async def nonsense(_: Mapping[str, object]) -> Mapping[str, object]:
        return {"keys": [{"family": 5}]}

    handler: Handler = nonsense
    control = Control()
    control.register("wireguard key", handler)
    await control.open(run_directory(tmp_path))
    try:
        with pytest.raises(ControlClientError, match="another version"):
            await asyncio.to_thread(ask_keys, run_directory(tmp_path))
    finally:
        await control.close()


# ---------------------------------------------------------------- the kernel


class Kernel:
    """`answers`: a key, None for a device without one, or the error of a name."""

    answers: Mapping[str, bytes | Exception | None] = {}

    async def read(self, index: int) -> DeviceState:
        answer = list(self.answers.values())[index - 1]
        if isinstance(answer, Exception):
            raise answer
        return DeviceState(index, answer, 51820, 0, {})

    def close(self) -> None:
        """Nothing is open."""


def refused(code: int) -> NetlinkError:
    return NetlinkError("reading a WireGuard device", code)


DEVICES: list[tuple[dict[str, bytes | Exception | None], dict[int, str]]] = [
    ({}, {}),
    ({"wireguard.cali": bytes(31) + b"\1", "wg-v6.cali": None}, {4: "A" * 42 + "E="}),
    ({"wg-v6.cali": bytes(31) + b"\1"}, {6: "A" * 42 + "E="}),
    ({"wireguard.cali": refused(errno.EOPNOTSUPP), "wg-v6.cali": refused(errno.ENODEV)}, {}),
    ({"wireguard.cali": NoWireguardError()}, {}),
]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def has(answers: Mapping[str, bytes | Exception | None]) -> None:
        monkeypatch.setattr(socket, "if_nameindex", lambda: [*enumerate(answers, start=1)])
        monkeypatch.setattr(Kernel, "answers", answers)
        monkeypatch.setattr(devices, "KernelDevice", Kernel)

    return has


@pytest.mark.parametrize(("answers", "expected"), DEVICES)
async def test_devices(
    kernel: Callable[..., None],
    answers: dict[str, bytes | Exception | None],
    expected: dict[int, str],
) -> None:
    kernel(answers)
    assert await devices.public_keys(WireguardSettings()) == expected


async def test_what_the_kernel_refuses_is_said(kernel: Callable[..., None]) -> None:
    kernel({"wireguard.cali": refused(errno.EPERM)})
    with pytest.raises(NetlinkError):
        await devices.public_keys(WireguardSettings())
