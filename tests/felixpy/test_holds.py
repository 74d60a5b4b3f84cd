"""What is held back: placed by guards, confirmed by people, told to both status and metrics."""

from __future__ import annotations

from structlog.testing import capture_logs

from felixpy.holds import Hold, Holds


def test_a_hold_from_its_beginning_to_its_end() -> None:
    woken, confirmed = [], []
    holds = Holds(lambda: woken.append(1))
    with capture_logs() as events:
        holds.place(Hold("a", "kind", "two wait", 2), lambda: confirmed.append("first"))
        since = holds.current()[0].since
        holds.place(Hold("a", "kind", "three wait", 3), lambda: confirmed.append("a"))
        holds.place(Hold("b", "kind", "one waits", 1), lambda: confirmed.append("b"))
        assert holds.current() == (
            Hold("a", "kind", "three wait", 3, since),
            Hold("b", "kind", "one waits", 1, holds.current()[1].since),
        )
        assert since
        assert holds.counts() == {"kind": 4}
        assert holds.problems()["a"] == "three wait; `felixpy confirm` lets it go"
        assert [hold.id for hold in holds.confirm(["a", "nobody", "a"])] == ["a"]
        assert (confirmed, woken) == (["a"], [1])
        assert [hold.id for hold in holds.current()] == ["a", "b"]  # until its guard lifts it
        holds.lift("a", "confirmed")
        holds.lift("a", "again")
    assert [hold.id for hold in holds.current()] == ["b"]
    assert [(event["event"], event["id"]) for event in events] == [
        ("change.held_back", "a"),
        ("change.held_back", "b"),
        ("change.let_go", "a"),
    ]
    assert holds.confirm(["nobody"]) == ()
    assert woken == [1]
