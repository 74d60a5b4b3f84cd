"""Runs the acts: write the policy, wait until the agent has it in force, ask the traffic, print."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec

from felixpy.console import Palette, say
from felixpy.demo.agent import Agent
from felixpy.demo.network import Network
from felixpy.demo.signals import undisturbed
from felixpy.demo.story import ACTS, WORKLOADS, Act, Workload
from felixpy.demo.verdicts import counts, decider
from felixpy.rundir import write_atomically


class Flow(NamedTuple):
    source: str
    target: str
    port: int
    open: bool
    by: str


def run(pause: float) -> None:
    """Show every act.  Raises DemoError."""
    paint = Palette.of(sys.stdout)
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
        say(f"A node and {len(WORKLOADS)} workloads in network namespaces; the host is untouched.")
        _play(network, agent, manifests, pause, paint)
    say("\nNamespaces, rules and files of the demo are gone.")


def _play(network: Network, agent: Agent, manifests: Path, pause: float, paint: Palette) -> None:
    before: dict[tuple[str, str], bool] = {}
    for number, act in enumerate(ACTS, 1):
        say(f"\n{paint.strong(f'{number}. {act.title}')}")
        time.sleep(pause)
        _stage(agent, manifests, act, paint)
        flows = list(_flows(network))
        _print(flows, before, paint)
        before = {(flow.source, flow.target): flow.open for flow in flows}


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


def _stage(agent: Agent, manifests: Path, act: Act, paint: Palette) -> None:
    """Change the files, and wait for the agent's word."""
    if not act.files:
        return
    for name, text in act.files.items():
        say(paint.faint(f"   {'write' if text else 'remove'} {name}"))
        for line in text.splitlines():
            say(paint.faint(f"   | {line}"))
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
        error = str(event["error"]).removeprefix(f"{manifests}/")
        say(f"   {paint.bad('refused')}: {error}")
    else:
        say(f"   {paint.good('in force')} after {after:.0f} ms")


def _flows(network: Network) -> Iterator[Flow]:
    for source in WORKLOADS:
        for target in WORKLOADS:
            if source is not target:
                before = counts(network.counters())
                reached = network.reaches(source.name, target)
                by = decider(before, counts(network.counters()))
                yield Flow(source.name, target.name, target.port, reached, by)


def _print(flows: Sequence[Flow], before: dict[tuple[str, str], bool], paint: Palette) -> None:
    """A line for each flow; an asterisk marks what the change has changed."""
    say(paint.faint(f"   {'who':10} {'whom':10} {'port':9} {'verdict':9} by"))
    for flow in flows:
        word = paint.good("allowed  ") if flow.open else paint.bad("dropped  ")
        news = before.get((flow.source, flow.target), flow.open) != flow.open
        mark = paint.warn("*") if news else " "
        port = f"tcp/{flow.port}"
        say(f" {mark} {flow.source:10} {flow.target:10} {port:9} {word} {flow.by}")
