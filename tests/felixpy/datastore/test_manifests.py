"""A running source over a real directory: the state follows, and never has a hole."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from calc_graph.model import NetworkSetKey, Profile, ProfileKey, Tier, TierKey
from felixpy.datastore import holdings, settling, watch
from felixpy.datastore.manifests import BUILTIN
from felixpy.datastore.source import DatastoreStartError
from tests.felixpy.datastore.manifest_store import (
    fresh_state,
    is_builtin,
    network_set,
    running,
    several,
)

A1, A2, B1 = "10.0.0.1/32", "10.0.0.2/32", "10.0.1.1/32"


@pytest.fixture
def root(tmp_path):
    directory = tmp_path / "manifests"
    directory.mkdir()
    return directory


def replace(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}.tmp")
    scratch.write_text(text)
    scratch.rename(path)


# ---------------------------------------------------------------- start


async def test_start_reads_every_manifest_below_the_directory(root):
    (root / "deep" / "er").mkdir(parents=True)
    (root / "a.yaml").write_text(several(network_set("a", A1), network_set("b", B1)))
    (root / "deep" / "c.yml").write_text(network_set("c", A1))
    document = {
        "apiVersion": "projectcalico.org/v3",
        "kind": "GlobalNetworkSet",
        "metadata": {"name": "d"},
        "spec": {"nets": [A2]},
    }
    (root / "deep" / "er" / "d.json").write_text(json.dumps(document))
    async with running(root) as store:
        assert store.sink.nets() == {"a": [A1], "b": [B1], "c": [A1], "d": [A2]}
        assert not store.source.problems.current


async def test_an_empty_directory_has_what_every_calico_datastore_has(root):
    assert await fresh_state(root) == dict(BUILTIN)
    assert BUILTIN[TierKey("default")] == Tier(order=1_000_000.0, default_action="Deny")
    profile = BUILTIN[ProfileKey("projectcalico-default-allow")]
    assert isinstance(profile, Profile)
    assert [rule.action for rule in (*profile.ingress, *profile.egress)] == ["allow", "allow"]


async def test_a_manifest_of_the_default_tier_takes_the_built_in_ones_place(root):
    text = (
        "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: default}\n"
        "spec: {order: 1000000, defaultAction: Deny}\n"
    )
    async with running(root) as store:
        (root / "tier.yaml").write_text(text)
        (root / "a.yaml").write_text(network_set("a", A1))
        await store.until_nets({"a": [A1]})
        (root / "tier.yaml").unlink()
        (root / "a.yaml").unlink()
        await store.until_nets({})
        assert TierKey("default") in store.sink.state
        assert TierKey("default") not in store.sink.gone()


SCRATCH = [
    ".a.yaml.swp",
    ".a.yaml",
    "a.yaml~",
    "#a.yaml#",
    "#a.yaml",
    ".#a.yaml",
    "4913",
    "a.yaml.tmp",
    "a.yaml.bak",
    "a.yaml.orig",
    "a.txt",
    "README",
    ".git/a.yaml",
    "sub/.hidden/a.yaml",
]


@pytest.mark.parametrize("name", SCRATCH)
async def test_scratch_files_are_never_read(root, name):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{not: a manifest")
    assert all(is_builtin(key) for key in await fresh_state(root))


async def test_scratch_files_are_never_read_while_running(root):
    async with running(root) as store:
        for name in SCRATCH:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{not: a manifest")
        (root / "last.yaml").write_text(network_set("last", A1))
        await store.until_nets({"last": [A1]})
        assert not store.source.problems.current


async def test_a_start_error_lists_all_that_is_wrong_in_all_files(root):
    (root / "a.yaml").write_text(
        several(network_set("a", A1), network_set("b").replace("nets:", "netz:"), "kind: Unheard\n")
    )
    (root / "b.yaml").write_text("a: {b\n")
    (root / "c.yaml").write_text("a: 1\na: 2\n")
    (root / "d.json").write_text('{\n "a": 1,\n "a": 2\n}')
    (root / "e.json").write_text('{"a": \n')
    (root / "f.yaml").write_bytes(b"a: 1\nb: \xff\n")
    (root / "g.yaml").symlink_to(root / "nowhere.yaml")
    (root / "h.yaml").symlink_to(root / "h.yaml")
    os.mkfifo(root / "i.yaml")
    with pytest.raises(DatastoreStartError) as caught:
        await fresh_state(root)
    errors = [
        (Path(e.where).name, e.line, e.column, e.field, e.message) for e in caught.value.errors
    ]
    expected = [
        ("a.yaml", 14, 3, "spec.netz", "nets"),
        ("a.yaml", 16, 1, "", "Unheard"),
        ("b.yaml", 2, 1, "", "expected"),
        ("c.yaml", 2, 1, "", "'a' is there twice"),
        ("d.json", 3, 2, "", "'a' is there twice"),
        ("e.json", 2, 1, "", "not JSON"),
        ("f.yaml", 0, 0, "", "not UTF-8 text: line 2"),
        ("g.yaml", 0, 0, "", "leads to nothing"),
        ("h.yaml", 0, 0, "", "loop"),
        ("i.yaml", 0, 0, "", "not a regular file"),
    ]
    assert [error[:2] for error in errors] == [error[:2] for error in expected]
    for error, (_, _, column, field, words) in zip(errors, expected, strict=True):
        if field:
            assert error[2:4] == (column, field)
        assert words in error[4]
    assert f"{root}/a.yaml:14:3: spec.netz: " in str(caught.value)


async def test_a_missing_directory_is_a_start_error(tmp_path):
    with pytest.raises(DatastoreStartError, match="cannot be read: No such file"):
        await fresh_state(tmp_path / "missing")


async def test_the_same_resource_in_two_files_is_a_start_error_that_names_both(root):
    (root / "a.yaml").write_text(several("# nothing\n", network_set("a", A1)))
    (root / "b.yaml").write_text(several(network_set("b", A1), network_set("a", A2)))
    with pytest.raises(DatastoreStartError) as caught:
        await fresh_state(root)
    (error,) = caught.value.errors
    assert (error.where, error.line) == (f"{root}/b.yaml", 9)
    assert f"GlobalNetworkSet a is also in {root}/a.yaml:3" in error.message


async def test_the_same_resource_twice_in_one_file_is_a_start_error(root):
    (root / "a.yaml").write_text(several(network_set("a", A1), network_set("a", A1)))
    with pytest.raises(DatastoreStartError, match=r"a\.yaml:9: .*twice in this file.*line 1"):
        await fresh_state(root)


# ---------------------------------------------------------------- one file changes


async def test_every_way_to_change_a_file_is_seen(root):
    path = root / "a.yaml"
    async with running(root) as store:
        path.write_text(network_set("a", A1))
        await store.until_nets({"a": [A1]})
        replace(path, network_set("a", A2))
        await store.until_nets({"a": [A2]})
        path.write_text(network_set("a", A1, A2))
        await store.until_nets({"a": [A1, A2]})
        with path.open("a") as file:
            file.write("---\n" + network_set("b", B1))
        await store.until_nets({"a": [A1, A2], "b": [B1]})
        path.rename(root / "other.yaml")
        replace(path, network_set("c", A1))
        await store.until_nets({"a": [A1, A2], "b": [B1], "c": [A1]})
        assert store.sink.gone() == []
        (root / "other.yaml").unlink()
        await store.until_nets({"c": [A1]})
        path.rename(root / "a.yaml.off")
        await store.until_nets({})
        (root / "a.yaml.off").rename(path)
        await store.until_nets({"c": [A1]})
        path.rename(root.parent / "outside.yaml")
        await store.until_nets({})
        os.link(root.parent / "outside.yaml", root / "linked.yaml")
        await store.until_nets({"c": [A1]})
        assert not store.source.problems.current


async def test_only_differences_are_put(root):
    path = root / "a.yaml"
    path.write_text(several(network_set("a", A1), network_set("b", A1)))
    async with running(root) as store:
        store.sink.puts.clear()
        replace(path, several(network_set("c", A1), "# new\n" + network_set("b", A2)))
        await store.until_nets({"c": [A1], "b": [A2]})
        replace(path, several(network_set("b", A2), network_set("c", A1, A2)))
        await store.until_nets({"c": [A1, A2], "b": [A2]})
        put = [(key.name, value and list(value.nets)) for key, value in store.sink.puts]
        assert sorted(put[:3]) == [("a", None), ("b", [A2]), ("c", [A1])]
        assert put[3:] == [("c", [A1, A2])]


async def test_a_file_that_is_being_written_keeps_its_last_version_until_it_is_closed(
    root, monkeypatch
):
    monkeypatch.setattr(settling, "OPEN_SECONDS", 3600)
    path = root / "a.yaml"
    path.write_text(several(network_set("a", A1), network_set("b", A1)))
    async with running(root) as store:
        with path.open("w") as file:
            file.write(network_set("a", A2))
            file.flush()
            # another change is put, so the source has been at work since
            replace(root / "other.yaml", network_set("other", A1))
            await store.until_nets({"a": [A1], "b": [A1], "other": [A1]})
            file.write("---\n" + network_set("b", A2))
        await store.until_nets({"a": [A2], "b": [A2], "other": [A1]})
        assert store.sink.gone() == []


async def test_truncating_and_writing_anew_leaves_no_hole(root, monkeypatch):
    monkeypatch.setattr(holdings, "EMPTY_SECONDS", 0.5)
    path = root / "a.yaml"
    path.write_text(network_set("a", A1))
    async with running(root) as store:
        for number in range(20):
            net = f"10.1.0.{number}/32"
            path.write_text("")
            await asyncio.sleep(0)
            path.write_text(network_set("a", net))
            await store.until_nets({"a": [net]})
        assert store.sink.gone() == []
        path.write_text("")
        await store.until_nets({})
        assert not store.source.problems.current


async def test_an_editor_that_keeps_a_copy_leaves_no_hole(root, monkeypatch):
    monkeypatch.setattr(watch, "RENAMED_AWAY_SECONDS", 3600)
    path = root / "a.yaml"
    path.write_text(network_set("a", A1))
    async with running(root) as store:
        path.rename(root / "a.yaml~")
        replace(root / "b.yaml", network_set("b", B1))
        await store.until_nets({"a": [A1], "b": [B1]})
        path.write_text(network_set("a", A2))
        await store.until_nets({"a": [A2], "b": [B1]})
        assert store.sink.gone() == []


async def test_a_file_that_stays_open_is_read_when_its_writer_is_silent(root):
    with (root / "a.yaml").open("w") as file:
        async with running(root) as store:
            file.write(network_set("a", A1))
            file.flush()
            await store.until_nets({"a": [A1]})


async def test_a_burst_of_files_is_one_batch(root):
    names = [f"s{number}" for number in range(350)]
    async with running(root) as store:
        loads = []
        load = store.source._load

        async def counted(due):
            loads.append(len(due))
            return await load(due)

        store.source._load = counted
        for name in names:
            replace(root / f"{name}.yaml", network_set(name, A1))
        await store.until_nets({name: [A1] for name in names})
        assert sum(loads) == len(names)
        assert len(loads) <= 3


# ---------------------------------------------------------------- bad input while running


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("a: {b\n", ["a.yaml:2:1", "expected"]),
        (network_set("a", A2).replace("nets", "netz"), ["a.yaml:6:3: spec.netz: ", "nets"]),
        (several(network_set("a", A2), network_set("a", A2)), ["a.yaml:9", "twice"]),
        (several(network_set("a", A2), "kind: GlobalNetworkSett\n"), ["a.yaml:9"]),
    ],
)
async def test_the_last_good_version_stays_until_the_file_is_good_again(root, bad, words):
    path = root / "a.yaml"
    path.write_text(network_set("a", A1))
    async with running(root) as store:
        replace(path, bad)
        await store.until_problem(path, *words)
        assert store.sink.nets() == {"a": [A1]}
        replace(path, network_set("a", A2))
        await store.until_nets({"a": [A2]})
        await store.until_no_problem()
        assert store.sink.gone() == []


async def test_removing_a_bad_file_removes_its_last_good_resources(root):
    path = root / "a.yaml"
    path.write_text(network_set("a", A1))
    async with running(root) as store:
        replace(path, "a: {b\n")
        await store.until_problem(path)
        path.unlink()
        await store.until_nets({})
        await store.until_no_problem()


async def test_a_bad_file_that_is_moved_takes_its_last_good_version_along(root):
    path, other = root / "a.yaml", root / "z.yaml"
    path.write_text(network_set("a", A1))
    async with running(root) as store:
        replace(path, "a: {b\n")
        await store.until_problem(path)
        path.rename(other)
        await store.until_problem(other)
        assert store.problem(path) == ""
        assert store.sink.nets() == {"a": [A1]}
        assert store.sink.gone() == []


async def test_a_file_that_cannot_be_read_any_more_keeps_its_last_good_version(root):
    path = root / "a.yaml"
    path.write_text(network_set("a", A1))
    async with running(root) as store:
        scratch = root / ".link"
        scratch.symlink_to("nowhere.yaml")
        scratch.rename(path)
        await store.until_problem(path, "leads to nothing")
        assert store.sink.nets() == {"a": [A1]}
        replace(root / "nowhere.yaml", network_set("a", A2))
        await store.until_nets({"a": [A2]})
        await store.until_no_problem()
        assert store.sink.gone() == []


# ---------------------------------------------------------------- one resource, several files


async def test_a_resource_that_moves_to_another_file_is_not_even_put(root):
    (root / "a.yaml").write_text(several(network_set("a", A1), network_set("b", B1)))
    (root / "c.yaml").write_text(network_set("c", A1))
    async with running(root) as store:
        store.sink.puts.clear()
        replace(root / "a.yaml", network_set("b", B1))
        replace(root / "c.yaml", several(network_set("c", A2), network_set("a", A1)))
        await store.until_nets({"a": [A1], "b": [B1], "c": [A2]})
        assert [key for key, _ in store.sink.puts] == [NetworkSetKey("c")]
        assert not store.source.problems.current


async def test_of_two_files_with_one_resource_the_earlier_is_in_force(root):
    first, second = root / "m.yaml", root / "b.yaml"
    first.write_text(network_set("a", A1))
    async with running(root) as store:
        replace(second, several(network_set("b", B1), network_set("a", A2)))
        await store.until_problem(second, f"{second}:9", f"{first}:1", "GlobalNetworkSet a")
        assert store.sink.nets() == {"a": [A1], "b": [B1]}
        first.unlink()
        await store.until_nets({"a": [A2], "b": [B1]})
        await store.until_no_problem()
        assert store.sink.gone() == []


async def test_a_copy_and_the_removal_of_the_first_put_nothing(root):
    first, second = root / "a.yaml", root / "b.yaml"
    first.write_text(network_set("a", A1))
    async with running(root) as store:
        store.sink.puts.clear()
        shutil.copy(first, second)
        await store.until_problem(second, str(first))
        first.unlink()
        await store.until_no_problem()
        assert store.sink.nets() == {"a": [A1]}
        assert store.sink.puts == []


async def test_two_names_of_one_file_are_no_conflict(root):
    (root / "a.yaml").write_text(network_set("a", A1))
    os.link(root / "a.yaml", root / "hard.yaml")
    (root / "soft.yaml").symlink_to("a.yaml")
    async with running(root) as store:
        assert store.sink.nets() == {"a": [A1]}
        (root / "a.yaml").rename(root / "a.off")
        (root / "soft.yaml").unlink()
        replace(root / "b.yaml", network_set("b", B1))
        await store.until_nets({"a": [A1], "b": [B1]})
        assert store.sink.gone() == []
        assert not store.source.problems.current
