"""`felixpy check exposure` on manifests, with a machine that is made up."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from dataplane.interfaces import Interface
from dataplane.settings import Settings
from felixpy import exits
from felixpy.cli import main
from felixpy.config import Config
from felixpy.exposure import reading
from felixpy.exposure.survey import Exposed, Survey

ENDPOINT = """\
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {{name: n1-lab-{name}-eth0, namespace: default, labels: {{role: {name}}}}}
spec:
  node: n1
  orchestrator: lab
  workload: {name}
  endpoint: eth0
  interfaceName: cali{name}
  ipNetworks: [{networks}]
  profiles: [open]
---
"""
OPEN = """\
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {name: open}
spec: {ingress: [{action: Allow}], egress: [{action: Allow}]}
---
"""
NODES = """\
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: n1}
spec: {bgp: {ipv4Address: 10.0.0.1/24}}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: n2}
spec: {bgp: {ipv4Address: 10.0.0.2/24, ipv6Address: fd10::2/64}}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: n3}
spec: {bgp: {ipv4Address: 10.0.0.3/24}}
---
"""


def policy(egress: str, selector: str = "all()") -> str:
    return f"""\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: guard}}
spec: {{selector: "{selector}", types: [Egress], egress: [{egress}]}}
---
"""


def felix(**fields: object) -> str:
    return f"""\
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {{name: default}}
spec: {json.dumps(fields)}
---
"""


W1 = ENDPOINT.format(name="w1", networks="10.65.0.1/32")
W2 = ENDPOINT.format(name="w2", networks="10.65.0.2/32")
DUAL = ENDPOINT.format(name="w1", networks='10.65.0.1/32, "fd65::1/128"')
ACCEPT = felix(defaultEndpointToHostAction="Accept")
OPENSTACK = felix(metadataAddr="10.0.0.1", metadataPort=8775)
METADATA = ("metadata", "169.254.169.254", "tcp", 80)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.lower().startswith("felix_")]:
        monkeypatch.delenv(name)

    async def kernel(_: Settings) -> reading._Kernel:
        own = {"lo": ("127.0.0.1", "::1"), "eth0": ("10.0.0.1", "fe80::1")}
        gateway = {"caliw1": ("fe80::ee",)}
        listed = {(name, a) for name, many in (own | gateway).items() for a in many}
        seen = {
            name: Interface(name, index, True, frozenset(many))
            for index, (name, many) in enumerate(own.items(), 1)
        }
        return reading._Kernel(seen, frozenset(listed))

    monkeypatch.setattr(reading, "_read_kernel", kernel)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "manifests").mkdir()
    path = tmp_path / "felixpy.cfg"
    path.write_text(
        f"[global]\nFelixHostname = n1\nDatastorePath = {tmp_path / 'manifests'}\n"
        f"RunDir = {tmp_path / 'run'}\n"
    )
    return path


def write(config: Path, *manifests: str) -> None:
    (config.parent / "manifests" / "all.yaml").write_text("".join(manifests))


def ask(config: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str]:
    code = main(["check", "exposure", *more, "-c", str(config)])
    return code, capsys.readouterr().out


def opened(found: dict[str, Any]) -> set[tuple[str, str, str, int]]:
    """Kind, address, protocol and port, of the first workload."""
    return {
        (exposure["kind"], target["address"], port["protocol"], port["port"])
        for workload in found["exposed"][:1]
        for exposure in workload["exposures"]
        for target in exposure["targets"]
        for each in exposure["open"]
        for port in each["ports"]
    }


def node_ports(*ports: int) -> set[tuple[str, str, str, int]]:
    addresses = ("10.0.0.2", "10.0.0.3")
    return {("node", address, "tcp", port) for address in addresses for port in ports}


MANAGEMENT = (22, 179, 2379, 2380, 6443, 10250)
ALLOW_SSH = "{action: Allow, protocol: TCP, destination: {ports: [22]}}"
HOST_ALL = {
    *(("host", "10.0.0.1", "tcp", port) for port in (*MANAGEMENT, 55555)),
    ("host", "10.0.0.1", "udp", 55555),
}
CASES = [
    # case                    manifests                                      open
    ("nothing is allowed",    (W1, OPEN, NODES, policy("")),                 set()),
    ("the host is closed by default", (W1, OPEN, NODES),
     node_ports(*MANAGEMENT) | {METADATA}),
    ("the host is open",      (W1, OPEN, ACCEPT),                            HOST_ALL | {METADATA}),
    ("one port",              (W1, OPEN, NODES, ACCEPT, policy(ALLOW_SSH)),
     node_ports(22) | {("host", "10.0.0.1", "tcp", 22)}),
    ("one address",           (W1, OPEN, NODES,
                               policy("{action: Allow, destination: {nets: [10.0.0.3/32]}}")),
     {each for each in node_ports(*MANAGEMENT) if each[1] == "10.0.0.3"}),
    ("all but one net",       (W1, OPEN, NODES,
                               policy("{action: Allow, destination: {notNets: [10.0.0.2/31]}}")),
     {METADATA}),
    ("what is open by design is no exposure", (W1, OPEN, OPENSTACK, policy("")), set()),
    ("an address of one link", (DUAL, OPEN, ACCEPT,
                                policy("{action: Allow, ipVersion: 6, protocol: UDP}")),
     {("host", "fe80::ee", "udp", 55555)}),
    ("health and metrics, where they are served to others", (W1, OPEN, ACCEPT,
                               felix(defaultEndpointToHostAction="Accept", healthEnabled=True,
                                     healthHost="0.0.0.0", prometheusMetricsEnabled=True),
                               policy("{action: Allow, protocol: TCP,"
                                      " destination: {ports: ['9000:9100']}}")),
     {("host", "10.0.0.1", "tcp", 9091), ("host", "10.0.0.1", "tcp", 9099)}),
]  # fmt: skip


@pytest.mark.parametrize(("case", "manifests", "expected"), CASES, ids=[c[0] for c in CASES])
def test_what_is_open(
    config: Path,
    capsys: pytest.CaptureFixture[str],
    case: str,
    manifests: tuple[str, ...],
    expected: set[tuple[str, str, str, int]],
) -> None:
    write(config, *dict.fromkeys(m for m in manifests if "health" not in case or m != ACCEPT))
    code, out = ask(config, capsys, "--json")
    assert json.loads(out)["errors"] == []
    assert opened(json.loads(out)) == expected
    assert code == (exits.EXPOSED if expected else exits.OK)


def test_what_allows_it_is_said_with_its_rule(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(config, W1, OPEN, NODES, ACCEPT, policy(f"{{action: Log}}, {ALLOW_SSH}"))
    code, out = ask(config, capsys)
    assert code == exits.EXPOSED
    assert (
        out
        == f"""\
