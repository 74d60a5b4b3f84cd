"""The shells that complete felixpy's command line, one module each, and what there is to complete.

words.py                    the parser of the command line -> commands, options, places
bash.py, zsh.py, fish.py    these -> a script
"""
