"""A bad file never disturbs the keys in use, and nothing that is said of it shows a key."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from dataplane.errors import DataplaneError
from dataplane.ipsec.keys import KeyRing
from felixpy.ipsec.feeds import FileFeed, Reading
from felixpy.ipsec.keyfile import parse
from felixpy.ipsec.source import KeySource
from tests.felixpy.ipsec.key_texts import GCM, line, secret_of, write

PATIENCE = 20  # seconds until a test that waits gives up
NOW = 1_700_000_000.0


class Feed:
    name = "keys"

    def __init__(self) -> None:
        self.reading = Reading(None, "cannot be read")

    def read(self) -> Reading:
        octets = self.reading.octets
        return self.reading._replace(octets=None if octets is None else bytearray(octets))

    async def run(self) -> None:
        await asyncio.Event().wait()  # nobody ever calls back


class Lab:
    """A source whose file is what `look` says; `after_all` is a bad one that has stayed bad."""

    def __init__(self, settle_seconds: float = 0.0) -> None:
        self.feed = Feed()
        self.known: dict[int, str] = {}
        self.tried: list[int] = []
        self.refusals: dict[int, str | Exception] = {}
        self.offered: list[KeyRing] = []
        self.changes = 0
        self.source = KeySource(
            lambda _: self.feed,
            lambda: self.known,
            self._trial,
            self.offered.append,
            changed=self._note,
            now=lambda: NOW,
            settle_seconds=settle_seconds,
        )

    async def _trial(self, key) -> str:
        self.tried.append(key.id)
        answer = self.refusals.get(key.id, "")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _note(self) -> None:
        self.changes += 1

    async def look(self, text: str, note: str = "", problem: str = "") -> bool:
        self.feed.reading = Reading(bytearray(text.encode()), problem, note)
        return await self.source.look()

    @property
    def ids(self) -> list[list[int]]:
        return [[*ring] for ring in self.offered]

    @property
    def facts(self):
        return self.source.facts


def check_of(text: str, key_id: int) -> str:
    return parse(text.encode(), "").ring[key_id].check


async def test_a_good_file_is_tried_and_used():
    lab = Lab()
    assert await lab.look(line(3) + line(4))
    assert lab.ids == [[4, 3]]
    assert sorted(lab.tried) == [3, 4]
    assert lab.facts.checks == {n: check_of(line(n), n) for n in (3, 4)}
    assert (lab.facts.accepted, lab.facts.errors, lab.facts.reason) == (NOW, 0, "")
    assert lab.changes == 1


async def test_the_same_again_is_nothing():
    lab = Lab()
    await lab.look(line(3))
    await lab.look(line(3))
    await lab.look(f"# a comment\n{line(3)}")
    assert lab.ids == [[3]]
    assert lab.tried == [3]
    assert lab.changes == 1


async def test_only_what_is_new_is_tried():
    lab = Lab()
    await lab.look(line(3))
    await lab.look(line(3) + line(4))
    await lab.look(line(4))
    assert lab.ids == [[3], [4, 3], [4]]
    assert lab.tried == [3, 4]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "keys: no key in it: expected `ID ALGORITHM KEY ICV`"),
        (f"3 {GCM} {secret_of('4')[1:]} 128", "keys: line 1: field 3 has an odd number of hex"),
        (line(3, "another"), "keys: key ID 3 already stands for another key; use a new ID"),
        (line(5), "keys: key 5: no such thing"),
    ],
)
async def test_a_bad_file_disturbs_nothing(text, reason):
    lab = Lab()
    lab.refusals = {5: "no such thing"}
    await lab.look(line(3))
    for _ in range(3):
        assert await lab.look(text)
    assert lab.ids == [[3]]
    assert lab.facts.reason.startswith(reason)
    assert (lab.facts.errors, lab.facts.rejected_since) == (1, NOW)
    assert lab.facts.checks == {3: check_of(line(3), 3)}
    said = lab.facts.problems("pair")
    assert len(said) == 1
    assert said[0].startswith(f"key file rejected since 2023-11-14T22:13:20Z: {reason}")
    assert said[0].endswith("; the last good keys stay in use")
    await lab.look(line(4))
    assert lab.ids == [[3], [4]]
    assert (lab.facts.reason, lab.facts.problems("pair")) == ("", [])
    assert lab.facts.errors == 1


async def test_a_key_that_could_not_be_tried_is_not_rejected():
    lab = Lab()
    lab.refusals = {4: DataplaneError("it does not answer")}
    await lab.look(line(3))
    await lab.look("junk")
    for _ in range(3):
        assert not await lab.look(line(4))
    assert lab.ids == [[3]]
    assert lab.tried == [3, 4, 4, 4]
    assert lab.facts.checks == {3: check_of(line(3), 3)}
    assert (lab.facts.reason, lab.facts.errors) == ("", 1)
    assert lab.facts.problems("pair") == [
        "keys: key 4 could not be tried: it does not answer; that is done again, and the last good"
        " keys stay in use"
    ]
    # now it is what cannot be that counts
    assert await lab.look("")
    assert (lab.facts.untried, lab.facts.errors) == ("", 2)
    await lab.look(line(4))
    lab.refusals = {}
    assert await lab.look(line(4))
    assert lab.ids == [[3], [4]]
    assert lab.facts.problems("pair") == []


async def test_a_key_that_could_not_be_tried_is_tried_again(tmp_path):
    path = tmp_path / "keys"
    write(path, line(3))
    answers: list[str | Exception] = [DataplaneError("no answer"), DataplaneError("no answer"), ""]
    offered: asyncio.Queue[KeyRing] = asyncio.Queue()

    async def trial(_) -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    source = KeySource(
        lambda changed: FileFeed(path, changed, look_seconds=PATIENCE),
        dict,
        trial,
        offered.put_nowait,
        retry_seconds=0.01,
    )
    task = asyncio.create_task(source.run())
    try:
        async with asyncio.timeout(PATIENCE / 2):
            assert [*await offered.get()] == [3]
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_without_any_key_that_is_said():
    lab = Lab()
    assert await lab.source.look()
    assert lab.offered == []
    assert lab.facts.problems("pair") == [
        "key file rejected since 2023-11-14T22:13:20Z: keys: cannot be read;"
        " there are no keys to use"
    ]


async def test_what_may_be_half_written_gets_a_moment():
    lab = Lab(settle_seconds=3600)
    await lab.look(line(3))
    assert not await lab.look("")
    assert not await lab.look(line(4)[:30])
    assert (lab.facts.reason, lab.facts.errors) == ("", 0)
    assert await lab.look(line(4))
    assert lab.ids == [[3], [4]]
    # but a file that is complete, and will not do, is not going to be another one
    assert await lab.look(line(4, "another"))
    assert lab.facts.errors == 1


async def test_another_fault_is_another_error():
    lab = Lab()
    await lab.look(line(3))
    await lab.look("")
    await lab.look("16 a b c")
    await lab.look("")
    assert lab.facts.errors == 3


async def test_what_is_not_of_now_is_used_and_told():
    lab = Lab()
    await lab.look(line(3), problem="the last good one is in use")
    assert lab.ids == [[3]]
    assert lab.facts.reason == "keys: the last good one is in use"


# ---------------------------------------------------------------- keys that are not in the file


async def test_an_id_stands_for_its_key_while_somebody_knows_it():
    lab = Lab()
    lab.known = {3: check_of(line(3), 3)}
    await lab.look(line(3, "another"))
    assert lab.offered == []
    assert "key ID 3 already stands for another key" in lab.facts.reason
    await lab.look(line(3))
    assert lab.ids == [[3]]
    lab.known = {}
    await lab.look(line(4))
    await lab.look(line(3, "another"))
    assert lab.ids == [[3], [4], [3]]


async def test_too_many_at_once():
    lab = Lab()
    lab.known = dict.fromkeys(range(1, 8), "00")
    await lab.look(line(8))
    assert lab.offered == []
    assert lab.facts.reason == (
        "keys: at most 7 keys may be in use at once, and these still are: 1, 2, 3, 4, 5, 6, 7;"
        " `felixpy ipsec key drop` ends one"
    )


async def test_a_step_back_is_noted():
    lab = Lab()
    lab.known = {3: "00"}
    await lab.look(line(11))
    assert lab.ids == [[11]]
    assert lab.facts.notes == (
        "key ID 11 counts as older than 3, which is still in use: after 3 comes 4",
    )
    lab.known = {15: "00"}
    await lab.look(line(1))
    assert lab.facts.notes == ()


async def test_notes_and_what_a_plus_asks_for():
    lab = Lab()
    await lab.look(line("3+"), note="others have access to it")
    assert lab.facts.notes == ("others have access to it",)
    assert lab.facts.asks_pair
    assert lab.facts.problems("pair") == []
    assert lab.facts.problems("shared") == [
        "keys: a + behind a key ID asks for states for each pair of nodes, and IPsecStateLayout is"
        " shared"
    ]


async def test_what_was_read_is_overwritten():
    lab = Lab()
    octets = bytearray(line(3).encode())
    lab.feed.read = lambda: Reading(octets)
    await lab.source.look()
    assert not any(octets)
    octets[:] = line(4).encode()[:-1] + b"x"
    await lab.source.look()
    assert not any(octets)


async def test_a_log_shows_no_key(capsys):
    lab = Lab()
    for text in (line(3), line(3, "another"), line(4)[:-9], f"3 {secret_of('5')} {GCM} 128", ""):
        await lab.look(text, note="loose")
    out = "".join(capsys.readouterr()) + repr(lab.facts)
    for word in ("3", "another", "4", "5"):
        assert secret_of(word)[:8] not in out


# ---------------------------------------------------------------- over a real file


async def test_a_file_that_changes(tmp_path):
    path = tmp_path / "keys"
    write(path, line(3))
    told = asyncio.Event()
    offered: list[KeyRing] = []

    async def trial(_) -> str:
        return ""

    source = KeySource(
        lambda changed: FileFeed(path, changed),
        dict,
        trial,
        offered.append,
        changed=told.set,
        settle_seconds=0.0,
    )

    async def until(condition) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                told.clear()
                await told.wait()

    task = asyncio.create_task(source.run())
    try:
        await until(lambda: [*source.facts.checks] == [3])
        path.write_text(line(4))
        await until(lambda: [*source.facts.checks] == [4])
        path.unlink()
        await until(lambda: source.facts.reason)
        assert [*source.facts.checks] == [4]
        write(path, line(4) + line(5))
        await until(lambda: [*source.facts.checks] == [5, 4])
        assert not source.facts.reason
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