workload default/w1 (caliw1)
  may reach this host: 10.0.0.1
    TCP 22 (ssh)
      allowed by GlobalNetworkPolicy guard of tier default, spec.egress[1]: allow tcp to ports 22; \
then DefaultEndpointToHostAction = Accept
  may reach other nodes: n2 10.0.0.2, n3 10.0.0.3
    TCP 22 (ssh)
      allowed by GlobalNetworkPolicy guard of tier default, spec.egress[1]: allow tcp to ports 22

always allowed, whatever policy says: neighbour discovery of IPv6 with this host
{config.parent / "manifests"}: 1 of 1 local workloads exposed; asked about 2 addresses of this \
host, 0 of etcd, the metadata service and 2 other nodes, from port 49152
"""
    )


def test_rules_of_others_may_have_the_last_word(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(config, W1, OPEN, felix(defaultEndpointToHostAction="Return"), policy(ALLOW_SSH))
    _, out = ask(config, capsys)
    assert "DefaultEndpointToHostAction = Return\n      unless rules after felixpy's" in out


def test_workloads_with_the_same_answer_are_one_paragraph(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(config, W1, W2, OPEN)
    _, out = ask(config, capsys)
    assert out.startswith("workloads default/w1 (caliw1), default/w2 (caliw2)\n")
    assert out.count("may reach") == 1


def test_openstack_s_metadata_is_named_as_open_by_design(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(config, W1, OPEN, OPENSTACK, policy(""))
    code, out = ask(config, capsys)
    assert code == exits.OK
    assert "OpenStack's metadata, 10.0.0.1 TCP 8775" in out
    assert "DHCP" in out


def test_another_directory(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(config, W1, OPEN)
    other = config.parent / "other"
    other.mkdir()
    code, out = ask(config, capsys, str(other))
    assert (code, "0 of 0 local workloads" in out) == (exits.OK, True)


def test_etcd_s_members_are_asked_about_where_they_are_known() -> None:
    config = Config(
        datastore_type="etcdv3",
        etcd_endpoints=("https://10.0.0.5:2379", "https://no-such-name.invalid:2379"),
    )
    found, unknown = reading._etcd(config)
    assert [(name, str(address), port) for name, address, port in found] == [
        ("10.0.0.5:2379", "10.0.0.5", 2379)
    ]
    assert len(unknown) == 1
    assert unknown[0].startswith("etcd no-such-name.invalid:2379: ")


def test_a_manifest_that_is_wrong(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(config, "kind: Nonsense\n")
    assert main(["check", "exposure", "-c", str(config)]) == exits.REFUSED
    assert "error: " in capsys.readouterr().err


def test_a_directory_by_the_name_of_the_word(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(config.parent)
    (config.parent / "exposure").mkdir()
    assert main(["check", "./exposure", "-c", str(config)]) == exits.OK
    assert "no resources" in capsys.readouterr().out


def test_two_directories_are_one_too_many(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "one", "two", "-c", str(config)]) == exits.REFUSED
    assert "only one directory" in capsys.readouterr().err


MANY = [
    *(ENDPOINT.format(name=f"w{n}", networks=f"10.65.0.{n}/32, 'fd65::{n}/128'")
      for n in range(1, 6)),
    *(NODES.replace("n2", f"m{n}").replace("0.2/", f"0.{n}/") for n in range(20, 24)),
    *(f"""\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: p{n}}}
