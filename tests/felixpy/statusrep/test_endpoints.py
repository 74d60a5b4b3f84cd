"""The state of endpoints in the store: at what pace, in which order, and what in the end."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from calc_graph.model import HostEndpoint, HostEndpointKey, WorkloadEndpoint, WorkloadEndpointKey
from dataplane.endpoint_states import LocalEndpoint
from felixpy.statusrep.endpoints import EndpointReporter
from tests.felixpy.statusrep.fake_store import Call, FakeStore
from tests.felixpy.statusrep.virtual_time import running, virtually

WORKLOADS = "/calico/felix/v2/no-region/host/n1/workload/k8s/"
HOSTS = "/calico/felix/v1/host/n1/endpoint/"
WL, HEP = WorkloadEndpoint("cali1", ("10.65.0.2/32",)), HostEndpoint("eth0")
ELSEWHERE = {
    "/calico/felix/v2/no-region/host/n10/workload/k8s/ns%2fa/endpoint/eth0": b'{"status":"up"}',
    "/calico/felix/v2/region-x/host/n1/workload/k8s/ns%2fa/endpoint/eth0": b'{"status":"up"}',
    "/calico/felix/v2/no-region/host/n1/status": b"{}",
    "/calico/felix/v1/host/n10/endpoint/eth0": b'{"status":"up"}',
    "/calico/felix/v1/host/n1/config": b"x",
}


def wep(name: str) -> WorkloadEndpointKey:
    return WorkloadEndpointKey("n1", "k8s", f"ns/{name}", "eth0")


def path(name: str) -> str:
    return f"{WORKLOADS}ns%2f{name}/endpoint/eth0"


def is_in(state, endpoint=WL):
    return LocalEndpoint(state, endpoint)


def status(state: str) -> bytes:
    return f'{{"status":"{state}"}}'.encode()


def reporter(store: FakeStore, delay: float = 1.0) -> EndpointReporter:
    return EndpointReporter(store, "n1", "", delay, jitter=lambda: 1.1)


def test_keys_and_values() -> None:
    async def work() -> dict[str, bytes]:
        store = FakeStore()
        subject = reporter(store)
        host = HostEndpointKey("n1", "eth0")
        subject.note({wep("a"): is_in("up"), host: is_in("error", HEP), wep("b"): is_in("down")})
        async with running(subject.run()):
            await asyncio.sleep(10)
        return store.held

    assert virtually(work) == {
        path("a"): b'{"status":"up"}',
        HOSTS + "eth0": b'{"status":"error"}',
        path("b"): b'{"status":"down"}',
    }


def test_one_write_a_delay_the_oldest_first_and_the_newest_state_of_it() -> None:
    async def work() -> list[Call]:
        store = FakeStore()
        subject = reporter(store)
        async with running(subject.run()):
            await asyncio.sleep(100)
            subject.note({wep("a"): is_in("down"), wep("b"): is_in("up"), wep("c"): is_in("up")})
            await asyncio.sleep(0.5)
            subject.note({wep("d"): is_in("up")})
            subject.note({wep("c"): is_in("down"), wep("b"): None})
            await asyncio.sleep(100)
            subject.note({wep("d"): is_in("up")})  # no news
            subject.note({wep("a"): is_in("up")})
            await asyncio.sleep(100)
        assert [call.at for call in store.calls if call.what == "read"] == [100.0, 100.0] + [
            pytest.approx(298.0)
        ] * 2
        return store.writes()

    written = virtually(work)
    assert [(call.what, call.key, call.value) for call in written] == [
        ("put", path("a"), status("down")),
        ("delete", path("b"), b""),
        ("put", path("c"), status("down")),
        ("put", path("d"), status("up")),
        ("put", path("a"), status("up")),
    ]
    assert [call.at for call in written] == pytest.approx([100.0, 101.1, 102.2, 103.3, 200.5])
    assert {call.ttl for call in written} == {None}


def test_nothing_is_touched_before_everything_was_told() -> None:
    async def work() -> None:
        stale = {path("old"): status("up"), WORKLOADS + "nonsense": b"", HOSTS + "h": b"?"}
        store = FakeStore(ELSEWHERE | stale | {path("a"): status("up")})
        subject = reporter(store)
        async with running(subject.run()):
            await asyncio.sleep(1000)
            assert store.calls == []
            subject.note({wep("a"): is_in("up")})
            await asyncio.sleep(10)
        assert {call.what for call in store.writes()} == {"delete"}  # what was right stays
        assert store.held == ELSEWHERE | {path("a"): status("up")}

    virtually(work)


def test_no_endpoints_at_all_are_a_state_too() -> None:
    async def work() -> dict[str, bytes]:
        store = FakeStore(ELSEWHERE | {path("old"): status("up")})
        subject = reporter(store)
        subject.note({})
        async with running(subject.run()):
            await asyncio.sleep(1)
        return store.held

    assert virtually(work) == ELSEWHERE


def test_what_others_change_is_repaired_in_time() -> None:
    async def work() -> None:
        store = FakeStore()
        subject = reporter(store)
        subject.note({wep("a"): is_in("up"), wep("b"): is_in("up")})
        async with running(subject.run()):
            await asyncio.sleep(50)
            good = dict(store.held)
            del store.held[path("a")]
            store.held |= {path("b"): b"", path("x"): status("up")} | ELSEWHERE
            before = dict(store.held)
            await asyncio.sleep(140)
            assert store.held == before
            await asyncio.sleep(20)
        assert store.held == good | ELSEWHERE

    virtually(work)


def test_a_store_that_answers_with_too_much_does_no_harm() -> None:
    class Loose(FakeStore):
        async def read(self, prefix: str) -> dict[str, bytes]:
            return dict(self.held)

    async def work() -> dict[str, bytes]:
        store = Loose(ELSEWHERE)
        subject = reporter(store)
        subject.note({})
        async with running(subject.run()):
            await asyncio.sleep(1000)
        return store.held

    assert virtually(work) == ELSEWHERE


def test_what_fails_goes_behind_the_others_and_is_said_once() -> None:
    async def work() -> None:
        store = FakeStore()
        store.refuse = lambda call: "no room" if call.key == path("a") else ""
        subject = reporter(store)
        subject.note({wep(name): is_in("up") for name in "abc"})
        with capture_logs() as logs:
            async with running(subject.run()):
                await asyncio.sleep(10)
                assert [c.key for c in store.writes()[:4]] == [
                    path(n) for n in ("a", "b", "c", "a")
                ]
                assert len(store.writes()) == 10
                assert subject.problem == "no room"
                store.refuse = lambda call: ""
                await asyncio.sleep(2)
                assert subject.problem == ""
        assert [(entry["event"], entry["log_level"]) for entry in logs] == [
            ("endpoint_status.unwritten", "warning"),
            ("endpoint_status.recovered", "info"),
        ]
        assert set(store.held) == {path(name) for name in "abc"}

    virtually(work)


def test_a_list_that_fails_does_not_keep_writes_waiting() -> None:
    async def work() -> None:
        store = FakeStore({path("old"): status("up")})
        store.refuse = lambda call: "not allowed" if call.what == "read" else ""
        subject = reporter(store)
        subject.note({wep("a"): is_in("up")})
        async with running(subject.run()):
            await asyncio.sleep(10)
            assert set(store.held) == {path("a"), path("old")}
            assert len(store.calls) == 11
            assert subject.problem == "not allowed"
            store.refuse = lambda call: ""
            await asyncio.sleep(3)
            assert set(store.held) == {path("a")}
            assert subject.problem == ""

    virtually(work)


def test_a_store_that_hangs() -> None:
    async def work() -> None:
        store = FakeStore()
        store.refuse = lambda call: "hang" if call.at < 60 else ""
        subject = reporter(store)
        subject.note({wep("a"): is_in("up")})
        async with running(subject.run()):
            await asyncio.sleep(11)
            assert subject.problem.startswith("no answer in 10 s")
            await asyncio.sleep(80)
            assert subject.problem == ""
            assert store.held == {path("a"): status("up")}

    virtually(work)


def test_what_changes_during_a_write_is_written_after_it() -> None:
    async def work() -> dict[str, bytes]:
        store = FakeStore()
        subject = reporter(store)
        subject.note({})
        async with running(subject.run()):
            await asyncio.sleep(5)

            def change(call: Call) -> str:
                subject.note({wep("a"): is_in("down")})
                return ""

            store.refuse = change
            subject.note({wep("a"): is_in("up")})
            await asyncio.sleep(5)
        assert len(store.writes()) == 2
        return store.held

    assert virtually(work) == {path("a"): status("down")}


def test_the_pace_may_change_and_is_never_none() -> None:
    async def work() -> list[float]:
        store = FakeStore()
        store.refuse = lambda call: "no room"
        subject = reporter(store, delay=1000.0)
        subject.note({wep("a"): is_in("up")})
        async with running(subject.run()):
            await asyncio.sleep(5)
            assert len(store.writes()) == 1
            subject.settle(0.0)
            await asyncio.sleep(1)
        return [call.at for call in store.writes()]

    times = virtually(work)
    assert times[1] == 5.0
    assert len(times) == pytest.approx(1 / 0.011, abs=2)


class Answer:
    def __init__(self, text: str) -> None:
        self.text = text

    def __call__(self, call: Call) -> str:
        return self.text


NAMES = "abcd"
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(["up", "down", "error", "gone"])),
        st.tuples(st.just("wait"), st.floats(0.0, 3.0)),
        st.tuples(st.just("store"), st.sampled_from(["", "refused", "cut", "hang"])),
        st.tuples(st.just("meddle"), st.sampled_from([path(name) for name in NAMES + "x"])),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_in_the_end_the_store_holds_what_the_states_say(steps) -> None:
    async def work() -> None:
        store = FakeStore(ELSEWHERE | {path("old"): status("up")})
        subject = reporter(store)
        states: dict[str, str] = {}
        subject.note({})
        async with running(subject.run()):
            for what, value in steps:
                if what == "wait":
                    await asyncio.sleep(value)
                elif what == "store":
                    store.refuse = Answer(value)
                elif what == "meddle":
                    store.held[value] = b"meddled"
                else:
                    states[what] = value
                    subject.note({wep(what): None if value == "gone" else is_in(value)})
            store.refuse = lambda call: ""
            expected = {path(n): status(s) for n, s in states.items() if s != "gone"}
            await asyncio.sleep(25)  # the last answer that does not come, and a queue of five
            if all(what != "meddle" for what, _ in steps):
                assert store.held == ELSEWHERE | expected
            await asyncio.sleep(180 * 1.1 + 10)
            assert store.held == ELSEWHERE | expected
            assert subject.problem == ""
            quiet = len(store.calls)
            await asyncio.sleep(180)
            assert len(store.calls) - quiet <= 2  # the two lists
        writes = [call.at for call in store.writes()]
        gaps = [late - early for early, late in pairwise(writes)]
        assert all(gap >= 1.1 - 1e-6 for gap in gaps), gaps

    virtually(work)
