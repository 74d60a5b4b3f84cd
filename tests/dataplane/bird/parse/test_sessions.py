import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.bird.control import Line, _lines
from dataplane.bird.parse.sessions import SessionStatus, parse_sessions
from tests.dataplane.bird.fake_bird import recorded

NAMES = ["Mesh_10_0_0_2", "Global_fd00__2", "Bad_long", "Wrong_pw", "Off"]
FILES = ["sessions", "sessions-recovering", "sessions-peer-gone"]


def sessions(name: str) -> dict[str, SessionStatus]:
    return parse_sessions(_lines(recorded(name)))


@pytest.mark.parametrize("name", FILES)
def test_only_those_of_bgp(name: str) -> None:
    assert list(sessions(name)) == NAMES


def test_established() -> None:
    found = sessions("sessions")["Mesh_10_0_0_2"]
    counters = found.counters
    assert found == SessionStatus(
        name="Mesh_10_0_0_2",
        state="Established",
        up=True,
        since="2026-11-21 19:33:03",
        neighbor="10.0.0.2",
        remote_as=64512,
        local_as=64512,
        neighbor_id="10.0.0.2",
        source="10.0.0.1",
        hold=240.0,
        keepalive=80.0,
        family=4,
        imported=1,
        filtered=2,
        exported=5,
        preferred=1,
        info="Established",
        restart_ours=True,
        restart_peer=True,
        counters=counters,
    )
    assert counters["import updates received"] == 3
    assert counters["import updates filtered"] == 2
    assert counters["export updates accepted"] == 5
    assert "import withdraws filtered" not in counters
    assert len(counters) == 15


def test_of_ipv6() -> None:
    found = sessions("sessions")["Global_fd00__2"]
    assert (found.family, found.neighbor, found.source) == (6, "fd00::2", "fd00::1")
    assert (found.local_as, found.remote_as, found.imported) == (64511, 64512, 1)


DOWN = [
    # file                session          state      last error                       disabled
    ("sessions", "Bad_long", "Down", "Error: Kernel MD5 auth failed", False),
    ("sessions", "Wrong_pw", "Connect", "", False),
    ("sessions", "Off", "Down", "", True),
    ("sessions-peer-gone", "Mesh_10_0_0_2", "Connect", "Received: Administrative shutdown", False),
    ("sessions-peer-gone", "Global_fd00__2", "Active", "Socket: Connection refused", False),
]  # fmt: skip


@pytest.mark.parametrize(("file", "name", "state", "error", "disabled"), DOWN)
def test_down(file: str, name: str, state: str, error: str, disabled: bool) -> None:
    found = sessions(file)[name]
    assert (found.state, found.last_error, found.disabled) == (state, error, disabled)
    assert not found.up
    assert (found.hold, found.restart_ours, found.restart_peer) == (0.0, None, None)


def test_description() -> None:
    assert sessions("sessions")["Off"].description == "password: missing"


def test_a_peer_without_graceful_restart() -> None:
    text = recorded("sessions")
    ours, theirs = "Local capabilities", "Neighbor capabilities"
    start = text.index(theirs)
    cut = text[:start] + text[start:].replace("Graceful restart\n", "Something\n", 1)
    found = parse_sessions(_lines(cut))["Mesh_10_0_0_2"]
    assert ours in cut
    assert (found.restart_ours, found.restart_peer) == (True, False)


def test_the_last_error_is_that_of_the_last_column_where_there_is_no_other() -> None:
    head = "Mesh_a     BGP        ---        start  2026-11-21 19:33:08  {}"
    for info, error in (
        ("Connect       Socket: No route to host", "Socket: No route to host"),
        ("Passive       ", ""),
        ("Error: Kernel MD5 auth failed", "Error: Kernel MD5 auth failed"),
    ):
        assert parse_sessions((Line(1002, head.format(info)),))["Mesh_a"].last_error == error


@pytest.mark.parametrize(
    "since", ["2026-11-21", "19:33:08", "19:33:08.123", "2026-11-21 19:33:08.123456"]
)
def test_forms_of_time(since: str) -> None:
    line = Line(1002, f"a          BGP        ---        up     {since}  Established   ")
    assert parse_sessions((line,))["a"].since == since


@given(st.data())
def test_any_lines_are_passed_over(data: st.DataObject) -> None:
    """Whatever is put between them, the sessions and their states are found."""
    lines = list(_lines(recorded("sessions")))
    strange = st.text(st.characters(codec="ascii", exclude_characters="\n:"), max_size=30)
    for _ in range(5):
        at = data.draw(st.integers(1, len(lines) - 1))
        lines.insert(at, Line(1006, data.draw(strange)))
    found = parse_sessions(tuple(lines))
    assert list(found) == NAMES
    assert found["Mesh_10_0_0_2"].state == "Established"
