"""Exit statuses, the same for every command; the README and `felixpy --help` list them."""

from __future__ import annotations

OK = 0
FAILED = 1
REFUSED = 2  # command line, configuration or resources are wrong; nothing was touched
NOT_RUNNING = 3
NOT_WELL = 4
EXPOSED = 5

HELP = """\
exit status:
  0  done
  1  it failed; the last line on standard error says why
  2  the command line, the configuration or a resource is wrong; nothing was touched
  3  status, confirm: no agent is running on this node
  4  status: an agent is starting, or degraded: something is wrong; doctor: a check has failed
  5  check exposure: a workload may reach what it should rather not
"""
