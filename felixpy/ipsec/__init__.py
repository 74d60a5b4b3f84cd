"""IPsec's part of the shell: its keys, what this node tells others, and people of all of it.

algorithms.py   which algorithms a key file may name
keyfile.py      its text -> a ring of keys
source.py       the key file, the credential or the Secret, watched -> the ring in use
"""
