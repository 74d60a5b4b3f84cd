"""Single values on their way into the model."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from felixpy.datastore.convert.values import to_net
from felixpy.datastore.errors import InvalidResourceError
from felixpy.datastore.resources.addresses import parse_net

NUMBERS = st.sampled_from(["0", "1", "10", "255", "256", "010", "", " 1", "1\n", "\0", "\u0661"])
QUADS = st.lists(NUMBERS, min_size=3, max_size=5).map(".".join)
LENGTHS = st.sampled_from(["", "/", "/32", "/31", "/032", "/32 ", "/32/32"])


@given(QUADS | st.ip_addresses().map(str), LENGTHS)
@example("10.0.0.1", "/32")
def test_the_short_way_leads_where_the_long_one_does(address: str, length: str) -> None:
    parsed = parse_net(address + length)
    if parsed is not None:
        assert to_net(address + length) == parsed.network
        return
    with pytest.raises(InvalidResourceError) as caught:
        to_net(address + length, "spec", "nets")
    assert caught.value.path == ("spec", "nets")
