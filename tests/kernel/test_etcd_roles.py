"""The agent with the role that `felixpy etcd roles` prints, and with nothing else; a real etcd."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from calc_graph.model import IpsecNode
from felixpy.config import Config, read_local, resolve
from felixpy.datastore.etcd_keys import IPSEC_RANGES, RANGES, RESOURCES
from felixpy.etcd.client import EtcdClient
from felixpy.etcd.member import Interval
from felixpy.etcd.settings import to_etcd_settings
from felixpy.etcd_role import PASSWORD
from felixpy.ipsec.publishing import RecordPublisher
from felixpy.statusrep.etcd import EtcdStatusStore
from felixpy.wireguard.publishing import NodePublisher
from tests.fakes.certificates import ca
from tests.kernel.agent_lab import Lab, eventually
from tests.kernel.conftest import Namespace
from tests.kernel.etcd_lab import within

pytestmark = pytest.mark.kernel

SECRET, ROOT_SECRET = "s3cret#'$;", "root's"
OWN = "/calico/felix/v2/no-region/host/n1/"
HOST_ENDPOINTS = "/calico/felix/v1/host/n1/endpoint/"
CLUSTER = """\
kind: ClusterInformation
metadata: {name: default}
spec: {datastoreReady: true}
---
kind: Tier
metadata: {name: default}
spec: {order: 1000000, defaultAction: Deny}
---
kind: FelixConfiguration
metadata: {name: default}
spec: {routeRefreshInterval: 77s}
"""


class Etcd:
    """One member in the node's namespace, with authentication; "password" or "certificate"."""

    def __init__(self, node: Namespace, directory: Path, proof: str) -> None:
        self._node = node
        self._environment: dict[str, str] = {}
        self.settings: dict[str, str] = {}
        options, scheme = [], "http"
        if proof == "certificate":
            scheme = "https"
            authority = ca()
            paths = {"ca": str(authority.write(directory))}
            for name, pair in (
                ("server", authority.server(ips=("127.0.0.1",), common_name="root")),
                ("root", authority.client("root")),
                ("agent", authority.client("felixpy-n1")),
            ):
                certificate, key = pair.write(directory, name)
                paths |= {f"{name}.crt": str(certificate), f"{name}.key": str(key)}
            options += ["--client-cert-auth", "--trusted-ca-file", paths["ca"]]
            options += ["--cert-file", paths["server.crt"], "--key-file", paths["server.key"]]
            self.settings |= {"EtcdCaFile": paths["ca"], "EtcdCertFile": paths["agent.crt"]}
            self.settings |= {"EtcdKeyFile": paths["agent.key"]}
            self._environment |= {"ETCDCTL_CACERT": paths["ca"]}
            self.root = {"ETCDCTL_CERT": paths["root.crt"], "ETCDCTL_KEY": paths["root.key"]}
            self.agent = {"ETCDCTL_CERT": paths["agent.crt"], "ETCDCTL_KEY": paths["agent.key"]}
        else:
            self.settings |= {"EtcdUsername": "felixpy-n1", "EtcdPassword": f"`{SECRET}`"}
            self.root = {"ETCDCTL_USER": "root", "ETCDCTL_PASSWORD": ROOT_SECRET}
            self.agent = {"ETCDCTL_USER": "felixpy-n1", "ETCDCTL_PASSWORD": SECRET}
        url = f"{scheme}://127.0.0.1:2379"
        self._environment["ETCDCTL_ENDPOINTS"] = self.settings["EtcdEndpoints"] = url
        peers = ["--listen-peer-urls", "http://127.0.0.1:2380", "--log-level", "error"]
        clients = ["--listen-client-urls", url, "--advertise-client-urls", url]
        data = ["--data-dir", str(directory / "etcd"), "--unsafe-no-fsync"]
        node.start("etcd", *data, *peers, *clients, *options)
        # before authentication is on nobody has to give a password
        no_user = {name: text for name, text in self.root.items() if "USER" not in name}
        no_user.pop("ETCDCTL_PASSWORD", None)
        eventually(lambda: self.ask(no_user, "endpoint", "health")[0] == 0, "etcd")
        self.shell(
            f'printf "%s\\n" "{ROOT_SECRET}" | etcdctl user add root --interactive=false'
            " && etcdctl user grant-role root root && etcdctl auth enable",
            no_user,
        )

    def shell(self, script: str, who: dict[str, str], **more: str) -> str:
        """Fed to sh as its standard input, as a pipe does."""
        done = subprocess.run(
            ["ip", "netns", "exec", self._node.name, "sh"],
            env={"PATH": os.environ["PATH"], **self._environment, **who, **more},
            input=script,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(self, who: dict[str, str], *argv: str) -> tuple[int, str]:
        """Exit status, and what is printed, errors too."""
        done = subprocess.run(
            ["ip", "netns", "exec", self._node.name, "etcdctl", *argv],
            env={"PATH": os.environ["PATH"], **self._environment, **who},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def put(self, documents: str) -> None:
        for document in yaml.safe_load_all(documents):
            key = stored_key(document)
            code, text = self.ask(self.root, "put", "--", key, json.dumps(document))
            assert code == 0, text

    def keys(self, prefix: str) -> list[str]:
        code, text = self.ask(self.root, "get", "--prefix", "--keys-only", prefix)
        assert code == 0, text
        return text.split()


def stored_key(document: dict[str, Any]) -> str:
    range_ = next(range_ for range_ in RANGES if range_.kind == document["kind"])
    metadata = document["metadata"]
    namespace = f"{metadata['namespace']}/" if range_.namespaced else ""
    return f"{range_.prefix}{namespace}{metadata['name']}"


@pytest.fixture(params=["password", "certificate"])
def proof(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def lab(netns: Callable[[str], Namespace], tmp_path: Path) -> Lab:
    return Lab(netns, tmp_path)


def test_the_agent_can_do_with_the_printed_role_and_with_nothing_less_or_more(
    lab: Lab, tmp_path: Path, proof: str
) -> None:
    etcd = Etcd(lab.node, tmp_path, proof)
    del lab.settings["DatastorePath"]
    lab.configure(
        **etcd.settings,
        EndpointReportingEnabled="true",
        EndpointReportingDelaySecs="0.1",
        ReportingIntervalSecs="1",
    )
    etcd.put(CLUSTER)
    for manifest in sorted(lab.manifests.iterdir()):
        etcd.put(manifest.read_text())
    stale = f"{OWN}workload/k8s/gone/endpoint/eth0"
    assert etcd.ask(etcd.root, "put", stale, '{"status":"up"}')[0] == 0

    code, script = lab.ask("etcd", "roles")
    assert code == 0
    for _ in range(2):  # it may be run again
        etcd.shell(script, etcd.root, **{PASSWORD: SECRET} if proof == "password" else {})

    running = lab.start()
    assert "cali-tw-caliw1" in lab.rules()
    ours = [f"{OWN}workload/lab/default%2f{name}/endpoint/eth0" for name in sorted(lab.workloads)]
    eventually(lambda: etcd.keys(f"{OWN}workload/") == ours, "the status of the endpoints")
    reports = [f"{OWN}last_reported_status", f"{OWN}status"]
    eventually(lambda: set(reports) <= set(etcd.keys(OWN)), "the status of the agent")
    assert lab.is_well(running)
    code, text = lab.ask("config", "RouteRefreshInterval")
    assert (code, "77 s" in text) == (0, True)
    code, text = lab.ask("check")
    assert code == 0
    assert "3 WorkloadEndpoint" in text

    bad = next(range_.prefix for range_ in RANGES if range_.kind == "GlobalNetworkSet") + "bad"
    assert etcd.ask(etcd.root, "put", bad, '{"spec":{"nets":["10.0.0.0/33"]}}')[0] == 0
    code, text = lab.ask("check")
    assert (code, f"error: {bad}: spec.nets[0]: " in text) == (2, True)

    policies = next(range_.prefix for range_ in RANGES if range_.kind == "GlobalNetworkPolicy")
    for refused in (
        ("put", f"{OWN.replace('/n1/', '/n10/')}status", "{}"),
        ("put", f"{OWN.replace('/n1/', '/n2/')}workload/k8s/w/endpoint/e", "{}"),
        ("put", f"{HOST_ENDPOINTS.replace('/n1/', '/n10/')}eth0", "{}"),
        ("put", f"{policies}default.open", "{}"),
        ("put", f"{OWN}statuses", "{}"),
        ("del", f"{policies}default.open"),
        ("del", "--prefix", RESOURCES),
        ("get", "--prefix", RESOURCES),  # with kinds that an agent has no use for
        ("get", "--prefix", "/calico/ipam/"),
        ("get", "--prefix", OWN.replace("/n1/", "/n2/")),
        ("get", "--prefix", "/registry/secrets/"),
        ("get", "--prefix", ""),
        ("role", "list"),
    ):
        code, text = etcd.ask(etcd.agent, *refused)
        assert (code != 0, "permission denied" in text) == (True, True), refused
    assert etcd.ask(etcd.agent, "put", f"{HOST_ENDPOINTS}eth0", "{}")[0] == 0
    assert running.end(signal.SIGTERM)[0] == 0


NODES = f"{RESOURCES}nodes/"
KEY = "A" * 42 + "E="
NODE = '{"kind":"Node","spec":{"tomorrow": 1.50},"status":{"podCIDRs":["10.0.0.0/24" ]}}'


async def published(config: Config) -> dict[str, str]:
    """Publish a key, as the agent with this configuration would; what is wrong with it then."""
    client = EtcdClient(to_etcd_settings(config), config.felix_hostname)
    member = await client.member()
    publisher = NodePublisher(EtcdStatusStore(client), config.felix_hostname)
    try:
        publisher.offer({4: KEY})
        async with asyncio.timeout(20):
            while not publisher.problems:
                (pair,) = (await member.range(Interval(f"{NODES}n1".encode()))).pairs
                if KEY.encode() in pair.value:
                    break
                await asyncio.sleep(0.01)
        return publisher.problems
    finally:
        await publisher.close()
        client.close()
        await asyncio.sleep(0.1)  # TLS takes its leave


def test_with_wireguard_the_role_lets_a_node_publish_its_key_and_nobody_elses(
    lab: Lab, tmp_path: Path, proof: str
) -> None:
    etcd = Etcd(lab.node, tmp_path, proof)
    del lab.settings["DatastorePath"]
    lab.configure(**etcd.settings)
    for name in ("n1", "n10", "n2"):
        assert etcd.ask(etcd.root, "put", f"{NODES}{name}", NODE)[0] == 0
    config = resolve(read_local(lab.config, {})).config
    password = {PASSWORD: SECRET} if proof == "password" else {}

    etcd.shell(lab.ask("etcd", "roles")[1], etcd.root, **password)
    with within(lab.node):
        assert "permission denied" in asyncio.run(published(config))["Node status"]
    assert etcd.ask(etcd.agent, "get", "--print-value-only", f"{NODES}n1") == (0, f"{NODE}\n")

    etcd.shell(lab.ask("etcd", "roles", "--wireguard")[1], etcd.root, **password)
    with within(lab.node):
        assert asyncio.run(published(config)) == {}
    code, text = etcd.ask(etcd.agent, "get", "--print-value-only", f"{NODES}n1")
    assert (code, text) == (0, NODE.replace(" ]", f' ],"wireguardPublicKey":"{KEY}"') + "\n")
    for refused in (
        ("put", f"{NODES}n10", NODE),
        ("put", f"{NODES}n2", NODE),
        ("put", f"{NODES}n1/status", NODE),
        ("put", f"{RESOURCES}felixnodes/n1", NODE),
        ("del", f"{NODES}n2"),
        ("del", "--prefix", NODES),
    ):
        code, text = etcd.ask(etcd.agent, *refused)
        assert (code != 0, "permission denied" in text) == (True, True), refused


RECORDS = "/calico/felixpy/v1/ipsecnodes/"
RECORD = IpsecNode(enabled=True, tag=1, boot="00" * 16, ipv4="192.0.2.1")


async def recorded(config: Config) -> tuple[dict[str, str], list[str]]:
    """Publish a record, as the agent with this configuration would, and read everybody's."""
    client = EtcdClient(to_etcd_settings(config), config.felix_hostname)
    member = await client.member()
    publisher = RecordPublisher(EtcdStatusStore(client), config.felix_hostname)
    try:
        publisher.offer(RECORD)
        async with asyncio.timeout(20):
            while not (publisher.problems or publisher.published):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        names = []
        if publisher.published:
            async for page in member.pages(IPSEC_RANGES[0].interval):
                names += [pair.key.decode().removeprefix(RECORDS) for pair in page.pairs]
        return publisher.problems, names
    finally:
        await publisher.close()
        client.close()
        await asyncio.sleep(0.1)  # TLS takes its leave


def test_with_ipsec_the_role_lets_a_node_read_all_records_and_write_its_own(
    lab: Lab, tmp_path: Path, proof: str
) -> None:
    etcd = Etcd(lab.node, tmp_path, proof)
    del lab.settings["DatastorePath"]
    lab.configure(**etcd.settings)
    assert etcd.ask(etcd.root, "put", f"{RECORDS}n2", "{}")[0] == 0
    config = resolve(read_local(lab.config, {})).config
    password = {PASSWORD: SECRET} if proof == "password" else {}

    etcd.shell(lab.ask("etcd", "roles")[1], etcd.root, **password)
    with within(lab.node):
        assert "permission denied" in asyncio.run(recorded(config))[0]["record"]

    etcd.shell(lab.ask("etcd", "roles", "--ipsec")[1], etcd.root, **password)
    with within(lab.node):
        assert asyncio.run(recorded(config)) == ({}, ["n1", "n2"])
    assert etcd.ask(etcd.agent, "del", f"{RECORDS}n1")[0] == 0
    for refused in (
        ("put", f"{RECORDS}n10", "{}"),
        ("put", f"{RECORDS}n2", "{}"),
        ("del", f"{RECORDS}n2"),
        ("del", "--prefix", RECORDS),
    ):
        code, text = etcd.ask(etcd.agent, *refused)
        assert (code != 0, "permission denied" in text) == (True, True), refused
