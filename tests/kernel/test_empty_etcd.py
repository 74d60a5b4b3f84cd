"""An etcd that loses everything, in the ways in which that happens, under an agent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kernel.agent_lab import eventually
from tests.kernel.conftest import Namespace
from tests.kernel.etcd_lab import Cluster
from tests.kernel.etcd_node import CLUSTER, EtcdLab

pytestmark = pytest.mark.kernel

RESOURCES = "/calico/resources/v3/projectcalico.org"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("etcd"), members=1) as cluster:
        yield cluster


@pytest.fixture
def lab(netns: Callable[[str], Namespace], tmp_path: Path, whole: Cluster) -> EtcdLab:
    whole.clear()
    lab = EtcdLab(netns, tmp_path, whole)
    lab.populate()
    lab.write("other", OTHER)
    return lab


OTHER = """\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: other, namespace: default}
spec: {selector: role == 'w3', ingress: [{action: Allow, source: {selector: role == 'w1'}}]}
"""


def delete(*kinds: str) -> Callable[[EtcdLab], None]:
    def wipe(lab: EtcdLab) -> None:
        for kind in kinds:
            lab.cluster.etcdctl(f"del --prefix {RESOURCES}/{kind}/")

    return wipe


def empty_but_ready(lab: EtcdLab) -> None:
    """As where a new installation has begun: there is a record again, and nothing else."""
    lab.cluster.etcdctl("del --prefix /calico/")
    lab.write("cluster", CLUSTER % "true")


WIPES = {
    "endpoints, then policies": delete("workloadendpoints", "networkpolicies"),
    "policies, then endpoints": delete("networkpolicies", "workloadendpoints"),
    "everything, kind by kind": delete(
        "globalnetworksets", "networkpolicies", "profiles", "tiers", "workloadendpoints"
    ),
    "everything, and begun anew": empty_but_ready,
}


@pytest.mark.parametrize("wipe", WIPES.values(), ids=WIPES)
def test_the_kernel_stays_as_it_is_until_it_is_confirmed(
    lab: EtcdLab, wipe: Callable[[EtcdLab], None]
) -> None:
    running = lab.start()
    before, generation = lab.kernel(), lab.generation()
    with lab.unharmed():
        wipe(lab)
        lab.await_problem("lost every endpoint and policy at once")
        assert (lab.kernel(), lab.generation()) == (before, generation)
        assert lab.reaches("w1", "w2")
        assert not lab.reaches("w3", "w2")
    assert lab.ask("confirm")[0] == 0
    eventually(lambda: "cali-tw-cali" not in lab.rules(), "the end of the endpoints' chains")
    lab.await_well(running)


def test_restored_nothing_is_written(lab: EtcdLab) -> None:
    running = lab.start()
    before, generation = lab.kernel(), lab.generation()
    with lab.unharmed():
        empty_but_ready(lab)
        lab.await_problem("lost every endpoint and policy at once")
        lab.refill()
        lab.await_well(running)
        assert (lab.kernel(), lab.generation()) == (before, generation)
        lab.check_as_fresh()


def test_one_policy_after_another_is_nothing_unusual(lab: EtcdLab) -> None:
    running = lab.start()
    lab.remove("guard")
    eventually(lambda: lab.reaches("w3", "w2"), "the end of one policy")
    lab.remove("other")
    eventually(lambda: lab.reaches("w2", "w3"), "the end of the other")
    assert lab.is_well(running)
    lab.check_as_fresh()
