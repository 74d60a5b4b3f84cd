"""Desired state into the kernel; knows nothing of datastores.

    updates --> desired/ --> drivers/ --> kernel        `write_order` draws the order
                   |                         |
                render/                 interfaces       what comes back: links, addresses, routes,
                rules as text                            and whose hand was in our tables

`build` makes a dataplane for this machine, `cleanup` takes everything of ours out of it again.
`runner` is the only module that starts a process, `netlink` and the nf_tables monitor the only ones
that open a netlink socket.
"""
