"""IPsec's part of the shell: its keys, what this node tells others, and people of all of it.

algorithms.py   which algorithms a key file may name
keyfile.py      its text -> a ring of keys
feeds.py        the key file, or the Secret, as it is now, and when to look again
source.py       KeySource: that -> the ring in use, and what was rejected
key_control.py  an old key ended by the operator, over the control socket
"""
