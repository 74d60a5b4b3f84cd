"""Lives of a node, and the tags that come with them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataplane.ipsec.life import BOOT_BYTES, HIGHEST_TAG, Life, new_life, tag_of


@given(st.text(max_size=20), st.binary(min_size=BOOT_BYTES, max_size=BOOT_BYTES))
def test_a_life_has_a_boot_and_a_tag(node: str, octets: bytes) -> None:
    life = new_life(node, octets, {3: "a" * 16})
    assert len(life.boot) == 2 * BOOT_BYTES
    assert 1 <= life.tag <= HIGHEST_TAG
    assert life == Life(octets.hex(), tag_of(node, octets.hex()), {3: "a" * 16})


def test_nodes_and_lives_have_tags_of_their_own() -> None:
    ends = [(node, boot) for node in ("n1", "n2") for boot in ("00" * 16, "01" * 16)]
    assert len({tag_of(*end) for end in ends}) == 4


def test_it_is_the_same_tag_everywhere() -> None:
    assert tag_of("n1", "00" * 16) == 0xD03ECC
