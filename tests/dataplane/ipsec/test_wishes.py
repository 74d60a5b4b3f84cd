from __future__ import annotations

from dataplane.ipsec.wishes import Wishes


def test_what_is_new_since_it_was_taken() -> None:
    wishes: Wishes[str, str, int] = Wishes()
    wishes.put("a", {"x": 1, "y": 2})
    assert wishes.take() == {"x": 1, "y": 2}
    wishes.put("a", {"x": 1, "y": 3})
    assert wishes.take() == {"y": 3}
    wishes.put("a", {})
    assert wishes.take() == {"x": None, "y": None}
    assert wishes.all == {}


def test_a_change_and_its_reversal_come_to_nothing() -> None:
    wishes: Wishes[str, str, int] = Wishes()
    wishes.put("a", {"x": 1})
    wishes.take()
    wishes.put("a", {})
    wishes.put("b", {"x": 1})
    assert wishes.take() == {}


def test_of_two_owners_the_later_one_counts() -> None:
    wishes: Wishes[str, str, int] = Wishes()
    wishes.put("a", {"x": 1})
    wishes.put("b", {"x": 2})
    assert (wishes.all, wishes.owner("x")) == ({"x": 2}, "b")
    wishes.put("a", {})
    assert wishes.all == {"x": 2}
    wishes.put("b", {})
    assert wishes.owner("x") is None


def test_who_has_lost_a_key_has_it_again_when_he_says_the_same() -> None:
    wishes: Wishes[str, str, int] = Wishes()
    for _ in range(2):
        wishes.put("a", {"x": 1})
        wishes.put("b", {"x": 2})
    wishes.put("a", {"x": 1})
    assert (wishes.all, wishes.owner("x")) == ({"x": 1}, "a")
    wishes.put("b", {})
    assert wishes.take() == {"x": 1}


def test_who_has_lost_a_key_that_the_other_gives_up() -> None:
    wishes: Wishes[str, str, int] = Wishes()
    wishes.put("a", {"x": 1, "y": 1})
    wishes.put("b", {"x": 2})
    wishes.put("b", {})
    wishes.put("a", {"x": 1, "y": 1})
    assert wishes.take() == {"x": 1, "y": 1}
