"""WireGuard's part of the shell: what this node tells others of its end.

publishing.py   KeyPublisher: the public keys, to this node's Node resource
control.py      the same over the control socket, for commands
devices.py      the keys as the kernel's devices have them, for commands without an agent
"""
