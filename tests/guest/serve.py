"""Inside the guest: run what the host asks for, one request at a time.

    in   {"argv": [...], "env": {...}, "timeout": seconds}     a line on standard input
    out  {"status": exit status, "output": both streams}       a line on standard output

The first line out is {"release": ...}: the kernel is up. The end of the input ends both it and the
guest.
"""

import json
import os
import subprocess
import sys

TIMED_OUT = 124  # as timeout(1) says it


def answer(request: dict) -> dict:
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


def send(message: dict) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    send({"release": os.uname().release})
    for line in sys.stdin:
        send(answer(json.loads(line)))


if __name__ == "__main__":
    main()
