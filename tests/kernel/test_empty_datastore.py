"""A datastore that is suddenly empty, under a real agent with real traffic: what stays, and when it
goes.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel.agent_lab import WORKLOADS, Lab, Running, eventually
from tests.kernel.conftest import Namespace

pytestmark = pytest.mark.kernel

GUARD = """\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: guard, namespace: default}
spec:
  selector: role == 'w2'
  ingress: [{action: Allow, source: {selector: role == 'w1'}}]
"""


class FullLab(Lab):
    """With a policy; `wipe` and `restore` all that its directory holds."""

    def __init__(self, netns: Callable[[str], Namespace], directory: Path) -> None:
        super().__init__(netns, directory)
        self.write("guard.yaml", GUARD)
        self._lost: dict[str, str] = {}

    def wipe(self) -> None:
        for path in sorted(self.manifests.iterdir()):
            self._lost[path.name] = path.read_text()
            path.unlink()

    def restore(self) -> None:
        for name, text in self._lost.items():
            self.write(name, text)

    def held(self) -> list[str]:
        code, text = self.ask("confirm", "--list", "--json")
        return [hold["id"] for hold in json.loads(text)["held"]] if code == 0 else []

    def await_held(self, id_: str) -> None:
        eventually(lambda: self.held() == [id_], id_)

    def torn_down(self) -> bool:
        kernel = self.kernel()
        return not any(f"cali{name}" in kernel for name in WORKLOADS)

    def await_well(self, running: Running) -> None:
        eventually(lambda: self.is_well(running), "a well agent")


@pytest.fixture
def lab(netns: Callable[[str], Namespace], tmp_path: Path) -> FullLab:
    return FullLab(netns, tmp_path)


def test_everything_gone_at_once_stays_in_force_until_it_is_confirmed(lab: FullLab) -> None:
    running = lab.start()
    carries = lab.flow("w1", "w2")
    assert carries()
    before, generation = lab.kernel(), lab.generation()
    lab.wipe()
    lab.await_held("empty-datastore")
    eventually(lambda: not lab.is_well(running), "the complaint")
    lab.await_status(
        "lost every endpoint and policy at once: the deletion of 3 endpoints and 1 policy", 4
    )
    lab.await_status("`felixpy confirm` lets it go", 4)
    assert carries()
    assert lab.reaches("w1", "w2")
    assert not lab.reaches("w3", "w2")
    assert (lab.kernel(), lab.generation()) == (before, generation)
    code, text = lab.ask("confirm")
    assert code == 0
    assert "confirmed: it goes on now" in text
    eventually(lab.torn_down, "the end of it all")
    lab.await_well(running)
    assert lab.ask("confirm") == (0, "nothing is held back\n")
    _, text = running.end(signal.SIGTERM)
    assert (text.count("change.held_back"), text.count("change.let_go")) == (1, 1)
    assert lab.ask("confirm")[0] == 3


def test_the_grace_elapses(lab: FullLab) -> None:
    lab.configure(EmptyDatastoreGraceSecs="2")
    running = lab.start()
    lab.wipe()
    lab.await_held("empty-datastore")
    assert not lab.torn_down()
    eventually(lab.torn_down, "the end of it all")
    lab.await_well(running)


def test_switched_off_nothing_is_held_back(lab: FullLab) -> None:
    lab.configure(EmptyDatastoreGraceSecs="0")
    running = lab.start()
    lab.wipe()
    eventually(lab.torn_down, "the end of it all")
    _, text = running.end(signal.SIGTERM)
    assert "change.held_back" not in text


def test_restored_meanwhile_nothing_is_written(lab: FullLab) -> None:
    running = lab.start()
    carries = lab.flow("w1", "w2")
    before, generation = lab.kernel(), lab.generation()
    lab.wipe()
    lab.await_held("empty-datastore")
    lab.restore()
    lab.await_well(running)
    assert carries()
    assert (lab.kernel(), lab.generation()) == (before, generation)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_restarted_while_it_is_empty(lab: FullLab, how: signal.Signals) -> None:
    running = lab.start()
    carries = lab.flow("w1", "w2")
    before, generation = lab.kernel(), lab.generation()
    lab.wipe()
    lab.await_held("empty-datastore")
    running.end(how)
    running = lab.launch()
    lab.await_held("empty-at-start")
    lab.await_status("the kernel holds the rules of one with about 3 endpoints", 4)
    assert carries()
    assert (lab.kernel(), lab.generation()) == (before, generation)
    lab.restore()
    lab.await_well(running)
    assert carries()
    assert (lab.kernel(), lab.generation()) == (before, generation)


def test_emptied_while_no_agent_runs_and_confirmed(lab: FullLab) -> None:
    lab.start().end(signal.SIGKILL)
    before = lab.kernel()
    lab.wipe()
    running = lab.launch()
    lab.await_held("empty-at-start")
    assert lab.kernel() == before
    assert lab.ask("confirm", "empty-at-start")[0] == 0
    eventually(lambda: "cali-tw-cali" not in lab.rules(), "the end of the endpoints' chains")
    lab.await_well(running)
    running.end(signal.SIGTERM)
    lab.start()  # and that is what the next one expects


def test_after_a_cleanup_an_empty_datastore_is_nothing_unusual(lab: FullLab) -> None:
    lab.start().end(signal.SIGTERM)
    lab.wipe()
    assert lab.ask("cleanup")[0] == 0
    lab.start()
