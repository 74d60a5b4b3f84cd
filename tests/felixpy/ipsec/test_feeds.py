"""Files and Secrets as they are now, and that a change of them is noticed."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from felixpy.bgp.secrets_place import SecretsPlace
from felixpy.ipsec.feeds import Feed, FileFeed, Reading, SecretFeed, judge_text, read_file
from felixpy.ipsec.keyfile import MAX_BYTES
from tests.felixpy.bgp import secret_texts
from tests.felixpy.ipsec.key_texts import line, secret_of, write

PATIENCE = 20  # seconds until a test that waits gives up


def test_what_is_read(tmp_path):
    path = tmp_path / "keys"
    write(path, line(3))
    assert read_file(path) == Reading(bytearray(line(3).encode()))


@pytest.mark.parametrize(
    ("mode", "note"),
    [
        (0o400, ""),
        (0o640, ""),
        (0o644, "others have access to it: mode 0644, not 0640"),
        (0o660, "others have access to it: mode 0660, not 0640"),
    ],
)
def test_a_loose_mode_is_noted(tmp_path, mode, note):
    write(tmp_path / "keys", line(3), mode)
    assert read_file(tmp_path / "keys").note == note


def test_what_cannot_be_read(tmp_path):
    assert read_file(tmp_path / "keys").problem == "cannot be read: No such file or directory"
    assert read_file(tmp_path).problem == "cannot be read: Is a directory"
    os.mkfifo(tmp_path / "pipe")
    assert read_file(tmp_path / "pipe").problem == "is not a regular file"
    write(tmp_path / "long", "#" * (MAX_BYTES + 1))
    assert read_file(tmp_path / "long") == Reading(None, f"has more than {MAX_BYTES} bytes")
    write(tmp_path / "full", "#" * MAX_BYTES)
    assert len(read_file(tmp_path / "full").octets) == MAX_BYTES


def test_a_reading_does_not_show_what_was_read():
    assert secret_of("3") not in repr(Reading(bytearray(line(3).encode())))


# ---------------------------------------------------------------- watching


class Watched:
    """Counts how often it was called back."""

    feed: Feed

    def __init__(self) -> None:
        self.event = asyncio.Event()

    async def until(self, octets: str | None) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.text() != octets:
                self.event.clear()
                await self.event.wait()

    def text(self) -> str | None:
        octets = self.feed.read().octets
        return None if octets is None else octets.decode()


@contextlib.asynccontextmanager
async def watching(make):
    watched = Watched()
    watched.feed = make(watched.event.set)
    task = asyncio.create_task(watched.feed.run())
    try:
        yield watched
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def swap(volume: Path, name: str, text: str) -> None:
    """As a kubelet exchanges what is in a mounted Secret."""
    (volume / name).mkdir()
    (volume / name / "keys").write_text(text)
    (volume / "..new").symlink_to(name)
    (volume / "..new").rename(volume / "..data")


async def test_a_mounted_secret_that_is_exchanged(tmp_path):
    swap(tmp_path, "..1", line(3))
    (tmp_path / "keys").symlink_to("..data/keys")
    async with watching(lambda changed: FileFeed(tmp_path / "keys", changed)) as watched:
        await watched.until(line(3))
        swap(tmp_path, "..2", line(4))
        await watched.until(line(4))
        swap(tmp_path, "..3", line(5))
        await watched.until(line(5))


async def test_a_file_that_is_written_replaced_and_removed(tmp_path):
    path = tmp_path / "deep" / "keys"
    async with watching(lambda changed: FileFeed(path, changed)) as watched:
        await watched.until(None)
        path.parent.mkdir()
        path.write_text(line(3))
        await watched.until(line(3))
        path.write_text(line(4))
        await watched.until(line(4))
        write(path, line(5))
        await watched.until(line(5))
        path.unlink()
        await watched.until(None)
        path.parent.rmdir()
        path.parent.mkdir()
        write(path, line(6))
        await watched.until(line(6))


async def test_what_the_kernel_does_not_tell_is_found_by_looking(tmp_path):
    write(tmp_path / "keys", line(3))
    make = lambda changed: FileFeed(tmp_path / "keys", changed, look_seconds=0.01)  # noqa: E731
    async with watching(make) as watched:
        for _ in range(3):
            watched.event.clear()
            async with asyncio.timeout(PATIENCE):
                await watched.event.wait()


async def test_what_happens_beside_the_file_is_no_reason_to_look(tmp_path):
    write(tmp_path / "keys", line(3))
    async with watching(lambda changed: FileFeed(tmp_path / "keys", changed)) as watched:
        await watched.event.wait()
        watched.event.clear()
        for number in range(20):
            write(tmp_path / f"other{number}", "x")
        await asyncio.sleep(0.1)
        assert not watched.event.is_set()


# ---------------------------------------------------------------- Secrets


@pytest.fixture
def root(tmp_path):
    directory = tmp_path / "secrets"
    directory.mkdir(mode=0o700)
    return directory


def secret(text: str, namespace: str = "kube-system") -> str:
    return secret_texts.secret(text, name="ipsec", key="keys", namespace=namespace)


@pytest.mark.parametrize("name", ["kube-system/ipsec", "ipsec"])
async def test_a_secret_in_a_manifest(root, name):
    secret_texts.write(root / "s.yaml", secret(line(3) + line(4)))
    place = SecretsPlace(root, "kube-system")
    async with watching(lambda changed: SecretFeed(name, place, changed)) as watched:
        assert watched.feed.name == "Secret kube-system/ipsec, entry keys"
        assert watched.text() == line(3) + line(4)
        await asyncio.sleep(0.05)  # what changes before it watches has to wait for a second
        secret_texts.write(root / "s.yaml", secret(line(5)))
        await watched.until(line(5))
        secret_texts.write(root / "s.yaml", "{")
        async with asyncio.timeout(PATIENCE):
            while not watched.feed.read().problem:
                await watched.event.wait()
                watched.event.clear()
        found = watched.feed.read()
        assert found.octets == line(5).encode()
        assert found.problem.startswith("the last good one is in use: ")


def test_a_secret_of_another_namespace_is_another_one(root):
    secret_texts.write(root / "s.yaml", secret(line(3), "default"))
    feed = SecretFeed("kube-system/ipsec", SecretsPlace(root, "default"), lambda: None)
    assert feed.read() == Reading(
        None, "no such Secret in the namespace kube-system, but one in default"
    )


def test_a_credential_of_systemd(tmp_path, root):
    credentials = tmp_path / "credentials"
    credentials.mkdir(mode=0o700)
    write(credentials / "ipsec.keys", line(3))
    feed = SecretFeed("ipsec", SecretsPlace(root, "default", credentials), lambda: None)
    assert feed.read().octets == line(3).encode()


def test_a_secret_that_others_can_read_is_none(root):
    secret_texts.write(root / "s.yaml", secret(line(3)), 0o644)
    found = SecretFeed("ipsec", SecretsPlace(root, "kube-system"), lambda: None).read()
    assert found.octets is None
    assert "others than root have access to it" in found.problem


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\xff" * 9, "holds what is not ASCII"),
        (b"x" * (MAX_BYTES + 1), f"has more than {MAX_BYTES} bytes"),
    ],
)
def test_what_a_secret_cannot_hold(value, reason):
    assert judge_text(value) == reason


def test_the_text_of_a_secret_is_not_shown():
    assert repr(judge_text(line(3).encode())) == "KeyText(...)"
