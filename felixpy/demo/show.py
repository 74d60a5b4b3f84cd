"""Runs the acts: write the policy, wait until the agent has it in force, ask the traffic, tell."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from felixpy.demo.agent import Agent
from felixpy.demo.network import Network
from felixpy.demo.signals import undisturbed
from felixpy.demo.story import ACTS, WORKLOADS, Act, Workload
from felixpy.demo.tell import Flow, Teller
from felixpy.demo.verdicts import counts, decider
from felixpy.rundir import write_atomically


def run(pause: float, teller: Teller) -> None:
    """Show every act, with `pause` seconds before each change.  Raises DemoError."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="felixpy-demo-")))
        network = Network(WORKLOADS)
        stack.callback(network.close)
        network.build()
        manifests = directory / "manifests"
        manifests.mkdir()
        _write_workloads(manifests)
        agent = Agent(network, directory, manifests)
        stack.callback(agent.stop)
        stack.push(undisturbed)
        agent.wait_for("dataplane.in_sync")
        teller.begins(len(WORKLOADS))
        for number, act in enumerate(ACTS, 1):
            teller.act(number, act.title)
            time.sleep(pause)
            _stage(agent, manifests, act, teller)
            teller.flows(list(_flows(network)))
    teller.ends()


def _write_workloads(manifests: Path) -> None:
    documents: list[dict[str, object]] = [_manifest(workload) for workload in WORKLOADS]
    allow = [{"action": "Allow"}]
    documents.append(
        {
            "apiVersion": "projectcalico.org/v3",
            "kind": "Profile",
            "metadata": {"name": "open"},
            "spec": {"ingress": allow, "egress": allow},
        }
    )
    for document in documents:
        metadata = document["metadata"]
        assert isinstance(metadata, dict)
        name = f"{str(document['kind']).lower()}-{metadata['name']}.json"
        write_atomically(manifests / name, msgspec.json.encode(document).decode())


def _manifest(workload: Workload) -> dict[str, object]:
    return {
        "apiVersion": "projectcalico.org/v3",
        "kind": "WorkloadEndpoint",
        "metadata": {
            "name": f"demo-demo-{workload.name}-eth0",
            "namespace": "default",
            "labels": workload.labels,
        },
        "spec": {
            "node": "demo",
            "orchestrator": "demo",
            "workload": workload.name,
            "endpoint": "eth0",
            "interfaceName": f"cali{workload.name}",
            "ipNetworks": [f"{workload.address}/32"],
            "profiles": ["open"],
        },
    }


def _stage(agent: Agent, manifests: Path, act: Act, teller: Teller) -> None:
    """Change the files, and wait for the agent's word."""
    if not act.files:
        return
    for name, text in act.files.items():
        teller.writes(name, text)
    agent.forget_events()
    started = time.monotonic()
    for name, text in act.files.items():
        if text:
            write_atomically(manifests / name, text)
        else:
            (manifests / name).unlink()
    event = agent.wait_for("dataplane.applied", "manifest.invalid")
    after = (time.monotonic() - started) * 1000
    if event["event"] == "manifest.invalid":
        teller.refused(str(event["error"]).removeprefix(f"{manifests}/"))
    else:
        teller.in_force(after)


def _flows(network: Network) -> Iterator[Flow]:
    for source in WORKLOADS:
        for target in WORKLOADS:
            if source is not target:
                before = counts(network.counters())
                reached = network.reaches(source.name, target)
                by = decider(before, counts(network.counters()))
                yield Flow(source.name, target.name, target.port, reached, by)
