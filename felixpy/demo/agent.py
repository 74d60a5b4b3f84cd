"""The real agent, in the node's namespace, its log read as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import Empty, SimpleQueue

from felixpy.demo.network import Network

PATIENCE = 20.0  # seconds for the agent to say that a change is in force
_END = ""


class DemoError(Exception):
    """The demo cannot go on; the text says why."""


class Agent:
    def __init__(self, network: Network, directory: Path, manifests: Path) -> None:
        config = directory / "felixpy.cfg"
        config.write_text(
            "[global]\n"
            "FelixHostname = demo\n"
            f"DatastorePath = {manifests}\n"
            f"RunDir = {directory / 'run'}\n"
            "MTUFile = none\n"
            "IptablesBackend = nft\n"
            "LogFormat = json\n"
            "LogSeveritySys = none\n"
        )
        environment = {k: v for k, v in os.environ.items() if not k.lower().startswith("felix_")}
        self._process = subprocess.Popen(
            network.inside(
                network.node, sys.executable, "-m", "felixpy", "run", "--config", str(config)
            ),
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,  # Ctrl-C is the demo's; it ends the agent itself
        )
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._reading = threading.Thread(target=self._read, name="agent", daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._lines.put(line)
        self._lines.put(_END)

    def forget_events(self) -> None:
        """What the agent has said so far is of no interest."""
        while not self._lines.empty():
            self._lines.get()

    def wait_for(self, *events: str) -> dict[str, object]:
        """The next of these log events.  Raises DemoError when it does not come."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                raise DemoError(f"the agent did not say {' or '.join(events)}") from None
            if line == _END:
                raise DemoError(f"the agent ended with status {self._process.wait()}")
            event = _parse(line)
            if event.get("event") in events:
                return event

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._reading.join()


def _parse(line: str) -> dict[str, object]:
    """Raises DemoError for what is no event: then the agent has refused to start."""
    try:
        event: dict[str, object] = json.loads(line)
    except json.JSONDecodeError:
        raise DemoError(line.strip().removeprefix("felixpy: ")) from None
    return event
