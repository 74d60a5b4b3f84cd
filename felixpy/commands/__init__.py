"""One module for each command of `felixpy`: run(arguments) -> exit status."""
