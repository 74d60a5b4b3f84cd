"""A running source whose directories come, go, move, and are links."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from felixpy.datastore import manifests
from felixpy.datastore.inotify import Event as InotifyEvent
from felixpy.datastore.inotify import Inotify, RawEvent
from tests.felixpy.datastore.manifest_store import network_set, running
from tests.felixpy.datastore.test_manifests import A1, A2, B1, replace


@pytest.fixture
def root(tmp_path):
    directory = tmp_path / "manifests"
    directory.mkdir()
    return directory


async def test_directories_are_added_renamed_and_removed(root):
    async with running(root) as store:
        (root / "one" / "two").mkdir(parents=True)
        (root / "one" / "two" / "a.yaml").write_text(network_set("a", A1))
        await store.until_nets({"a": [A1]})
        (root / "one").rename(root / "uno")
        replace(root / "uno" / "two" / "b.yaml", network_set("b", B1))
        await store.until_nets({"a": [A1], "b": [B1]})
        replace(root / "uno" / "two" / "a.yaml", network_set("a", A2))
        await store.until_nets({"a": [A2], "b": [B1]})
        assert store.sink.gone() == []
        shutil.rmtree(root / "uno")
        await store.until_nets({})
        await store.until_no_problem()


async def test_a_move_into_a_directory_just_made_leaves_no_hole(root):
    (root / "a.yaml").write_text(network_set("a", A1))
    path = root / "a.yaml"
    async with running(root) as store:
        for number in range(10):
            directory = root / f"d{number}"
            directory.mkdir()
            path = path.rename(directory / "a.yaml")
            replace(root / "b.yaml", network_set("b", f"10.3.0.{number}/32"))
            await store.until_nets({"a": [A1], "b": [f"10.3.0.{number}/32"]})
        assert store.sink.gone() == []


async def test_a_directory_that_is_moved_in_and_out_is_read_and_forgotten(root):
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "a.yaml").write_text(network_set("a", A1))
    async with running(root) as store:
        outside.rename(root / "in")
        await store.until_nets({"a": [A1]})
        (root / "in").rename(root / ".in")
        await store.until_nets({})
        (root / ".in").rename(root / "in")
        await store.until_nets({"a": [A1]})
        (root / "in").rename(outside)
        await store.until_nets({})
        (outside / "a.yaml").write_text(network_set("a", A2))
        replace(root / "b.yaml", network_set("b", B1))
        await store.until_nets({"b": [B1]})


async def test_losing_the_directory_is_not_an_empty_datastore(root):
    (root / "a.yaml").write_text(network_set("a", A1))
    (root / "b.yaml").write_text(network_set("b", A1))
    aside = root.parent / "aside"
    async with running(root) as store:
        root.rename(aside)
        await store.until_problem(root, "cannot be read", "stays in force")
        assert store.sink.nets() == {"a": [A1], "b": [A1]}
        (aside / "a.yaml").write_text(network_set("a", A2))
        aside.rename(root)
        await store.until_nets({"a": [A2], "b": [A1]})
        await store.until_no_problem()
        assert store.sink.gone() == []
        replace(root / "b.yaml", network_set("b", B1))
        await store.until_nets({"a": [A2], "b": [B1]})


async def test_a_directory_that_comes_back_empty_is_waited_for(root):
    for name in ("a", "b"):
        (root / f"{name}.yaml").write_text(network_set(name, A1))
    async with running(root) as store:
        root.rename(root.parent / "aside")
        root.mkdir()
        await store.until_problem(root, "empty", "stays in force")
        assert store.sink.nets() == {"a": [A1], "b": [A1]}
        (root / "b.yaml").write_text(network_set("b", A2))
        await store.until_no_problem()
        await store.until_nets({"b": [A2]})
        assert [key.name for key in store.sink.gone()] == ["a"]


async def test_deleting_the_whole_directory_keeps_what_it_held(root):
    (root / "sub").mkdir()
    for number in range(50):
        (root / "sub" / f"s{number}.yaml").write_text(network_set(f"s{number}", A1))
    async with running(root) as store:
        shutil.rmtree(root)
        await store.until_problem(root, "cannot be read")
        assert len(store.sink.nets()) == 50
        assert store.sink.gone() == []


async def test_another_directory_in_its_place_is_read_at_once(root):
    (root / "a.yaml").write_text(network_set("a", A1))
    releases = root.parent / "releases"
    for release, net in (("1", A1), ("2", A2)):
        (releases / release).mkdir(parents=True)
        (releases / release / f"{release}.yaml").write_text(network_set("a", net))
    current = root.parent / "current"
    current.symlink_to(releases / "1")
    async with running(current) as store:
        scratch = root.parent / "next"
        scratch.symlink_to(releases / "2")
        scratch.rename(current)
        await store.until_nets({"a": [A2]})
        replace(releases / "2" / "2.yaml", network_set("a", B1))
        await store.until_nets({"a": [B1]})
        assert store.sink.gone() == []
        assert not store.source.problems.current


# ---------------------------------------------------------------- links


class ConfigMap:
    """A volume as the kubelet mounts it: `name -> ..data/name`, `..data -> ..<version>`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.version = 0

    def write(self, files: dict[str, str]) -> None:
        self.version += 1
        payload = self.directory / f"..2026_{self.version}"
        payload.mkdir()
        for name, text in files.items():
            (payload / name).write_text(text)
        old = (self.directory / "..data").readlink() if self.version > 1 else ""
        (self.directory / "..data_tmp").symlink_to(payload.name)
        (self.directory / "..data_tmp").rename(self.directory / "..data")
        for name in files:
            if not (self.directory / name).is_symlink():
                (self.directory / name).symlink_to(f"..data/{name}")
        for link in self.directory.iterdir():
            if not link.name.startswith("..") and link.name not in files:
                link.unlink()
        if old:
            shutil.rmtree(self.directory / old)


