"""BIRD 2: its whole configuration as text, and a daemon that runs with it.

wanted.py        updates of calc_graph.bgp -> what the configuration is about
render/          pure text: Wanted, credentials and settings -> Version
control.py       the daemon's control socket
driver.py        a version parsed, checked, applied on trial, confirmed or undone
files.py         the configuration on disk, and what lies beside it
trial.py         which sessions a trial waits for; agreements.py reads the same from a text
faults.py        BIRD's messages, without passwords
outcome.py       what became of a version
sweep.py         what BIRD left behind, when BGP is turned off
parse/           what the daemon says of itself, of sessions and of routes
credentials.py   passwords, and why there is none
reasons.py       the numbers by which filters say why they refused a route
"""
