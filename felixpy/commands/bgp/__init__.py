"""One module for each command of `felixpy bgp`: add_arguments(parser), run(arguments) -> status."""
