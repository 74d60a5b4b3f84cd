"""`felixpy ipsec key`: new, check and drop."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from felixpy import core_dumps, exits
from felixpy.cli import main
from felixpy.commands.ipsec.key import new_line
from felixpy.control import Control
from felixpy.control_client import ControlClientError, NoAgentError
from felixpy.ipsec.algorithms import AEADS, ENCRYPTIONS
from felixpy.ipsec.feeds import Reading, read_file
from felixpy.ipsec.key_control import ask_drop, register
from felixpy.ipsec.keyfile import parse
from felixpy.rundir import run_directory
from tests.felixpy.ipsec.key_texts import GCM, line, secret_of, write


@pytest.fixture(autouse=True)
def forbidden(monkeypatch) -> list[bool]:
    """Core dumps are for the process of a command to forbid, not for that of the tests."""
    called: list[bool] = []
    monkeypatch.setattr(core_dumps, "forbid", lambda: called.append(True))
    return called


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "felixpy.cfg"
    path.write_text(f"[global]\nFelixHostname = n1\nRunDir = {tmp_path}\n")
    return path


def said(capsys, *words: str) -> tuple[int, str, str]:
    code = main(["ipsec", "key", *words])
    out = capsys.readouterr()
    return code, out.out, out.err


# ---------------------------------------------------------------- new


@pytest.mark.parametrize(
    ("after", "key_id"), [((), 1), (("--after", "3"), 4), (("--after", "15"), 1)]
)
def test_a_new_line_is_one_of_a_key_file(capsys, after, key_id):
    code, out, _ = said(capsys, "new", *after)
    assert code == exits.OK
    assert out.count("\n") == 1
    found = parse(out.encode(), "keys").ring[key_id]
    assert str(found.algorithm) == "rfc4106(gcm(aes)) 128"
    _, other, _ = said(capsys, "new", *after)
    assert parse(other.encode(), "keys").ring[key_id] != found


@pytest.mark.parametrize("algorithm", [*AEADS, *ENCRYPTIONS])
def test_a_line_for_each_algorithm(algorithm):
    assert algorithm in str(parse(new_line(7, algorithm).encode(), "").ring[7].algorithm)


def test_what_has_keys_in_its_memory_leaves_no_core_dump(capsys, forbidden):
    said(capsys, "new")
    assert forbidden


def test_a_new_line_as_json(capsys):
    _, out, _ = said(capsys, "new", "--json")
    assert [*parse(json.loads(out)["line"].encode(), "").ring] == [1]


@pytest.mark.parametrize(
    "words",
    [("--after", "16"), ("--after", "x"), ("--algorithm", "gcm(aes)"), ("--algorithm", "x")],
)
def test_what_cannot_be_made(capsys, words):
    with pytest.raises(SystemExit) as ended:
        main(["ipsec", "key", "new", *words])
    assert ended.value.code == exits.REFUSED
    assert ("did you mean rfc4106(gcm(aes))?" in capsys.readouterr().err) == (
        words[1] == "gcm(aes)"
    )
    core_dumps.forbid()


# ---------------------------------------------------------------- check


def test_a_file_is_checked_without_its_keys(capsys, tmp_path):
    path = tmp_path / "keys"
    write(path, line(3) + line(4), 0o644)
    code, out, err = said(capsys, "check", str(path))
    checks = parse((line(3) + line(4)).encode(), "").ring.checks
    assert code == exits.OK
    assert out.splitlines() == [
        "ID  ALGORITHM              CHECK VALUE",
        f"4   rfc4106(gcm(aes)) 128  {checks[4]}",
        f"3   rfc4106(gcm(aes)) 128  {checks[3]}",
    ]
    assert err == f"felixpy: {path}: others have access to it: mode 0644, not 0640\n"
    assert secret_of("3")[:6] not in out + err


def test_a_file_as_json(capsys, tmp_path):
    path = tmp_path / "keys"
    write(path, line("3+"))
    _, out, _ = said(capsys, "check", str(path), "--json")
    check = parse(line("3+").encode(), "").ring.checks[3]
    assert json.loads(out) == {
        "source": str(path),
        "keys": [{"id": 3, "algorithm": f"{GCM} 128", "check": check}],
        "asks_pair": True,
        "notes": [],
    }


def test_a_bad_file(capsys, tmp_path):
    path = tmp_path / "keys"
    write(path, line(16))
    assert said(capsys, "check", str(path)) == (
        exits.REFUSED,
        "",
        f"felixpy: {path}: line 1: key ID 16 is out of range; after 15 comes 1\n",
    )
    assert said(capsys, "check", str(tmp_path / "none"))[2].endswith(
        "none: cannot be read: No such file or directory\n"
    )


@pytest.mark.parametrize("text", [line(3), line(16)])
def test_what_was_read_is_overwritten(capsys, tmp_path, monkeypatch, text):
    seen: list[bytearray] = []

    def read(path: Path) -> Reading:
        reading = read_file(path)
        assert reading.octets is not None
        seen.append(reading.octets)
        return reading

    monkeypatch.setattr("felixpy.ipsec.feeds.read_file", read)
    path = tmp_path / "keys"
    write(path, text)
    said(capsys, "check", str(path))
    assert [any(octets) for octets in seen] == [False]


def test_what_the_configuration_names_is_checked(capsys, config, tmp_path):
    code, _, err = said(capsys, "check", "-c", str(config))
    assert code == exits.REFUSED
    assert err == "felixpy: name a file; the configuration names none\n"
    write(tmp_path / "keys", line(3))
    config.write_text(config.read_text() + f"IPsecKeyFile = {tmp_path}/keys\n")
    code, out, _ = said(capsys, "check", "-c", str(config))
    assert code == exits.OK
    assert out.splitlines()[1].startswith("3 ")


# ---------------------------------------------------------------- drop


async def ask(directory: Path, key_id: int) -> str:
    """What the client says of the agent's answer; "" for content."""
    try:
        await asyncio.to_thread(ask_drop, directory, key_id)
    except ControlClientError as error:
        return str(error)
    return ""


