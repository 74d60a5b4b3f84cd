"""What BIRD says of itself, as values.  Each parser is a pure function of a reply's lines, and
passes over lines that it does not know.

daemon.py    `show status`
sessions.py  `show protocols all`
routes.py    `show route ... all`

The texts are those of BIRD 2.0.12 with `timeformat ... iso long`, as our configuration has it.
"""