spec:
  order: {n}
  selector: role in {{'w1', 'w{n + 1}'}}
  types: [Egress]
  egress:
  - action: Allow
    protocol: TCP
    source: {{selector: role == 'w1'}}
    destination: {{ports: [22, 179]}}
  - {{action: Deny, destination: {{nets: [10.0.0.{4 * n}/30]}}}}
  - {{action: Allow, destination: {{selector: kind == 'set'}}}}
  - {{action: Allow, protocol: UDP, destination: {{notNets: [10.0.0.1/32]}}}}
---
""" for n in range(4, 7)),
    """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: s, labels: {kind: set}}
spec: {nets: [10.0.0.20/32, 10.0.0.22/31, "fd10::2/128"]}
---
""",
    OPEN,
    ACCEPT,
]  # fmt: skip


def test_what_is_taken_for_alike_is_alike(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same as if every address were asked about by itself."""
    manifests = "".join(MANY).replace("metadata: {name: n1}", "metadata: {name: n1}", 1)
    first, *rest = manifests.split("---\n")
    write(config, "---\n".join(dict.fromkeys((first, *rest))))
    asked: list[int] = []
    exposed = Survey.exposed

    def counting(survey: Survey) -> list[Exposed]:
        found = exposed(survey)
        asked.append(len(survey._known))
        return found

    monkeypatch.setattr(Survey, "exposed", counting)
    _, quick = ask(config, capsys, "--json")
    monkeypatch.setattr("felixpy.exposure.survey.Likenesses.of", lambda _, address: address)
    _, slow = ask(config, capsys, "--json")
    assert json.loads(quick)["errors"] == []
    assert json.loads(quick) == json.loads(slow)
    assert len(json.loads(quick)["exposed"]) == 5
    assert asked[0] < asked[1] / 2
