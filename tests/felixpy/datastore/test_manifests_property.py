"""Whatever is done to the files, the state ends as a fresh start reads it, and had no hole."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from felixpy.datastore.source import DatastoreStartError
from tests.felixpy.datastore.manifest_store import fresh_state, network_set, running, several

FILES = ["a.yaml", "b.yml", "one/a.yaml", "one/b.yaml", "one/two/c.yaml", ".hidden.yaml", "x.txt"]
DIRECTORIES = ["one", "one/two", "three", ".off"]
NAMES = ["r", "s", "t"]
BROKEN = ["{", "a: 1\na: 2\n", "kind: Nothing\n"]

documents = st.lists(
    st.builds(network_set, st.sampled_from(NAMES), st.sampled_from(["10.0.0.1/32", "10.0.0.2/32"])),
    max_size=3,
).map(lambda parts: several(*parts))
texts = documents | documents | documents | st.sampled_from(BROKEN)
operations = st.one_of(
    st.tuples(st.sampled_from(["write", "replace", "append"]), st.sampled_from(FILES), texts),
    st.tuples(st.just("remove"), st.sampled_from(FILES), st.none()),
    st.tuples(st.just("move"), st.sampled_from(FILES), st.sampled_from(FILES)),
    st.tuples(st.just("link"), st.sampled_from(FILES), st.sampled_from(FILES)),
    st.tuples(st.just("move"), st.sampled_from(DIRECTORIES), st.sampled_from(DIRECTORIES)),
    st.tuples(st.just("remove tree"), st.sampled_from(DIRECTORIES), st.none()),
    st.tuples(st.just("pause"), st.none(), st.none()),
)


def perform(root: Path, what: str, name: str, argument: str | None) -> None:
    path = root / name
    try:
        match what:
            case "write" | "replace" | "append":
                path.parent.mkdir(parents=True, exist_ok=True)
                if what == "replace":
                    scratch = path.with_name(f".{path.name}.tmp")
                    scratch.write_text(argument or "")
                    scratch.rename(path)
                else:
                    with path.open("a" if what == "append" else "w") as file:
                        file.write(f"---\n{argument}")
            case "remove":
                path.unlink()
            case "remove tree":
                shutil.rmtree(path)
            case "move":
                path.rename(root / str(argument))
            case "link":
                path.symlink_to(root / str(argument))
    except (OSError, shutil.Error):
        pass  # nothing there to move, or something in the way: as good an operation as any


async def follows(steps: list[tuple[str, str, str | None]], root: Path) -> None:
    async with running(root) as store:
        for what, name, argument in steps:
            if what == "pause":
                await asyncio.sleep(0.012)  # long enough to split a batch; nothing rests on it
            else:
                perform(root, what, name, argument)
        try:
            expected = await fresh_state(root)
        except DatastoreStartError:
            # a fresh start would refuse; this one says what is wrong
            await store.sink.until(lambda: bool(store.source.problems.current))
        else:
            await store.sink.until(lambda: store.sink.state == expected)
            await store.until_no_problem()


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(operations, max_size=12))
def test_any_sequence_of_operations_ends_in_what_a_fresh_start_reads(steps):
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "manifests"
        root.mkdir()
        asyncio.run(follows(steps, root))


@settings(max_examples=30, deadline=None)
@given(
    moves=st.lists(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(["one", "two", "one/deep"])), max_size=8
    )
)
def test_resources_that_only_move_are_never_put_again(moves):
    async def move_about(root: Path) -> None:
        async with running(root) as store:
            before = len(store.sink.puts)
            places = {name: root / f"{name}.yaml" for name in NAMES}
            for name, directory in moves:
                (root / directory).mkdir(parents=True, exist_ok=True)
                target = root / directory / f"{name}.yaml"
                places[name] = places[name].rename(target)
                await asyncio.sleep(0)
            marker = root / "marker.yaml"
            marker.write_text(network_set("marker", "10.9.9.9/32"))
            await store.sink.until(lambda: "marker" in store.sink.nets())
            await store.until_no_problem()
            assert len(store.sink.puts) == before + 1

    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "manifests"
        root.mkdir()
        for name in NAMES:
            (root / f"{name}.yaml").write_text(network_set(name, "10.0.0.1/32"))
        asyncio.run(move_about(root))
