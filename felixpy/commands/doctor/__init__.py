"""One module for each command of `felixpy doctor`: add_arguments(parser), run(arguments) ->
status.
"""
