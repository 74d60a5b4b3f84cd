"""One module for each command of `felixpy wireguard`: add_arguments(parser), run(arguments) ->
status.
"""
