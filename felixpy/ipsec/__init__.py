"""IPsec's part of the shell: its keys, what this node tells others, and people of all of it.

algorithms.py   which algorithms a key file may name
keyfile.py      its text -> a ring of keys
feeds.py        the key file, or the Secret, as it is now, and when to look again
source.py       KeySource: that -> the ring in use, and what was rejected
keys.py         Keys: that for as long as IPsec is on, whichever source the configuration names

part.py         IpsecPart, which the pipeline holds: all of this, on or off
end.py          what it asks of the dataplane, and tells it
life.py         the life that this node's states are in, kept beside the agent
used.py         what keys were derived from, lest one be used twice over a restart
publishing.py   this node's record -> where the others read it
node_encryption.py, datastore_place.py
                not with a datastore that is reached through a workload

details.py, control.py, key_control.py, offline.py
                for commands, over the control socket or without an agent
figures.py, metrics.py, xfrm_stat.py
                for metrics, and what the kernel's counters of errors mean
preflight.py, machine.py, esp_probe.py
                what stands in the way, for `felixpy doctor ipsec`
"""
