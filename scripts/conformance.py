"""Run the public scenarios of the conformance laboratory, two laboratories side by side.

    conformance.py LAB.PY [AREA …]

Every area of AREAS with the nf_tables backend and with both datastores, and those of LEGACY_AREAS
with legacy xtables as well. Scenarios that are for one datastore only are skipped with the other by
the laboratory itself, and counted as skipped. A scenario that fails is run once more: if it passes
then, it counts as passed and is named as flaky at the end. The last line holds the counts; the exit
status is 0 only if every one passed.
"""

import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# The one list of what is built; an area joins it with the change that makes its scenarios pass.
# Longest first: the last to start are then short, and both cores are busy to the end.
AREAS = (
    "policy",
    "robustness",
    "hostendpoints",
    "security",
    "tiers",
    "nat",
    "profiles",
    "routes",
    "multinode",
    "ipv6",
    "compat",
    "status",
    "services",
)
DATASTORES = ("file", "etcd")
LEGACY_AREAS = ("policy", "tiers")
# One per core of the smallest machine this runs on. A laboratory names its namespaces by it.
PREFIXES = ("lab", "labB")
# The longest area takes some minutes; a laboratory that hangs must not take the whole run with it.
AREA_SECONDS = 30 * 60
# More failures in an area than this are no accident, and to run them all again takes too long.
MOST_FLAKY = 5

OUTCOME = re.compile(r"^(ok|FAIL) +(\S+) \(")
SKIPPED = re.compile(r"passed, \d+ failed, (\d+) skipped")


@dataclass(frozen=True)
class Job:
    area: str
    datastore: str
    backend: str = "nft"

    @property
    def title(self) -> str:
        return f"{self.area} ({self.datastore}, {self.backend})"


@dataclass
class Tally:
    """What came of all jobs; shared by the workers."""

    passed: int = 0
    skipped: int = 0
    failed: list[str] = field(default_factory=list)
    flaky: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def say(self, line: str) -> None:
        with self.lock:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


class Laboratory:
    """lab.py under a prefix of its own."""

    def __init__(self, program: Path, prefix: str, tally: Tally, legacy: Path) -> None:
        self._program = program
        self._prefix = prefix
        self._tally = tally
        self._legacy = legacy

    def run(self, job: Job) -> None:
        start = time.monotonic()
        outcomes, output = self._scenarios(job)
        skipped = SKIPPED.search(output)
        failures = [name for name, good in outcomes.items() if not good]
        again = failures if len(failures) <= MOST_FLAKY else []
        flaky = [name for name in again if self._scenarios(job, name)[0].get(name)]
        lost = [name for name in failures if name not in flaky]
        if skipped is None:  # its closing line is missing: it did not come to its end
            self._tally.say(output)
            lost.append("the laboratory did not finish")
        with self._tally.lock:
            self._tally.passed += len(outcomes) - len(failures) + len(flaky)
            self._tally.skipped += int(skipped[1]) if skipped else 0
            self._tally.flaky += [f"{job.title}: {name}" for name in flaky]
            self._tally.failed += [f"{job.title}: {name}" for name in lost]
        took = time.monotonic() - start
        self._tally.say(
            f"== {job.title}: {len(outcomes)} scenarios, {len(lost)} failed ({took:.0f} s)"
        )

    def _scenarios(self, job: Job, only: str = "") -> tuple[dict[str, bool], str]:
        """Run an area, or only what is named like `only`: name -> passed, and the output."""
        argv = [sys.executable, str(self._program), "run", "--datastore", job.datastore]
        argv += ["-k", only] if only else []
        argv.append(str(self._program.parent / "scenarios" / f"{job.area}.yaml"))
        environment = {**os.environ, "LAB_PREFIX": self._prefix}
        if job.backend == "legacy":
            environment["FELIX_IPTABLESBACKEND"] = "Legacy"
            environment["PATH"] = f"{self._legacy}:{environment['PATH']}"
        outcomes: dict[str, bool] = {}
        lines: list[str] = []
        for line in _lines(argv, environment):
            lines.append(line)
            outcome = OUTCOME.match(line)
            if outcome:
                outcomes[outcome[2]] = outcome[1] == "ok"
            if not SKIPPED.search(line):
                self._tally.say(f"{job.datastore} {job.backend:6} {'again ' if only else ''}{line}")
        return outcomes, "\n".join(lines)


def _lines(argv: list[str], environment: dict[str, str]) -> Iterator[str]:
    """The lines that a command prints, as they come; it is ended after AREA_SECONDS."""
    with subprocess.Popen(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        guard = threading.Timer(AREA_SECONDS, process.terminate)
        guard.start()
        assert process.stdout is not None
        for line in process.stdout:
            yield line.rstrip("\n")
        guard.cancel()


def _make_legacy_host(directory: Path) -> None:
    """Programs by the plain names that are the legacy ones, as on a host that uses those.

    Scenarios read the kernel by `iptables-save`; without this they would look into the tables of
    the other backend.
    """
    for family in ("iptables", "ip6tables"):
        for part in ("", "-save", "-restore"):
            program = shutil.which(f"{family}-legacy{part}")
            if program is None:
                raise SystemExit(f"{family}-legacy{part} is not installed")
            # the program goes by the name that it is called by
            (directory / f"{family}{part}").symlink_to(Path(program).resolve())


def _work(laboratory: Laboratory, jobs: "queue.SimpleQueue[Job]") -> None:
    while True:
        try:
            job = jobs.get_nowait()
        except queue.Empty:
            return
        laboratory.run(job)


def main() -> int:
    program, areas = Path(sys.argv[1]), sys.argv[2:] or list(AREAS)
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for area in areas:
        for datastore in DATASTORES:
            jobs.put(Job(area, datastore))
        if area in LEGACY_AREAS:
            jobs.put(Job(area, "file", "legacy"))
    tally = Tally()
    with tempfile.TemporaryDirectory() as directory:
        legacy = Path(directory)
        _make_legacy_host(legacy)
        workers = [
            threading.Thread(target=_work, args=(Laboratory(program, prefix, tally, legacy), jobs))
            for prefix in PREFIXES
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    for name in tally.flaky:
        tally.say(f"flaky: {name}: failed, then passed")
    for name in tally.failed:
        tally.say(f"failed: {name}")
    tally.say(
        f"conformance: {tally.passed} passed, {len(tally.failed)} failed, {tally.skipped} skipped"
    )
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())
