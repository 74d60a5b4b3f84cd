"""One module for each command of `felixpy ipsec`: add_arguments(parser), run(arguments) ->
status.
"""