async def test_a_mounted_config_map_is_swapped_as_a_whole(root):
    volume = ConfigMap(root)
    volume.write({"a.yaml": network_set("a", A1), "b.yaml": network_set("b", A1)})
    async with running(root) as store:
        assert store.sink.nets() == {"a": [A1], "b": [A1]}
        for number in range(3):
            net = f"10.2.0.{number}/32"
            store.sink.puts.clear()
            volume.write({"a.yaml": network_set("b", net), "b.yaml": network_set("a", net)})
            await store.until_nets({"a": [net], "b": [net]})
            assert len(store.sink.puts) == 2
        volume.write({"b.yaml": network_set("a", A2), "c.yaml": network_set("b", A2)})
        await store.until_nets({"a": [A2], "b": [A2]})
        assert store.sink.gone() == []
        volume.write({"c.yaml": network_set("b", B1)})
        await store.until_nets({"b": [B1]})
        await store.until_no_problem()


async def test_a_linked_file_and_a_linked_directory_are_followed(root):
    outside = root.parent / "outside"
    (outside / "dir").mkdir(parents=True)
    (outside / "file").write_text(network_set("a", A1))
    (outside / "dir" / "b.yaml").write_text(network_set("b", B1))
    (outside / "dir" / "round").symlink_to(outside / "dir")
    (root / "a.yaml").symlink_to(outside / "file")
    async with running(root) as store:
        assert store.sink.nets() == {"a": [A1]}
        (root / "dir").symlink_to(outside / "dir")
        await store.until_nets({"a": [A1], "b": [B1]})
        (outside / "file").write_text(network_set("a", A2))
        await store.until_nets({"a": [A2], "b": [B1]})
        replace(outside / "dir" / "b.yaml", network_set("b", A2))
        await store.until_nets({"a": [A2], "b": [A2]})
        (root / "dir").unlink()
        await store.until_nets({"a": [A2]})
        await store.until_no_problem()


# ---------------------------------------------------------------- when the kernel does not tell


async def test_a_regular_walk_finds_what_no_event_told(root, monkeypatch):
    (root / "a.yaml").write_text(network_set("a", A1))
    monkeypatch.setattr(Inotify, "read", lambda self: self._readable.clear() or [])
    async with running(root, rescan_seconds=0.05) as store:
        (root / "a.yaml").write_text(network_set("a", A2))
        (root / "sub").mkdir()
        (root / "sub" / "b.yaml").write_text(network_set("b", B1))
        await store.until_nets({"a": [A2], "b": [B1]})
        (root / "a.yaml").unlink()
        await store.until_nets({"b": [B1]})


async def test_after_an_overflow_everything_is_looked_at(root, monkeypatch):
    def overflowing(self):
        read(self)
        return [RawEvent(-1, InotifyEvent.OVERFLOW, 0, "")]

    read = Inotify.read
    (root / "a.yaml").write_text(network_set("a", A1))
    monkeypatch.setattr(Inotify, "read", overflowing)
    async with running(root) as store:
        replace(root / "a.yaml", network_set("a", A2))
        await store.until_nets({"a": [A2]})
        (root / "a.yaml").unlink()
        await store.until_nets({})


@pytest.mark.parametrize("number", [24, 28])
async def test_without_watches_it_walks_and_says_so(root, monkeypatch, number):
    def refuse(self, directory, mask):
        raise OSError(number, os.strerror(number), directory)

    monkeypatch.setattr(Inotify, "add", refuse)
    monkeypatch.setattr(manifests, "BLIND_RESCAN_SECONDS", 0.05)
    async with running(root) as store:
        (root / "a.yaml").write_text(network_set("a", A1))
        await store.until_nets({"a": [A1]})
        await store.until_problem(root, "fs.inotify.max_user_")


async def test_a_directory_that_cannot_be_read_keeps_what_it_held(root, monkeypatch):
    def scandir(path):
        if path == str(root / "sub") and closed:
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    real, closed = os.scandir, []
    (root / "sub").mkdir()
    (root / "sub" / "a.yaml").write_text(network_set("a", A1))
    monkeypatch.setattr(os, "scandir", scandir)
    async with running(root, rescan_seconds=0.05) as store:
        closed.append(True)
        await store.until_problem(root / "sub", "Permission denied")
        assert store.sink.nets() == {"a": [A1]}
        closed.clear()
        await store.until_no_problem()
        assert store.sink.gone() == []
