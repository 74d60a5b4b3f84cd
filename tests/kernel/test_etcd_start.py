"""An agent and one etcd: what it waits for, what it says meanwhile, what it takes up live."""

from __future__ import annotations

import http.client
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kernel.agent_lab import Lab, eventually
from tests.kernel.conftest import Namespace
from tests.kernel.etcd_lab import Cluster, within
from tests.kernel.etcd_node import CLUSTER, GUARD, EtcdLab

pytestmark = pytest.mark.kernel

OTHER = GUARD.replace("name: guard", "name: other").replace("role == 'w2'", "role == 'w3'")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("etcd"), members=1) as cluster:
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


def kernel(lab: Lab) -> tuple[str, int]:
    return lab.kernel(), lab.generation()


def readiness(lab: Lab) -> tuple[int, str]:
    with within(lab.node):
        connection = http.client.HTTPConnection("127.0.0.1", 9099, timeout=5)
        connection.request("GET", "/readiness")
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def test_etcd_is_down_at_the_start_and_again_later(lab: EtcdLab, cluster: Cluster) -> None:
    cluster.kill(1)
    lab.configure(HealthEnabled="true", HealthHost="127.0.0.1")
    before = kernel(lab)
    running = lab.launch()
    lab.await_problem("10.99.0.1:2379: connection refused")
    code, text = lab.ask("status")
    assert code == 4
    assert "10.99.0.1:2379: connection refused" in text
    code, text = readiness(lab)
    assert code == 503
    assert "connection refused" in text
    assert kernel(lab) == before
    cluster.start(1)
    lab.await_well(running)
    assert readiness(lab)[0] == 200
    assert lab.reaches("w1", "w2")
    assert not lab.reaches("w3", "w2")

    with lab.unharmed():
        before = kernel(lab)
        cluster.kill(1)
        lab.await_problem("10.99.0.1:2379: ")
        assert kernel(lab) == before
        cluster.start(1)
        lab.write("other", OTHER)
        eventually(lambda: not lab.reaches("w2", "w3"), "the policy after it")
        lab.await_well(running)
        lab.check_as_fresh()
    _, text = running.end(signal.SIGTERM)
    assert "etcd.listing_anew" not in text


def test_a_cluster_that_is_not_ready_is_waited_for(lab: EtcdLab) -> None:
    lab.remove("cluster")
    before = kernel(lab)
    running = lab.launch()
    lab.await_problem("does not say datastoreReady: true")
    lab.write("cluster", CLUSTER % "false")
    assert kernel(lab) == before
    lab.write("cluster", CLUSTER % "true")
    lab.await_well(running)
    for wait in (lambda: lab.write("cluster", CLUSTER % "false"), lambda: lab.remove("cluster")):
        before = kernel(lab)
        wait()
        lab.await_problem("does not say datastoreReady: true")
        lab.remove("guard")
        lab.write("other", OTHER)
        assert kernel(lab) == before
        lab.write("cluster", CLUSTER % "true")
        eventually(lambda: lab.reaches("w3", "w2"), "the end of the policy that had waited")
        eventually(lambda: not lab.reaches("w2", "w3"), "the policy that had waited")
        lab.await_well(running)
        lab.remove("other")
        lab.write("guard", GUARD)
        eventually(lambda: not lab.reaches("w3", "w2"), "the policy as it was")
        eventually(lambda: lab.reaches("w2", "w3"), "the end of the other")


FELIX = """\
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: %s}
spec: {%s}
"""


def test_felix_configuration_is_merged_and_taken_up_live(lab: EtcdLab) -> None:
    running = lab.start()
    with lab.unharmed():
        lab.write("all", FELIX % ("default", "iptablesFilterDenyAction: Reject"))
        eventually(lambda: "-j REJECT" in lab.rules(), "the setting for all nodes")
        lab.write("ours", FELIX % ("node.n1", "iptablesFilterDenyAction: Drop"))
        eventually(lambda: "-j REJECT" not in lab.rules(), "the setting for this node")
        lab.write("theirs", FELIX % ("node.n2", "iptablesFilterDenyAction: Reject"))
        lab.write("all", FELIX % ("default", "iptablesMarkMask: 0xff000000"))
        eventually(lambda: "/0x1000000 " in lab.rules(), "the other marks")
        assert "-j REJECT" not in lab.rules()
        lab.check_as_fresh()
        lab.remove("all")
        lab.remove("ours")
        eventually(lambda: "/0x1000000 " not in lab.rules(), "the marks as they were")
    lab.await_well(running)


def test_an_invalid_resource_counts_as_absent_and_is_warned_of_once(
    lab: EtcdLab, cluster: Cluster
) -> None:
    lab.write("other", OTHER)
    key = "/calico/resources/v3/projectcalico.org/networkpolicies/default/other"
    running = lab.start()
    with lab.unharmed():
        assert not lab.reaches("w2", "w3")
        spec = {"selector": "role ==", "types": ["Ingress"], "ingress": [{"action": "Allow"}]}
        cluster.put(key, json.dumps({"metadata": {"name": "other"}, "spec": spec}))
        eventually(lambda: lab.reaches("w2", "w3"), "the end of the policy")
        lab.await_problem(key)
        code, text = lab.ask("status")
        assert code == 4
        assert key in text
        # seen once more by a watch that is resumed, and by a list
        cluster.kill(1)
        cluster.start(1)
        eventually(lambda: lab.member() == 1, "the connection")
        revision = cluster.put("beside", "it")
        cluster.kill(1)
        cluster.start(1)
        cluster.compact(revision)
        lab.write("other", OTHER)
        eventually(lambda: not lab.reaches("w2", "w3"), "the mended policy")
        lab.await_well(running)
        lab.check_as_fresh()
    _, text = running.end(signal.SIGTERM)
    assert text.count("resource.invalid") == 1
    assert "Traceback" not in text


def test_over_ipv6(netns: Callable[[str], Namespace], tmp_path: Path) -> None:
    with Cluster(tmp_path, members=1, ipv6=True) as cluster:
        lab = EtcdLab(netns, tmp_path, cluster)
        lab.populate()
        running = lab.start()
        assert lab.status().datastore.location == "[fd99::1]:2379"
        assert lab.reaches("w1", "w2")
        assert not lab.reaches("w3", "w2")
        lab.remove("guard")
        eventually(lambda: lab.reaches("w3", "w2"), "the end of the policy")
        cluster.kill(1)
        lab.await_problem("[fd99::1]:2379: ")
        cluster.start(1)
        lab.await_well(running)
