"""The files that the CNI plugin waits for: which, what is in them, and what is left alone."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from calc_graph.model import HostEndpoint, HostEndpointKey, WorkloadEndpoint, WorkloadEndpointKey
from dataplane.endpoint_states import LocalEndpoint
from felixpy.statusrep import aside, files
from felixpy.statusrep.files import EndpointFiles, render_content
from tests.felixpy.statusrep.virtual_time import now, running, virtually

WL = WorkloadEndpoint("cali1", ("10.65.0.2/32",))
CONTENT = b'{"ifaceName":"cali1","ipv4Nets":["10.65.0.2/32"]}'


def wep(name: str) -> WorkloadEndpointKey:
    return WorkloadEndpointKey("n1", "k8s", f"ns/{name}", "eth0")


def file(name: str) -> str:
    return f"k8s ns%2F{name} eth0"


def is_in(state, endpoint=WL):
    return LocalEndpoint(state, endpoint)


def held(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "endpoint-status"


@pytest.mark.parametrize(
    ("endpoint", "content"),
    [
        (WL, CONTENT),
        (
            WorkloadEndpoint(
                "cali12345",
                ("fd65::2/128", "10.65.0.2/32", "10.65.0.1/32"),
                mac="ee:ee:01:02:03:04",
            ),
            b'{"ifaceName":"cali12345","mac":"ee:ee:01:02:03:04",'
            b'"ipv4Nets":["10.65.0.2/32","10.65.0.1/32"],"ipv6Nets":["fd65::2/128"]}',
        ),
        (WorkloadEndpoint("cali1", ()), b'{"ifaceName":"cali1"}'),
    ],
)
def test_content(endpoint: WorkloadEndpoint, content: bytes) -> None:
    assert render_content(endpoint) == content


def test_content_of_a_workload_that_speaks_bgp() -> None:
    name = b',"bgpPeerName":"tor-in-a-box"}'
    assert render_content(WL, "tor-in-a-box") == CONTENT[:-1] + name


def test_a_file_for_each_workload_that_is_up(directory: Path) -> None:
    async def work() -> None:
        subject = EndpointFiles(directory)
        async with running(subject.run()):
            subject.note(
                {
                    wep("a"): is_in("up"),
                    wep("b"): is_in("down"),
                    wep("c"): is_in("error"),
                    HostEndpointKey("n1", "eth0"): is_in("up", HostEndpoint("eth0")),
                }
            )
            await asyncio.sleep(0.001)
            assert held(directory) == {file("a"): CONTENT}
            subject.note({wep("a"): None, wep("b"): is_in("up"), wep("c"): is_in("up")})
            await asyncio.sleep(0.001)
            assert set(held(directory)) == {file("b"), file("c")}
            subject.note({wep("b"): is_in("down"), wep("x"): None})
            subject.note({wep("c"): is_in("up", WorkloadEndpoint("cali2", ()))})
            await asyncio.sleep(0.001)
            assert held(directory) == {file("c"): b'{"ifaceName":"cali2"}'}
            assert subject.problem == ""

    before = os.umask(0o077)
    try:
        virtually(work)
    finally:
        os.umask(before)
    assert directory.stat().st_mode & 0o777 == 0o755
    assert (directory / file("c")).stat().st_mode & 0o777 == 0o644


def test_nothing_is_touched_before_everything_was_told(directory: Path) -> None:
    async def work() -> None:
        directory.mkdir()
        (directory / "somebody's").mkdir()
        for name, content in (("a", CONTENT), ("b", b"old"), ("gone", CONTENT)):
            (directory / file(name)).write_bytes(content)
        (directory / "foreign").touch()
        (directory / "link").symlink_to("/etc/hostname")
        (directory / file("c")).symlink_to(directory / file("a"))
        before = held(directory)
        kept = (directory / file("a")).stat()
        subject = EndpointFiles(directory)
        async with running(subject.run()):
            await asyncio.sleep(1000)
            assert held(directory) == before
            subject.note({wep(name): is_in("up") for name in "abc"})
            await asyncio.sleep(0.001)
        assert held(directory) == {file(name): CONTENT for name in "abc"}
        assert (directory / file("a")).stat().st_ino == kept.st_ino  # right files are left alone
        assert not (directory / file("c")).is_symlink()
        assert (directory / "somebody's").is_dir()

    # others may read them, whoever wrote them
    before = os.umask(0o022)
    try:
        virtually(work)
    finally:
        os.umask(before)


def _remove(path: Path) -> None:
    path.unlink()


def _change(path: Path) -> None:
    path.write_bytes(b"changed")


def _change_to_the_same_length(path: Path) -> None:
    seen = path.stat()
    path.write_bytes(CONTENT.replace(b"cali1", b"cali9"))
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns + 1))


def _hide(path: Path) -> None:
    path.chmod(0o600)


def _add(path: Path) -> None:
    (path.parent / "foreign").touch()


def _clear(path: Path) -> None:
    path.unlink()
    path.parent.rmdir()


@pytest.mark.parametrize(
    "meddle", [_remove, _change, _change_to_the_same_length, _hide, _add, _clear]
)
def test_what_others_change_is_repaired_in_time(directory: Path, meddle) -> None:
    async def work() -> None:
        subject = EndpointFiles(directory)
        subject.note({wep("a"): is_in("up")})
        async with running(subject.run()):
            await asyncio.sleep(15)
            meddle(directory / file("a"))
            await asyncio.sleep(6)
            assert held(directory) == {file("a"): CONTENT}
            assert (directory / file("a")).stat().st_mode & 0o777 == 0o644

    virtually(work)


def test_a_directory_that_was_removed_is_filled_again_at_the_first_change(directory: Path) -> None:
    async def work() -> None:
        subject = EndpointFiles(directory)
        subject.note({wep("a"): is_in("up")})
        async with running(subject.run()):
            await asyncio.sleep(15)
            _clear(directory / file("a"))
            subject.note({wep("b"): is_in("up")})
            await asyncio.sleep(0.001)
            assert set(held(directory)) == {file("a"), file("b")}

    virtually(work)


def test_files_that_are_right_are_read_once(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    read_bytes = Path.read_bytes

    def reading(path: Path) -> bytes:
        read.append(path.name)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", reading)

    async def work() -> None:
        directory.mkdir()
        (directory / file("a")).write_bytes(CONTENT)
        (directory / file("a")).chmod(0o644)
        subject = EndpointFiles(directory)
        subject.note({wep("a"): is_in("up"), wep("b"): is_in("up")})
        async with running(subject.run()):
            await asyncio.sleep(100)

    virtually(work)
    assert read == [file("a")]


def test_without_the_directory_above_it_waits(directory: Path) -> None:
    async def work() -> None:
        base = directory / "not" / "there"
        subject = EndpointFiles(base)
        subject.note({wep("a"): is_in("up")})
        async with running(subject.run()):
            await asyncio.sleep(35)
            subject.note({wep("b"): is_in("up"), wep("a"): None})
            await asyncio.sleep(1)
            assert not directory.exists()
            assert subject.problem == ""
            base.parent.mkdir(parents=True)
            await asyncio.sleep(10)
            assert held(base) == {file("b"): CONTENT}
            (base / file("b")).unlink()
            base.rmdir()
            base.parent.rmdir()
            await asyncio.sleep(20)
            assert subject.problem == ""
            base.mkdir(parents=True)  # somebody else's doing
            subject.note({wep("c"): is_in("up")})
            await asyncio.sleep(0.001)
            assert set(held(base)) == {file("b"), file("c")}

    with capture_logs() as logs:
        virtually(work)
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("endpoint_files.waiting", "info"),
        ("endpoint_files.waiting", "info"),
    ]


def test_failures_are_tried_again_and_said_once(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = True
    tries: list[float] = []

    def write(path: Path, scratch: Path, content: bytes) -> os.stat_result:
        if path.name == file("a"):
            tries.append(round(now(), 6))
            if broken:
                raise OSError(28, "No space left on device", str(path))
        return aside.write_aside(path, scratch, content)

    async def work() -> None:
        nonlocal broken
        subject = EndpointFiles(directory)
        subject.note({wep("a"): is_in("up"), wep("b"): is_in("up")})
        async with running(subject.run()):
            await asyncio.sleep(12)
            assert held(directory) == {file("b"): CONTENT}  # others are not kept waiting
            assert subject.problem == f"{directory / file('a')}: No space left on device"
            broken = False
            await asyncio.sleep(5)
            assert held(directory) == {file(name): CONTENT for name in "ab"}
            assert subject.problem == ""

    monkeypatch.setattr(files, "write_aside", write)
    with capture_logs() as logs:
        virtually(work)
    assert tries == [0.0, 0.05, 0.55, 5.55, 10.55, 15.55]
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("endpoint_files.unwritten", "warning"),
        ("endpoint_files.recovered", "info"),
    ]


def test_a_change_that_fails_does_not_wait_for_the_next_look(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[tuple[float, str]] = []

    def write(path: Path, scratch: Path, content: bytes) -> os.stat_result:
        tries.append((round(now(), 6), path.name))
        raise OSError(28, "No space left on device", str(path))

    async def work() -> None:
        subject = EndpointFiles(directory)
        subject.note({})
        async with running(subject.run()):
            await asyncio.sleep(3)
            subject.note({wep("a"): is_in("up")})
            await asyncio.sleep(0.3)
            subject.note({wep("b"): is_in("up")})  # puts nothing off
            await asyncio.sleep(0.3)

    monkeypatch.setattr(files, "write_aside", write)
    virtually(work)
    a, b = file("a"), file("b")
    assert tries == [(3.0, a), (3.05, a), (3.3, b), (3.55, a), (3.55, b)]


def test_what_is_no_directory_is_a_problem(directory: Path) -> None:
    async def work() -> None:
        directory.touch()
        subject = EndpointFiles(directory)
        subject.note({wep("a"): is_in("up")})
        async with running(subject.run()):
            await asyncio.sleep(1)
            assert "Not a directory" in subject.problem
            directory.unlink()
            await asyncio.sleep(6)
            assert subject.problem == ""
            assert held(directory) == {file("a"): CONTENT}

    virtually(work)


def test_a_name_that_is_too_long_stops_no_other(directory: Path) -> None:
    async def work() -> None:
        subject = EndpointFiles(directory)
        subject.note({wep("a" * 300): is_in("up"), wep("b"): is_in("up")})
        async with running(subject.run()):
            await asyncio.sleep(20)
            assert "File name too long" in subject.problem
            subject.note({wep("a" * 300): None})
            await asyncio.sleep(20)
            assert subject.problem == ""
            assert held(directory) == {file("b"): CONTENT}

    virtually(work)


def test_many_files_let_others_have_their_turn(directory: Path) -> None:
    async def work() -> None:
        subject = EndpointFiles(directory)
        subject.note({wep(str(number)): is_in("up") for number in range(200)})
        async with running(subject.run()):
            await asyncio.sleep(0)  # it is made to begin
            seen = len(held(directory))
            assert 0 < seen < 200
            subject.note({wep("199"): None, wep("new"): is_in("up")})
            await asyncio.sleep(0.001)
            assert len(held(directory)) == 200
            assert file("199") not in held(directory)

    virtually(work)


NAMES = "abcd"
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(["up", "down", "error", "gone"])),
        st.tuples(st.sampled_from(NAMES), st.sampled_from(["cali2", "cali3"])),
        st.tuples(st.just("wait"), st.floats(0.0, 12.0)),
        st.tuples(st.just("remove"), st.sampled_from([*map(file, NAMES), "."])),
        st.tuples(st.just("meddle"), st.sampled_from([*map(file, NAMES), "foreign"])),
        st.tuples(st.just("writes"), st.sampled_from(["refused", ""])),
    ),
    max_size=25,
)


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_in_the_end_the_directory_holds_what_the_states_say(steps) -> None:
    async def work(directory: Path, patch: pytest.MonkeyPatch) -> None:
        subject = EndpointFiles(directory)
        expected: dict[str, bytes] = {}
        subject.note({})
        async with running(subject.run()):
            for what, value in steps:
                match what:
                    case "wait":
                        await asyncio.sleep(value)
                    case "writes":
                        # a scratch file that cannot be opened
                        patch.setattr(files, "_SCRATCH", "no/scratch" if value else ".new")
                    case "meddle" if directory.exists():
                        (directory / value).write_bytes(b"meddled")
                    case "remove" if directory.exists():
                        for path in directory.iterdir() if value == "." else [directory / value]:
                            path.unlink(missing_ok=True)
                        if value == ".":
                            directory.rmdir()
                    case _ if what in NAMES:
                        name = file(what)
                        expected.pop(name, None)
                        if value in ("up", "cali2", "cali3"):
                            endpoint = WL if value == "up" else WorkloadEndpoint(value, ())
                            expected[name] = render_content(endpoint)
                            subject.note({wep(what): is_in("up", endpoint)})
                        else:
                            subject.note({wep(what): None if value == "gone" else is_in(value)})
            patch.setattr(files, "_SCRATCH", ".new")
            await asyncio.sleep(20)
            assert held(directory) == expected
            assert subject.problem == ""

    with tempfile.TemporaryDirectory() as base, pytest.MonkeyPatch.context() as patch:
        virtually(lambda: work(Path(base) / "endpoint-status", patch))
