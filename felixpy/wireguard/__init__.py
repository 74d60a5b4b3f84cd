"""WireGuard's part of the shell: what this node tells others of its end, and people of all of it.

part.py         all of it, for the pipeline
publishing.py   NodePublisher: the public keys and conditions, to this node's Node resource
conditions.py   what these conditions are
switch.py       Switch: the pre-flight holds back what would do harm
preflight.py    Findings of what stands in the way, from
    machine.py      the kernel: ports, routing, sizes
    clock.py        the clock
    probes.py       the way to other nodes
    facts.py        configuration and datastore
figures.py      what the devices say at the moment, for metrics.py
control.py      all that over the control socket, for commands
devices.py      the keys as the kernel's devices have them, for commands without an agent
"""
