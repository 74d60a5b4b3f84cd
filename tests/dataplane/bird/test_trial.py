import pytest

from dataplane.bird.parse.daemon import DaemonStatus
from dataplane.bird.parse.sessions import SessionStatus
from dataplane.bird.trial import Trial, changed_agreements, established
from dataplane.bird.version import SessionPart, Version


def up(*names: str, since: str = "1") -> dict[str, SessionStatus]:
    return {name: SessionStatus(name, "Established", up=True, since=since) for name in names}


def down(*names: str) -> dict[str, SessionStatus]:
    return {name: SessionStatus(name, "Connect", since="2") for name in names}


def version(text: str = "", **agreements: object) -> Version:
    return Version(text, text, {name: SessionPart(value) for name, value in agreements.items()})


CASES = [
    # case                  wanted    changed   now                        missing   waiting
    ("all there", "ab", "", up("a", "b"), "", ""),
    ("one is down", "ab", "", up("a") | down("b"), "b", ""),
    ("one is unknown", "ab", "", up("a"), "b", ""),
    ("the other end follows", "ab", "b", up("a") | down("b"), "", "b"),
    ("it has followed", "ab", "b", up("a", "b"), "", ""),
    ("no longer wanted", "a", "", up("a"), "", ""),
    ("was never up", "abc", "", up("a", "b") | down("c"), "", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "changed", "now", "missing", "waiting"),
    [each[1:] for each in CASES],
    ids=[each[0] for each in CASES],
)
def test_what_is_waited_for(wanted, changed, now, missing, waiting) -> None:
    parts = version("", **dict.fromkeys(wanted, 1))
    trial = Trial(parts, frozenset("ab"), frozenset(changed), up("a", "b"))
    trial.look(now)
    assert (trial.missing, trial.waiting) == (tuple(missing), tuple(waiting))


def test_a_disabled_session_is_not_waited_for() -> None:
    parts = Version("", "", {"a": SessionPart(1, enabled=False)})
    trial = Trial(parts, frozenset("a"), frozenset(), up("a"))
    trial.look(down("a"))
    assert trial.missing == ()


def test_what_was_restarted() -> None:
    trial = Trial(version(a=1, b=1, c=1, d=1), frozenset("abc"), frozenset(), up("a", "b", "c"))
    trial.look(up("a") | up("b", since="9") | down("c", "d"))
    trial.look(up("a", "b", "c"))
    assert trial.restarted == {"b", "c"}


def test_why_it_is_undone() -> None:
    trial = Trial(version(a=1, b=1), frozenset("ab"), frozenset(), up("a", "b"))
    trial.look(down("a", "b"))
    assert trial.not_back(60.0) == "sessions a, b did not come back within 60 s"
    trial.look(up("a") | down("b"))
    assert trial.not_back(0.5) == "session b did not come back within 0.5 s"
    trial.look(up("a", "b"))
    assert trial.not_back(60.0) == "BIRD did not come to run with it within 60 s"


UNDONE = [
    # booted  reconfigured at the start  now    undone
    ("1", "5", DaemonStatus(booted="1", reconfigured="5"), False),
    ("1", "5", DaemonStatus(booted="1", reconfigured="9"), True),
    ("1", "5", DaemonStatus(booted="9", reconfigured="9"), False),
    ("1", "", DaemonStatus(booted="1", reconfigured="9"), False),
]


@pytest.mark.parametrize(("booted", "reconfigured", "now", "undone"), UNDONE)
def test_undone_by_bird(booted: str, reconfigured: str, now: DaemonStatus, undone: bool) -> None:
    trial = Trial(version(), frozenset(), frozenset(), {}, booted, reconfigured)
    assert trial.undone_by_itself(now) == undone


def test_changed_agreements_that_are_known() -> None:
    known = version(a=1, b=1, gone=1).sessions
    assert changed_agreements(version(a=1, b=2, new=3), known, "") == {"b"}


def test_changed_agreements_from_the_texts() -> None:
    text = "protocol bgp a { password 'x'; }\nprotocol bgp b { local as 1; }\n"
    new = text.replace("'x'", "'y'") + "protocol bgp c { local as 1; }\n"
    assert changed_agreements(version(new), None, text) == {"a"}
    assert changed_agreements(version(new), None, "") == frozenset()


def test_established() -> None:
    assert established(up("a") | down("b")).keys() == {"a"}
