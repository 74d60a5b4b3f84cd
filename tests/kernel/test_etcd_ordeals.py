"""What befalls a cluster of three while an agent follows it; each time the kernel is in the end
exactly what a fresh agent makes of the datastore, and no packet that policy allows is lost.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kernel.agent_lab import eventually
from tests.kernel.conftest import Namespace
from tests.kernel.etcd_lab import Cluster
from tests.kernel.etcd_node import GUARD, EtcdLab

pytestmark = pytest.mark.kernel

# Not about w2, so that the flow from w1 to w2 does not depend on it.
OTHER = GUARD.replace("name: guard", "name: other").replace("role == 'w2'", "role == 'w3'")
THIRD = OTHER.replace("name: other", "name: third").replace("role == 'w1'", "role == 'w2'")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster


@pytest.fixture
def cluster(whole: Cluster) -> Cluster:
    whole.clear()
    return whole


@pytest.fixture
def lab(netns: Callable[[str], Namespace], tmp_path: Path, cluster: Cluster) -> EtcdLab:
    lab = EtcdLab(netns, tmp_path, cluster)
    lab.populate()
    return lab


def another(lab: EtcdLab, number: int) -> bool:
    return lab.member() not in (0, number)


def await_only(lab: EtcdLab, source: str) -> None:
    """Of w1 and w2, only this one reaches w3."""
    wanted = [source == "w1", source == "w2"]
    eventually(lambda: [lab.reaches(each, "w3") for each in ("w1", "w2")] == wanted, source)


def test_the_member_in_use_dies_under_a_stream_of_writes(lab: EtcdLab, cluster: Cluster) -> None:
    running = lab.start()
    with lab.unharmed():
        with lab.stream():
            first = lab.member()
            cluster.kill(first)
            eventually(lambda: another(lab, first), "another member")
            second = lab.member()
            cluster.start(first)
            cluster.kill(second)
            eventually(lambda: another(lab, second), "the next member")
            cluster.start(second)
        lab.check_as_fresh()
    lab.await_well(running)


def test_the_host_of_the_member_in_use_vanishes_under_a_stream_of_writes(
    lab: EtcdLab, cluster: Cluster
) -> None:
    running = lab.start()
    with lab.unharmed():
        with lab.stream():
            first = lab.member()
            cluster.unplug(first)
            eventually(lambda: another(lab, first), "another member")
            cluster.plug(first)
        lab.check_as_fresh()
    lab.await_well(running)


def test_compacted_while_the_agent_stands_still(lab: EtcdLab, cluster: Cluster) -> None:
    lab.write("other", OTHER)
    running = lab.start()
    assert lab.reaches("w1", "w3")
    with lab.unharmed():
        os.kill(running.pid, signal.SIGSTOP)
        with lab.stream():
            lab.remove("other")
            lab.write("third", THIRD)
            revision = cluster.put("beside", "it")
        # what the agent's connections have not taken by now is no longer to be had
        cluster.kill(lab.member())
        cluster.compact(revision)
        os.kill(running.pid, signal.SIGCONT)
        await_only(lab, "w2")
        lab.check_as_fresh()
    lab.await_well(running)
    _, text = running.end(signal.SIGTERM)
    assert text.count("etcd.listing_anew") == 1
    assert "agent.begins_anew" not in text


def test_no_majority_for_a_while(lab: EtcdLab, cluster: Cluster) -> None:
    running = lab.start()
    with lab.unharmed():
        before, generation = lab.kernel(), lab.generation()
        cluster.kill(1, 2)
        eventually(lambda: not lab.is_well(running), "the complaint")
        assert lab.ask("status")[0] == 4
        assert (lab.kernel(), lab.generation()) == (before, generation)
        cluster.start(1, 2)
        lab.write("other", OTHER)
        eventually(lambda: not lab.reaches("w2", "w3"), "the policy after it")
        lab.await_well(running)
        lab.check_as_fresh()


def test_restored_from_a_snapshot(lab: EtcdLab, cluster: Cluster, tmp_path: Path) -> None:
    """With the same token the cluster's id is the same, and only its history tells."""
    lab.write("other", OTHER)
    running = lab.start()
    cluster.snapshot(tmp_path / "backup")
    with lab.unharmed():
        for token in (cluster.token, f"not {cluster.token}"):
            lab.remove("other")
            lab.write("third", THIRD)
            await_only(lab, "w2")
            cluster.restore(tmp_path / "backup", token)
            await_only(lab, "w1")
            lab.write("other", OTHER)
        with lab.stream():
            lab.write("third", THIRD)
            eventually(lambda: lab.reaches("w2", "w3"), "what came after it")
        lab.check_as_fresh()
    lab.await_well(running)


def test_another_cluster_at_the_same_addresses(lab: EtcdLab, cluster: Cluster) -> None:
    lab.write("other", OTHER)
    running = lab.start()
    with lab.unharmed():
        before = lab.kernel()
        cluster.wipe(f"not {cluster.token}")
        cluster.start()
        # an empty cluster is not ready: nothing is taken away
        lab.await_problem("does not say datastoreReady: true")
        assert lab.kernel() == before
        lab.remove("other")
        lab.refill()
        lab.await_well(running)
        eventually(lambda: lab.reaches("w2", "w3"), "the end of the policy")
        lab.check_as_fresh()