async def test_the_agent_is_told_which_key_to_end(tmp_path):
    dropped: list[int] = []
    control = Control()
    register(control, lambda: [4], lambda: [4, 3], dropped.append)
    await control.open(tmp_path)
    try:
        assert await ask(tmp_path, 4) == "key 4 is in the key file: it has to go from there first"
        assert await ask(tmp_path, 5) == "there is no key 5; those that are in use: 3, 4"
        assert dropped == []
        assert await ask(tmp_path, 3) == ""
        assert dropped == [3]
    finally:
        await control.close()


def test_drop_says_what_it_has_done(capsys, config, monkeypatch):
    asked = []
    module = "felixpy.commands.ipsec.key.ask_drop"
    monkeypatch.setattr(module, lambda directory, key_id: asked.append((directory, key_id)))
    where = ("-c", str(config))
    assert said(capsys, "drop", "3", *where) == (
        exits.OK,
        "key 3 is not waited for any more\n",
        "",
    )
    assert json.loads(said(capsys, "drop", "3", "--json", *where)[1]) == {"dropped": 3}
    assert asked == [(run_directory(config.parent), 3)] * 2


@pytest.mark.parametrize(
    ("error", "code"),
    [(NoAgentError(), exits.NOT_RUNNING), (ControlClientError("it will not"), exits.FAILED)],
)
def test_drop_says_why_not(capsys, config, monkeypatch, error, code):
    def refuse(*_) -> None:
        raise error

    monkeypatch.setattr("felixpy.commands.ipsec.key.ask_drop", refuse)
    assert said(capsys, "drop", "3", "-c", str(config)) == (code, "", f"felixpy: {error}\n")


def test_drop_has_to_know_which(capsys):
    for words in ((), ("x",), ("16",)):
        code, _, err = said(capsys, "drop", *words)
        assert code == exits.REFUSED
        assert err == "felixpy: which key? key IDs run from 1 to 15\n"
