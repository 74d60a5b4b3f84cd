"""The kernel's counters, and that each of them has a meaning."""

from __future__ import annotations

from pathlib import Path

from felixpy.ipsec.xfrm_stat import MEANINGS, PATH, meaning_of, read_errors


def test_what_the_kernel_counts(tmp_path: Path) -> None:
    path = tmp_path / "xfrm_stat"
    path.write_text("XfrmInError             \t0\nXfrmInNoStates          \t235\nXfrmNew\t-\n\nx\n")
    assert read_errors(path) == {"XfrmInError": 0, "XfrmInNoStates": 235}
    assert read_errors(tmp_path / "absent") == {}


def test_all_that_this_kernel_counts_is_known() -> None:
    assert read_errors(PATH).keys() <= MEANINGS.keys()


def test_a_counter_of_a_later_kernel_is_shown_too() -> None:
    assert "does not know" in meaning_of("XfrmSomething").text
    assert meaning_of("XfrmInNoStates").hint.startswith("a peer sends with a key that is not here")
    assert all(meaning.text for meaning in MEANINGS.values())
