"""The agent and BIRD end and come back while packets flow; and versions that do not last."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.bgp_lab import Lab, laboratory
from tests.kernel.bgp_routers import Node, comes_to
from tests.kernel.bgp_texts import (
    BEHIND_TOR,
    BEYOND,
    FAMILIES,
    TOR,
    block,
    mesh,
    outside,
    workload,
)

pytestmark = pytest.mark.kernel

# BIRD but for one thing: what it is not to like when it is asked to parse a file.
_FASTIDIOUS = """\
#!/bin/sh
if [ "$1 $2" = "-p -c" ]; then
    line=$(grep -n 'keepalive time 77' "$3" | head -n 1 | cut -d : -f 1)
    if [ -n "$line" ]; then
        echo "bird: $3:$line:18 syntax error, unexpected NUM, expecting ';'" >&2
        exit 1
    fi
fi
exec {bird} "$@"
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with laboratory() as made:
        made.furnish()
        made.start(bird=fastidious(made.directory), BirdConfirmTimeoutSecs="4")
        made.await_established()
        for family in FAMILIES:
            comes_to(True, made.pings, 1, workload(2, family))
        yield made


def fastidious(directory: Path) -> Path:
    real, program = directory / "bird.real", directory / "bird.sh"
    shutil.copy("/usr/sbin/bird", real)
    program.write_text(_FASTIDIOUS.replace("{bird}", str(real)))
    program.chmod(0o755)
    return program


@contextlib.contextmanager
def tor_peers_with(lab: Lab, words: str, count: int = -1) -> Iterator[None]:
    """Meanwhile the ToR's peers, or the first `count` of them, say this too."""
    text = (lab.manifests / "tor.yaml").read_text()
    changed = text.replace("ttlSecurity: 1", f"ttlSecurity: 1, {words}", count)
    assert changed != text
    lab.write("tor.yaml", changed)
    try:
        yield
    finally:
        lab.write("tor.yaml", text)


def test_the_agent_ends_in_any_way_and_nothing_happens(lab: Lab) -> None:
    n2 = lab.nodes[2]
    before = {n: found.sessions() for n, found in lab.nodes.items()}
    with lab.flow(1, workload(2, 4)) as flow, lab.flow(3, workload(2, 6)) as flow_v6:
        for how in (signal.SIGTERM, signal.SIGKILL):
            n2.stop(how)
            time.sleep(0.5)
            n2.start()
            comes_to(True, n2.is_well)
    assert flow[1] == flow_v6[1] == 0, (flow, flow_v6)
    assert {n: found.sessions() for n, found in lab.nodes.items()} == before


@pytest.mark.parametrize("how", ["unit", "killed"])
def test_bird_restarts_and_routes_stay(lab: Lab, how: str) -> None:
    n2 = lab.nodes[2]
    pid = n2.unit.pid
    kernel = n2.kernel(4), n2.kernel(6)
    with (
        lab.flow(1, workload(2, 4)) as to_it,
        lab.flow(2, workload(3, 6)) as from_it,
        lab.flow(2, BEYOND[4]) as outwards,
    ):
        if how == "unit":
            n2.unit.restart()
        else:
            os.kill(pid, signal.SIGKILL)
        comes_to(True, lambda: n2.unit.pid != pid)
        for _ in range(10):
            assert (n2.kernel(4), n2.kernel(6)) == kernel
            assert block(2, 4) in lab.nodes[1].kernel(4)
            assert block(2, 6) in lab.tor.kernel(6)
            time.sleep(0.1)
        lab.await_established()
        time.sleep(1)
    assert to_it[1] == from_it[1] == outwards[1] == 0, (to_it, from_it, outwards)
    assert (n2.kernel(4), n2.kernel(6)) == kernel
    for family in FAMILIES:
        comes_to(True, lambda f=family: block(2, f) in lab.nodes[1].learned(mesh(2, f)))
        comes_to({BEHIND_TOR[family]}, n2.learned, outside(TOR, family))


def test_a_version_that_bird_refuses_is_kept_beside_and_the_running_one_stays(lab: Lab) -> None:
    n1 = lab.nodes[1]
    before = n1.sessions()
    written = n1.file.read_text()
    with tor_peers_with(lab, "keepaliveTime: 77s"):
        n1.comes_to(True, lambda: "syntax error, unexpected NUM" in n1.felixpy("status", "bgp")[1])
        assert n1.file.read_text() == written
        assert n1.sessions() == before
        beside = [path for path in n1.file.parent.iterdir() if path != n1.file]
        assert any("keepalive time 77" in path.read_text(errors="replace") for path in beside)
        for path in beside:
            assert path.stat().st_mode & 0o007 == 0, path
    n1.comes_to("in sync", n1.configuration)
    assert n1.sessions() == before
    n1.comes_to([n1.file], lambda: list(n1.file.parent.iterdir()))


def test_a_change_whose_sessions_do_not_come_back_is_undone(lab: Lab) -> None:
    """The ToR lets no new connection in, and a change of timers restarts the session."""
    n1 = lab.nodes[1]
    session = outside(TOR, 4)
    written = n1.file.read_text()
    barrier = (
        "iptables -{} INPUT -s 10.0.0.1 -p tcp --dport 179 --syn -j DROP;"
        "iptables -{} OUTPUT -d 10.0.0.1 -p tcp --dport 179 --syn -j DROP"
    )
    lab.tor.space.run(barrier.format("A", "A"))
    before = n1.sessions()
    with tor_peers_with(lab, "keepaliveTime: 50s", 1):
        n1.comes_to(True, lambda: n1.sessions()[session].since != before[session].since)
        n1.comes_to(True, lambda: "undone" in n1.felixpy("status", "bgp")[1])
        n1.comes_to(written, n1.file.read_text)
        after = n1.sessions()
        assert {name for name in after if after[name] != before[name]} == {session}
        lab.tor.space.run(barrier.format("D", "D"))
        n1.await_established([session])
    n1.comes_to("in sync", n1.configuration)
    lab.await_established()
    assert n1.file.read_text() == written


def test_bgp_turned_off_leaves_no_route_of_bird(lab: Lab) -> None:
    """BIRD keeps its routes in the kernel when it ends, so the agent has to take them away."""
    n3: Node = lab.nodes[3]
    n3.stop()
    n3.unit.stop()
    assert block(1, 4) in n3.kernel(4)
    n3.start(BGPEnabled="false")
    for family in FAMILIES:
        n3.comes_to("", n3.kernel, family)
