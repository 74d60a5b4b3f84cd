"""Inside the guest: run what the host asks for, one request at a time.

    in   {"argv": [...], "env": {...}, "timeout": seconds}     a line on standard input
         {"pytest": [...], "env": {...}, "timeout": seconds}   pytest's arguments
    out  {"status": exit status, "output": both streams}       a line on standard output

The first line out is {"release": ...}: the kernel is up. The end of the input ends both it and the
guest.

    serve.py TAG DIRECTORY...

The guest asks the host for each file that it looks at, each time: an `ip link` takes most of a
second.  TAG is a second way to the same files, which keeps what it has seen; the directories are
seen that way.  pytest and an agent take it half a minute to import: that is done once, and each
run of pytest is a fork of that.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

TIMED_OUT = 124  # as timeout(1) says it
QUICK = "/run/quick"
OPTIONS = "ro,version=9p2000.L,trans=virtio,access=any,msize=512000,cache=loose"
IMPORTED = ("pytest", "felixpy.agent", "felixpy.commands.run")


def see_quickly(tag: str, directories: list) -> None:
    Path(QUICK).mkdir()
    subprocess.run(["mount", "-t", "9p", "-o", OPTIONS, tag, QUICK], check=True)
    here = Path.cwd()
    for directory in directories:
        subprocess.run(["mount", "--bind", QUICK + directory, directory], check=True)
    os.chdir(here)  # it is another directory now


def answer(request: dict) -> dict:
    return fork(request) if "pytest" in request else run(request)


def run(request: dict) -> dict:
    try:
        done = subprocess.run(
            request["argv"],
            env={**os.environ, **request["env"]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=request["timeout"],
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        return {"status": TIMED_OUT, "output": (late.stdout or b"").decode(errors="replace")}
    return {"status": done.returncode, "output": done.stdout.decode(errors="replace")}


def fork(request: dict) -> dict:
    here = str(Path.cwd())
    if here not in sys.path:
        os.environ.update(request["env"])
        sys.pycache_prefix = request["env"].get("PYTHONPYCACHEPREFIX")
        sys.path.insert(0, here)
        for name in IMPORTED:
            importlib.import_module(name)
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            be_pytest(request, output.fileno())
        status = ended(child, time.monotonic() + request["timeout"])
        output.seek(0)
        return {"status": status, "output": output.read().decode(errors="replace")}


def be_pytest(request: dict, output: int) -> None:
    status = 1
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, descriptor in enumerate((nothing, output, output)):
            os.dup2(descriptor, number)
        os.environ.update(request["env"])
        status = sys.modules["pytest"].main(request["pytest"])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def ended(child: int, deadline: float) -> int:
    """The exit status; the child's process group goes with it when time is up."""
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return TIMED_OUT
        time.sleep(0.1)


def send(message: dict) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    see_quickly(sys.argv[1], sys.argv[2:])
    send({"release": os.uname().release})
    for line in sys.stdin:
        send(answer(json.loads(line)))


if __name__ == "__main__":
    main()
