"""Runs the acts: write the policy, wait until the agent has it in force, ask the traffic, print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec

from felixpy.console import Palette, say
from felixpy.demo.network import Network
from felixpy.demo.story import ACTS, WORKLOADS, Act, Workload
from felixpy.demo.verdicts import counts, decider
from felixpy.rundir import write_atomically

PATIENCE = 20.0  # seconds for the agent to say that a change is in force


class DemoError(Exception):
    """The demo cannot go on; the text says why."""


class Flow(NamedTuple):
    source: str
    target: str
    port: int
    open: bool
    by: str


class Agent:
    """The real agent, in the node's namespace, its log read as JSON."""

    def __init__(self, network: Network, directory: Path) -> None:
        self.manifests = directory / "manifests"
        self.manifests.mkdir()
        config = directory / "felixpy.cfg"
        config.write_text(
            "[global]\n"
            "FelixHostname = demo\n"
            f"DatastorePath = {self.manifests}\n"
            f"RunDir = {directory / 'run'}\n"
            "IptablesBackend = nft\n"
            "LogFormat = json\n"
        )
        argv = network.inside(
            network.node, sys.executable, "-m", "felixpy", "run", "--config", str(config)
        )
        environment = {k: v for k, v in os.environ.items() if not k.lower().startswith("felix_")}
        self._process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=environment)

    def wait_for(self, *events: str) -> dict[str, object]:
        """The next of these log events.  Raises DemoError when it does not come."""
        deadline = time.monotonic() + PATIENCE
        for event in self._events():
            if event.get("event") in events:
                return event
            if time.monotonic() > deadline:
                raise DemoError(f"the agent did not say {' or '.join(events)}")
        raise DemoError(f"the agent ended with status {self._process.wait()}")

    def _events(self) -> Iterator[dict[str, object]]:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                raise DemoError(line.strip()) from None

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate()


def run(pause: float) -> None:
    """Show every act.  Raises DemoError."""
    paint = Palette.of(sys.stdout)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="felixpy-demo-")))
        network = Network(WORKLOADS)
        stack.callback(network.close)
        network.build()
        agent = Agent(network, directory)
        stack.callback(agent.stop)
        _write_workloads(agent.manifests)
        agent.wait_for("dataplane.in_sync")
        say(f"A node and {len(WORKLOADS)} workloads in network namespaces; the host is untouched.")
        before: dict[tuple[str, str], bool] = {}
        for number, act in enumerate(ACTS, 1):
            say(f"\n{paint.strong(f'{number}. {act.title}')}")
            time.sleep(pause)
            _stage(agent, act, paint)
            flows = list(_flows(network))
            _print(flows, before, paint)
            before = {(flow.source, flow.target): flow.open for flow in flows}
    say("\nNamespaces, rules and files of the demo are gone.")


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


def _stage(agent: Agent, act: Act, paint: Palette) -> None:
    """Change the policy file, and wait for the agent's word."""
    path = agent.manifests / "policy.yaml"
    if act.policy:
        for line in act.policy.splitlines():
            say(paint.faint(f"   | {line}"))
    elif not path.exists():
        return
    started = time.monotonic()
    if act.policy:
        write_atomically(path, act.policy)
    else:
        path.unlink()
    event = agent.wait_for("dataplane.applied", "manifest.invalid")
    after = (time.monotonic() - started) * 1000
    if event["event"] == "manifest.invalid":
        say(f"   {paint.bad('refused')}: {event['error']}")
    else:
        say(f"   in force after {after:.0f} ms")


def _flows(network: Network) -> Iterator[Flow]:
    for source in WORKLOADS:
        for target in WORKLOADS:
            if source is not target:
                before = counts(network.counters())
                reached = network.reaches(source.name, target)
                by = decider(before, counts(network.counters()))
                yield Flow(source.name, target.name, target.port, reached, by)


def _print(flows: Sequence[Flow], before: dict[tuple[str, str], bool], paint: Palette) -> None:
    say(f"   {'who':10} {'whom':10} {'port':9} {'verdict':9} by")
    for flow in flows:
        word = paint.good("allowed  ") if flow.open else paint.bad("dropped  ")
        news = before.get((flow.source, flow.target), flow.open) != flow.open
        mark = paint.warn("*") if news else " "
        port = f"tcp/{flow.port}"
        say(f" {mark} {flow.source:10} {flow.target:10} {port:9} {word} {flow.by}")
